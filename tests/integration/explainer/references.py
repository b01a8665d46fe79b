"""References of the tiny bundle in a real scorer: rows of which every activation is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from earwitness.rpc.tensors import decode
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.helpers.tiny_bundle import LATENT, TinyBundle
from tests.integration.scorer import running as scorers

FC3 = "fc3"
LAYERS = ("conv1", "fc2", "fc3")


def real_rows(tiny: TinyBundle, count: int = 400, seed: int = 11) -> dict[str, np.ndarray]:
    """Activations [count, units] of every layer at `count` latents: what the tiny world calls real."""
    latents = np.random.default_rng(seed).standard_normal((count, LATENT))
    return {name: rows.astype(np.float32) for name, rows in tiny.layers(tiny.spectrogram(latents)).items()}


def selected(kind: str, unit: int = 0, k: int = 60) -> pb.Selection:
    """A selection message."""
    return pb.Selection(**{kind: pb.Selection.Extreme(unit=unit, k=k)})


async def build(
    scorer: scorers.Running,
    tiny: TinyBundle,
    reference_id: str,
    *,
    layers: tuple[str, ...] = (FC3,),
    layer: str = FC3,
    **changes: Any,
) -> np.ndarray:
    """A reference with one version of the real rows of `layers`, `layer` among them; the rows, in its order."""
    real = real_rows(tiny)
    rows = np.concatenate([real[name] for name in layers], axis=1)
    widths = {each.name: each.unit_count for each in tiny.metadata.layers}
    about: dict[str, Any] = {
        "model": f"models/{tiny.metadata.name}",
        "weights_sha256": tiny.metadata.weights_sha256,
        "layer": layer,
        "unit_count": widths[layer],
        "selection": selected("top"),
    }
    if layers != (layer,):
        about["kept_layers"] = [pb.KeptLayer(name=name, unit_count=widths[name]) for name in layers]
    await scorer.stub.CreateReference(scorers.creation(reference_id, **(about | changes)))
    await scorer.append(scorers.parts(rows, reference=f"references/{reference_id}", shard_id="real"))
    await scorer.freeze(reference_id)
    return rows


def places_of(
    tiny: TinyBundle, found: Any, kept: np.ndarray, layers: Sequence[str] = LAYERS, neighbours: int = 5
) -> np.ndarray:
    """The mean places [n] of explanations by the rule that scorer.proto and explainer.proto state."""
    latents = np.stack([decode(each.latent, "latent") for each in found])
    units = tiny.layers(tiny.spectrogram(latents))
    real = real_rows(tiny)
    places = []
    for name in layers:
        rows = real[name][kept].astype(np.float64)
        spread = rows.std(axis=0)
        spread += 0.05 * spread.max()
        distances = np.linalg.norm((units[name][:, None] - rows) / spread, axis=2)
        near = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
        places.append(1 + (near[None, :] < near[:, None]).sum(axis=1))
    return np.mean(places, axis=0)
