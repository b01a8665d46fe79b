"""Takes calls of recurrent layers and cells while a network is traced."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from earwitness.training.export.errors import UnsupportedOperator
from earwitness.training.export.recurrence.layers import GRU, LSTM, RNN_RELU, RNN_TANH, Cell, Weights, run_layer

MOST_STEPS = 64
"""Most steps that are written out one by one, where a network loops over a cell itself: each is some forty operators,
and 50 of them take 40 CPU-seconds to export."""

_WHOLE: Mapping[str, Cell] = {"gru": GRU, "lstm": LSTM, "rnn_tanh": RNN_TANH, "rnn_relu": RNN_RELU}
_ARGUMENTS = (
    "input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first",
)  # fmt: skip
"""Of torch's functions, in order. Those for packed sequences take the lengths second, so their weights come fourth."""
_CELLS = ("gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
_PACKING = "_pack_padded_sequence"


@contextmanager
def in_one_piece(layer: Callable[[], str]) -> Iterator[None]:
    """While open, recurrent layers run as operators of ours; `layer` says which layer runs, for messages.

    Raises (from a call): UnsupportedOperator for packed sequences, and for loops over cells that are too long.
    """
    with _Calls(layer):
        yield


class _Calls(TorchFunctionMode):
    def __init__(self, layer: Callable[[], str]) -> None:
        super().__init__()
        self._layer = layer
        self._steps = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _WHOLE and func == getattr(torch, name):
            return self._whole(name, func, args, given)
        if name == _PACKING:
            raise self._refusal(name, "sequences are packed by length; give the layer the padded tensor itself, for "
                                "every excerpt is equally long")  # fmt: skip
        if name in _CELLS and func == getattr(torch, name):
            self._count(name, 1)
        return func(*args, **given)

    def _whole(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        call = {**dict(zip(_ARGUMENTS, args, strict=False)), **given}
        if not isinstance(call["has_biases"], bool):
            raise self._refusal(name, "it is given a packed sequence; give it the padded tensor itself, for every "
                                "excerpt is equally long")  # fmt: skip
        x, params, layers = call["input"], call["params"], call["num_layers"]
        directions = 2 if call["bidirectional"] else 1
        plain = len(params) == layers * directions * (4 if call["has_biases"] else 2)
        if not plain or (call["train"] and call["dropout"]):
            # Projections have no operator of ours: as many steps as there are.
            self._count(name, x.shape[1 if call["batch_first"] else 0] * layers * directions)
            return func(*args, **given)
        if any(weight.requires_grad for weight in params):
            raise self._refusal(name, "its weights are computed from the latent")
        return _run(_WHOLE[name], call, directions)

    def _count(self, name: str, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise self._refusal(
                name,
                f"its steps are written out one by one, more than {MOST_STEPS} of them here. nn.GRU, nn.LSTM and "
                "nn.RNN over the whole sequence, without proj_size, take any length: they have the same weights as "
                "a loop over their cell, under names that end in _l0",
            )

    def _refusal(self, name: str, reason: str) -> UnsupportedOperator:
        return UnsupportedOperator(f"aten.{name}", self._layer(), reason)


def _run(cell: Cell, call: Mapping[str, Any], directions: int) -> tuple[Tensor, ...]:
    """What `torch.gru` returns, or `torch.lstm`: output, then the last state of every layer and direction."""
    x: Tensor = call["input"].transpose(0, 1) if call["batch_first"] else call["input"]
    initial: Sequence[Tensor] = call["hx"] if cell is LSTM else (call["hx"],)
    size = 4 if call["has_biases"] else 2
    weights = [Weights(*call["params"][i : i + size]) for i in range(0, len(call["params"]), size)]
    finals: list[Sequence[Tensor]] = []
    for first in range(0, len(weights), directions):
        rows = slice(first, first + directions)
        x, final = run_layer(cell, x, [state[rows] for state in initial], weights[rows])
        finals.append(final)
    states = [torch.cat(parts) for parts in zip(*finals, strict=True)]
    return (x.transpose(0, 1) if call["batch_first"] else x, *states)
