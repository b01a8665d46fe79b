"""What is gathered of a sweep, with sounds that a simple judge can judge: how rough they are."""

import io
from dataclasses import replace

import numpy as np
import soundfile

from earwitness.client.output import RealExcerpt
from earwitness.client.values import Layer, Model, Objective, Sense, UnitLabel
from earwitness.evidence.judges import EMBEDDING_JUDGE, Heard
from earwitness.evidence.values import PLACES, Gathered
from tests.unit.client.runs import MODEL, PNG
from tests.unit.client.sweeps import outcomes_of, sweep

RATE_HZ = 8000
ONE_OUTPUT = replace(
    MODEL, name="one", layers=(Layer("fc9", "output", 1, 0),), labels=(UnitLabel(0, "vocal", "non-vocal"),)
)
TWO_OUTPUTS = replace(
    MODEL,
    name="two",
    layers=(Layer("fc9", "output", 2, 0),),
    labels=(UnitLabel(0, "non-vocal", "vocal"), UnitLabel(1, "vocal", "non-vocal")),
)
REPLAYS = replace(
    MODEL,
    name="replays",
    layers=(Layer("fc8", "output", 2, 0),),
    labels=(UnitLabel(0, "genuine", "not genuine"), UnitLabel(1, "replayed", "not replayed")),
)


class Roughness:
    """A judge: how fast a sound changes, 0 to 1."""

    name = EMBEDDING_JUDGE
    threshold = 0.5

    def hear(self, waveform: np.ndarray, sample_rate_hz: int) -> Heard:
        assert sample_rate_hz == RATE_HZ
        rough = float(np.abs(np.diff(waveform)).mean() / np.abs(waveform).max())
        return Heard(min(1.0, rough), np.array([rough, waveform.std()], np.float32))


def sound(roughness: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = np.sin(np.arange(800) / 40 + seed)
    return ((1 - roughness) * smooth + roughness * rng.uniform(-1, 1, 800)).astype(np.float32)


def wav(waveform: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def gathered(
    model: Model = ONE_OUTPUT, unit: int = 0, sense: Sense = "maximise", roughness: float = 0.9, rows: int = 6
) -> Gathered:
    """Paper's grid; explanations of every judged setting as rough as `roughness`, real ones as well."""
    report = sweep(sense=sense)
    rng = np.random.default_rng(unit)
    judged = []
    for examples in report.examples:
        one = examples.explanations[0]
        explanations = tuple(
            replace(
                one, row_index=row, seed=row, audio_wav=wav(sound(roughness, row)), picture_png=PNG,
                spectrogram=rng.standard_normal((2, 3)).astype(np.float32),
            )
            for row in range(rows)
        )  # fmt: skip
        judged.append(replace(examples, name=PLACES[examples.name], explanations=explanations))
    excerpts = tuple(
        RealExcerpt(
            f"{row}.ogg, 0.0 s",
            float(row),
            rng.standard_normal((2, 3)).astype(np.float32),
            wav(sound(roughness, row)),
            PNG,
        )
        for row in range(2 * rows)
    )
    return Gathered(
        sweep_id="s1",
        model=replace(model, sample_rate_hz=RATE_HZ),
        objective=Objective(model.output_layer.name, unit, sense),
        outcomes=outcomes_of(tuple(each.settings for each in report.outcomes)),
        judged=tuple(judged),
        excerpts=excerpts,
        real_sounds=tuple(sound(roughness, 100 + row) for row in range(2 * rows)),
    )
