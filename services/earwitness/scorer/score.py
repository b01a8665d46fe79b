"""The score of a batch: its Fréchet distance, and what is needed to judge it."""

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.collect import Frozen
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.frechet import centre, distance
from earwitness.scorer.statistics import Rows
from earwitness.scorer.uncertainty import NoiseFloor, bootstrap_distances, interval_of
from earwitness.vocabulary.score import Score


def score_batch(rows: Rows, frozen: Frozen, floor: NoiseFloor, seed: int, data_range: DataRange | None = None) -> Score:
    """Score of `rows` [M, D] against a frozen reference of D dimensions whose noise floor for M rows is `floor`.

    `data_range` is what the reference shows of the real range; by default, what its rows span.

    Raises: ValueError for fewer than two rows or another D.
    """
    return score_resampled(rows, frozen, data_range or DataRange.of(frozen), floor, seed, batch_count=1)[0]


def score_resampled(
    rows: Rows, frozen: Frozen, data_range: DataRange, floor: NoiseFloor, seed: int, batch_count: int
) -> tuple[Score, NDArray[np.float64]]:
    """The same with the `bootstrap_distances` [R] of its interval, for one of `batch_count` batches.

    Raises: ValueError for fewer than two rows or another D.
    """
    batch = centre(rows, frozen.gaussian)
    row_count, dimension_count = rows.shape
    estimate = distance(batch, frozen.gaussian)
    distances = bootstrap_distances(batch, frozen.gaussian, estimate.distance, seed, batch_count)
    interval = interval_of(distances)
    score = Score(
        distance=estimate.distance,
        mean_term=estimate.mean_term,
        covariance_term=estimate.covariance_term,
        row_count=row_count,
        reference_row_count=frozen.gaussian.count,
        dimension_count=dimension_count,
        rank=estimate.rank,
        rank_deficient=row_count <= dimension_count,
        interval_low=interval.low,
        interval_high=interval.high,
        noise_floor=floor.median,
        noise_floor_high=floor.high,
        outside_range_ratio=data_range.outside_ratio(rows),
    )
    return score, distances
