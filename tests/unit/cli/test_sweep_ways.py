"""Ways and criteria of sweeps as people type them."""

import pytest

from earwitness.cli.sweep_plan import settings_of
from earwitness.cli.sweep_ways import SweptWay, Ways
from earwitness.client import Grid
from earwitness.client.values import Settings, Target
from earwitness.errors import InvalidArgument


def ways(*optimisers: str, targets=(), start_draws=(), draws=()) -> Ways:
    return Ways.of([SweptWay(each) for each in optimisers], targets, start_draws, draws)


def test_plain_values_stay_a_grid() -> None:
    assert settings_of(None, ["0.1"], [], ["10", "40"], ways("both")) == Grid([0.1], [0.001], [10, 40], ["adam", "sgd"])
    assert settings_of(None, ["0.1"], [], [], ways()) == Grid([0.1], [0.001], [100], ["adam"])


def test_every_way_has_the_combinations_of_what_it_takes() -> None:
    given = ways("normalised", "walk", "draws", targets=["q0:1", "5"], draws=[100, 400])
    found = settings_of(None, ["0.2"], ["0.01"], ["50"], given)
    whole, five = Target(0, 1, quantile=True), Target(5, 5)
    assert found == [
        Settings("normalised", 0.2, 0.01, 50, target=whole),
        Settings("normalised", 0.2, 0.01, 50, target=five),
        Settings("walk", 0.2, None, 50, target=whole),
        Settings("walk", 0.2, None, 50, target=five),
        Settings("draws", draws=100),
        Settings("draws", draws=400),
    ]
    assert settings_of(None, [], [], [], ways(draws=[9])) == [Settings("draws", draws=9)]
    assert settings_of(None, [], [], [], ways("walk")) == [Settings("walk")]
    assert settings_of(None, [], [], [], ways(targets=["5"])) == [Settings("adam", target=five)]


@pytest.mark.parametrize(
    ("optimisers", "given", "rates", "field"),
    [
        (["adam"], {"draws": [5]}, [], "draws"),
        (["draws"], {"targets": ["5"]}, [], "settings.target"),
        (["draws"], {}, ["0.1"], "settings.learning_rate"),
        (["walk"], {}, ["0.1..1"], "optimiser"),
        (["adam"], {"targets": ["5"]}, ["0.1..1"], "optimiser"),
        (["adam"], {"targets": ["4-5"]}, [], "settings.target"),
    ],
)
def test_what_no_way_has_a_use_for_is_refused(optimisers, given, rates, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        settings_of(None, rates, [], [], ways(*optimisers, **given))
    assert caught.value.field == field
