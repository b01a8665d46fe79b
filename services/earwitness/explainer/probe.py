"""Do the served models fit each other, and is the served gradient that of the served activation?

Asked once per model and layer, before any search. An exporter can freeze a gradient into a constant, drop a path or
flip a sign, a file can be of other weights or damaged, and nothing else would notice: the search would run and return
nonsense. Gradients at a few random latents and central differences there tell the one, the classifier's activations at
the same latents the other.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.errors import FrozenGradient, NonFiniteModel, WrongGradient, ZeroGradient
from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.search import Evaluate
from earwitness.inference.agreement import require_agreement, signs
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import BundleMetadata, Layer

POINTS = 4
"""Latents at which a layer is probed: a kink of a piecewise linear network spoils one of them, not most."""
DIRECTIONS = 3
"""Differences at each: along the gradient (its length and sign), and along random directions (paths it lacks)."""
MIN_STEP, MAX_STEP = 5e-3, 0.1
RELATIVE_CHANGE = 1e-3
"""The step is chosen to change the activation by this much of itself: far above float32 rounding, yet local."""
MAX_ERROR = 0.25
"""Largest part of the gradient that may be missing or wrong; kinks alone give a few hundredths."""
ACTIVATION_ROUNDING = 2e-6
"""Rounding of a served activation, relative to its size."""
MEDIAN_OF_NORMAL = 0.6745
"""Median of |N(0, 1)|: turns the median error over random directions into a standard deviation."""

Classify = Callable[[FloatArray, Sequence[str]], Awaitable[Mapping[str, FloatArray]]]
"""The activations [B, units] of the named layers, by the classifier, for what the generator makes of latents [B, Z]."""

_Key = tuple[int, str, str, str]
"""Generation, bundle, the weights it says it has, and layer."""


@dataclass
class _Asked:
    """A probe that goes on, and how many wait for it."""

    probing: "asyncio.Task[None]"
    waiting: int = 0


class GradientProbe:
    """Probes layers of models and remembers those that passed, for as long as the same server answers for them; a
    failure is probed again, a fixed export passes.

    Callers that come during a probe share what comes of it, a failure too: each in its turn would wait as long again.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._passed: set[_Key] = set()
        self._asked: dict[_Key, _Asked] = {}

    async def check(
        self,
        bundle: BundleMetadata,
        layers: tuple[Layer, ...],
        evaluate: Evaluate,
        classify: Classify,
        *,
        generation: int = 0,
    ) -> None:
        """Probe those of `layers` that are new, or all where `generation`, the backend's, is.

        Raises: InconsistentModel, ZeroGradient, FrozenGradient, WrongGradient, NonFiniteModel; and whatever `evaluate`
        and `classify` raise.
        """
        if generation != self._generation:
            self._generation = generation
            self._passed.clear()
        for layer in layers:
            key = (generation, bundle.name, bundle.weights_sha256, layer.name)
            if key not in self._passed:
                await self._shared(key, bundle, layer, evaluate, classify)
                self._passed.add(key)

    async def _shared(
        self, key: _Key, bundle: BundleMetadata, layer: Layer, evaluate: Evaluate, classify: Classify
    ) -> None:
        """The probe that goes on, or a new one, which ends when nobody waits for it any more."""
        if key not in self._asked:
            self._asked[key] = _Asked(asyncio.create_task(probe(bundle, layer, evaluate, classify)))
        asked = self._asked[key]
        asked.waiting += 1
        try:
            await asyncio.shield(asked.probing)
        finally:
            asked.waiting -= 1
            if not asked.waiting:
                asked.probing.cancel()
                del self._asked[key]


