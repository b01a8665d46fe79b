"""Which of an objective's rows come back: the nearest, or those that are near and unlike each other."""

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.plan import Limits, plan_search
from earwitness.explainer.real import kept_among
from earwitness.vocabulary.reference import KeptLayer
from earwitness.vocabulary.search import Nearness, Row, Search, Settings
from tests.unit.explainer.analytic import OUT_0, bundle

LAYERS = (KeptLayer("a", 2), KeptLayer("b", 3))
ALIKE = np.repeat(np.eye(5, dtype=np.float32)[[0, 1, 2]], [4, 1, 1], axis=0)
"""Four rows that are the same, the nearest, and two others."""
PLACES = np.arange(1.0, 7.0)


def search(diversity: float) -> Search:
    rows = tuple(Row(seed) for seed in range(6))
    return Search("tiny", rows, OUT_0, Settings(), "references/r", 3, Nearness(diversity=diversity))


def test_without_diversity_the_nearest_come_back() -> None:
    assert kept_among(ALIKE, LAYERS, PLACES, search(0.0)) == [0, 1, 2]


def test_with_diversity_rows_that_are_alike_do_not_all_come_back() -> None:
    assert kept_among(ALIKE, LAYERS, PLACES, search(0.7)) == [0, 4, 5]


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_a_diversity_outside_of_0_to_1_is_refused(diversity: float) -> None:
    with pytest.raises(InvalidArgument, match=r"search\.nearness\.diversity: got .*; it must be 0 to 1"):
        plan_search(search(diversity), bundle(), Limits(256, 100, 100))
