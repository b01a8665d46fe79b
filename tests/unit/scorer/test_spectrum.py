"""The quick way to factor large covariances against the way of the others, float64 alone."""

import numpy as np
import pytest

from earwitness.scorer import frechet
from earwitness.scorer.frechet import Factored, Gaussian, factor, frechet_distance
from earwitness.scorer.spectrum import LARGE, certain_root, single_eigenvalues
from earwitness.scorer.uncertainty import noise_floor

SIZE = 128
PLACES = np.arange(1, SIZE + 1)
SPECTRA = {
    "flat": np.ones(SIZE),
    "1/i": 1 / PLACES,
    "1/i²": 1 / PLACES**2,
    "six decades": 10.0 ** (-6 * PLACES / SIZE),
    "one of half": np.r_[SIZE - 1.0, np.ones(SIZE - 1)],
    "tiny": 1e-60 / PLACES,
    "huge": 1e60 / PLACES,
}


def covariance(spectrum: np.ndarray) -> np.ndarray:
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(spectrum), len(spectrum))))
    made = (axes * spectrum) @ axes.T
    symmetric: np.ndarray = (made + made.T) / 2
    return symmetric


def both_ways(matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> tuple[Factored, Factored]:
    """Factored as a large one is, and as others are."""
    gaussian = Gaussian(10_000, np.zeros(len(matrix)), matrix)
    monkeypatch.setattr(frechet, "LARGE", 1)
    quick = factor(gaussian)
    monkeypatch.setattr(frechet, "LARGE", 10**9)
    return quick, factor(gaussian)


def assert_same_root(quick: Factored, exact: Factored) -> None:
    """Of the same covariance, within rounding: LAPACK factorises a large one in place, from its other triangle."""
    found, expected = (each.root @ each.root.T for each in (quick, exact))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * np.abs(expected).max())
    assert (np.triu(quick.root, 1) == np.triu(exact.root, 1)).all()


@pytest.mark.parametrize("name", SPECTRA)
def test_distances_are_the_same_and_noise_floors_to_five_digits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, exact = both_ways(covariance(SPECTRA[name]), monkeypatch)
    assert (quick.eigenvalues != exact.eigenvalues).any(), "of float32"
    assert_same_root(quick, exact)
    rows = np.random.default_rng(1).standard_normal((50, SIZE)) * np.sqrt(SPECTRA[name].max())
    found, expected = (frechet_distance(rows, each).distance for each in (quick, exact))
    assert found == pytest.approx(expected, rel=1e-12, abs=0)
    for row_count in (2, 50, 4 * SIZE):
        found, expected = (noise_floor(each, row_count, seed=3) for each in (quick, exact))
        assert found.median == pytest.approx(expected.median, rel=1e-5, abs=0)
        assert found.high == pytest.approx(expected.high, rel=1e-5, abs=0)


@pytest.mark.parametrize(
    "spectrum",
    [np.r_[1e6, 1 / PLACES[1:]], np.r_[np.ones(SIZE - 1), 1e-13], np.r_[np.ones(SIZE - 20), np.zeros(20)]],
    ids=["one above all", "one near rounding", "rank-deficient"],
)
def test_float64_decides_where_there_is_doubt(spectrum: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, exact = both_ways(covariance(spectrum), monkeypatch)
    assert (quick.eigenvalues == exact.eigenvalues).all()
    assert_same_root(quick, exact)


def test_units_that_never_change_are_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = covariance(SPECTRA["1/i"])
    matrix[5] = matrix[:, 5] = 0
    quick, exact = both_ways(matrix, monkeypatch)
    assert len(quick.eigenvalues) == len(exact.eigenvalues) == SIZE - 1
    assert (quick.eigenvalues != exact.eigenvalues).any()
    assert_same_root(quick, exact)


def test_the_smallest_eigenvalue_is_not_overestimated() -> None:
    spectrum = 10.0 ** (-9 * PLACES / SIZE)
    matrix = covariance(spectrum)
    certain = certain_root(matrix)
    assert certain is not None
    assert spectrum[-1] / SIZE < certain.smallest < 3 * spectrum[-1]
    found = single_eigenvalues(matrix, certain.smallest)
    assert found is not None
    assert found.min() == certain.smallest, "float32 alone would make some negative"


def test_a_large_one_takes_the_quick_way() -> None:
    rows = np.random.default_rng(0).standard_normal((LARGE + 100, LARGE))
    matrix = rows.T @ rows / len(rows)
    found = factor(Gaussian(len(rows), np.zeros(LARGE), matrix))
    eigenvalues = np.linalg.eigvalsh(matrix).astype(np.float64)
    assert (found.eigenvalues != eigenvalues).any()
    exact = Factored(found.count, found.mean, found.variance, found.root, eigenvalues)
    floors = [noise_floor(each, 50, seed=3) for each in (found, exact)]
    assert floors[0].median == pytest.approx(floors[1].median, rel=1e-6)
    assert floors[0].high == pytest.approx(floors[1].high, rel=1e-6)
