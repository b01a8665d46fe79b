"""The work of an atlas in parts that any process can do: each takes and gives plain values, and asks nobody but Triton.

The same part gives the same bytes wherever and whenever it is done.
"""

import io
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.atlas.media import Medium, medium_of
from earwitness.atlas.place import Place
from earwitness.client.excerpts import samples_of
from earwitness.client.references import judges_whole_recordings
from earwitness.errors import FailedPrecondition
from earwitness.explainer.optimisers import first_latent
from earwitness.features import (
    AudioError,
    Flaw,
    decode_audio,
    load_audio,
    profile_from_dict,
    recording_excerpts,
    render_audio,
)
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata

ROWS_AT_ONCE = 64
"""Spectrograms in memory at a time, of a pool."""


@dataclass(frozen=True, eq=False)
class Listened:
    """The activations [N, U] of a recording's excerpts, which begin every `hop` frames; None where it cannot be read,
    of which `flaws` tell."""

    activations: FloatArray | None
    flaws: tuple[Flaw, ...]


def listen(place: Place, bundle: BundleMetadata, recording: Path) -> Listened:
    """One recording through the classifier, all layers in one pass.

    Raises: FailedPrecondition where the file is not there; InferenceUnavailable and the like.
    """
    if not recording.is_file():  # the command has read it: this machine does not see it
        raise FailedPrecondition(
            f"{recording} is not on {socket.gethostname()}; workers need the recordings under the paths that the "
            "command names"
        )
    flaws: list[Flaw] = []
    try:
        excerpts = excerpts_of(bundle, recording, flaws)
    except AudioError as err:
        return Listened(None, (*flaws, Flaw.of(recording, err)))
    return Listened(place.classify(bundle, excerpts), tuple(flaws))


def draw(place: Place, bundle: BundleMetadata, first_seed: int, count: int) -> FloatArray:
    """Activations [count, U] of the latents of the seeds from `first_seed` on."""
    return classify_latents(place, bundle, latents_of(bundle, range(first_seed, first_seed + count)))


def classify_latents(place: Place, bundle: BundleMetadata, latents: FloatArray) -> FloatArray:
    """Activations [n, U] of `latents` [n, Z]. Raises: FailedPrecondition where the model answers NaN or infinity."""
    parts = [
        place.classify(bundle, place.generate(bundle, latents[start : start + ROWS_AT_ONCE]))
        for start in range(0, len(latents), ROWS_AT_ONCE)
    ]
    found = np.concatenate(parts)
    if not np.isfinite(found).all():
        raise FailedPrecondition(
            f"{bundle.name} answers NaN or infinity for ordinary latents: the model is broken, export it again"
        )
    return found


def latents_of(bundle: BundleMetadata, seeds: range) -> FloatArray:
    """The latents [n, Z] that an explainer begins with for these seeds."""
    return np.stack([first_latent(seed, bundle.latent_size) for seed in seeds])


def show_latents(place: Place, bundle: BundleMetadata, latents: FloatArray) -> list[Medium]:
    """Sound and picture of what the generator makes of each of `latents` [n, Z]."""
    profile = profile_from_dict(bundle.features)
    return [medium_of(render_audio(profile, each).wav, each) for each in place.generate(bundle, latents)]


def show_excerpts(bundle: BundleMetadata, recording: Path, places: list[int]) -> list[Medium]:
    """Sound and picture of the excerpts of a recording at `places`, the first being 0. Raises: AudioError, OSError."""
    import soundfile

    profile = profile_from_dict(bundle.features)
    excerpts = excerpts_of(bundle, recording, [])
    waveform = decode_audio(recording).at(recording, profile.sample_rate_hz)
    shown = []
    for at in places:
        samples = samples_of(profile, at * hop_of(bundle), bundle.spectrogram_shape[1])
        part = waveform[samples]
        if len(part) < samples.stop - samples.start:  # repeated, as the model hears it
            part = np.resize(part, samples.stop - samples.start)
        file = io.BytesIO()
        loudest = float(np.abs(part).max())
        soundfile.write(file, part / np.float32(loudest or 1), profile.sample_rate_hz, format="WAV", subtype="PCM_16")
        shown.append(medium_of(file.getvalue(), excerpts[at]))
    return shown


def hop_of(bundle: BundleMetadata) -> int:
    """Frames from one excerpt of a recording to the next: half an excerpt."""
    return max(1, bundle.spectrogram_shape[1] // 2)


def excerpts_of(bundle: BundleMetadata, recording: Path, flaws: list[Flaw]) -> FloatArray:
    """The excerpts [N, bands, frames] of a recording. Raises: AudioError, OSError."""
    profile = profile_from_dict(bundle.features)
    waveform = load_audio(recording, profile.sample_rate_hz, flaws.append)
    return recording_excerpts(profile, waveform, hop_of(bundle), repeated=judges_whole_recordings(bundle))
