"""From a model and recordings to evidence for ways: what is found, what is real, and what judges make of both."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.client.references import bundle_of, judges_whole_recordings
from earwitness.client.sweep_sources import SweepSource, profile_of
from earwitness.client.values import FloatArray, Model
from earwitness.errors import InvalidArgument
from earwitness.evidence.gather import MIN_REAL, REAL_PER_ROW
from earwitness.evidence.ways.find import Pair, Services, build_references, found_by, published
from earwitness.evidence.ways.measure import Heard, Panel, Progress, measured
from earwitness.evidence.ways.plan import Split, Way
from earwitness.evidence.ways.real import Indices, RealAudio, scan, spectrograms
from earwitness.evidence.ways.values import CEILING, REAL, Batch, Group, Part, WayEvidence, WaysEvidence
from earwitness.features import AUDIO_SEED, FeatureProfile, OnFlaw


@dataclass(frozen=True)
class Study:
    """What is to be done: `ways` beside the published rule, which `sweeps` stand for where there are some; each leaves
    `keep_count` explanations of each objective, by references that keep `kept` excerpts of `recordings`. Only splits
    have a use for `others`."""

    model: Model
    objectives: Pair
    ways: tuple[Way, ...]
    sweeps: tuple[SweepSource, ...]
    recordings: tuple[Path, ...]
    others: tuple[Path, ...]
    splits: tuple[Split, ...]
    keep_count: int
    kept: int


class RealSounds:
    """The real audio of a study: its excerpts' activations, and their spectrograms, sounds and what is heard in them,
    each made once."""

    def __init__(self, real: RealAudio, profile: FeatureProfile, study: Study, panel: Panel, *, repeated: bool) -> None:
        self.real = real
        self.upwards = tuple(_upwards(real, each.unit or 0, each.sense) for each in study.objectives)
        self._profile, self._panel, self._repeated = profile, panel, repeated
        self._objectives = study.objectives
        self._spectrograms: dict[int, FloatArray] = {}
        self._sounds: dict[int, FloatArray] = {}
        self._heard: dict[int, Heard] = {}

    async def batch(self, side: int, indices: Indices) -> Batch:
        """The excerpts as they are set beside explanations of an objective, the first (0) or the second (1)."""
        await self._make(indices)
        sign = 1.0 if self._objectives[side].sense == "maximise" else -1.0
        rate_hz = self._profile.sample_rate_hz
        activations = sign * self.upwards[side][indices]
        labels = (
            f"{self.real.recordings[int(self.real.of[each])].name}, activation {activation:.3g}"
            for each, activation in zip(indices, activations, strict=True)
        )
        return Batch(
            activations,
            np.stack([self._spectrograms[int(each)] for each in indices]),
            tuple((self._sounds[int(each)], rate_hz) for each in indices),
            tuple(labels),
        )

    async def heard(self, indices: Indices, on_progress: Progress) -> Heard:
        """What the panel makes of the excerpts."""
        await self._make(indices)
        new = [int(each) for each in indices if int(each) not in self._heard]
        if new:
            sounds = [(self._sounds[each], self._profile.sample_rate_hz) for each in new]
            found = await self._panel.hear(sounds, "real audio", on_progress)
            self._heard |= {each: found.row(place) for place, each in enumerate(new)}
        return Heard.joined([self._heard[int(each)] for each in indices])

    async def _make(self, indices: Indices) -> None:
        new = np.array([each for each in map(int, indices) if each not in self._spectrograms], np.int64)
        if len(new):
            found = await spectrograms(self.real, self._profile, new, repeated=self._repeated)
            self._spectrograms |= found
            for index, spectrogram in found.items():
                inverted = await asyncio.to_thread(self._profile.invert, spectrogram, AUDIO_SEED)
                self._sounds[index] = np.asarray(inverted.waveform, np.float32)


async def evidence_for_ways(
    services: Services, study: Study, panel: Panel, *, on_flaw: OnFlaw, on_progress: Progress
) -> WaysEvidence:
    """Runs the study.

    Raises: InvalidArgument for recordings with too few excerpts, or sweeps without an objective; AudioError;
    RpcFailure; InferenceUnavailable.
    """
    model, profile = study.model, profile_of(study.model)
    bundle = await bundle_of(services.backend, model.name)
    scanned = await scan(
        services.backend,
        model.name,
        study.objectives[0].layer,
        (*study.recordings, *study.others),
        on_flaw=on_flaw,
        on_progress=lambda done, count: on_progress(done, count, "finding real excerpts"),
    )
    real = RealSounds(scanned, profile, study, panel, repeated=judges_whole_recordings(bundle))
    everything = Split(study.recordings, study.recordings)
    whole, groups = await _part(services, study, panel, real, everything, on_flaw, on_progress)
    splits = [
        (await _part(services, study, panel, real, each, on_flaw, on_progress, ceilings=False))[0]
        for each in study.splits
    ]
    return WaysEvidence(
        model=model,
        objectives=study.objectives,
        meanings=(_meaning(model, study, 0), _meaning(model, study, 1)),
        judges=panel.names,
        whole=whole,
        splits=tuple(splits),
        finished=datetime.now(UTC),
        groups=groups,
    )


async def _part(
    services: Services,
    study: Study,
    panel: Panel,
    real: RealSounds,
    split: Split,
    on_flaw: OnFlaw,
    on_progress: Progress,
    *,
    ceilings: bool = True,
) -> tuple[Part, tuple[Group, ...]]:
    """All ways by one split, real audio among them, and, with `ceilings`, real audio at each way's activations."""
    count = _compared_count(study, real.real, split)
    most = [real.real.most(each, count, split.judging) for each in real.upwards]
    if min(map(len, most)) < MIN_REAL:
        raise InvalidArgument(
            "recordings",
            f"{len(split.judging)} of them hold too few excerpts that do not overlap; give more, or longer",
        )
    references = await build_references(
        services, study.model, study.objectives, split.learned, study.kept, on_flaw, on_progress
    )
    common = (study.objectives, references, study.keep_count, on_progress)
    groups = [await published(services, study.model, study.sweeps, *common)]
    groups += [await found_by(services, study.model, each, *common) for each in study.ways]
    compared = [
        ((await real.heard(each, on_progress)).embeddings, (await real.batch(side, each)).spectrograms)
        for side, each in enumerate(most)
    ]
    pair = (compared[0], compared[1])
    evidence: list[WayEvidence] = []
    shown: list[Group] = []
    for group in groups:
        heard = (
            await panel.hear(group.high.sounds, f"{group.name}, {study.objectives[0]}", on_progress),
            await panel.hear(group.low.sounds, f"{group.name}, {study.objectives[1]}", on_progress),
        )
        evidence.append(measured(panel, group, study.objectives, heard, pair))
        shown.append(group)
        if ceilings:
            at = [
                real.real.at(real.upwards[side], _signed(study, side, batch))
                for side, batch in enumerate((group.high, group.low))
            ]
            words = "real excerpts whose activations are nearest to those of the explanations"
            one, words_of = await _real(study, panel, real, at, pair, f"{CEILING}{group.name}", words, on_progress)
            evidence.append(words_of)
            shown.append(one)
    top = [real.real.most(each, study.keep_count, split.learned) for each in real.upwards]
    words = "what references learnt from: the real excerpts that activate most, as many as there are explanations"
    one, found = await _real(study, panel, real, top, pair, REAL, words, on_progress)
    return (
        Part(
            tuple(each.name for each in split.learned), tuple(each.name for each in split.judging), (*evidence, found)
        ),
        (*shown, one),
    )


