"""Whether a served generator's sounds are like real ones: distances of its samples, of real audio and of noise."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.client.references import BATCH_ROWS, bundle_of, judges_whole_recordings, layer_activations
from earwitness.client.values import FloatArray
from earwitness.errors import InvalidArgument
from earwitness.evidence.distances import diversity
from earwitness.features import (
    AudioError,
    FeatureProfile,
    Flaw,
    OnFlaw,
    WaveformProfile,
    load_audio,
    profile_from_dict,
    recording_excerpts,
)
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.metadata import BundleMetadata
from earwitness.scorer.frechet import factor_rows, frechet_distance

FEWEST_EXCERPTS = 20
"""Below, halves of the real excerpts differ too much from each other to say anything of a third."""
ENOUGH_EXCERPTS = 100
FEW_KINDS = 0.6
NEIGHBOURS = 3
GOOD_SHARE, USABLE_SHARE = 0.15, 0.5
"""How far samples are on the way from real audio to noise: the square root of distances, as a share of noise's."""
GOOD_COVERAGE, USABLE_COVERAGE = 0.5, 0.2
"""Of the share of real excerpts that other real ones come as near to as their own neighbours."""

Verdict = Literal["good", "usable", "poor"]
Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Likeness:
    """How like one half of the real excerpts a batch is, the mean over both halves.

    `distance` is Fréchet's over a layer, `coverage` the share of the half's excerpts that have one of the batch as near
    as their third neighbour.

    Source of coverage: Naeem et al., ICML 2020.
    """

    distance: float
    coverage: float


@dataclass(frozen=True, eq=False)
class GeneratorReport:
    """What `row_count` samples of a generator are like over a layer, beside as many excerpts of other real audio, and
    as much noise with the real mean and variance of each band.

    `diversity` is the samples' mean distance from each other over that of real excerpts. `sample_pictured` and
    `real_pictured` are some of each as a picture shows them, [N, bands, frames].
    """

    model: str
    layer: str
    recording_count: int
    excerpt_count: int
    row_count: int
    samples: Likeness
    real: Likeness
    noise: Likeness
    diversity: float
    sample_pictured: FloatArray
    real_pictured: FloatArray

    @property
    def share(self) -> float:
        """Of the way from real audio (0) to noise (1)."""
        real, samples, noise = (np.sqrt(each.distance) for each in (self.real, self.samples, self.noise))
        return float(max(0.0, samples - real) / max(noise - real, np.finfo(np.float64).tiny))

    @property
    def verdict(self) -> Verdict:
        covered = self.samples.coverage / max(self.real.coverage, 1e-9)
        if self.share <= GOOD_SHARE and covered >= GOOD_COVERAGE:
            return "good"
        return "usable" if self.share <= USABLE_SHARE and covered >= USABLE_COVERAGE else "poor"

    @property
    def advice(self) -> list[str]:
        """What to do about a verdict that is not good."""
        if self.verdict == "good":
            return []
        found = []
        if self.diversity < FEW_KINDS:
            found.append(
                f"its samples differ by {self.diversity:.0%} of what real excerpts do: give it more kinds of them"
            )
        if self.row_count < ENOUGH_EXCERPTS:
            found.append(f"{self.row_count} excerpts are few to judge by: give more recordings")
        return [
            *found,
            "--picture shows what its samples lack; train it longer, or on more recordings of this kind "
            "(`earwitness train gan`)",
        ]


async def check_generator(
    backend: InferenceBackend,
    model: str,
    recordings: Sequence[Path],
    *,
    layer: str | None = None,
    count: int = 500,
    seed: int = 0,
    shown: int = 16,
    on_flaw: OnFlaw,
    on_progress: Progress,
) -> GeneratorReport:
    """Classifies `count` excerpts of each half of the recordings at most, as many samples of the generator, and noise.

    `layer` defaults to the last hidden one. Of several recordings one half are some of them, the other half the others.

    Raises: InvalidArgument for an unknown model or layer, or too little audio; ModelUnusable; InferenceUnavailable.
    """
    bundle = await bundle_of(backend, model)
    names = [each.name for each in bundle.layers]
    layer = layer or next((each.name for each in reversed(bundle.layers) if each.kind != "output"), names[-1])
    if layer not in names:
        raise InvalidArgument("layer", f"got {layer!r}; {model} has {', '.join(names)}")
    profile, rng = profile_from_dict(bundle.features), np.random.default_rng(seed)
    found = await _excerpts(bundle, recordings, 2 * count, on_flaw, on_progress)
    halves = [_some(half, count, rng) for half in _halved(found)]
    row_count = min(map(len, halves))
    if row_count < FEWEST_EXCERPTS:
        raise InvalidArgument(
            "recordings",
            f"give halves of {' and '.join(str(len(half)) for half in halves)} excerpts; {FEWEST_EXCERPTS} are needed "
            "in each: give more recordings",
        )
    halves = [half[:row_count] for half in halves]
    everything = np.concatenate(halves)
    samples = await _sampled(backend, bundle, row_count, rng, on_progress)
    on_progress(0, 0, "classifying")
    real = [await layer_activations(backend, bundle, layer, half) for half in halves]
    made = await layer_activations(backend, bundle, layer, samples)
    heard = await layer_activations(backend, bundle, layer, _noise(everything, row_count, rng))
    return GeneratorReport(
        model=model,
        layer=layer,
        recording_count=len(found),
        excerpt_count=sum(map(len, found)),
        row_count=row_count,
        samples=_likeness([made, made], real),
        real=_likeness(real[::-1], real),
        noise=_likeness([heard, heard], real),
        diversity=diversity(samples, everything).ratio,
        sample_pictured=_pictured(profile, samples[:shown]),
        real_pictured=_pictured(profile, _some([everything], shown, rng)),
    )


