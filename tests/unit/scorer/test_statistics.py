"""Statistics are those of one pass over all rows, however the rows were split and however large their mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.scorer.statistics import (
    Accumulator,
    Statistics,
    from_lower_triangle,
    from_rows,
    from_upper_triangle,
    lower_triangle,
    upper_triangle,
)


def reference(rows: np.ndarray) -> Statistics:
    """Two passes in extended precision."""
    wide = rows.astype(np.longdouble)
    mean = wide.mean(axis=0)
    centred = wide - mean
    scatter = centred.T @ centred
    return Statistics(
        len(rows),
        mean.astype(np.float64),
        scatter.astype(np.float64),
        rows.min(axis=0).astype(np.float64),
        rows.max(axis=0).astype(np.float64),
    )


def assert_same(got: Statistics, expected: Statistics, relative: float = 1e-12) -> None:
    assert got.count == expected.count
    np.testing.assert_allclose(got.mean, expected.mean, rtol=1e-15, atol=relative)
    np.testing.assert_allclose(got.scatter, expected.scatter, rtol=relative, atol=relative * expected.scatter.max())
    np.testing.assert_array_equal(got.minimum, expected.minimum)
    np.testing.assert_array_equal(got.maximum, expected.maximum)


def test_hand_computed() -> None:
    got = from_rows(np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]]))
    assert_same(got, Statistics(3, np.array([3.0, 20.0]), np.array([[8.0, 60.0], [60.0, 600.0]]),
                                np.array([1.0, 10.0]), np.array([5.0, 40.0])))  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (700, 5), (40_000, 1), (1100, 80)])
def test_from_rows(shape: tuple[int, int], offset: float) -> None:
    rows = np.random.default_rng(0).standard_normal(shape) + offset
    # Rounding of the rows' own mean is all that a large offset may cost.
    assert_same(from_rows(rows), reference(rows), relative=1e-12 if offset < 1e6 else 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    dimension_count=st.integers(1, 6),
    offset=st.sampled_from([0.0, -5.0, 1e7]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_split_and_order_merge_to_one_pass(
    sizes: list[int], dimension_count: int, offset: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.standard_normal((size, dimension_count)).astype(np.float32) + offset for size in sizes]
    whole = reference(np.concatenate(parts))

    by_rows = Accumulator(dimension_count)
    for part in parts:
        by_rows.add_rows(part)
    assert_same(by_rows.statistics(), whole, 1e-8)

    merged = Accumulator(dimension_count)
    for index in generator.permutation(len(parts)):
        if len(parts[index]):
            merged.add(from_rows(parts[index]))
    assert_same(merged.statistics(), whole, 1e-8)


def test_a_shard_far_from_the_others_keeps_its_spread() -> None:
    """Means 1e6 apart: uncentred sums would lose the spread of 1 entirely."""
    generator = np.random.default_rng(1)
    near, far = generator.standard_normal((500, 2)), generator.standard_normal((500, 2)) + np.array([1e6, 0.0])
    accumulator = Accumulator(2)
    accumulator.add(from_rows(near))
    accumulator.add(from_rows(far))
    merged = accumulator.statistics()
    assert_same(merged, reference(np.concatenate([near, far])), 1e-13)
    np.testing.assert_allclose(merged.scatter[1, 1], reference(np.concatenate([near, far])).scatter[1, 1], rtol=1e-12)


def test_more_units_than_are_worked_on_at_once() -> None:
    """1100 of them, by rows, by statistics and by groups of rows; symmetric to the last bit."""
    generator = np.random.default_rng(2)
    parts = [generator.standard_normal((count, 1100)) + 3 * count for count in (40, 7, 1, 30)]
    accumulator = Accumulator(1100)
    accumulator.add_rows(parts[0])
    accumulator.add(from_rows(parts[1]))
    groups = [from_rows(part) for part in parts[2:]]
    accumulator.add_groups(
        np.array([each.count for each in groups], np.float64),
        np.array([each.mean for each in groups]),
        upper_triangle(groups[0].scatter + groups[1].scatter),
        np.minimum(groups[0].minimum, groups[1].minimum),
        np.maximum(groups[0].maximum, groups[1].maximum),
    )
    got = accumulator.statistics()
    assert_same(got, reference(np.concatenate(parts)))
    np.testing.assert_array_equal(got.scatter, got.scatter.T)


def test_triangles() -> None:
    matrix = np.arange(16.0).reshape(4, 4)
    symmetric = from_upper_triangle(upper_triangle(matrix), 4)
    np.testing.assert_array_equal(symmetric, np.triu(matrix) + np.triu(matrix, 1).T)
    np.testing.assert_array_equal(from_lower_triangle(lower_triangle(matrix), 4), np.tril(matrix))


def test_a_value_does_not_change_with_its_accumulator() -> None:
    accumulator = Accumulator(1)
    accumulator.add_rows(np.array([[1.0], [2.0]]))
    before = accumulator.statistics()
    accumulator.add_rows(np.array([[30.0]]))
    assert_same(before, from_rows(np.array([[1.0], [2.0]])))


@pytest.mark.parametrize("shape", [(3,), (3, 0), (0, 3), (1, 2, 3)])
def test_no_rows_or_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows must be"):
        from_rows(np.zeros(shape))


def test_other_dimensions_are_refused() -> None:
    accumulator = Accumulator(2)
    with pytest.raises(ValueError, match="last dimension is 3"):
        accumulator.add_rows(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="last dimension is 3"):
        accumulator.add(from_rows(np.zeros((4, 3))))
