"""From groups of sounds to evidence: each sound is heard once by every judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.client.values import FloatArray, Objective
from earwitness.evidence.distances import diversity, measure_kernel_distance
from earwitness.evidence.judges import EMBEDDING_JUDGE, Contrast, Hearer, Judge, contrast
from earwitness.evidence.ways.bands import BANDS, band_levels
from earwitness.evidence.ways.detectors import Detector, Sound
from earwitness.evidence.ways.values import Batch, Group, Side, WayEvidence

SEED = 0
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Band:
    """A band as a judge: no level of it is a verdict."""

    name: str
    threshold: float = np.inf


@dataclass(frozen=True, eq=False)
class Heard:
    """What is made of a batch: by judge, and by band, a number for each sound [n]; features of the sounds [n, D]."""

    judges: Mapping[str, NDArray[np.float64]]
    bands: Mapping[str, NDArray[np.float64]]
    embeddings: FloatArray

    def row(self, index: int) -> "Heard":
        """One sound alone."""
        at = slice(index, index + 1)
        return Heard(
            {name: values[at] for name, values in self.judges.items()},
            {name: values[at] for name, values in self.bands.items()},
            self.embeddings[at],
        )

    @classmethod
    def joined(cls, parts: "Sequence[Heard]") -> "Heard":
        """Several as one, in their order."""
        return cls(
            {name: np.concatenate([each.judges[name] for each in parts]) for name in parts[0].judges},
            {name: np.concatenate([each.bands[name] for each in parts]) for name in parts[0].bands},
            np.concatenate([each.embeddings for each in parts]),
        )


class Panel:
    """All who hear: judges of voices, detectors of replays, or neither, and one whose features distances are over."""

    def __init__(self, voices: Mapping[str, Judge], detectors: Sequence[Detector], embedder: Judge) -> None:
        """`voices` are empty unless it is a model of voices, `detectors` unless it detects replays."""
        self._voices, self._detectors, self._embedder = voices, detectors, embedder

    @property
    def names(self) -> tuple[str, ...]:
        """Of those with an opinion."""
        return (*self._voices, *(each.name for each in self._detectors))

    @property
    def listens_to_bands(self) -> bool:
        """Levels of bands are of interest beside detectors of replays alone."""
        return bool(self._detectors)

    async def hear(self, sounds: Sequence[Sound], words: str, on_progress: Progress) -> Heard:
        """What they make of some sounds. Raises: InferenceUnavailable, InferenceFailed."""
        found: dict[str, list[float]] = {name: [] for name in self._voices}
        embeddings = []
        # On a busy machine, threads of NumPy's BLAS wait for each other: a sound took 3 s then, and takes 0.1 s by one.
        with threadpool_limits(1, user_api="blas"):
            for done, (waveform, rate_hz) in enumerate(sounds, 1):
                for name, judge in {EMBEDDING_JUDGE: self._embedder, **self._voices}.items():
                    heard = judge.hear(waveform, rate_hz)
                    if name in found:
                        found[name].append(heard.vocal_probability)
                    if name == EMBEDDING_JUDGE:
                        assert heard.embedding is not None
                        embeddings.append(heard.embedding)
                on_progress(done, len(sounds), f"judging {words}")
        judged = {name: np.array(values) for name, values in found.items()}
        for detector in self._detectors:
            told = partial(_told, on_progress, len(sounds), f"{detector.name} hears {words}")
            judged[detector.name] = await detector.hear(sounds, told)
        levels = [band_levels(*sound) for sound in sounds] if self.listens_to_bands else []
        bands = {name: np.array([each[name] for each in levels]) for name in BANDS} if levels else {}
        return Heard(judged, bands, np.stack(embeddings))

    def contrasts(self, high: Heard, low: Heard) -> tuple[Contrast, ...]:
        """How far each judge parts two batches."""
        judges: list[Hearer] = [*self._voices.values(), *self._detectors]
        return tuple(contrast(each, high.judges[each.name], low.judges[each.name]) for each in judges)


def _told(on_progress: Progress, count: int, words: str, done: int) -> None:
    on_progress(done, count, words)


def band_contrasts(high: Heard, low: Heard) -> dict[str, Contrast]:
    """How far the level of each band parts two batches."""
    return {name: contrast(_Band(name), high.bands[name], low.bands[name]) for name in high.bands}


def measured(
    panel: Panel,
    group: Group,
    objectives: tuple[Objective, Objective],
    heard: tuple[Heard, Heard],
    compared: tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
) -> WayEvidence:
    """The evidence of a group that was `heard`, set against real excerpts of each objective, `compared`: the features
    of their sounds [N, D] and their spectrograms [N, bands, frames]."""
    high, low = (
        _side(group, index, objective, batch, heard[index], *compared[index])
        for index, (objective, batch) in enumerate(zip(objectives, (group.high, group.low), strict=True))
    )
    return WayEvidence(
        group.name,
        group.words,
        group.is_real,
        group.settings,
        panel.contrasts(*heard),
        band_contrasts(*heard),
        high,
        low,
    )


def _side(
    group: Group,
    index: int,
    objective: Objective,
    batch: Batch,
    heard: Heard,
    embeddings: FloatArray,
    spectrograms: FloatArray,
) -> Side:
    score = group.scores[index] if group.scores else None
    cost = group.costs[index] if group.costs else None
    return Side(
        objective=str(objective),
        row_count=len(batch.sounds),
        activation_median=float(np.median(batch.activations)),
        distance=None if score is None else score.distance,
        leaves_range=None if score is None else score.outside_range_ratio > 0.5,
        kernel=measure_kernel_distance(heard.embeddings, embeddings, SEED),
        diversity=diversity(batch.spectrograms, spectrograms),
        evaluations=None if cost is None else cost.evaluations,
        seconds=None if cost is None else cost.seconds,
    )