def _pictured(profile: FeatureProfile, excerpts: FloatArray) -> FloatArray:
    shown = [profile.pictured(each)[1] if isinstance(profile, WaveformProfile) else each for each in excerpts]
    return np.stack(shown)


async def _excerpts(
    bundle: BundleMetadata, recordings: Sequence[Path], most: int, on_flaw: OnFlaw, on_progress: Progress
) -> list[FloatArray]:
    """Of each recording that holds any, excerpts [n, bands, frames] that do not overlap, evenly, `most` of each."""
    profile, whole = profile_from_dict(bundle.features), judges_whole_recordings(bundle)

    def read(recording: Path) -> FloatArray:
        waveform = load_audio(recording, profile.sample_rate_hz, on_flaw)
        excerpts = recording_excerpts(profile, waveform, profile.excerpt_shape[1], repeated=whole)
        return np.array(excerpts[:: -(-len(excerpts) // most) or 1])

    found = []
    for place, recording in enumerate(recordings):
        on_progress(place, len(recordings), "reading")
        try:
            excerpts = await asyncio.to_thread(read, recording)
        except AudioError as err:
            on_flaw(Flaw.of(recording, err))
            continue
        if len(excerpts):
            found.append(excerpts)
    return found


def _halved(found: Sequence[FloatArray]) -> tuple[list[FloatArray], list[FloatArray]]:
    """Recordings in two groups of about as many excerpts; a single recording's first and second half."""
    if len(found) == 1:
        middle = len(found[0]) // 2
        return [found[0][:middle]], [found[0][middle:]]
    first: list[FloatArray] = []
    second: list[FloatArray] = []
    for excerpts in sorted(found, key=len, reverse=True):
        min(first, second, key=lambda half: sum(map(len, half))).append(excerpts)
    return first, second


def _some(excerpts: Sequence[FloatArray], count: int, rng: np.random.Generator) -> FloatArray:
    every = np.concatenate(excerpts) if excerpts else np.empty((0, 1, 1), np.float32)
    return every[rng.permutation(len(every))[:count]]


async def _sampled(
    backend: InferenceBackend, bundle: BundleMetadata, count: int, rng: np.random.Generator, on_progress: Progress
) -> FloatArray:
    """What the generator makes of `count` latents from the prior."""
    latents = rng.standard_normal((count, bundle.latent_size), np.float32)
    made = []
    for start in range(0, count, BATCH_ROWS):
        on_progress(start, count, "sampling")
        inputs = {"z": latents[start : start + BATCH_ROWS]}
        found = await backend.infer(
            bundle.served_name("generator"), inputs, ["spectrogram"], weights_sha256=bundle.weights_sha256
        )
        made.append(found["spectrogram"])
    return np.concatenate(made)


def _noise(real: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    mean, deviation = real.mean(axis=(0, 2), keepdims=True), real.std(axis=(0, 2), keepdims=True)
    drawn = rng.standard_normal((count, *real.shape[1:]), np.float32)
    return np.asarray(mean + deviation * drawn, np.float32)


def _likeness(batches: Sequence[FloatArray], halves: Sequence[FloatArray]) -> Likeness:
    pairs = list(zip(batches, halves, strict=True))
    return Likeness(
        float(np.mean([frechet_distance(batch, factor_rows(half)).distance for batch, half in pairs])),
        float(np.mean([_coverage(batch, half) for batch, half in pairs])),
    )


def _coverage(batch: FloatArray, real: FloatArray) -> float:
    from scipy.spatial.distance import cdist

    radius = np.partition(cdist(real, real), NEIGHBOURS, axis=1)[:, NEIGHBOURS]  # the nearest is the row itself
    near: NDArray[np.bool_] = cdist(real, batch).min(axis=1) <= radius
    return float(near.mean())
