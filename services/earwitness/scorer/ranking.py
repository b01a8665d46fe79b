"""Which of many batches is nearest to a reference, and how probable that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.collect import Frozen
from earwitness.scorer.criteria import Measures, combined
from earwitness.scorer.data_range import MOSTLY, DataRange
from earwitness.scorer.frechet import centre, distance
from earwitness.scorer.score import score_resampled
from earwitness.scorer.statistics import Rows
from earwitness.scorer.uncertainty import NoiseFloor, bootstrap_distances
from earwitness.vocabulary.score import PUBLISHED, Criterion, RankedBatch, Score


@dataclass(frozen=True, eq=False)
class Candidate:
    """A batch before it has its place; `measures` are what it is ranked by."""

    batch_id: str
    score: Score
    measures: Measures

    @property
    def leaves_range(self) -> bool:
        """More than half of its rows are outside of the real range."""
        return self.score.outside_range_ratio > MOSTLY


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What all batches of a ranking are measured with: the reference, its range, its noise floor for their M rows, the
    `seed` of the resamples, and how many batches there are."""

    frozen: Frozen
    data_range: DataRange
    floor: NoiseFloor
    seed: int
    batch_count: int

    def measure(self, batch_id: str, rows: Rows) -> Candidate:
        """One of the batches, `rows` [M, D], to be ranked by its distance.

        Raises: ValueError for fewer than two rows or another D.
        """
        score, distances = score_resampled(rows, self.frozen, self.data_range, self.floor, self.seed, self.batch_count)
        return Candidate(batch_id, score, Measures(np.array([score.distance]), distances[np.newaxis]))


def distance_measures(rows: Rows, frozen: Frozen, seed: int, batch_count: int) -> Measures:
    """Fréchet distance of one of `batch_count` batches, `rows` [M, D], and of its resamples, in one layer.

    Raises: ValueError for fewer than two rows or another D.
    """
    batch = centre(rows, frozen.gaussian)
    found = distance(batch, frozen.gaussian).distance
    return Measures(
        np.array([found]), bootstrap_distances(batch, frozen.gaussian, found, seed, batch_count)[np.newaxis]
    )


def rank(candidates: Sequence[Candidate], criterion: Criterion = PUBLISHED) -> tuple[RankedBatch, ...]:
    """All batches of one `Yardstick`, best first; equal ones in the order of ids.

    Unless the criterion allows it, batches that leave the real range come last, and none of them is the best for sure
    while there is another.
    """
    values, resampled = combined([each.measures for each in candidates])
    last = np.array([each.leaves_range and not criterion.outside_range_allowed for each in candidates])
    if last.any() and not last.all():
        resampled = np.where(last[:, np.newaxis], np.inf, resampled)
    found = zip(candidates, probability_lowest(resampled), values, last, strict=True)
    ordered = sorted(found, key=lambda each: (each[3], each[2], each[0].batch_id))
    return tuple(
        RankedBatch(each.batch_id, place, each.score, float(probability), each.leaves_range, float(value))
        for place, (each, probability, value, _) in enumerate(ordered, 1)
    )


def probability_lowest(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share [B] of the R joint resamples `distances` [B, R] in which each batch is the lowest, equal ones sharing it.

    Resample r holds the same rows of every batch. Where row i of every batch began with the same seed, what that seed
    does to all of them (a latent that starts near a voice is near one at every setting) cancels in the comparison,
    as it does between the distances themselves; drawn one by one, it would count as doubt.
    """
    lowest = distances == distances.min(axis=0)
    return np.asarray((lowest / lowest.sum(axis=0)).mean(axis=1))
