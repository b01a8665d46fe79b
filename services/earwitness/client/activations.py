"""Activations from files: output folders that know where they came from, and plain arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.arrays import DAMAGED, load
from earwitness.client.values import FloatArray
from earwitness.errors import InvalidArgument

ARRAYS_FILE = "explanations.npz"


@dataclass(frozen=True, eq=False)
class ActivationBatch:
    """Activations `[rows, units]` and, where known, the (model, weights_sha256, layer) that they came from."""

    activations: FloatArray
    origin: tuple[str, str, str] | None


def load_activations(path: Path) -> ActivationBatch:
    """Read an output folder, its `explanations.npz`, or an `.npy`; one column may be left out of its shape.

    Raises: InvalidArgument when there is nothing of the kind at `path`, or it is not a table of finite numbers.
    """
    path = path / ARRAYS_FILE if path.is_dir() else path
    try:
        stored = load(path)
        origin = None
        if isinstance(stored, np.lib.npyio.NpzFile):
            with stored:
                origin = (str(stored["model"]), str(stored["weights_sha256"]), str(stored["layer"]))
                stored = stored["layer_activations"]
    except FileNotFoundError:
        raise InvalidArgument("activations", f"{path} does not exist; give an output folder or an .npy") from None
    except (KeyError, OSError, *DAMAGED) as err:
        raise InvalidArgument("activations", f"{path} is no {ARRAYS_FILE} and no .npy of numbers ({err})") from err
    if stored.ndim == 1:
        stored = stored[:, None]
    if stored.ndim != 2 or not stored.size or stored.dtype.kind not in "fiu":
        raise InvalidArgument(
            "activations", f"{path} holds {stored.dtype} of shape {stored.shape}; numbers [rows, units] are needed"
        )
    activations = stored.astype(np.float32)
    if not np.isfinite(activations).all():
        raise InvalidArgument("activations", f"{path} holds NaN, infinity or numbers beyond float32")
    return ActivationBatch(activations, origin)
