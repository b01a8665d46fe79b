"""Weights of a user's own networks: state dicts in the forms that people save them in."""

import pickle
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from earwitness.training.export.errors import SourceError

WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")
"""Keys under which training scripts keep the state dict, beside optimiser and epoch."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""Put before every name by DataParallel, torch.compile and Lightning."""
LISTED = 3

Network = TypeVar("Network", bound=nn.Module)


def load_weights(network: Network, file: Path | str) -> Network:
    """`network` with the weights that `torch.save` wrote into `file`, read without running code from it.

    The file holds a state dict, alone or within a training checkpoint; a prefix that a wrapper put before every name is
    taken off.

    Raises: SourceError naming what is missing, unexpected or of another shape; `network` is then as it was.
    """
    wanted = network.state_dict()
    state = _without_prefix(_state_dict(Path(file)), wanted.keys())
    shapes = {name: list(tensor.shape) for name, tensor in wanted.items() if not is_lazy(tensor)}
    problems = [
        *_listed("is missing", "are missing", [name for name in wanted if name not in state]),
        *_listed("is not in the network", "are not in the network", [name for name in state if name not in wanted]),
        *_listed("has another shape", "have other shapes", [
            f"{name} ({list(state[name].shape)} in the file, {shape} in the network)"
            for name, shape in shapes.items() if name in state and list(state[name].shape) != shape
        ]),
    ]  # fmt: skip
    if problems:
        raise SourceError(
            f"{file}: weights of another architecture than {type(network).__name__}: {'; '.join(problems)}; "
            "build the network as it was trained, or give its own checkpoint"
        )
    network.load_state_dict(state)
    return network


def _state_dict(file: Path) -> dict[str, Tensor]:
    try:
        body = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as err:
        raise SourceError(f"{file}: cannot be read: {err.strerror}") from err
    except Exception as err:  # torch.load raises as it pleases on what it did not write
        if isinstance(err, pickle.UnpicklingError) and zipfile.is_zipfile(file):
            raise SourceError(
                f"{file}: holds more than tensors, and is not unpickled for that could run code; save the weights "
                "alone: torch.save(network.state_dict(), file)"
            ) from err
        raise SourceError(
            f"{file}: not a file of torch.save; write one with torch.save(network.state_dict(), file)"
        ) from err
    for key in WRAPPERS:
        if isinstance(body, Mapping) and isinstance(body.get(key), Mapping):
            body = body[key]
            break
    if not isinstance(body, Mapping) or not body or not all(isinstance(each, Tensor) for each in body.values()):
        raise SourceError(f"{file}: holds {_kind(body)}, expected a state dict: torch.save(network.state_dict(), file)")
    return {str(name): tensor for name, tensor in body.items()}


def _kind(body: object) -> str:
    return (
        f"a dict of {', '.join(map(str, list(body)[:LISTED]))} ..."
        if isinstance(body, dict) and body
        else type(body).__name__
    )


def _without_prefix(state: dict[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    while not any(name in wanted for name in state):
        shared = [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)]
        if not shared:
            break
        state = {name.removeprefix(shared[0]): tensor for name, tensor in state.items()}
    return state


def _listed(one: str, several: str, names: Sequence[str]) -> list[str]:
    """How many names, and the first of them, in words; nothing for none."""
    if not names:
        return []
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{', '.join(names[:LISTED])}{more} {one if len(names) == 1 else several}"]
