"""What a unit responds to, from activations alone: real excerpts, the draws that explain it, and their score. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import Score, Sense
from earwitness.explainer.nearest import mean_places, nearest
from earwitness.inference.backend import FloatArray
from earwitness.scorer.collect import Frozen
from earwitness.scorer.data_range import DataRange
from earwitness.scorer.frechet import Gaussian, factor, factor_rows
from earwitness.scorer.layers import Layout
from earwitness.scorer.nearness import KeptRows, neighbours
from earwitness.scorer.score import score_batch
from earwitness.scorer.uncertainty import NoiseFloor, noise_floor
from earwitness.vocabulary.reference import KeptLayer, Selection

TOP = 50
"""Most extreme real excerpts that stand for a unit, as in `reference build --top 50`, and at most half of all."""
SEED = 0
"""Of what scores draw at random, so that the same rows have the same score."""


@dataclass(frozen=True, eq=False)
class Heard:
    """All real excerpts: `activations` [N, U] of all layers of `layout`, and of each excerpt the index of its
    `recording` [N] and its `place` [N] in it, the first being 0."""

    layout: Layout
    activations: FloatArray
    recording: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, layout: Layout, by_recording: Sequence[FloatArray]) -> "Heard":
        """Of the activations [n, U] of each recording."""
        counts = [len(each) for each in by_recording]
        return cls(
            layout,
            np.concatenate(by_recording),
            np.repeat(np.arange(len(counts)), counts),
            np.concatenate([np.arange(count) for count in counts]),
        )


def sign_of(sense: Sense) -> np.float32:
    """What activations are multiplied with, so that the highest are wanted."""
    return np.float32(1 if sense == "maximise" else -1)


def most_extreme(values: FloatArray, count: int) -> NDArray[np.int64]:
    """The `count` highest of `values` [n], the highest first, of equal ones the first."""
    return np.argsort(-values, kind="stable")[:count]


def real_rows(heard: Heard, column: int, sense: Sense) -> NDArray[np.int64]:
    """The excerpts that stand for a unit of that `column`, most extreme first."""
    count = max(2, min(TOP, len(heard.activations) // 2))
    return most_extreme(heard.activations[:, column] * sign_of(sense), count)


def shown_rows(heard: Heard, column: int, sense: Sense, count: int) -> list[int]:
    """The `count` most extreme excerpts of which no two share audio; an excerpt begins every half an excerpt."""
    kept: list[int] = []
    for each in most_extreme(heard.activations[:, column] * sign_of(sense), len(heard.activations)).tolist():
        here, at = heard.recording[each], heard.place[each]
        if all(heard.recording[other] != here or abs(heard.place[other] - at) >= 2 for other in kept):
            kept.append(each)
            if len(kept) == count:
                break
    return kept


def nearest_rows(heard: Heard, real: NDArray[np.int64], candidates: FloatArray, count: int) -> list[int]:
    """The `count` of `candidates` [m, U] that are nearest to the `real` rows over all layers, in their own order."""
    if count >= len(candidates):
        return list(range(len(candidates)))
    kept = KeptRows.of(heard.activations[real], heard.layout)
    layers = range(len(heard.layout.layers))
    distances = kept.distances(candidates, layers, neighbours(0, kept.row_count))
    return nearest(mean_places(distances), count)


class Scorer:
    """Scores explanations of a unit by its activation, as the scorer service does against `--top` and `--bottom`."""

    def __init__(self, row_count: int, reference_count: int) -> None:
        """Of so many explanations, against so many real excerpts."""
        unit_variance = Gaussian(reference_count, np.zeros(1), np.ones((1, 1)))
        self._floor = noise_floor(factor(unit_variance), row_count, SEED)

    def score(self, explained: FloatArray, real: FloatArray, sense: Sense) -> Score:
        """Of activations [n] against those of the real excerpts [S]."""
        rows, reference = explained[:, np.newaxis], real[:, np.newaxis].astype(np.float64)
        frozen = Frozen.of(factor_rows(reference), reference.min(axis=0), reference.max(axis=0))
        variance = float(frozen.gaussian.variance[0])  # a Gaussian that is k times as wide has k² times the distances
        floor = NoiseFloor(self._floor.median * variance, self._floor.high * variance)
        selection = Selection("top" if sense == "maximise" else "bottom", unit=0, k=len(real))
        return score_batch(rows, frozen, floor, SEED, DataRange.of(frozen, selection))


def layout_of(layers: Sequence[tuple[str, int]]) -> Layout:
    """Of all layers, by name and number of units."""
    return Layout(tuple(KeptLayer(name, count) for name, count in layers))
