"""From swept settings and real audio to evidence: what every criterion chooses, and what that is worth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from earwitness.client.values import Criterion
from earwitness.errors import InvalidArgument
from earwitness.evidence.criteria.choose import Landscape, Sense, candidates
from earwitness.evidence.criteria.gather import Ears, RealAudio
from earwitness.evidence.criteria.values import AskedSense, Choice, CriteriaEvidence, Part, SweptSense
from earwitness.evidence.distances import MIN_ROWS, kernel_distance
from earwitness.evidence.judges import separation
from earwitness.evidence.measure import opposites
from earwitness.inference.metadata import Layer

AnySense = TypeVar("AnySense", bound=AskedSense)
Progress = Callable[[int, int, str], None]
JUDGING_SHARE = 0.4
"""Of the recordings, those that are held out of a split's references: two of five."""


@dataclass(frozen=True)
class Limits:
    """Real excerpts that make a reference (`real_count`), real excerpts that kernel distances are taken to
    (`judging_count`), and splits of the recordings into those that teach and those that judge."""

    real_count: int = 50
    judging_count: int = 60
    split_count: int = 3


def pair_of(senses: Sequence[AnySense]) -> tuple[AnySense, AnySense]:
    """The two opposite objectives of one model, the more vocal or maximised one first.

    Raises: InvalidArgument where there are not two such.
    """
    pairs = opposites(senses)
    if len(senses) != 2 or not pairs:
        told = ", ".join(f"{each.model.name}: {each.objective}" for each in senses)
        raise InvalidArgument(
            "sweeps",
            f"got {told}; criteria are compared by what they choose for two opposite objectives: give a unit's two "
            "senses, or both neurons of a detector with two",
        )
    return pairs[0]


def splits_of(recording_count: int, split_count: int) -> list[tuple[int, ...]]:
    """The recordings that judge in each split, by their places: runs that follow each other, round and round."""
    judging = round(JUDGING_SHARE * recording_count)
    if split_count and not 0 < judging < recording_count:
        raise InvalidArgument(
            "splits", f"got {split_count} with {recording_count} recordings; at least 2 are needed, or give 0 splits"
        )
    return [
        tuple(sorted((split * judging + each) % recording_count for each in range(judging)))
        for split in range(split_count)
    ]


async def measure(
    senses: tuple[SweptSense, SweptSense],
    real: RealAudio,
    layers: Sequence[Layer],
    ears: Ears,
    limits: Limits,
    on_progress: Progress,
) -> CriteriaEvidence:
    """All there is to say of criteria on the sweeps of one model of these `layers`.

    Raises: InvalidArgument for recordings that hold too few excerpts, or too few for the splits.
    """
    every = tuple(range(len(real.recordings)))
    judging = splits_of(len(every), limits.split_count)
    distant = _Kernels(real, layers, ears, limits, on_progress)
    parts = []
    for place, held in enumerate([None, *judging]):
        learned = every if held is None else tuple(each for each in every if each not in held)
        kernels = [await distant.of(each, every if held is None else held) for each in senses]
        parts.append(_part(senses, real, layers, limits, learned, every if held is None else held, kernels))
        on_progress(place + 1, 1 + len(judging), f"comparing criteria on {senses[0].model.name}")
    high, low = senses
    return CriteriaEvidence(
        model=high.model,
        sweeps=(high.sweep_id, low.sweep_id),
        objectives=(high.objective, low.objective),
        meanings=(high.meaning, low.meaning),
        row_count=len(high.heard[0].embeddings),
        real_count=limits.real_count,
        whole=parts[0],
        splits=tuple(parts[1:]),
        finished=datetime.now(UTC),
    )


