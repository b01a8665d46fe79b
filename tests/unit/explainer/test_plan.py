"""Searches as asked for, and the plans they become."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.plan import DIRECTION_UNIT_BYTES, Artefact, Limits, RowBytes, check_limits, plan_search
from earwitness.explainer.ways import DEFAULTS
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings
from tests.unit.explainer.analytic import OUT_0, UNITS, Z, bundle, plan_rows

LIMITS = Limits(max_rows=4, max_steps=1000, max_draws=5000)
HIDDEN_1 = Objective("hidden", 1, "minimise")


def asked(*rows, objective=OUT_0, settings=None):
    return Search("analytic", rows, objective, settings or Settings())


def planned(search):
    check_limits(search, LIMITS)
    return plan_search(search, bundle(), LIMITS)


def test_rows_take_what_they_lack_from_the_search() -> None:
    own = Settings("sgd", 0.5, prior_weight=0.25, steps=7)
    plan = plan_search(asked(Row(3), Row(4, HIDDEN_1), Row(5, settings=own)), bundle(), LIMITS)
    assert [row.objective for row in plan.rows] == [OUT_0, HIDDEN_1, OUT_0]
    paper = DEFAULTS["adam"]
    assert [row.settings for row in plan.rows] == [
        paper, paper, replace(DEFAULTS["sgd"], learning_rate=0.5, prior_weight=0.25, steps=7)
    ]  # fmt: skip
    assert plan.unit_weights.tolist() == [[0, 0, 1, 0, 0], [0, -1, 0, 0, 0], [0, 0, 1, 0, 0]]
    np.testing.assert_allclose(plan.prior_weights, np.float32([[0.001], [0.001], [0.25]]))
    assert plan.steps.tolist() == [100, 100, 7]
    assert plan.step_count == 100
    assert [layer.name for layer in plan.layers] == ["hidden", "out"]
    assert plan.first_latents.shape == (3, Z)


def test_the_search_needs_no_objective_where_every_row_has_one() -> None:
    search = asked(Row(0, HIDDEN_1), Row(1, OUT_0), objective=None)
    check_limits(search, LIMITS)
    assert [layer.name for layer in plan_search(search, bundle(), LIMITS).layers] == ["hidden", "out"]


@pytest.mark.parametrize(
    ("search", "field"),
    [
        (asked(), "search.rows"),
        (asked(*(Row(seed) for seed in range(5))), "search.rows"),
        (asked(Row(0), settings=Settings(steps=0)), "search.settings.steps"),
        (asked(Row(0), Row(1, settings=Settings(steps=1001))), "search.rows[1].settings.steps"),
        (asked(Row(0, OUT_0), Row(1), objective=None), "search.rows[1].objective"),
    ],
)
def test_limits_are_refused_by_field(search, field) -> None:
    with pytest.raises(InvalidArgument) as caught:
        planned(search)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("search", "field"),
    [
        (asked(Row(0), objective=Objective("out", UNITS, "maximise")), "search.objective.unit"),
        (asked(Row(0), Row(1, Objective("x", 0, "maximise"))), "search.rows[1].objective.layer"),
        # An objective that no row uses is still checked: it was meant for something.
        (asked(Row(0, OUT_0), objective=Objective("x", 0, "maximise")), "search.objective.layer"),
    ],
)
def test_objectives_are_refused_by_field(search, field) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan_search(search, bundle(), LIMITS)
    assert caught.value.field == field


def test_row_sizes_count_what_is_asked_for() -> None:
    mixed = Objective("hidden", None, "maximise", {0: 1.0, 1: 2.0})
    plan = plan_rows([Row(0), Row(1, mixed, Settings(steps=999))])
    first, second = plan.row_bytes(frozenset(Artefact), 10.0)
    assert second.tensors - first.tensors == 2 * DIRECTION_UNIT_BYTES + 4 * (2 - UNITS)
    assert (first.artefacts[Artefact.TRAJECTORY], second.artefacts[Artefact.TRAJECTORY]) == (12 * 101, 12 * 1000)
    assert first.artefacts[Artefact.AUDIO] == round(2 * 8000 * (6 / 10 + 0.25))  # 6 frames at 10 a second, and a tail
    assert first.most == first.tensors + sum(first.artefacts.values())
    assert plan.row_bytes(frozenset(), 10.0)[0] == RowBytes(first.tensors, {})
