"""What a model recommends is what its searches use where they are given none."""

from dataclasses import replace

import pytest

from earwitness.explainer.plan import Limits, plan_search
from earwitness.explainer.recommended import recommended, settings_of
from earwitness.explainer.ways import DEFAULTS, TOWARDS_REFERENCE, Resolved, as_sent
from earwitness.inference.recommendation import Recommendation
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings, Target
from tests.unit.explainer.analytic import OUT_0, bundle

LIMITS = Limits(max_rows=4, max_steps=1000, max_draws=5000)
STORED = Recommendation(
    "out",
    0,
    "maximise",
    {"optimiser": "walk", "learning_rate": 0.1, "start_draws": 4, "target": {"low": 4.0, "high": 7.5}},
    2,
    "",
    0.5,
    50,
)
WALK = as_sent(replace(DEFAULTS["walk"], learning_rate=0.1, start_draws=4, target=Target(4.0, 7.5)))
QUANTILES = Target(0.0, 1.0, quantile=True)


def planned(*rows: Row, settings: Settings | None = None, reference: str = "") -> list[Resolved]:
    described = replace(bundle(), recommendations=(STORED,))
    search = Search("analytic", rows or (Row(0),), OUT_0, settings or Settings(), reference)
    return [row.settings for row in plan_search(search, described, LIMITS).rows]


def test_a_row_without_settings_has_those_of_its_objective() -> None:
    other, direction = replace(OUT_0, unit=1), replace(OUT_0, unit=None, direction={0: 1.0})
    least = replace(OUT_0, sense="minimise")
    rows = planned(Row(0), Row(1, other), Row(2, least), Row(3, direction))
    adam = DEFAULTS["adam"]
    assert rows == [WALK, adam, adam, adam]


def test_what_is_given_goes_before_what_is_recommended() -> None:
    assert planned(settings=Settings(steps=7)) == [replace(WALK, steps=7)]
    assert planned(settings=Settings("walk", steps=7)) == [replace(WALK, steps=7)]
    assert planned(settings=Settings("sgd")) == [DEFAULTS["sgd"]]
    assert planned(settings=Settings(target=Target(1, 1))) == [replace(WALK, target=Target(1, 1))]


def test_a_reference_says_which_activations_are_real() -> None:
    assert planned(reference="references/top") == [replace(WALK, target=QUANTILES)]
    assert planned(Row(0, replace(OUT_0, unit=1)), reference="references/top") == [TOWARDS_REFERENCE]
    assert planned(settings=Settings("sgd"), reference="references/top") == [DEFAULTS["sgd"]]


@pytest.mark.parametrize("objective", [OUT_0, Objective("hidden", 0, "maximise")])
def test_draws_are_recommended_as_well(objective: Objective) -> None:
    stored = replace(STORED, layer=objective.layer, settings={"optimiser": "draws", "draws": 900})
    described = replace(bundle(), recommendations=(stored,))
    assert recommended(described, objective) == replace(DEFAULTS["draws"], draws=900)
    assert settings_of(stored).target is None
