"""Passes through networks without what spares memory or time in training and gets into the way of a graph.

Fused attention is written out, activation checkpointing keeps what it would compute again, autocast and casts to half
precision keep full precision, adaptive pooling sees its input in the usual order of memory. What a network means stays.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

HALVES = (torch.float16, torch.bfloat16)
HALVING = (Tensor.half, Tensor.bfloat16)
POOLS = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")


@contextmanager
def plain_forms() -> Iterator[None]:
    """While open, passes of any network in this thread take the plain forms; what is set here holds for the process."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as entered:
            for owner, name, value in (
                (torch.autocast, "__enter__", lambda self: self),
                (torch.autocast, "__exit__", lambda self, *error: None),
                (checkpoint, "CheckpointFunction", _Straight),
                (checkpoint, "_checkpoint_without_reentrant_generator", _nothing),
            ):
                entered.enter_context(_replaced(owner, name, value))
            entered.enter_context(sdpa_kernel(SDPBackend.MATH))
            entered.enter_context(_PlainFunctions())
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _PlainFunctions(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in HALVING:
            func = Tensor.float
        if getattr(func, "__name__", "") in POOLS:
            # Of channels that lie last torch makes a mean and then sets its strides, which no graph can hold.
            args = tuple(each.contiguous() if isinstance(each, Tensor) else each for each in args)
        named = {name: _full(each) for name, each in (kwargs or {}).items()}
        return func(*(_full(each) for each in args), **named)


def _full(argument: Any) -> Any:
    return torch.float32 if isinstance(argument, torch.dtype) and argument in HALVES else argument


class _Straight:
    """In the place of the autograd function of reentrant checkpointing: the function itself."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args)


def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    """In the place of the hooks around a function that is not reentrant."""
    yield


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
