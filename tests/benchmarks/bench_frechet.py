"""The scorer's Fréchet distance beside SciPy's matrix root, as pytorch-fid takes it: `bench_frechet.py [--json PATH]`.

Both sides begin with the rows of a batch and the stored reference, and run in turns in one process with the same BLAS
threads. "Score" is all that a caller of the scorer waits for: distance, interval and noise floor; in a sweep the noise
floor is computed once.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_info

from earwitness.scorer.collect import Frozen
from earwitness.scorer.frechet import Gaussian, factor, frechet_distance, gaussian
from earwitness.scorer.score import score_batch
from earwitness.scorer.uncertainty import noise_floor
from tests.helpers.machine import machine

TARGETS = {(50, 64): 3.0, (50, 2048): 100.0}
"""Rows and dimensions of a batch: how many times faster the distance is to be."""
REFERENCE_ROWS_PER_DIMENSION = 3
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Result:
    """Medians over the pairs, in milliseconds; `spread_*` are (slowest - fastest) / median."""

    rows: int
    dimensions: int
    pairs: int
    distance_ms: float
    sqrtm_ms: float
    spread_distance: float
    spread_sqrtm: float
    ratio: float
    target: float
    relative_difference: float
    score_ms: float
    noise_floor_ms: float


def by_matrix_root(rows: np.ndarray, reference: Gaussian) -> float:
    """The usual way: covariance of the batch, matrix root of the product, a second try with a ridge."""
    covariance = np.cov(rows, rowvar=False)
    offset = rows.mean(axis=0) - reference.mean
    root = scipy.linalg.sqrtm(covariance @ reference.covariance)
    if not np.isfinite(root).all():
        ridge = np.eye(len(covariance)) * 1e-6
        root = scipy.linalg.sqrtm((covariance + ridge) @ (reference.covariance + ridge))
    return float(offset @ offset + np.trace(covariance) + np.trace(reference.covariance) - 2 * np.trace(root).real)


def milliseconds(work: Callable[[], object], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats * 1e3


def measure(row_count: int, dimension_count: int, pairs: int, target: float) -> Result:
    generator = np.random.default_rng(0)
    mixing = generator.standard_normal((dimension_count, dimension_count)) / np.sqrt(dimension_count)
    real = generator.standard_normal((REFERENCE_ROWS_PER_DIMENSION * dimension_count, dimension_count)) @ mixing
    rows = generator.standard_normal((row_count, dimension_count)) @ mixing + 0.1
    reference = gaussian(real)
    factored = factor(reference)
    frozen = Frozen(factored, real.min(axis=0), real.max(axis=0))
    floor = noise_floor(factored, row_count, seed=0)
    repeats = max(1, round(2e5 / dimension_count**2))

    ours = frechet_distance(rows, factored).distance
    difference = abs(ours / by_matrix_root(rows, reference) - 1)
    timings = [
        (
            milliseconds(lambda: frechet_distance(rows, factored), repeats),
            milliseconds(lambda: by_matrix_root(rows, reference), repeats),
            milliseconds(lambda: score_batch(rows, frozen, floor, seed=0)),
            milliseconds(lambda: noise_floor(factored, row_count, seed=0)),
        )
        for _ in range(pairs)
    ]
    distance_ms, sqrtm_ms, score_ms, floor_ms = map(list, zip(*timings, strict=True))
    return Result(
        rows=row_count,
        dimensions=dimension_count,
        pairs=pairs,
        distance_ms=statistics.median(distance_ms),
        sqrtm_ms=statistics.median(sqrtm_ms),
        spread_distance=spread(distance_ms),
        spread_sqrtm=spread(sqrtm_ms),
        ratio=statistics.median(slow / fast for fast, slow in zip(distance_ms, sqrtm_ms, strict=True)),
        target=target,
        relative_difference=difference,
        score_ms=statistics.median(score_ms),
        noise_floor_ms=statistics.median(floor_ms),
    )


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def blas() -> list[dict[str, object]]:
    """The linear algebra libraries that both sides use."""
    return [
        {key: each.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for each in threadpool_info()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side, in turns (default: 5)")
    options = parser.parse_args()
    print("   batch    distance ms    sqrtm ms    ratio  target   difference   score ms   noise floor ms")
    results = []
    for (row_count, dimension_count), target in TARGETS.items():
        result = measure(row_count, dimension_count, options.pairs, target)
        results.append(result)
        met = result.ratio >= target and result.relative_difference <= AGREEMENT
        print(
            f"{row_count:3} x {dimension_count:<4} {result.distance_ms:10.2f} ±{result.spread_distance / 2:4.0%}"
            f" {result.sqrtm_ms:8.1f} ±{result.spread_sqrtm / 2:3.0%} {result.ratio:7.1f}x {target:6.0f}x"
            f"   {result.relative_difference:.1e}{'' if met else ' MISSED':7} {result.score_ms:8.1f}"
            f" {result.noise_floor_ms:12.1f}",
            flush=True,
        )
    if options.json:
        figures = {
            "machine": machine(("numpy", "scipy")) | {"blas": blas()},
            "results": [asdict(result) for result in results],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
