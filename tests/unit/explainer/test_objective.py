"""Objectives as rows of unit weights, and what is refused."""

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.objective import unit_weights, words
from earwitness.vocabulary.objective import Objective
from tests.unit.explainer.analytic import bundle

MAXIMISE, MINIMISE = "maximise", "minimise"


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("out", 2, MAXIMISE), [0, 0, 0, 0, 1]),
        (Objective("out", 0, MINIMISE), [0, 0, -1, 0, 0]),
        (Objective("hidden", 1, MAXIMISE), [0, 1, 0, 0, 0]),
        (Objective("out", None, MAXIMISE, {2: 0.5, 0: -2.0}), [0, 0, -2, 0, 0.5]),
        (Objective("out", None, MINIMISE, {2: 0.5, 0: -2.0}), [0, 0, 2, 0, -0.5]),
        (Objective("out", None, MAXIMISE, {1: 0.0, 2: 1.0}), [0, 0, 0, 0, 1]),
    ],
)
def test_weights_over_all_units(objective, expected) -> None:
    weights = unit_weights(objective, bundle(), "objective")
    assert weights.tolist() == expected
    assert weights.dtype == np.float32


@pytest.mark.parametrize(
    ("layer", "target", "field", "says"),
    [
        ("", 0, "layer", "hidden, out"),
        ("fc9", 0, "layer", "'fc9'; its layers: hidden, out"),
        ("out", 3, "unit", "0 to 2"),
        ("out", -1, "unit", "got -1"),
        ("out", 2**31 - 1, "unit", "0 to 2"),
        ("out", {}, "direction.units", "at least one"),
        ("out", {0: 1.0, 3: 1.0}, "direction.units[1]", "0 to 2"),
        ("out", {0: 1.0, 1: float("nan")}, "direction.weights[1]", "finite"),
        ("out", {0: float("-inf"), 1: 1.0}, "direction.weights[0]", "finite"),
        ("out", {0: 1e6, 1: 1e20}, "direction.weights[1]", "got 1e+20; weights must be finite"),
        ("out", {0: -1.1e6, 1: 1.0}, "direction.weights[0]", "-1e+06 to 1e+06"),
        ("out", {0: 0.0, 1: 0.0}, "direction.weights", "all weights are 0"),
    ],
)
def test_refused_by_field(layer, target, field, says) -> None:
    aimed = {"unit": target} if isinstance(target, int) else {"direction": target}
    objective = Objective(layer, sense="maximise", **aimed)
    with pytest.raises(InvalidArgument) as caught:
        unit_weights(objective, bundle(), "search.rows[3].objective")
    assert caught.value.field == f"search.rows[3].objective.{field}"
    assert says in caught.value.description


def test_names_itself() -> None:
    assert words(Objective("fc9", 0, MAXIMISE)) == "layer 'fc9' unit 0"
    assert words(Objective("fc9", None, MINIMISE, {1: 1.0, 2: -1.0})) == "layer 'fc9' units [1, 2]"
