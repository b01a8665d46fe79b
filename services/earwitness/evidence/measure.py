"""From gathered explanations to evidence: judges, distances to real audio, diversity, the shape of the grid."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.client.output.report import Examples
from earwitness.client.values import Explanation, Model, Objective
from earwitness.evidence.distances import diversity, measure_kernel_distance
from earwitness.evidence.judges import EMBEDDING_JUDGE, Judge, Opinion, contrast
from earwitness.evidence.shape import PUBLISHED, Likeness, Published, Scored, likeness, shape_of
from earwitness.evidence.values import (
    REAL,
    Evidence,
    Gathered,
    ObjectiveEvidence,
    Opposition,
    RealEvidence,
    SettingEvidence,
)

SEED = 0
VOCAL = "vocal"
"""The meaning, in a model's words, of what a judge of voices should hear more of. Of a model without such an output
they have nothing to say."""
Progress = Callable[[int, int, str], None]


class Told(Protocol):
    """Whatever is of one objective of a model."""

    @property
    def model(self) -> Model: ...

    @property
    def objective(self) -> Objective: ...

    @property
    def meaning(self) -> str | None:
        """What the objective shows, in the model's words."""
        ...


AnyTold = TypeVar("AnyTold", bound=Told)


class Listener:
    """Lets every judge hear every sound once, and keeps what they make of it: by objective and place.

    Explanations of a model of anything but voices are judged only by features, by the judge that has them.
    """

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        self._judges = judges
        self._probabilities: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}

    def measure(self, gathered: Gathered, on_progress: Progress) -> ObjectiveEvidence:
        """All there is to say of one objective alone."""
        rate_hz = gathered.model.sample_rate_hz
        real = self._hear(gathered, REAL, [(each, rate_hz) for each in gathered.real_sounds], on_progress)
        spectrograms = np.stack([each.spectrogram for each in gathered.excerpts])
        settings = []
        for examples in gathered.judged:
            sounds = [_sound(each) for each in examples.explanations]
            embeddings = self._hear(gathered, examples.name, sounds, on_progress)
            settings.append(self._setting(gathered, examples, embeddings, real, spectrograms))
        return ObjectiveEvidence(
            gathered=gathered,
            settings=tuple(settings),
            real=RealEvidence(
                len(gathered.excerpts),
                float(np.median([each.activation for each in gathered.excerpts])),
                self._opinions(gathered.title, REAL),
            ),
            shape=shape_of(scored(gathered), published(gathered)),
        )

    def oppose(self, high: Gathered, low: Gathered) -> Opposition:
        """What the judges find for two objectives of a model of voices, at every place that both have."""
        heard = [{place for title, place in self._probabilities if title == each.title} for each in (high, low)]
        places = [each.name for each in high.judged if each.name in heard[1]] + [REAL]
        contrasts = {
            place: tuple(
                contrast(
                    judge,
                    self._probabilities[high.title, place][name],
                    self._probabilities[low.title, place][name],
                )
                for name, judge in self._judges.items()
            )
            for place in places
        }
        return Opposition(high.title, low.title, contrasts)

    def _setting(
        self,
        gathered: Gathered,
        examples: Examples,
        embeddings: NDArray[np.float32],
        real_embeddings: NDArray[np.float32],
        real_spectrograms: NDArray[np.float32],
    ) -> SettingEvidence:
        ranked = examples.outcome.ranked
        assert ranked is not None, "only ranked settings are gathered"
        return SettingEvidence(
            place=examples.name,
            settings=examples.outcome.settings,
            ranked=ranked,
            activation_median=examples.outcome.median,
            opinions=self._opinions(gathered.title, examples.name),
            kernel=measure_kernel_distance(embeddings, real_embeddings, SEED),
            diversity=diversity(np.stack([each.spectrogram for each in examples.explanations]), real_spectrograms),
        )

    def _hear(
        self, gathered: Gathered, place: str, sounds: Sequence[tuple[NDArray[np.float32], int]], on_progress: Progress
    ) -> NDArray[np.float32]:
        """Lets the judges hear some sounds; the embeddings [n, D] of the judge that has some."""
        asked = list(self._judges) if tells_voices(gathered.model) else []
        probabilities: dict[str, list[float]] = {name: [] for name in asked}
        embeddings = []
        # On a busy machine, threads of NumPy's BLAS wait for each other: a sound took 3 s then, and takes 0.1 s by one.
        with threadpool_limits(1, user_api="blas"):
            for done, (waveform, rate_hz) in enumerate(sounds, 1):
                for name, judge in self._judges.items():
                    if name in asked or name == EMBEDDING_JUDGE:
                        heard = judge.hear(waveform, rate_hz)
                    if name in asked:
                        probabilities[name].append(heard.vocal_probability)
                    if name == EMBEDDING_JUDGE:
                        embeddings.append(heard.embedding)
                on_progress(done, len(sounds), f"judging {gathered.title}, {place}")
        found = {name: np.array(values) for name, values in probabilities.items()}
        self._probabilities[gathered.title, place] = found
        return np.stack([each for each in embeddings if each is not None])

    def _opinions(self, title: str, place: str) -> dict[str, Opinion]:
        found = self._probabilities[title, place]
        return {name: Opinion.of(values, self._judges[name].threshold) for name, values in found.items()}


