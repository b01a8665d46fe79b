"""The low-rank route against closed forms, the slow matrix root, and invariances."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.scorer.frechet import (
    Factored,
    Gaussian,
    factor,
    factor_rows,
    frechet_distance,
    gaussian,
)


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Rows whose own mean and unbiased covariance are exactly these."""
    rows = np.random.default_rng(seed).standard_normal((count, len(mean)))
    rows -= rows.mean(axis=0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T, ddof=1).reshape(len(mean), -1))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def random_covariance(generator: np.random.Generator, size: int) -> np.ndarray:
    matrix = generator.standard_normal((size, 2 * size))
    return matrix @ matrix.T / size


def by_matrix_root(rows: np.ndarray, reference: Gaussian) -> float:
    """The definition, with SciPy's matrix root."""
    covariance = np.cov(rows.astype(np.float64).T, ddof=1).reshape(rows.shape[1], -1)
    offset = rows.mean(axis=0, dtype=np.float64) - reference.mean
    root = scipy.linalg.sqrtm(covariance @ reference.covariance)
    return float(offset @ offset + np.trace(covariance) + np.trace(reference.covariance) - 2 * np.trace(root).real)


def test_a_shift_by_v_gives_its_squared_length() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((200, 12))
    shift = generator.standard_normal(12)
    result = frechet_distance(rows + shift, factor(gaussian(rows)))
    assert result.distance == pytest.approx(shift @ shift, rel=1e-9)
    assert result.mean_term == pytest.approx(shift @ shift, rel=1e-12)
    assert result.covariance_term == pytest.approx(0.0, abs=1e-9)


def test_diagonal_covariances() -> None:
    left, right = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    rows = with_moments(np.zeros(3), np.diag(left), 40)
    result = frechet_distance(rows, factor(Gaussian(1000, np.array([1.0, 2.0, 2.0]), np.diag(right))))
    assert result.mean_term == pytest.approx(9.0, rel=1e-9)
    assert result.covariance_term == pytest.approx(((np.sqrt(left) - np.sqrt(right)) ** 2).sum(), rel=1e-9)
    assert result.distance == result.mean_term + result.covariance_term


@pytest.mark.parametrize("count", [2, 3, 50])
def test_one_dimension_is_the_formula_of_the_paper(count: int) -> None:
    generator = np.random.default_rng(count)
    left, right = generator.normal(3, 2, (count, 1)).astype(np.float32), generator.normal(5, 0.5, (50, 1))
    expected = (left.mean(dtype=float) - right.mean()) ** 2 + (left.std(ddof=1, dtype=float) - right.std(ddof=1)) ** 2
    assert frechet_distance(left, factor_rows(right)).distance == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("count", "size"), [(50, 1), (50, 7), (10, 30), (65, 64)])
def test_a_batch_is_at_no_distance_from_itself(count: int, size: int) -> None:
    rows = (np.random.default_rng(0).standard_normal((count, size)) * 10 + 100).astype(np.float32)
    for reference in (factor_rows(rows), factor(gaussian(rows))):
        result = frechet_distance(rows, reference)
        assert 0 <= result.distance <= 1e-6 * reference.variance.sum()
        assert result.rank == min(count - 1, size)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 24), extra=st.integers(2, 60), seed=st.integers(0, 2**32 - 1))
def test_equals_the_matrix_root_where_that_is_stable(size: int, extra: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = Gaussian(10**6, generator.standard_normal(size), random_covariance(generator, size))
    rows = with_moments(generator.standard_normal(size), random_covariance(generator, size), size + extra, seed)
    assert frechet_distance(rows, factor(reference)).distance == pytest.approx(
        by_matrix_root(rows, reference), rel=1e-6
    )


@pytest.mark.parametrize("count", [2, 5, 20])
def test_equals_the_matrix_root_of_a_rank_deficient_batch(count: int) -> None:
    """SciPy's root of a singular product is accurate to about the root of the rounding error, and so is the bound."""
    generator = np.random.default_rng(count)
    reference = Gaussian(10**6, np.zeros(32), random_covariance(generator, 32))
    rows = generator.standard_normal((count, 32))
    result = frechet_distance(rows, factor(reference))
    assert result.rank == count - 1
    assert result.distance == pytest.approx(by_matrix_root(rows, reference), rel=1e-6)


def test_rank_deficient_on_both_sides_equals_the_small_problem() -> None:
    """Rows and reference in one 5-d subspace of 40 dimensions: the distance is that within the subspace."""
    generator = np.random.default_rng(3)
    basis = np.linalg.qr(generator.standard_normal((40, 5)))[0].T
    left, right = generator.standard_normal((60, 5)) * [3, 2, 1, 1, 0.1], generator.standard_normal((30, 5)) + 1
    small = frechet_distance(left, factor_rows(right))
    for reference in (factor_rows(right @ basis), factor(gaussian(right @ basis))):
        assert reference.root.shape == (40, 5)
        large = frechet_distance(left @ basis, reference)
        assert large.rank == 5
        assert large.distance == pytest.approx(small.distance, rel=1e-6)


@pytest.mark.parametrize("dependent", [False, True])
def test_units_that_never_change_and_units_that_others_make(dependent: bool) -> None:
    """Dead units, sums of others, more than one block of pivots: the root has the rank, and is one."""
    generator = np.random.default_rng(5)
    rows = generator.standard_normal((400, 150))
    rows[:, ::10] = 0
    if dependent:
        rows[:, 3], rows[:, 5] = rows[:, 1] + rows[:, 2], 7 * rows[:, 4]
    reference = factor_rows(rows)
    rank = 150 - 15 - 2 * dependent
    covariance = np.cov(rows.T)
    assert reference.root.shape == (150, rank)
    np.testing.assert_allclose(reference.root @ reference.root.T, covariance, atol=1e-12)
    np.testing.assert_allclose(reference.eigenvalues, np.linalg.eigvalsh(covariance)[-rank:], rtol=1e-9)
    batch = generator.standard_normal((40, 150))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0)))[:, -rank:]
    cross = np.linalg.svd((batch - batch.mean(axis=0)) @ root, compute_uv=False)
    expected = np.square(batch.mean(axis=0) - rows.mean(axis=0)).sum() + np.cov(batch.T).trace() + covariance.trace()
    expected -= 2 * cross.sum() / np.sqrt(39)
    assert frechet_distance(batch, reference).distance == pytest.approx(expected, rel=1e-9)


