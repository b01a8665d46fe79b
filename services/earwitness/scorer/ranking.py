"""Which of many batches is nearest to a reference, and how probable that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.scorer.collect import Frozen
from earwitness.scorer.data_range import MOSTLY, DataRange
from earwitness.scorer.score import Score, score_resampled
from earwitness.scorer.statistics import Rows
from earwitness.scorer.uncertainty import NoiseFloor


@dataclass(frozen=True, eq=False)
class Candidate:
    """A batch before it has its place; `distances` [R] float64 are its bootstrap distances."""

    batch_id: str
    score: Score
    distances: NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """A batch with its place: `rank` is 1 for the lowest distance.

    `probability_best`, 0 to 1, says how probable it is that no other batch has a lower distance in truth.
    """

    batch_id: str
    rank: int
    score: Score
    probability_best: float

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
        """One of the batches, `rows` [M, D].

        Raises: ValueError for fewer than two rows or another D.
        """
        score, distances = score_resampled(rows, self.frozen, self.data_range, self.floor, self.seed, self.batch_count)
        return Candidate(batch_id, score, distances)


def rank(candidates: Sequence[Candidate]) -> tuple[Ranked, ...]:
    """All batches of one `Yardstick`, best first; equal distances in the order of ids."""
    probabilities = probability_lowest(np.stack([each.distances for each in candidates]))
    paired = sorted(
        zip(candidates, probabilities, strict=True),
        key=lambda pair: (pair[0].score.distance.distance, pair[0].batch_id),
    )
    return tuple(
        Ranked(each.batch_id, place, each.score, float(probability))
        for place, (each, probability) in enumerate(paired, 1)
    )


def probability_lowest(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share [B] of the R joint resamples `distances` [B, R] in which each batch is the lowest, equal ones sharing it.

    Resample r holds the same rows of every batch. Where row i of every batch began with the same seed, what that seed
    does to all of them (a latent that starts near a voice is near one at every setting) cancels in the comparison,
    as it does between the distances themselves; drawn one by one, it would count as doubt.
    """
    lowest = distances == distances.min(axis=0)
    return np.asarray((lowest / lowest.sum(axis=0)).mean(axis=1))
