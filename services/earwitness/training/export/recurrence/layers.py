"""One recurrent layer, in one or two directions: what is computed for all steps at once, around one operator of ours.

Shapes: T steps, D directions, B rows, I inputs, H units, G·H gates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from earwitness.training.export.recurrence import operators


@dataclass(frozen=True)
class Weights:
    """Of one layer and direction, as torch keeps them: `[G·H, I]`, `[G·H, H]` and, where there are biases, `[G·H]`."""

    inputs: Tensor
    recurrent: Tensor
    input_bias: Tensor | None = None
    recurrent_bias: Tensor | None = None


Run = Callable[[Tensor, Sequence[Tensor], Tensor, Tensor], Sequence[Tensor]]
"""(gates `[T, D, B, G·H]`, initial states `[D, B, H]`, weight `[D, H, G·H]`, late bias `[D, 1, H]`) → every state at
every step, `[T, D, B, H]`, the hidden one first."""


@dataclass(frozen=True)
class Cell:
    """A kind of step. `late_gate` is the gate whose recurrent bias is added before it is multiplied, not after."""

    gate_count: int
    run: Run
    late_gate: int | None = None


def _gru(gates: Tensor, initial: Sequence[Tensor], weight: Tensor, late_bias: Tensor) -> Sequence[Tensor]:
    return (operators.gru(gates, initial[0], weight, late_bias),)


def _lstm(gates: Tensor, initial: Sequence[Tensor], weight: Tensor, late_bias: Tensor) -> Sequence[Tensor]:
    hidden, cells = operators.lstm(gates, *initial, weight)
    return hidden, cells


def _rnn(relu: bool) -> Run:
    def run(gates: Tensor, initial: Sequence[Tensor], weight: Tensor, late_bias: Tensor) -> Sequence[Tensor]:
        return (operators.rnn(gates, initial[0], weight, relu),)

    return run


GRU = Cell(3, _gru, late_gate=2)
LSTM = Cell(4, _lstm)
RNN_TANH = Cell(1, _rnn(relu=False))
RNN_RELU = Cell(1, _rnn(relu=True))


def run_layer(
    cell: Cell, x: Tensor, initial: Sequence[Tensor], weights: Sequence[Weights]
) -> tuple[Tensor, Sequence[Tensor]]:
    """Output `[T, B, D·H]` and final states `[D, B, H]` of one layer over x `[T, B, I]`.

    `initial` states are `[D, B, H]`; the weights are those of the forward direction, then of the backward one.
    """
    gates = _each_way([_input_gates(cell, x, each) for each in weights])
    recurrent = torch.stack([each.recurrent.t() for each in weights])
    late_bias = torch.stack([_late_bias(cell, each) for each in weights])
    states = cell.run(gates, initial, recurrent, late_bias)
    hidden = states[0]
    ways = [hidden[:, 0]] if len(weights) == 1 else [hidden[:, 0], hidden[:, 1].flip(0)]
    return torch.cat(ways, dim=-1) if len(ways) > 1 else ways[0], [state[-1] for state in states]


def _each_way(gates: Sequence[Tensor]) -> Tensor:
    """`[T, B, G·H]` of each direction → `[T, D, B, G·H]`, the backward direction from its first step, the last, on."""
    if len(gates) == 1:
        return gates[0].unsqueeze(1)
    forward, backward = gates
    return torch.stack([forward, backward.flip(0)], dim=1)


def _input_gates(cell: Cell, x: Tensor, weights: Weights) -> Tensor:
    """What the input adds to every gate at every step, with all biases but the late gate's recurrent one."""
    bias = weights.input_bias
    if bias is not None and weights.recurrent_bias is not None:
        early = list(weights.recurrent_bias.chunk(cell.gate_count))
        if cell.late_gate is not None:
            early[cell.late_gate] = torch.zeros_like(early[cell.late_gate])
        bias = bias + torch.cat(early)
    # Flat, as torch would else repeat the weights for every step.
    gates: Tensor = torch.nn.functional.linear(x.reshape(-1, x.shape[-1]), weights.inputs, bias)
    return gates.reshape(len(x), -1, gates.shape[-1])


def _late_bias(cell: Cell, weights: Weights) -> Tensor:
    """`[1, H]`"""
    size = weights.recurrent.shape[1]
    if cell.late_gate is None or weights.recurrent_bias is None:
        return weights.recurrent.new_zeros(1, size)
    return weights.recurrent_bias.chunk(cell.gate_count)[cell.late_gate].unsqueeze(0)
