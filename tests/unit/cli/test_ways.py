"""Targets and ways as people type them."""

import pytest

from earwitness.cli.ways import layers_of, settings_of, target_of
from earwitness.client.output.words import target_option
from earwitness.client.values import Settings, Target
from earwitness.errors import InvalidArgument


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("5", Target(5, 5)),
        (" -5.5 ", Target(-5.5, -5.5)),
        ("4:7", Target(4, 7)),
        ("-7:-4", Target(-7, -4)),
        ("1e-2:.5", Target(0.01, 0.5)),
        ("q0.5", Target(0.5, 0.5, quantile=True)),
        ("q0:1", Target(0, 1, quantile=True)),
        ("Q.05:.95", Target(0.05, 0.95, quantile=True)),
    ],
)
def test_targets(words: str, target: Target) -> None:
    assert target_of(words) == target
    assert target_of(target_option(target)) == target


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", r"give an activation, 5, a range 4:7, or quantiles of what the reference keeps, q0\.5 or q0:1"),
        ("high", "give an activation"),
        ("4-7", "give an activation"),
        ("4:7:9", "give an activation"),
        (":7", "give an activation"),
        ("nan", "give an activation"),
        ("inf", "give an activation"),
        ("1e999", "activations are finite"),
        ("0.5q", "give an activation"),
        ("q", "give an activation"),
        ("q50", r"quantiles are 0 to 1, as in q0\.5 or q0:1"),
        ("q0:1.5", "quantiles are 0 to 1"),
        ("q-0.1", "quantiles are 0 to 1"),
        ("7:4", "a range goes up: 4:7"),
        ("q1:0", "a range goes up: q0:1"),
    ],
)
def test_nonsense_is_refused_with_an_example(words: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        target_of(words)
    assert caught.value.field == "settings.target"


def settings(**given: object) -> Settings:
    names = ["optimiser", "learning_rate", "prior_weight", "steps", "weight_decay", "target", "start_draws", "draws"]
    return settings_of(*(given.get(name) for name in names))  # type: ignore[arg-type]


def test_settings_leave_the_rest_to_the_server() -> None:
    assert settings() == Settings()
    assert settings(optimiser="normalised", target="q0:1", start_draws=8) == Settings(
        "normalised", target=Target(0, 1, quantile=True), start_draws=8
    )
    assert settings(draws=300) == Settings("draws", draws=300)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"draws": 9, "steps": 5}, "steps"),
        ({"optimiser": "draws", "target": "5"}, "settings.target"),
        ({"optimiser": "draws", "learning_rate": 0.1}, "learning_rate"),
        ({"optimiser": "adam", "draws": 9}, "draws"),
    ],
)
def test_options_that_a_way_has_no_use_for_are_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings(**given)
    assert caught.value.field == field


def test_layers_are_named_one_by_one_or_together() -> None:
    assert layers_of(["pool3,conv4", "fc8", "pool3"]) == ("pool3", "conv4", "fc8")
    assert layers_of(None) == ()
