"""Real excerpts that activate an objective most, to be heard beside its explanations."""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.client.output.report import RealExcerpt
from earwitness.client.references import bundle_of, identity_of, layer_activations
from earwitness.client.values import FloatArray, Objective
from earwitness.errors import InvalidArgument
from earwitness.features import FeatureProfile, load_audio, profile_from_dict, render_picture
from earwitness.inference.backend import InferenceBackend

PEAK = 0.9
"""Of full scale, the loudest sample of an excerpt's sound: about as loud as the explanations' sounds."""

OVERLAPPING = 5
"""Excerpts that share audio with one of them, itself among them, at most."""


@dataclass(frozen=True, eq=False)
class _Found:
    """An excerpt that may be among the most extreme: its recording, first frame, activation and contents."""

    recording: Path
    first_frame: int
    activation: float
    spectrogram: FloatArray


async def top_excerpts(
    backend: InferenceBackend,
    *,
    model: str,
    objective: Objective,
    recordings: Sequence[Path],
    count: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[RealExcerpt, ...]:
    """The `count` excerpts of `recordings` that activate the objective most (least, when minimising), most first.

    `backend` runs the classifier of `model`; an excerpt begins every half an excerpt, and those that are returned do
    not overlap. Their sound is that of the recording, with its peak brought near full scale. `on_progress` gets the
    recordings done and in all. Fewer excerpts come back where the recordings hold fewer.

    Raises: InvalidArgument for an unknown model or layer, or a count below 1; AudioError; InferenceUnavailable.
    """
    if count < 1:
        raise InvalidArgument("count", f"got {count}; give at least 1")
    bundle = await bundle_of(backend, model)
    weights = _weights(objective, identity_of(bundle, objective.layer).unit_count)
    profile, frame_count = profile_from_dict(bundle.features), bundle.spectrogram_shape[1]
    hop = max(1, frame_count // 2)
    sign = 1.0 if objective.sense == "maximise" else -1.0
    best: list[_Found] = []
    for index, recording in enumerate(recordings, start=1):
        excerpts = await asyncio.to_thread(_excerpts, recording, profile, frame_count, hop)
        if len(excerpts):
            activations = await layer_activations(backend, bundle, objective.layer, excerpts) @ weights
            found = [
                _Found(recording, at * hop, float(activations[at]), excerpts[at].copy())
                for at in np.argsort(-sign * activations, kind="stable")[
                    : 3 * count
                ]  # each overlaps two others at most
            ]
            best = _apart(sorted([*best, *found], key=lambda each: -sign * each.activation), frame_count)[:count]
        if on_progress is not None:
            on_progress(index, len(recordings))
    return tuple([await asyncio.to_thread(_rendered, each, profile, frame_count) for each in best])


def _weights(objective: Objective, unit_count: int) -> FloatArray:
    """What the layer's units [U] weigh in the objective's activation. Raises: InvalidArgument for a unit not there."""
    direction = objective.direction if objective.direction is not None else {objective.unit or 0: 1.0}
    weights = np.zeros(unit_count, np.float32)
    for unit, weight in direction.items():
        if not 0 <= unit < unit_count:
            raise InvalidArgument("unit", f"got {unit}; layer {objective.layer} has units 0 to {unit_count - 1}")
        weights[unit] = weight
    return weights


def _apart(sorted_first: Sequence[_Found], frame_count: int) -> list[_Found]:
    """Those that overlap none before them."""
    kept: list[_Found] = []
    for each in sorted_first:
        if all(
            other.recording != each.recording or abs(other.first_frame - each.first_frame) >= frame_count
            for other in kept
        ):
            kept.append(each)
    return kept


def _excerpts(recording: Path, profile: FeatureProfile, frame_count: int, hop: int) -> FloatArray:
    waveform = load_audio(recording, profile.sample_rate_hz)
    if len(waveform) < profile.sample_count(frame_count):
        return np.empty((0, *profile.excerpt_shape), np.float32)
    return profile.excerpts(profile.spectrogram(waveform), hop)


def _rendered(found: _Found, profile: FeatureProfile, frame_count: int) -> RealExcerpt:
    import soundfile

    first = profile.sample_count(found.first_frame + 1) - profile.sample_count(1)
    waveform = load_audio(found.recording, profile.sample_rate_hz)[first : first + profile.sample_count(frame_count)]
    loudest = float(np.abs(waveform).max())
    file = io.BytesIO()
    louder = waveform * np.float32(PEAK / loudest) if loudest else waveform
    soundfile.write(file, louder, profile.sample_rate_hz, format="WAV", subtype="PCM_16")
    source = f"{found.recording.name}, {first / profile.sample_rate_hz:.1f} s"
    picture = render_picture(profile, found.spectrogram, f"{source}, activation {found.activation:.3g}")
    return RealExcerpt(source, found.activation, found.spectrogram, file.getvalue(), picture)
