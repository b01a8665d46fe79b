"""Activations from files: output folders that know where they came from, and plain arrays."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earwitness.arrays import DAMAGED, load
from earwitness.client.values import Objective
from earwitness.errors import InvalidArgument
from earwitness.rpc.tensors import FloatTensor, exact

ARRAYS_FILE = "explanations.npz"
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class ActivationBatch:
    """Activations `[rows, units]`, float32 or float64, and, where known, the (model, weights_sha256, layer) that they
    came from, and what was searched to find them."""

    activations: FloatTensor
    origin: tuple[str, str, str] | None
    objectives: tuple[Objective, ...] = ()


def load_activations(path: Path) -> ActivationBatch:
    """Read an output folder, its `explanations.npz`, or an `.npy`; one column may be left out of its shape.

    Every number stays what it is: integers, half and double precision become float32 where that holds them exactly,
    else float64.

    Raises: InvalidArgument when there is nothing of the kind at `path`, or it is not a table of finite numbers in the
    range of float32, or of numbers that float64 does not hold exactly.
    """
    path = path / ARRAYS_FILE if path.is_dir() else path
    try:
        stored = load(path)
        origin, objectives = None, list[Objective]()
        if isinstance(stored, np.lib.npyio.NpzFile):
            with stored:
                origin = (str(stored["model"]), str(stored["weights_sha256"]), str(stored["layer"]))
                said = stored["objectives"].tolist() if "objectives" in stored else []
                objectives = [_objective(str(each)) for each in dict.fromkeys(said)]
                stored = stored["layer_activations"]
    except FileNotFoundError:
        raise InvalidArgument("activations", f"{path} does not exist; give an output folder or an .npy") from None
    except (KeyError, OSError, *DAMAGED) as err:
        raise InvalidArgument("activations", f"{path} is no {ARRAYS_FILE} and no .npy of numbers ({err})") from err
    if stored.ndim == 1:
        stored = stored[:, None]
    if stored.ndim != 2 or not stored.size or stored.dtype.kind not in "fiu":
        lost = "; .npy files lose the type of bfloat16: save it as float32" if stored.dtype.kind == "V" else ""
        raise InvalidArgument(
            "activations",
            f"{path} holds {stored.dtype} of shape {stored.shape}; numbers [rows, units] are needed{lost}",
        )
    try:
        activations = exact(stored)
    except ValueError as err:
        raise InvalidArgument("activations", f"{path} {err}") from err
    if not (np.abs(activations) <= LARGEST).all():
        raise InvalidArgument("activations", f"{path} holds NaN, infinity or numbers beyond float32's range")
    return ActivationBatch(activations, origin, tuple(objectives))


def _objective(text: str) -> Objective:
    """As an output folder keeps it. Raises: ValueError, KeyError for something else."""
    stored = json.loads(text)
    direction = stored["direction"] and {int(unit): float(weight) for unit, weight in stored["direction"].items()}
    return Objective(str(stored["layer"]), stored["unit"], stored["sense"], direction)
