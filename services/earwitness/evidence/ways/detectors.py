"""Detectors of replays as judges of each other's explanations: another network, trained from another seed, that chose
nothing."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.client.references import judges_whole_recordings, layer_activations
from earwitness.detection.tables import GENUINE_WORDS
from earwitness.features import FeatureProfile, profile_from_dict, recording_excerpts, resample
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.metadata import BundleMetadata

Sound = tuple[NDArray[np.float32], int]
"""A mono waveform [samples] and its rate in Hz."""


@dataclass(frozen=True)
class Detector:
    """A served detector that hears how probably speech is genuine; from `threshold` on it takes it for that."""

    backend: InferenceBackend
    bundle: BundleMetadata
    genuine_unit: int
    threshold: float = 0.5

    @property
    def name(self) -> str:
        """The bundle's."""
        return self.bundle.name

    async def hear(self, sounds: Sequence[Sound], on_progress: Callable[[int], None]) -> NDArray[np.float64]:
        """P(genuine) [n] of each sound: of the mean log-odds over its excerpts, one every half an excerpt.

        Raises: InferenceUnavailable, InferenceFailed.
        """
        profile = profile_from_dict(self.bundle.features)
        layer = next(each for each in self.bundle.layers if each.kind == "output")
        found = []
        for done, sound in enumerate(sounds, 1):
            excerpts = await asyncio.to_thread(_excerpts, profile, sound)
            logits = await layer_activations(self.backend, self.bundle, layer.name, excerpts)
            genuine = logits[:, self.genuine_unit].astype(np.float64)
            odds = genuine if layer.unit_count == 1 else 2 * genuine - logits.sum(axis=1)
            found.append(1 / (1 + np.exp(-float(odds.mean()))))
            on_progress(done)
        return np.array(found)


async def other_detectors(backend: InferenceBackend, model: str) -> list[Detector]:
    """The detectors of replays that `backend` serves besides `model`, where that is one; in the order of their names.

    Raises: InferenceUnavailable.
    """
    bundles = {bundle.name: bundle for bundle in await backend.bundles()}
    if model not in bundles or not judges_whole_recordings(bundles[model]):
        return []
    own = bundles[model].weights_sha256
    return [
        Detector(backend, bundle, unit)
        for _, bundle in sorted(bundles.items())
        if judges_whole_recordings(bundle)
        and bundle.weights_sha256 != own
        and (unit := _genuine_unit(bundle)) is not None
    ]


def _genuine_unit(bundle: BundleMetadata) -> int | None:
    """The output that is high for genuine speech; none where more than two outputs, or the words, leave it open."""
    outputs = next(each for each in bundle.layers if each.kind == "output")
    units = [each.unit for each in bundle.labels if each.maximise.lower() in GENUINE_WORDS]
    return units[0] if len(units) == 1 and outputs.unit_count <= 2 else None


def _excerpts(profile: FeatureProfile, sound: Sound) -> NDArray[np.float32]:
    waveform, rate_hz = sound
    waveform = resample(waveform, rate_hz, profile.sample_rate_hz)
    return recording_excerpts(profile, waveform, max(1, profile.excerpt_shape[1] // 2), repeated=True)