def _compared_count(study: Study, real: RealAudio, split: Split) -> int:
    """Two real excerpts for each explanation; of recordings held back as many fewer as these are shorter than all that
    there is to learn from, so that they are as extreme."""
    excerpts = np.array([np.sum(real.of == place) for place in range(len(real.recordings))])
    share = (
        sum(excerpts[real.recordings.index(each)] for each in split.judging) / excerpts[: len(study.recordings)].sum()
    )
    return max(MIN_REAL, round(REAL_PER_ROW * study.keep_count * min(1.0, float(share))))


async def _real(
    study: Study,
    panel: Panel,
    real: RealSounds,
    indices: Sequence[Indices],
    compared: tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
    name: str,
    words: str,
    on_progress: Progress,
) -> tuple[Group, WayEvidence]:
    high, low = indices
    group = Group(name, words, await real.batch(0, high), await real.batch(1, low))
    heard = (await real.heard(high, on_progress), await real.heard(low, on_progress))
    return group, measured(panel, group, study.objectives, heard, compared)


def _upwards(real: RealAudio, unit: int, sense: str) -> NDArray[np.float64]:
    """Activations [N] of a unit, negated when minimising: the higher, the more extreme."""
    found = real.activations[:, unit].astype(np.float64)
    return found if sense == "maximise" else -found


def _signed(study: Study, side: int, batch: Batch) -> NDArray[np.float64]:
    return batch.activations if study.objectives[side].sense == "maximise" else -batch.activations


def _meaning(model: Model, study: Study, side: int) -> str:
    return model.meaning(study.objectives[side]) or str(study.objectives[side])
