"""Objectives as rows of unit weights, and what is refused."""

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.objective import Direction, Objective, Sense, unit_weights
from tests.unit.explainer.analytic import bundle

MAXIMISE, MINIMISE = Sense.MAXIMISE, Sense.MINIMISE


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective("out", 2, MAXIMISE), [0, 0, 0, 0, 1]),
        (Objective("out", 0, MINIMISE), [0, 0, -1, 0, 0]),
        (Objective("hidden", 1, MAXIMISE), [0, 1, 0, 0, 0]),
        (Objective("out", Direction((2, 0), (0.5, -2.0)), MAXIMISE), [0, 0, -2, 0, 0.5]),
        (Objective("out", Direction((2, 0), (0.5, -2.0)), MINIMISE), [0, 0, 2, 0, -0.5]),
        (Objective("out", Direction((1, 2), (0.0, 1.0)), MAXIMISE), [0, 0, 0, 0, 1]),
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
        ("out", Direction((), ()), "direction.units", "at least one"),
        ("out", Direction((0, 1), (1.0,)), "direction.weights", "1 weights for 2 units"),
        ("out", Direction((0,), (1.0, 2.0)), "direction.weights", "2 weights for 1 units"),
        ("out", Direction((0, 3), (1.0, 1.0)), "direction.units[1]", "0 to 2"),
        ("out", Direction((1, 1), (1.0, 1.0)), "direction.units[1]", "twice"),
        ("out", Direction((0, 1), (1.0, float("nan"))), "direction.weights[1]", "finite"),
        ("out", Direction((0, 1), (float("-inf"), 1.0)), "direction.weights[0]", "finite"),
        ("out", Direction((0, 1), (1e6, 1e20)), "direction.weights[1]", "got 1e+20; weights must be finite"),
        ("out", Direction((0, 1), (-1.1e6, 1.0)), "direction.weights[0]", "-1e+06 to 1e+06"),
        ("out", Direction((0, 1), (0.0, 0.0)), "direction.weights", "all weights are 0"),
    ],
)
def test_refused_by_field(layer, target, field, says) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unit_weights(Objective(layer, target, MAXIMISE), bundle(), "search.rows[3].objective")
    assert caught.value.field == f"search.rows[3].objective.{field}"
    assert says in caught.value.description


def test_names_itself() -> None:
    assert str(Objective("fc9", 0, MAXIMISE)) == "layer 'fc9' unit 0"
    assert str(Objective("fc9", Direction((1, 2), (1.0, -1.0)), MINIMISE)) == "layer 'fc9' units [1, 2]"
