"""Directions over the units of a layer: read from a file, or drawn at random."""

import json
from pathlib import Path

import numpy as np

from earwitness.client.values import Layer
from earwitness.errors import InvalidArgument

RANDOM = "random:"


def direction_of(words: str, layer: Layer) -> dict[int, float]:
    """The weights by unit that `words` stand for: a JSON file `{"unit": weight, ...}`, or `random:SEED`.

    Raises: InvalidArgument for a seed that is no number from 0, or a file that holds no such object.
    """
    if not words.startswith(RANDOM):
        return load_direction(Path(words))
    seed = words.removeprefix(RANDOM)
    if not seed.isascii() or not seed.isdigit():
        raise InvalidArgument("direction", f"got {words!r}; give {RANDOM}SEED with a whole number, e.g. {RANDOM}0")
    return random_direction(layer.unit_count, int(seed))


def load_direction(path: Path) -> dict[int, float]:
    """The weights by unit in a JSON file `{"unit": weight, ...}`; whether a layer has the units is the server's to say.

    Raises: InvalidArgument when the file holds something else, or there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InvalidArgument("direction", f"{path}: {err.strerror}; give a JSON file or {RANDOM}SEED") from err
    except ValueError as err:
        raise InvalidArgument("direction", f"{path} is no JSON ({err})") from err
    try:
        direction = {int(unit): float(weight) for unit, weight in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise InvalidArgument(
            "direction", f'{path} holds no weights by unit; write {{"3": 1.0, "7": -0.5}} for units 3 and 7'
        ) from None
    if not direction:
        raise InvalidArgument("direction", f"{path} names no unit; give at least one")
    return direction


def random_direction(unit_count: int, seed: int) -> dict[int, float]:
    """A direction of length 1 over all units, every one as likely as any other; a seed gives the same one always."""
    weights = np.random.default_rng(seed).standard_normal(unit_count)
    weights /= np.linalg.norm(weights)
    return {unit: float(weight) for unit, weight in enumerate(weights.astype(np.float32))}