async def probe(bundle: BundleMetadata, layer: Layer, evaluate: Evaluate, classify: Classify) -> None:
    """Compare sums of the layer's units with the classifier's, and their gradient with central differences of them.

    Raises: InconsistentModel, ZeroGradient, FrozenGradient, WrongGradient, NonFiniteModel naming the layer.
    """
    latents = np.stack([first_latent(seed, bundle.latent_size) for seed in range(POINTS)])
    draw = np.random.default_rng(POINTS)
    weights = np.zeros((POINTS, bundle.unit_count), np.float32)
    # All positive, so that activations after a nonlinearity do not cancel.
    weights[:, layer.first_unit : layer.first_unit + layer.unit_count] = draw.uniform(0.5, 1.5, layer.unit_count)

    async def at(points: FloatArray, unit_weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        activation, gradient = await evaluate(points, unit_weights, np.zeros((len(points), 1), np.float32))
        if not (np.isfinite(activation).all() and np.isfinite(gradient).all()):
            raise NonFiniteModel(
                f"layer {layer.name!r} of models/{bundle.name} has an activation or gradient of NaN or infinity at an "
                "ordinary latent: the model is broken, export it again"
            )
        return activation, gradient

    both = np.concatenate([weights, signs(bundle, layer, POINTS)])
    activation, gradient = await at(np.concatenate([latents, latents]), both)
    require_agreement(bundle, layer, activation[POINTS:], (await classify(latents, [layer.name]))[layer.name])
    activation, gradient = activation[:POINTS], gradient[:POINTS]
    lengths = np.linalg.norm(gradient, axis=1)
    if not lengths.any():
        raise ZeroGradient(
            f"the gradient of layer {layer.name!r} of models/{bundle.name} is exactly zero at {POINTS} random latents: "
            "its export lost the gradient, or no unit of the layer ever fires; export it again or use another layer",
            metadata={"layer": layer.name, "model": bundle.name},
        )
    directions = draw.standard_normal((POINTS, DIRECTIONS, bundle.latent_size))
    directions[:, 0] = gradient
    directions /= np.maximum(np.linalg.norm(directions, axis=2, keepdims=True), np.finfo(np.float32).tiny)
    size, length = np.abs(activation).mean(), lengths.max()
    step = float(np.clip(RELATIVE_CHANGE * size / length, MIN_STEP, MAX_STEP))
    shifted = latents[:, None, None] + step * directions[:, :, None] * np.array([[1], [-1]])
    points = shifted.reshape(-1, bundle.latent_size).astype(np.float32)
    found, _ = await at(points, np.tile(weights[:1], (len(points), 1)))
    up, down = np.moveaxis(found.astype(np.float64).reshape(POINTS, DIRECTIONS, 2), 2, 0)
    served = (directions * gradient[:, None]).sum(axis=2)
    error = _error((up - down) / (2 * step), served, lengths, bundle.latent_size)
    if error > MAX_ERROR + _across(ACTIVATION_ROUNDING * size / (step * length), bundle.latent_size):
        frozen = bool((gradient == gradient[0]).all())
        told = "is the same for every latent" if frozen else "is not that of its activation"
        raise (FrozenGradient if frozen else WrongGradient)(
            f"the gradient of layer {layer.name!r} of models/{bundle.name} {told}: it is off by {error:.0%} of its "
            "length from finite differences; the search graph was exported wrongly, export the model again",
            metadata={"layer": layer.name, "model": bundle.name},
        )


def _error(measured: NDArray[np.float64], served: NDArray[np.float64], lengths: FloatArray, latent_size: int) -> float:
    """The wrong part of the gradient relative to its length, from slopes [points, directions], the first its own.

    Medians, because a kink between the two ends of a difference says nothing of the gradient.
    """
    usual = np.median(lengths) or lengths.max()
    errors: NDArray[np.float64] = np.abs(measured - served) / np.maximum(lengths, usual)[:, None]
    return max(float(np.median(errors[:, 0])), _across(float(np.median(errors[:, 1:])), latent_size))


def _across(slope: float, latent_size: int) -> float:
    """How long a vector of Z dimensions is whose slope along random directions has the median size `slope`."""
    return slope * math.sqrt(latent_size) / MEDIAN_OF_NORMAL