def conclude(listener: Listener, objectives: Sequence[ObjectiveEvidence], recordings: Sequence[Path]) -> Evidence:
    """What the objectives, all measured by `listener`, say together."""
    gathered = [each.gathered for each in objectives]
    return Evidence(
        objectives=tuple(objectives),
        oppositions=tuple(listener.oppose(high, low) for high, low in opposites(gathered) if tells_voices(high.model)),
        likenesses=tuple(likenesses(gathered)),
        recordings=tuple(each.name for each in recordings),
        finished=datetime.now(UTC),
    )


def opposites(objectives: Sequence[AnyTold]) -> list[tuple[AnyTold, AnyTold]]:
    """Pairs of objectives of one model's layer that should sound opposite, the more vocal one first: a unit's two
    senses, and different units, both maximised, of a layer with two."""
    found = []
    for index, one in enumerate(objectives):
        for other in objectives[index + 1 :]:
            same_layer = (one.model.name, one.objective.layer) == (other.model.name, other.objective.layer)
            if same_layer and _opposite(one, other):
                found.append((other, one) if _goes_first(other, one) else (one, other))
    return found


def likenesses(objectives: Sequence[Gathered]) -> list[Likeness]:
    """How alike each neuron of a two-output detector ranks settings to both senses of a one-output one that means the
    same."""
    by_outputs: dict[int, dict[str, Gathered]] = {1: {}, 2: {}}
    for each in objectives:
        if each.meaning is not None and _in_paper(each):
            by_outputs[each.model.output_layer.unit_count].setdefault(each.meaning, each)
    senses, found = by_outputs[1], []
    for meaning, neuron in by_outputs[2].items():
        others = [each for name, each in senses.items() if name != meaning]
        if meaning in senses and len(others) == 1:
            triple = [(each.title, scored(each)) for each in (neuron, senses[meaning], others[0])]
            if (one := likeness(*triple)) is not None:
                found.append(one)
    return found


def tells_voices(model: Model) -> bool:
    """Whether an output of the model is, in its own words, about what the judges listen for."""
    return any(VOCAL in (label.maximise, label.minimise) for label in model.labels)


def published(gathered: Gathered) -> Published | None:
    """What was published of such an objective."""
    key = (gathered.model.output_layer.unit_count, gathered.meaning or "")
    return PUBLISHED.get(key) if _in_paper(gathered) else None


def scored(gathered: Gathered) -> list[Scored]:
    """Every setting with its distance."""
    return [Scored(each.settings, each.ranked.score.distance) for each in gathered.outcomes if each.ranked]


def _in_paper(gathered: Gathered) -> bool:
    """Of one output the paper took both senses, of two it maximised each."""
    outputs = gathered.model.output_layer.unit_count
    return outputs == 1 or (outputs == 2 and gathered.objective.sense == "maximise")


def _opposite(one: Told, other: Told) -> bool:
    left, right = one.objective, other.objective
    if left.unit == right.unit and left.direction == right.direction:
        return left.sense != right.sense
    two_units = one.model.layer(left.layer).unit_count == 2 and None not in (left.unit, right.unit)
    return two_units and left.sense == right.sense == "maximise"


def _goes_first(one: Told, other: Told) -> bool:
    if VOCAL in (one.meaning, other.meaning):
        return one.meaning == VOCAL
    return one.objective.sense == "maximise" and other.objective.sense == "minimise"


def _sound(explanation: Explanation) -> tuple[NDArray[np.float32], int]:
    import soundfile

    waveform, rate_hz = soundfile.read(io.BytesIO(explanation.audio_wav or b""), dtype="float32")
    return waveform, int(rate_hz)
