"""The operators of recurrent layers: what has to be done step by step, forward and for the gradient.

Shapes: T steps, D directions, B rows, H units. Every direction starts at step 0; who turns one around does so outside.
Gates are in torch's order: reset, update, new of a GRU; input, forget, new, output of an LSTM. The derivations are
those of the equations in the documentation of `torch.nn.GRU`, `torch.nn.LSTM` and `torch.nn.RNN`, by the chain rule.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_ours = torch.ops.earwitness


@torch.library.custom_op("earwitness::gru", mutates_args=())
def gru(gates: Tensor, initial: Tensor, weight: Tensor, late_bias: Tensor) -> Tensor:
    """Hidden states `[T, D, B, H]` of a GRU.

    `gates` `[T, D, B, 3H]` are what the input adds at every step, `initial` `[D, B, H]`, `weight` `[D, H, 3H]`,
    `late_bias` `[D, 1, H]` that of the new gate, which the reset gate multiplies.
    """
    hidden, states = initial, []
    for at_step in gates:
        reset, update, new = at_step.chunk(3, -1)
        from_reset, from_update, from_new = (hidden @ weight).chunk(3, -1)
        update = torch.sigmoid(update + from_update)
        new = torch.tanh(new + torch.sigmoid(reset + from_reset) * (from_new + late_bias))
        hidden = new + update * (hidden - new)
        states.append(hidden)
    return torch.stack(states)


@torch.library.custom_op("earwitness::gru_vjp", mutates_args=())
def gru_vjp(grad: Tensor, slopes: Tensor, kept: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The whole gradient at every hidden state, `[T, D, B, H]`, and at the initial one, `[D, B, H]`.

    `grad` `[T, D, B, H]` comes from outside. A step's gradient reaches the state before through the gates, times
    `slopes` `[T, D, B, 3H]` and `weight` `[D, 3H, H]`, and directly, times `kept` `[T, D, B, H]`.
    """
    carried, totals = torch.zeros_like(grad[0]), []
    for step in reversed(range(len(grad))):
        total = carried + grad[step]
        carried = (torch.cat([total] * 3, -1) * slopes[step]) @ weight + total * kept[step]
        totals.append(total)
    return torch.stack(totals[::-1]), carried


