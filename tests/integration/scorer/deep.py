"""References of rows that hold several layers, and requests about them."""

from typing import Any

import numpy as np

from earwitness.rpc.tensors import encode
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import UNITS, WEIGHTS, Running, creation, parts

LAYERS = {"conv1": 3, "fc9": UNITS, "fc10": 1}
WIDTH = sum(LAYERS.values())
COLUMNS = {"conv1": slice(0, 3), "fc9": slice(3, 3 + UNITS), "fc10": slice(3 + UNITS, WIDTH)}
KEPT = [pb.KeptLayer(name=name, unit_count=count) for name, count in LAYERS.items()]
TOP = pb.Selection(top=pb.Selection.Extreme(unit=1, k=40))


def deep_rows(count: int, seed: int = 0) -> np.ndarray:
    """Rows of all layers, whose scales differ."""
    scales = np.array([1e3] * 3 + [1] * UNITS + [1e-3])
    return (np.random.default_rng(seed).standard_normal((count, WIDTH)) * scales).astype(np.float32)


def selected(rows: np.ndarray, k: int = 40, unit: int = 1) -> np.ndarray:
    """Those that `TOP` keeps, the most extreme first."""
    return rows[np.argsort(-rows[:, COLUMNS["fc9"]][:, unit], kind="stable")[:k]]


async def deep_reference(
    scorer: Running, rows: np.ndarray, reference_id: str = "deep", **changes: Any
) -> pb.ReferenceVersion:
    """A reference of these rows with one version; of their top rows, unless it is said."""
    await scorer.stub.CreateReference(creation(reference_id, **({"kept_layers": KEPT, "selection": TOP} | changes)))
    await scorer.append(parts(rows, reference=f"references/{reference_id}"))
    return await scorer.freeze(reference_id)


def nearness(rows: np.ndarray, **changes: Any) -> pb.MeasureNearnessRequest:
    """A right request until a test changes it."""
    values = {
        "reference": "references/deep",
        "model": "models/svd-r1",
        "weights_sha256": WEIGHTS,
        "activations": encode(rows),
    }
    return pb.MeasureNearnessRequest(**(values | changes))
