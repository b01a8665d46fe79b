"""A reference keeps the same of its rows however they are split into shards, bodies and versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.scorer.collect import Collector, Frozen, collector, statistics_body
from earwitness.scorer.frechet import frechet_distance
from earwitness.scorer.statistics import from_rows
from earwitness.scorer.uncertainty import NoiseFloor, noise_floor
from earwitness.storage import blobs
from earwitness.storage.errors import StoreDamaged
from earwitness.vocabulary.reference import ALL, Selection


def rows_of(count: int, units: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, units)) * 3 + 5).astype(np.float32)


def collected(shards: dict[str, np.ndarray], selection: Selection, block: int = 10**6) -> Collector:
    """Every shard in its own collector, whose body goes into one: what appending and freezing do."""
    units = next(iter(shards.values())).shape[1]
    whole = collector(selection, units)
    for shard_id, rows in shards.items():
        one = collector(selection, units)
        for start in range(0, len(rows), block):
            one.add_rows(rows[start : start + block], shard_id, start)
        whole.add_body(one.body())
    return whole


def assert_gaussian_of(frozen: Frozen, rows: np.ndarray) -> None:
    wide = rows.astype(np.float64)
    gaussian = frozen.gaussian
    assert gaussian.count == len(rows)
    covariance = np.cov(wide.T, ddof=1).reshape(rows.shape[1], -1)
    np.testing.assert_allclose(gaussian.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(gaussian.root @ gaussian.root.T, covariance, atol=1e-10)
    np.testing.assert_allclose(gaussian.variance, np.diagonal(covariance), rtol=1e-10)
    np.testing.assert_array_equal(frozen.minimum, wide.min(axis=0))
    np.testing.assert_array_equal(frozen.maximum, wide.max(axis=0))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) >= 2),
    units=st.integers(1, 12),
    block=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_rows(sizes: list[int], units: int, block: int, seed: int) -> None:
    shards = {f"s{index}": rows_of(size, units, seed + index) for index, size in enumerate(sizes)}
    assert_gaussian_of(collected(shards, ALL, block).frozen(), np.concatenate(list(shards.values())))


@pytest.mark.parametrize("kind", ["top", "bottom"])
@pytest.mark.parametrize("sizes", [[50, 3, 20], [2, 1], [1, 30]])
def test_extreme_rows(kind: str, sizes: list[int]) -> None:
    shards = {f"s{index}": rows_of(size, 4, index) for index, size in enumerate(sizes)}
    rows = np.concatenate(list(shards.values()))
    order = np.argsort(rows[:, 2])
    chosen = rows[order[-10:] if kind == "top" else order[:10]]
    got = collected(shards, Selection(kind, 2, 10), block=7)  # type: ignore[arg-type]
    assert_gaussian_of(got.frozen(), chosen)


@pytest.mark.parametrize("selection", [ALL, Selection("top", 0, 5)])
@pytest.mark.parametrize("count", [4, 40])
def test_a_version_and_later_shards_are_as_all_at_once(selection: Selection, count: int) -> None:
    """`count` on both sides of the point where rows turn into statistics."""
    first, second = {"a": rows_of(count, 6)}, {"b": rows_of(9, 6, 1), "ä": rows_of(2, 6, 2)}
    state = collected(first, selection).body()
    later = collector(selection, 6)
    later.add_body(state)
    later.add_body(collected(second, selection).body())
    at_once = collected(first | second, selection)
    assert_same(later.frozen(), at_once.frozen())
    reread = collector(selection, 6)
    reread.add_body(later.body())
    assert_same(reread.frozen(), at_once.frozen())


def assert_same(left: Frozen, right: Frozen) -> None:
    np.testing.assert_allclose(left.gaussian.mean, right.gaussian.mean, rtol=1e-12)
    np.testing.assert_allclose(left.gaussian.root @ left.gaussian.root.T, right.gaussian.root @ right.gaussian.root.T)
    assert left.gaussian.count == right.gaussian.count
    np.testing.assert_array_equal(left.minimum, right.minimum)


def test_a_body_is_never_larger_than_the_statistics() -> None:
    """A shard of any number of rows takes at most the room of one packed scatter matrix."""
    units = 40
    sizes = []
    for count in (1, 41, 42, 4000):
        one = collector(ALL, units)
        one.add_rows(rows_of(count, units), "s", 0)
        sizes.append(len(one.body()))
    assert sizes == sorted(sizes)
    assert sizes[-1] == sizes[-2]
    assert sizes[-1] < 4 * units * (units + 1) + 3 * 8 * units + 300


def test_extreme_rows_hold_few_rows_in_memory() -> None:
    """Not far above k, however many shards there are."""
    for k in (10, 2000):
        one = collector(Selection("top", 0, k), 2)
        for start in range(0, 8000, 8):
            one.add_rows(rows_of(8, 2, start), "s", start)
            assert sum(len(part.rows) for part in one._parts) <= k + max(256, k // 4)  # type: ignore[attr-defined]


def test_frozen_round_trip_and_one_unit() -> None:
    rows = rows_of(30, 3)
    frozen = collected({"s": rows}, ALL).frozen()
    again = Frozen.from_body(frozen.to_body())
    assert_same(again, frozen)
    assert again.byte_count == frozen.byte_count > 0
    np.testing.assert_array_equal(again.gaussian.eigenvalues, frozen.gaussian.eigenvalues)
    assert_gaussian_of(again.unit(1), rows[:, 1:2])


@pytest.mark.parametrize("count", [12, 40], ids=["rows", "moments"])
def test_a_unit_that_never_varies_has_no_variance_of_rounding(count: int) -> None:
    """0.1 is no binary fraction: the mean of many is off by a rounding, which is no spread to set distances against."""
    rows = rows_of(count, 20).astype(np.float64)
    rows[:, 3], rows[:, 7] = 0.1, 1e8 / 3
    frozen = Frozen.from_body(collected({"s": rows}, ALL).frozen().to_body())
    for unit in (3, 7):
        alone = frozen.unit(unit)
        assert alone.gaussian.mean == rows[0, unit]
        assert (alone.gaussian.variance.tolist(), alone.gaussian.root.shape) == ([0.0], (1, 0))
        assert noise_floor(alone.gaussian, 30, 0) == NoiseFloor(0.0, 0.0)
    constant = np.full((count, 20), 0.1)
    dead = collected({"s": constant}, ALL).frozen()
    assert noise_floor(dead.gaussian, 30, 0) == NoiseFloor(0.0, 0.0)


@pytest.mark.parametrize("units", [4, 40])
def test_a_version_of_the_first_layout_is_read(units: int) -> None:
    """As versions were stored before: eigenvectors, of the lengths of the eigenvalues' roots, under another name."""
    rows = rows_of(60, units)
    now = collected({"s": rows}, ALL).frozen()
    values, vectors = np.linalg.eigh(np.cov(rows.astype(np.float64).T))
    gaussian = now.gaussian
    arrays = {"mean": gaussian.mean, "variance": gaussian.variance, "root": vectors * np.sqrt(values)}
    body = blobs.encode({"count": np.array(60, np.int64), **arrays, "minimum": now.minimum, "maximum": now.maximum})
    before = Frozen.from_body(body)
    assert_same(before, now)
    batch = rows_of(20, units, seed=1)
    for floor in (before, now):
        assert noise_floor(floor.gaussian, 20, 0).median == pytest.approx(noise_floor(gaussian, 20, 0).median, rel=1e-9)
    old, new = (frechet_distance(batch, each.gaussian).distance for each in (before, now))
    assert old == pytest.approx(new, rel=1e-9)


def test_many_small_partials_are_as_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted together, a few at once; means far from 0 and from each other."""
    pieces = [rows_of(12, 5, seed) + np.float32(100 * seed) for seed in range(50)]
    whole = collector(ALL, 5)
    monkeypatch.setattr("earwitness.scorer.collect._HELD_BYTES", 4000)
    for piece in pieces:
        whole.add_body(statistics_body(from_rows(piece)))
    rows = np.concatenate(pieces)
    frozen, wide = whole.frozen(), rows.astype(np.float64)
    np.testing.assert_allclose(frozen.gaussian.mean, wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(frozen.gaussian.root @ frozen.gaussian.root.T, np.cov(wide.T), rtol=1e-9)
    np.testing.assert_array_equal(frozen.minimum, wide.min(axis=0))


@pytest.mark.parametrize("selection", [ALL, Selection("top", 0, 5)])
def test_one_row_makes_no_gaussian(selection: Selection) -> None:
    one = collector(selection, 3)
    one.add_rows(rows_of(1, 3), "s", 0)
    with pytest.raises(ValueError, match="at least 2"):
        one.frozen()


def test_a_broken_body_is_refused() -> None:
    with pytest.raises(StoreDamaged):
        collector(ALL, 3).add_body(b"not a body")