@torch.library.custom_op("earwitness::lstm", mutates_args=())
def lstm(gates: Tensor, initial: Tensor, initial_cell: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and cells `[T, D, B, H]` of an LSTM: `gates` `[T, D, B, 4H]`, `weight` `[D, H, 4H]`."""
    hidden, cell = initial, initial_cell
    states, cells = [], []
    for at_step in gates:
        taken, kept, new, shown = (at_step + hidden @ weight).chunk(4, -1)
        cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
        hidden = torch.sigmoid(shown) * torch.tanh(cell)
        states.append(hidden)
        cells.append(cell)
    return torch.stack(states), torch.stack(cells)


@torch.library.custom_op("earwitness::lstm_vjp", mutates_args=())
def lstm_vjp(
    grad: Tensor, last_cell: Tensor, to_cell: Tensor, slopes: Tensor, kept: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient at the gates of every step, `[T, D, B, 4H]`, and at initial state and cell, `[D, B, H]` each.

    `grad` `[T, D, B, H]` comes to the hidden states from outside, `last_cell` `[D, B, H]` to the last cell. A state's
    gradient reaches its cell times `to_cell`; the cell's reaches the first three gates and the state's the last, times
    `slopes` `[T, D, B, 4H]`; the cell before gets the cell's times `kept`, the state before the gates' times `weight`
    `[D, 4H, H]`.
    """
    carried, cell, steps = torch.zeros_like(last_cell), last_cell, []
    for step in reversed(range(len(grad))):
        total = carried + grad[step]
        cell = cell + total * to_cell[step]
        gates = torch.cat([cell, cell, cell, total], -1) * slopes[step]
        carried, cell = gates @ weight, cell * kept[step]
        steps.append(gates)
    return torch.stack(steps[::-1]), carried, cell


@torch.library.custom_op("earwitness::rnn", mutates_args=())
def rnn(gates: Tensor, initial: Tensor, weight: Tensor, relu: bool) -> Tensor:
    """Hidden states `[T, D, B, H]` of a plain recurrent layer: `gates` `[T, D, B, H]`, `weight` `[D, H, H]`."""
    hidden, states = initial, []
    for at_step in gates:
        hidden = at_step + hidden @ weight
        hidden = torch.relu(hidden) if relu else torch.tanh(hidden)
        states.append(hidden)
    return torch.stack(states)


@torch.library.custom_op("earwitness::rnn_vjp", mutates_args=())
def rnn_vjp(grad: Tensor, slopes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient in front of the activation at every step, `[T, D, B, H]`, and at the initial state, `[D, B, H]`."""
    carried, steps = torch.zeros_like(grad[0]), []
    for step in reversed(range(len(grad))):
        at_step = (carried + grad[step]) * slopes[step]
        carried = at_step @ weight
        steps.append(at_step)
    return torch.stack(steps[::-1]), carried


@gru.register_fake
def _(gates: Tensor, initial: Tensor, weight: Tensor, late_bias: Tensor) -> Tensor:
    return _states(gates, initial)


@gru_vjp.register_fake
def _(grad: Tensor, slopes: Tensor, kept: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad.new_empty(grad.shape), grad.new_empty(grad.shape[1:])


@lstm.register_fake
def _(gates: Tensor, initial: Tensor, initial_cell: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _states(gates, initial), _states(gates, initial)


@lstm_vjp.register_fake
def _(
    grad: Tensor, last_cell: Tensor, to_cell: Tensor, slopes: Tensor, kept: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return grad.new_empty(slopes.shape), grad.new_empty(last_cell.shape), grad.new_empty(last_cell.shape)


@rnn.register_fake
def _(gates: Tensor, initial: Tensor, weight: Tensor, relu: bool) -> Tensor:
    return _states(gates, initial)


@rnn_vjp.register_fake
def _(grad: Tensor, slopes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad.new_empty(grad.shape), grad.new_empty(grad.shape[1:])


def _states(gates: Tensor, initial: Tensor) -> Tensor:
    return gates.new_empty([gates.shape[0], *initial.shape])


def _keep(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
    outputs = output if isinstance(output, tuple) else (output,)
    ctx.save_for_backward(*(each for each in (*inputs, *outputs) if isinstance(each, Tensor)))


def _keep_lstm(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
    ctx.set_materialize_grads(False)
    _keep(ctx, inputs, output)


def _gru_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gates, initial, weight, late_bias, hidden = ctx.saved_tensors
    previous = _previous(initial, hidden)
    reset, update, new = gates.chunk(3, -1)
    from_reset, from_update, from_new = _times(previous, weight).chunk(3, -1)
    from_new = from_new + late_bias
    reset, update = torch.sigmoid(reset + from_reset), torch.sigmoid(update + from_update)
    new = torch.tanh(new + reset * from_new)
    at_new = (1 - update) * (1 - new * new)
    at_reset = at_new * from_new * reset * (1 - reset)
    at_update = (previous - new) * update * (1 - update)
    slopes = torch.cat([at_reset, at_update, at_new * reset], -1)
    total, first = _ours.gru_vjp(grad, slopes, update, weight.transpose(1, 2))
    return torch.cat([total * at_reset, total * at_update, total * at_new], -1), first, None, None


def _lstm_backward(ctx: Any, grad: Tensor | None, cell_grad: Tensor | None) -> tuple[Tensor | None, ...]:
    gates, initial, initial_cell, weight, hidden, cells = ctx.saved_tensors
    gates = gates + _times(_previous(initial, hidden), weight)
    taken, kept, new, shown = gates.chunk(4, -1)
    taken, kept, new, shown = torch.sigmoid(taken), torch.sigmoid(kept), torch.tanh(new), torch.sigmoid(shown)
    cell = torch.tanh(cells)
    slopes = torch.cat(
        [
            new * taken * (1 - taken),
            _previous(initial_cell, cells) * kept * (1 - kept),
            taken * (1 - new * new),
            cell * shown * (1 - shown),
        ],
        -1,
    )
    # Nobody outside sees a cell but the last one.
    last_cell = torch.zeros_like(initial) if cell_grad is None else cell_grad[-1]
    grad = torch.zeros_like(hidden) if grad is None else grad
    at_gates, first, first_cell = _ours.lstm_vjp(
        grad, last_cell, shown * (1 - cell * cell), slopes, kept, weight.transpose(1, 2)
    )
    return at_gates, first, first_cell, None


def _rnn_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    _, _, weight, hidden = ctx.saved_tensors
    slopes = (hidden > 0).to(hidden.dtype) if ctx.relu else 1 - hidden * hidden
    at_gates, first = _ours.rnn_vjp(grad, slopes, weight.transpose(1, 2))
    return at_gates, first, None, None


def _keep_rnn(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
    ctx.relu = inputs[3]
    _keep(ctx, inputs, output)


gru.register_autograd(_gru_backward, setup_context=_keep)
lstm.register_autograd(_lstm_backward, setup_context=_keep_lstm)
rnn.register_autograd(_rnn_backward, setup_context=_keep_rnn)


def _previous(initial: Tensor, states: Tensor) -> Tensor:
    """The state in front of every step."""
    return torch.cat([initial.unsqueeze(0), states[:-1]])


def _times(states: Tensor, weight: Tensor) -> Tensor:
    """`[T, D, B, H]` times `[D, H, G·H]`: one product for all steps of a direction."""
    directions, size, gates = weight.shape
    # Flat, as torch would else repeat the weight for every step.
    products = torch.bmm(states.transpose(0, 1).reshape(directions, -1, size), weight)
    return products.reshape(directions, len(states), -1, gates).transpose(0, 1)
