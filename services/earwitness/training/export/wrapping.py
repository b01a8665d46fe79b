"""The commonest wraps around networks, for those who cannot or need not write a module: which of several results, axes
in the other order, the same spectrogram in several channels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earwitness.training.export.errors import ShapeError

Swapped = Literal["generator", "classifier", "both"]
OPTIONS = {"classifier": ("take", "--take"), "generator": ("generator_take", "--generator-take")}


@dataclass(frozen=True)
class Wraps:
    """What stands between the networks as they are and as a bundle needs them.

    `take` and `generator_take` choose one of a network's results by index, key or attribute, `0`, `logits`, `1.mel`.
    Networks of `swap_axes` have spectrograms of frames × bands. The classifier gets its spectrogram `channels` times.
    """

    take: str | int | None = None
    generator_take: str | int | None = None
    swap_axes: Swapped | None = None
    channels: int = 1

    def around(self, generator: nn.Module, classifier: nn.Module) -> None:
        """Puts the wraps around copies of the networks, whose paths stay what they are.

        Raises: ShapeError when an option cannot be.
        """
        if self.channels < 1:
            raise ShapeError(f"channels: got {self.channels}, expected at least 1")
        if self.generator_take is not None:
            generator.register_forward_hook(lambda _, args, result: _take("generator", result, self.generator_take))
        if self.swap_axes in ("generator", "both"):
            generator.register_forward_hook(lambda _, args, result: result.transpose(-1, -2))
        if self.swap_axes in ("classifier", "both") or self.channels > 1:
            classifier.register_forward_pre_hook(lambda _, args: (self._prepared(args[0]), *args[1:]))
        if self.take is not None:
            classifier.register_forward_hook(lambda _, args, result: _take("classifier", result, self.take))
        classifier.register_forward_hook(lambda _, args, result: _rows(result))

    def _prepared(self, x: Tensor) -> Tensor:
        if self.swap_axes in ("classifier", "both"):
            x = x.transpose(-1, -2)
        if self.channels > 1:
            x = x if x.ndim == 4 else x.unsqueeze(1)
            x = x.expand(-1, self.channels, -1, -1)
        return x


def _rows(result: Any) -> Any:
    """`[B]` and `[B, n, 1, 1]` as `[B, n]`."""
    if not isinstance(result, Tensor):
        return result
    if result.ndim == 1:
        return result.unsqueeze(1)
    if result.ndim > 2 and all(size == 1 for size in result.shape[2:]):
        return result.flatten(1)
    return result


def _take(role: str, result: Any, path: str | int | None) -> Any:
    """One of a network's results. Raises: ShapeError naming those there are."""
    found = result
    for part in str(path).split("."):
        try:
            if isinstance(found, Mapping):
                found = found[part]
            elif part.lstrip("-").isdecimal() and isinstance(found, Sequence | Tensor):
                found = found[int(part)]
            else:
                found = getattr(found, part)
        except (KeyError, IndexError, AttributeError, TypeError) as err:
            raise ShapeError(
                f"{role}: {OPTIONS[role][0]}={path!r} is none of its results; it {returns(result)}"
            ) from err
    return found


def returns(result: Any) -> str:
    """What a network returns that is not one tensor, in words."""
    named = list(_named(result))
    if not named:
        return f"returns {type(result).__name__}"
    each = ", ".join(f"{name} {list(value.shape)}" for name, value in named)
    return f"returns {type(result).__name__} of {each}"


def which(role: str, result: Any) -> str:
    """How to say which of the results is meant, by the first that looks like it; "" where there is none."""
    named = list(_named(result))
    wanted = 2 if role == "classifier" else 3
    fitting = [name for name, value in named if value.ndim == wanted or (role == "generator" and value.ndim == 4)]
    if not named:
        return ""
    option, flag = OPTIONS[role]
    name = (fitting or [named[0][0]])[0]
    return f"; say which one it is, for example {option}={name!r} ({flag} {name})"


def _named(result: Any, prefix: str = "") -> Iterable[tuple[str, Tensor]]:
    """The tensors in a result, by the names that `take` knows them by."""
    if isinstance(result, Tensor):
        yield prefix, result
    elif isinstance(result, Mapping):
        for name, value in result.items():
            yield from _named(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(result, tuple | list):
        for name, value in zip(getattr(result, "_fields", range(len(result))), result, strict=True):
            yield from _named(value, f"{prefix}.{name}" if prefix else str(name))


def same_in_channels(x: Tensor, channels: int) -> Tensor:
    """`[B, bands, frames]` or `[B, 1, bands, frames]` → `[B, channels, bands, frames]`."""
    return torch.broadcast_to(x.reshape(x.shape[0], 1, *x.shape[-2:]), (x.shape[0], channels, *x.shape[-2:]))