def test_the_two_ways_to_factor_agree() -> None:
    generator = np.random.default_rng(4)
    reference_rows, rows = generator.standard_normal((20, 50)), generator.standard_normal((35, 50))
    by_rows, by_covariance = factor_rows(reference_rows), factor(gaussian(reference_rows))
    np.testing.assert_allclose(by_rows.root @ by_rows.root.T, gaussian(reference_rows).covariance, atol=1e-12)
    np.testing.assert_allclose(np.sort(by_rows.eigenvalues), np.sort(by_covariance.eigenvalues), rtol=1e-9)
    np.testing.assert_allclose(by_rows.variance, by_covariance.variance, rtol=1e-12)
    assert frechet_distance(rows, by_rows).distance == pytest.approx(frechet_distance(rows, by_covariance).distance)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 12), count=st.integers(2, 30))
def test_invariances(seed: int, size: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    rows, others = generator.standard_normal((count, size)) * 2 + 1, generator.standard_normal((40, size))
    distance = frechet_distance(rows, factor_rows(others)).distance
    # Order of the rows.
    shuffled = frechet_distance(generator.permutation(rows), factor_rows(generator.permutation(others)))
    assert shuffled.distance == pytest.approx(distance, rel=1e-9, abs=1e-9)
    # Order of the units, rotation, and a shift of both.
    rotation = np.linalg.qr(generator.standard_normal((size, size)))[0]
    turned = frechet_distance(rows @ rotation + 7, factor_rows(others @ rotation + 7))
    assert turned.distance == pytest.approx(distance, rel=1e-8, abs=1e-8)
    # Scale.
    scaled = frechet_distance(rows * 3, factor_rows(others * 3))
    assert scaled.distance == pytest.approx(9 * distance, rel=1e-9, abs=1e-9)
    # Symmetry.
    assert frechet_distance(others, factor_rows(rows)).distance == pytest.approx(distance, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(("count", "from_its_gaussian", "from_each_other"), [(16, 25.0, 32.6), (256, 1.16, 2.31)])
def test_the_bias_of_few_rows(count: int, from_its_gaussian: float, from_each_other: float) -> None:
    """A distance without its count means nothing: 32 dimensions, the same unit Gaussian on both sides."""
    generator = np.random.default_rng(0)
    truth = factor(Gaussian(10**9, np.zeros(32), np.eye(32)))
    samples = [generator.standard_normal((count, 32)) for _ in range(40)]
    alone = [frechet_distance(rows, truth).distance for rows in samples]
    pairs = [frechet_distance(rows, factor_rows(others)).distance for rows, others in pairwise(samples)]
    assert np.mean(alone) == pytest.approx(from_its_gaussian, rel=0.03)
    assert np.mean(pairs) == pytest.approx(from_each_other, rel=0.03)


def test_constant_rows_have_rank_zero() -> None:
    rows = np.full((7, 3), 0.1, dtype=np.float32)
    reference = Gaussian(50, np.zeros(3), np.eye(3))
    result = frechet_distance(rows, factor(reference))
    assert result.rank == 0
    assert result.covariance_term == pytest.approx(3.0)
    constant = factor_rows(rows)
    assert frechet_distance(rows, constant).distance == pytest.approx(0.0, abs=1e-15)
    assert frechet_distance(rows + 2, constant).distance == pytest.approx(12.0, rel=1e-6)


def test_one_unit_of_a_factored_gaussian() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 5)) * [1, 2, 3, 4, 0]
    whole = factor_rows(rows)
    for unit in range(5):
        single = whole.unit(unit)
        np.testing.assert_allclose(single.root @ single.root.T, [[rows[:, unit].var(ddof=1)]], rtol=1e-12)
        batch = rows[:20, unit : unit + 1]
        expected = frechet_distance(batch, factor_rows(rows[:, unit : unit + 1])).distance
        assert frechet_distance(batch, single).distance == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (3,), (4, 0)])
def test_fewer_than_two_rows_are_refused(shape: tuple[int, ...]) -> None:
    reference = Factored(5, np.zeros(3), np.ones(3), np.eye(3), np.ones(3))
    for refuse in (gaussian, factor_rows, lambda rows: frechet_distance(rows, reference)):
        with pytest.raises(ValueError, match=r"at least 2 \(one row has no covariance\)"):
            refuse(np.zeros(shape))


def test_other_dimensions_are_refused() -> None:
    reference = Factored(5, np.zeros(3), np.ones(3), np.eye(3), np.ones(3))
    with pytest.raises(ValueError, match="rows have 2 dimensions, the reference has 3"):
        frechet_distance(np.zeros((4, 2)), reference)
