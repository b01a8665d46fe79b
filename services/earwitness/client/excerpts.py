"""Real excerpts that activate objectives most, to be heard beside their explanations."""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.client.output.report import RealExcerpt
from earwitness.client.references import bundle_of, identity_of, judges_whole_recordings, layer_activations
from earwitness.client.values import FloatArray, Objective
from earwitness.errors import InvalidArgument
from earwitness.features import (
    AudioError,
    FeatureProfile,
    Flaw,
    OnFlaw,
    decode_audio,
    load_audio,
    log_flaw,
    profile_from_dict,
    recording_excerpts,
    render_picture,
)
from earwitness.inference.agreement import ask_agreement
from earwitness.inference.backend import InferenceBackend

PEAK = 0.9
"""Of full scale, the loudest sample of an excerpt's sound: about as loud as the explanations' sounds."""

OVERLAPPING = 5
"""Excerpts that share audio with one of them, itself among them, at most."""


@dataclass(frozen=True, eq=False)
class _Found:
    """An excerpt that may be among the most extreme: its recording, first frame and contents.

    `upwards` is its activation, negated when minimising: the higher the more extreme.
    """

    recording: Path
    first_frame: int
    upwards: float
    spectrogram: FloatArray


async def top_excerpts(
    backend: InferenceBackend,
    *,
    model: str,
    objectives: Sequence[Objective],
    recordings: Sequence[Path],
    count: int,
    on_progress: Callable[[int, int], None] | None = None,
    on_flaw: OnFlaw = log_flaw,
) -> tuple[tuple[RealExcerpt, ...], ...]:
    """For each objective the `count` excerpts of `recordings` that activate it most (least, when minimising), most
    first.

    `backend` runs the classifier of `model`, once for all objectives of a layer; an excerpt begins every half an
    excerpt, and those that are returned for an objective do not overlap. Their sound is that of the recording, with its
    peak brought near full scale; one shorter than an excerpt is repeated for a model that judges whole recordings, and
    left out for others. `on_progress` gets the recordings done and in all. Fewer excerpts come back where there are
    fewer. A recording that cannot be read is left out, of one that breaks off what is there is heard; `on_flaw` is told
    of both.

    Raises: InvalidArgument for an unknown model or layer, a count below 1, or recordings of which none can be read;
    InferenceUnavailable.
    """
    if count < 1:
        raise InvalidArgument("count", f"got {count}; give at least 1")
    bundle = await bundle_of(backend, model)
    weights = [_weights(each, identity_of(bundle, each.layer).unit_count) for each in objectives]
    asked = {each.layer for each in objectives}
    await ask_agreement(backend, bundle, [layer for layer in bundle.layers if layer.name in asked])
    profile, frame_count = profile_from_dict(bundle.features), bundle.spectrogram_shape[1]
    whole = judges_whole_recordings(bundle)
    hop = max(1, frame_count // 2)
    best: list[list[_Found]] = [[] for _ in objectives]
    left_out: list[Flaw] = []
    for done, recording in enumerate(recordings, start=1):
        try:
            excerpts = await asyncio.to_thread(_excerpts, recording, profile, hop, repeated=whole, on_flaw=on_flaw)
        except AudioError as err:
            left_out.append(Flaw.of(recording, err))
            on_flaw(left_out[-1])
            continue
        if len(excerpts):
            layers = {each.layer for each in objectives}
            units = {layer: await layer_activations(backend, bundle, layer, excerpts) for layer in layers}
            for index, objective in enumerate(objectives):
                upwards = units[objective.layer] @ weights[index]
                if objective.sense == "minimise":
                    upwards = -upwards
                found = [
                    _Found(recording, at * hop, float(upwards[at]), excerpts[at].copy())
                    for at in np.argsort(-upwards, kind="stable")[: OVERLAPPING * count]
                ]
                best[index] = _apart([*best[index], *found], frame_count)[:count]
        if on_progress is not None:
            on_progress(done, len(recordings))
    if left_out and len(left_out) == len(recordings):
        raise InvalidArgument("recordings", f"none can be used: {left_out[0]}")
    made = []
    for objective, found in zip(objectives, best, strict=True):
        sign = 1.0 if objective.sense == "maximise" else -1.0
        made.append(tuple([await asyncio.to_thread(_rendered, each, sign, profile, frame_count) for each in found]))
    return tuple(made)


def _weights(objective: Objective, unit_count: int) -> FloatArray:
    """What the layer's units [U] weigh in the objective's activation. Raises: InvalidArgument for a unit not there."""
    direction = objective.direction if objective.direction is not None else {objective.unit or 0: 1.0}
    weights = np.zeros(unit_count, np.float32)
    for unit, weight in direction.items():
        if not 0 <= unit < unit_count:
            raise InvalidArgument("unit", f"got {unit}; layer {objective.layer} has units 0 to {unit_count - 1}")
        weights[unit] = weight
    return weights


def _apart(found: Sequence[_Found], frame_count: int) -> list[_Found]:
    """The most extreme first, without those that overlap one before them."""
    kept: list[_Found] = []
    for each in sorted(found, key=lambda each: -each.upwards):
        if all(
            other.recording != each.recording or abs(other.first_frame - each.first_frame) >= frame_count
            for other in kept
        ):
            kept.append(each)
    return kept


def _excerpts(recording: Path, profile: FeatureProfile, hop: int, *, repeated: bool, on_flaw: OnFlaw) -> FloatArray:
    waveform = load_audio(recording, profile.sample_rate_hz, on_flaw)
    return recording_excerpts(profile, waveform, hop, repeated=repeated)


def samples_of(profile: FeatureProfile, first_frame: int, frame_count: int) -> slice:
    """The samples of a recording that an excerpt of its spectrogram covers (centred frames: between their centres)."""
    first = round(first_frame * profile.sample_rate_hz / profile.frames_per_second)
    return slice(first, first + profile.sample_count(frame_count))


def _rendered(found: _Found, sign: float, profile: FeatureProfile, frame_count: int) -> RealExcerpt:
    import soundfile

    activation = sign * found.upwards
    samples = samples_of(profile, found.first_frame, frame_count)
    waveform = decode_audio(found.recording).at(found.recording, profile.sample_rate_hz)[samples]
    if len(waveform) < profile.sample_count(frame_count):  # repeated, as the model hears it
        waveform = np.resize(waveform, profile.sample_count(frame_count))
    loudest = float(np.abs(waveform).max())
    file = io.BytesIO()
    louder = waveform * np.float32(PEAK / loudest) if loudest else waveform
    soundfile.write(file, louder, profile.sample_rate_hz, format="WAV", subtype="PCM_16")
    source = f"{found.recording.name}, {samples.start / profile.sample_rate_hz:.1f} s"
    picture = render_picture(profile, found.spectrogram, f"{source}, activation {activation:.3g}")
    return RealExcerpt(source, activation, found.spectrogram, file.getvalue(), picture)
