"""Do search graph and classifier of a bundle compute the same activations? Two of them may be of different exports.

That much can be asked of models whose files cannot be read, as those of a Triton elsewhere.
"""

import math

import numpy as np
from numpy.typing import NDArray

from earwitness.inference.backend import FloatArray, InconsistentModel, InferenceBackend
from earwitness.inference.metadata import BundleMetadata, Layer

MAX_DISAGREEMENT = 0.01
"""Rounding makes 1e-7 on a CPU and 1e-3 on a GPU in TF32, other weights anything."""
POINTS = 4
SEED = 5


def signs(bundle: BundleMetadata, layer: Layer, points: int = POINTS) -> FloatArray:
    """Unit weights [points, U] for the search graph: each 1 or −1 for the units of the layer, 0 for all others.

    In such sums what any two classifiers share cancels.
    """
    weights = np.zeros((points, bundle.unit_count), np.float32)
    drawn = np.random.default_rng(SEED).choice([-1.0, 1.0], (points, layer.unit_count))
    weights[:, layer.first_unit : layer.first_unit + layer.unit_count] = drawn
    return weights


def disagreement(weights: NDArray[np.floating], searched: FloatArray, units: FloatArray) -> float:
    """How far the search graph's sums `searched` [points] are from those of the classifier's `units` [points, n], both
    with the same `weights` [points, n], relative to the activations' size."""
    classified = (weights.astype(np.float64) * units).sum(axis=1)
    size = max(np.square(units, dtype=np.float64).sum(axis=1).mean(), np.square(searched, dtype=np.float64).mean())
    return math.sqrt(np.square(searched - classified).mean() / max(size, np.finfo(np.float32).tiny))


def require_agreement(bundle: BundleMetadata, layer: Layer, searched: FloatArray, units: FloatArray) -> None:
    """Hold what the search graph makes of some latents with `signs` [points] against the classifier's `units`
    [points, n] over what the generator makes of them.

    Raises: InconsistentModel.
    """
    weights = signs(bundle, layer, len(units))[:, layer.first_unit : layer.first_unit + layer.unit_count]
    error = disagreement(weights, searched, units)
    if not error <= MAX_DISAGREEMENT:
        search, classifier, generator = (bundle.served_name(role) for role in ("search", "classifier", "generator"))
        raise InconsistentModel(
            f"models/{bundle.name} contradicts itself: at {len(units)} latents the activations of layer {layer.name!r} "
            f"by {search} are {error:.0%} off those by {classifier}, over what {generator} makes of the same latents; "
            "one of the three files model.onnx is damaged or of other weights: put the right one back, or export the "
            "model again",
            metadata={"layer": layer.name, "model": bundle.name},
        )


async def ask_agreement(backend: InferenceBackend, bundle: BundleMetadata, layers: list[Layer]) -> None:
    """Ask the three models of `bundle` at a few latents whether they fit each other at these layers; without a search
    graph there is nothing to hold them against.

    Raises: InconsistentModel; as `InferenceBackend.infer`.
    """
    if not bundle.has_gradient or not layers:
        return
    latents = np.random.default_rng(SEED).standard_normal((POINTS, bundle.latent_size)).astype(np.float32)
    generator, classifier, search = (bundle.served_name(role) for role in ("generator", "classifier", "search"))
    identity = bundle.weights_sha256
    made = await backend.infer(generator, {"z": latents}, ["spectrogram"], weights_sha256=identity)
    units = await backend.infer(classifier, made, [layer.name for layer in layers], weights_sha256=identity)
    for layer in layers:
        inputs = {"z": latents, "unit_weights": signs(bundle, layer), "prior_weight": np.zeros((POINTS, 1), np.float32)}
        found = await backend.infer(search, inputs, ["activation"], weights_sha256=identity)
        require_agreement(bundle, layer, found["activation"][:, 0], units[layer.name])
