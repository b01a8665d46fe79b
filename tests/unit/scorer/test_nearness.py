"""Nearness is what counting every distance gives, whatever the rows, and however they are split."""

import numpy as np
import pytest

from earwitness.scorer.layers import Layout
from earwitness.scorer.nearness import KeptRows, neighbours
from earwitness.vocabulary.reference import KeptLayer

LAYOUT = Layout((KeptLayer("conv1", 4), KeptLayer("fc2", 7), KeptLayer("fc3", 1)), own=2)
ALL = range(3)


def rows_of(count: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, LAYOUT.width)) * scale
    far = np.array([1000.0] * 4 + [0.0] * 8)
    return (np.maximum(drawn, -0.5 * scale) + far).astype(np.float32)  # some far from 0, and with a floor, as of a ReLU


def counted(kept: np.ndarray, rows: np.ndarray, neighbour_count: int) -> np.ndarray:
    """[rows, layers], one distance after another."""
    found = np.empty((len(rows), 3))
    for layer in ALL:
        columns = LAYOUT.columns(layer)
        real, given = kept[:, columns].astype(np.float64), rows[:, columns].astype(np.float64)
        deviation = real.std(axis=0)
        scale = deviation + 0.05 * deviation.max() if deviation.any() else np.ones_like(deviation)
        for index, row in enumerate(given):
            apart = sorted(np.sqrt(np.square((row - each) / scale).sum()) for each in real)
            found[index, layer] = np.mean(apart[:neighbour_count])
    return found


@pytest.mark.parametrize("neighbour_count", [1, 5, 39, 40])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e20])
def test_it_is_the_mean_distance_to_the_nearest(neighbour_count: int, scale: float) -> None:
    kept = rows_of(40, scale=scale)
    rows = np.concatenate([rows_of(30, seed=1, scale=scale), kept[:3], rows_of(2, seed=2, scale=scale) * 50])
    measured = KeptRows.of(kept, LAYOUT).distances(rows, ALL, neighbour_count)
    np.testing.assert_allclose(measured, counted(kept, rows, neighbour_count), rtol=1e-9)


def test_a_kept_row_is_at_no_distance_from_itself() -> None:
    kept = rows_of(200)
    assert not KeptRows.of(kept, LAYOUT).distances(kept, ALL, 1).any()
    doubled = KeptRows.of(np.concatenate([kept, kept]), LAYOUT)
    assert not doubled.distances(kept, ALL, 2).any()


def test_units_and_layers_that_never_change_are_bounded() -> None:
    kept = rows_of(40)
    kept[:, 0], kept[:, 11] = 7.0, 0.1
    rows = kept[:2].copy()
    rows[1, 0], rows[1, 11] = 9.0, 2.1
    measured = KeptRows.of(kept, LAYOUT).distances(rows, ALL, 1)
    assert not measured[0].any()
    largest = kept[:, :4].astype(np.float64).std(axis=0).max()
    assert measured[1] == pytest.approx([2 / (0.05 * largest), 0, 2.0])  # a layer of no scale counts as it is


def test_the_widest_numbers_stay_finite() -> None:
    largest = np.finfo(np.float32).max
    kept = np.full((2, LAYOUT.width), -largest)
    kept[1] = largest
    tiny = np.full((2, LAYOUT.width), 0.0)
    tiny[1] = 5e-324
    for rows in (kept, tiny):
        measured = KeptRows.of(rows, LAYOUT).distances(np.concatenate([kept, tiny]), ALL, 2)
        assert np.isfinite(measured).all()


def test_layers_are_measured_by_themselves_and_rows_in_any_blocks() -> None:
    kept, rows = KeptRows.of(rows_of(40), LAYOUT), rows_of(50, seed=3)
    whole = kept.distances(rows, ALL, 5)
    np.testing.assert_array_equal(kept.distances(rows, [2, 0], 5), whole[:, [2, 0]])
    parts = np.concatenate([kept.distances(rows[start : start + 7], ALL, 5) for start in range(0, 50, 7)])
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_blocks_are_small_where_many_rows_are_kept() -> None:
    wide = Layout((KeptLayer("conv1", 700), KeptLayer("fc3", 5)))
    kept = KeptRows.of(np.zeros((10_000, 705), np.float32), wide)
    blocks = list(kept.blocks(4000))
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop >= 4000) == (0, True)
    assert all((block.stop - block.start) * 10_000 <= 2**21 for block in blocks)
    assert kept.byte_count == pytest.approx(10_000 * 705 * 8, rel=0.01)
    assert next(iter(KeptRows.of(np.zeros((10_000, 4096)), Layout.of("l", 4096)).blocks(9))) == slice(0, 13)


def test_five_neighbours_or_all_unless_it_is_said() -> None:
    assert [neighbours(0, 100), neighbours(0, 3), neighbours(7, 100)] == [5, 3, 7]
