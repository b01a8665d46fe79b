"""Rows that are kept apart: near to real excerpts, unlike each other, the same ones every time."""

import numpy as np
import pytest

from earwitness.explainer.diversity import keep_diverse, scaled

RNG = np.random.default_rng(7)
CLUSTER = RNG.normal(0, 0.01, (12, 6))
OTHERS = np.eye(6)[:4] * 10
ROWS = np.concatenate([CLUSTER, OTHERS])
PLACES = np.arange(len(ROWS), dtype=np.float64)


def least_apart(rows: np.ndarray) -> float:
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return float(distances[np.triu_indices(len(rows), 1)].min())


@pytest.mark.parametrize("seed", range(3))
def test_without_weight_the_nearest_are_kept(seed: int) -> None:
    places = np.random.default_rng(seed).permutation(len(ROWS)).astype(np.float64)
    assert list(keep_diverse(ROWS, places, 5, 0.0)) == sorted(np.argsort(places)[:5])


def test_by_weight_alone_rows_lie_furthest_apart() -> None:
    """Of a heap of twelve that are all but alike and four others: one of the heap, and the others."""
    kept = keep_diverse(ROWS, PLACES, 5, 1.0)
    assert list(kept) == [0, 12, 13, 14, 15]


def test_the_more_weight_the_further_apart() -> None:
    rows = np.random.default_rng(3).normal(size=(60, 8))
    places = np.linalg.norm(rows, axis=1)
    found = [least_apart(rows[keep_diverse(rows, places, 20, weight)]) for weight in (0.0, 0.5, 1.0)]
    assert found == sorted(found)
    assert found[0] < found[-1]
    nearness = [places[keep_diverse(rows, places, 20, weight)].mean() for weight in (0.0, 0.5, 1.0)]
    assert nearness == sorted(nearness)


def test_indices_rise_and_nothing_is_kept_twice() -> None:
    rows = np.random.default_rng(4).normal(size=(30, 3)).astype(np.float32)
    kept = keep_diverse(rows, np.random.default_rng(5).random(30), 17, 0.4)
    assert len(set(kept.tolist())) == 17
    assert list(kept) == sorted(kept)


def test_rows_that_are_all_the_same_are_kept_by_nearness() -> None:
    places = np.array([3.0, 1.0, 2.0, 0.0])
    assert list(keep_diverse(np.ones((4, 2)), places, 2, 0.9)) == [1, 3]


def test_what_is_kept_does_not_depend_on_the_order_of_rows() -> None:
    rows, places = np.random.default_rng(6).normal(size=(40, 5)), np.random.default_rng(7).random(40)
    order = np.random.default_rng(8).permutation(40)
    one = set(keep_diverse(rows, places, 15, 0.5).tolist())
    other = {int(order[each]) for each in keep_diverse(rows[order], places[order], 15, 0.5)}
    assert one == other


def test_all_rows_are_kept_where_there_are_no_more() -> None:
    assert list(keep_diverse(ROWS[:1], PLACES[:1], 1, 0.5)) == [0]
    assert list(keep_diverse(ROWS, PLACES, len(ROWS), 0.5)) == list(range(len(ROWS)))


@pytest.mark.parametrize(("places", "keep", "weight"), [(PLACES[:-1], 3, 0.5), (PLACES, 17, 0.5), (PLACES, 3, 1.5)])
def test_what_does_not_fit_is_refused(places: np.ndarray, keep: int, weight: float) -> None:
    with pytest.raises(ValueError, match="give a place for each row"):
        keep_diverse(ROWS, places, keep, weight)


def test_layers_weigh_the_same_whatever_their_scale_and_size() -> None:
    rng = np.random.default_rng(9)
    small, large = rng.normal(size=(50, 4)), 1000 * rng.normal(size=(50, 64))
    found = scaled(np.concatenate([small, large, np.ones((50, 3))], axis=1).astype(np.float32), [4, 64, 3])
    spreads = [np.square(part - part.mean(axis=0)).sum(axis=1).mean() for part in (found[:, :4], found[:, 4:68])]
    assert spreads[0] == pytest.approx(spreads[1], rel=0.1)
    assert not found[:, 68:].any()
    np.testing.assert_allclose(scaled(small, [4]), scaled(7 * small, [4]))