class _Kernels:
    """Kernel distances of settings to real audio of some recordings."""

    def __init__(
        self, real: RealAudio, layers: Sequence[Layer], ears: Ears, limits: Limits, on_progress: Progress
    ) -> None:
        self._real, self._layers, self._ears, self._limits = real, layers, ears, limits
        self._on_progress = on_progress
        self._embeddings: dict[int, NDArray[np.float32]] = {}

    async def of(self, sense: SweptSense, judging: Sequence[int]) -> NDArray[np.float64]:
        """[B]: of each setting, to the excerpts of those recordings that activate its objective most."""
        indices = self._real.most(
            _column(sense, self._layers), self._limits.judging_count, upwards=_upwards(sense), among=judging, apart=True
        )
        if len(indices) < MIN_ROWS:
            raise InvalidArgument(
                "recordings", f"{len(indices)} excerpts that do not overlap, at least {MIN_ROWS} are needed to judge by"
            )
        for done, index in enumerate(map(int, indices), 1):
            if index not in self._embeddings:
                heard = await self._ears.hear(self._real.spectrograms[index : index + 1])
                self._embeddings[index] = heard.embeddings[0]
            self._on_progress(done, len(indices), f"judging real excerpts, {sense.objective}")
        reference = np.stack([self._embeddings[index] for index in map(int, indices)])
        return np.array([kernel_distance(each.embeddings, reference) for each in sense.heard])


def _part(
    senses: tuple[SweptSense, SweptSense],
    real: RealAudio,
    layers: Sequence[Layer],
    limits: Limits,
    learned: Sequence[int],
    judging: Sequence[int],
    kernels: Sequence[NDArray[np.float64]],
) -> Part:
    told_apart = _told_apart(*senses)
    mean_auc = np.mean(list(told_apart.values()), axis=0) if told_apart else None
    landscape = Landscape(mean_auc, (kernels[0][:, np.newaxis] + kernels[1]) / 2)
    swept = [_sense(each, real, layers, limits, learned) for each in senses]
    choices = []
    for name, criterion in candidates(layers).items():
        for within in (False, True):
            asked: Criterion = replace(criterion, outside_range_allowed=not within)
            first, second = (each.chosen(asked) for each in swept)
            choices.append(
                Choice(
                    name,
                    within,
                    (senses[0].settings[first], senses[1].settings[second]),
                    {judge: float(found[first, second]) for judge, found in told_apart.items()},
                    (float(kernels[0][first]), float(kernels[1][second])),
                    landscape.regret(first, second),
                )
            )
    names = [each.name for each in real.recordings]
    return Part(tuple(names[each] for each in learned), tuple(names[each] for each in judging), tuple(choices))


def _told_apart(high: SweptSense, low: SweptSense) -> Mapping[str, NDArray[np.float64]]:
    """[A, B] by judge: how well it separates each setting of one objective from each of the other."""
    return {
        judge: np.array(
            [
                [separation(one.probabilities[judge], other.probabilities[judge]) for other in low.heard]
                for one in high.heard
            ]
        )
        for judge in high.heard[0].probabilities
    }


def _sense(
    sense: SweptSense, real: RealAudio, layers: Sequence[Layer], limits: Limits, learned: Sequence[int]
) -> Sense:
    column, upwards = _column(sense, layers), _upwards(sense)
    kept = real.most(column, limits.real_count, upwards=upwards, among=learned)
    if len(kept) < MIN_ROWS:
        raise InvalidArgument("recordings", f"{len(kept)} excerpts to learn from, at least {MIN_ROWS} are needed")
    columns = {each.name: slice(each.first_unit, each.first_unit + each.unit_count) for each in layers}
    return Sense(sense.activations, real.activations[kept], column, upwards, columns)


def _column(sense: SweptSense, layers: Sequence[Layer]) -> int:
    assert sense.objective.unit is not None  # others are refused when they are gathered
    layer = next(each for each in layers if each.name == sense.objective.layer)
    return layer.first_unit + sense.objective.unit


def _upwards(sense: SweptSense) -> bool:
    return sense.objective.sense == "maximise"
