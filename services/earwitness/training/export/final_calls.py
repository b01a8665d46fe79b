"""What the last functions of a forward pass took and gave, addressed from its end."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from earwitness.training.export.errors import ExportError

KEPT = 64
"""Calls remembered: between logits and what a network returns there are a handful."""


@dataclass(frozen=True)
class _Call:
    name: str
    tensors: tuple[Tensor, ...]
    """Arguments and results; arguments that the call writes into as they were before."""
    taken: tuple[Tensor, ...]
    given: tuple[Tensor, ...]


class FinalCalls(TorchFunctionMode):
    """While open, keeps the latest calls of torch functions, with autograd's history, in eager passes and in traced.

    Calls are counted from the end, 0 is the last: how a network begins may depend on whether gradients are wanted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls = deque[_Call](maxlen=KEPT)
        self._rows: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(getattr(func, "__name__", ""))
        taken = _tensors((args, dict(kwargs or {})))
        writes = (name.endswith("_") and not name.endswith("__")) or "inplace" in (kwargs or {})
        before = tuple(each.clone() for each in taken) if writes else taken
        result = func(*args, **(kwargs or {}))
        if given := _tensors(result):
            self._calls.append(_Call(name, (*before, *given), taken, given))
        return result

    def keep_rows(self, rows: Tensor) -> None:
        """From now on tells of these rows of the batch only, a mask `[B]`."""
        self._rows = rows

    def tensor(self, calls: int, place: int) -> Tensor:
        """A tensor of the call that is `calls` before the last.

        Raises: ExportError when this pass had no such call.
        """
        if calls >= len(self._calls) or place >= len(self._calls[-1 - calls].tensors):
            raise ExportError(
                "classifier: its last steps differ from one pass to the next, so its logits cannot be found; return "
                "them from forward, or say output='probability' (--output probability)"
            )
        return self._calls[-1 - calls].tensors[place]

    def tensors(self, rows: int) -> Iterator[tuple[int, int, Tensor]]:
        """(call, place, value `[rows, n]`) of all tensors of floats over the batch, the earliest first."""
        batch = rows if self._rows is None else len(self._rows)
        for index in reversed(range(len(self._calls))):
            for place, value in enumerate(self._calls[-1 - index].tensors):
                if value.ndim > 1 and value.shape[0] == batch and value.is_floating_point() and _is_flat(value):
                    flat = value.detach().reshape(batch, -1)
                    flat = flat if self._rows is None else flat[self._rows]
                    if bool(flat.isfinite().all()):
                        yield index, place, flat.float()

    def leads_to(self, functions: Collection[str], weighted: Collection[str], products: Collection[str]) -> bool:
        """Whether one of the functions has a part in the last result that no weights have been applied to since."""
        if not self._calls:
            return False
        wanted = {id(each) for each in self._calls[-1].given}
        for call in reversed(self._calls):
            if not any(id(each) in wanted for each in call.given) or call.name in weighted:
                continue
            if call.name in products and any(isinstance(each, nn.Parameter) for each in call.taken):
                continue
            if call.name in functions:
                return True
            wanted.update(id(each) for each in call.taken)
        return False


def _is_flat(value: Tensor) -> bool:
    """`[B, n]` but for axes of length 1."""
    return sum(size > 1 for size in value.shape[1:]) <= 1


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return tuple(each for each in tree_leaves(value) if isinstance(each, torch.Tensor))
