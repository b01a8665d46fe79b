"""ONNX forms of the recurrent operators: each a `Scan` whose body is one step.

ONNX's own `GRU` and `LSTM` have no gradient, and tell nothing of the gates and cells that one needs.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir
import torch
from onnxscript import evaluator, opset18

op: Any = opset18


class _Body:
    """A step of a `Scan`, as it is written down; every name in it starts with `step/`, as no name around it does."""

    def __init__(self) -> None:
        self._nodes: list[onnx_ir.Node] = []
        self.inputs: list[onnx_ir.Value] = []

    def take(self, like: Any, per_step: bool) -> onnx_ir.Value:
        """An input of the body, of the shape of `like`, or of one step of it."""
        shape = onnx_ir.Shape(like.shape[1:] if per_step else like.shape)
        value = onnx_ir.Value(
            name=f"step/{len(self.inputs)}", shape=shape, type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        )
        self.inputs.append(value)
        return value

    def call(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """The result of an ONNX operator, or its results where there are several."""
        names = [f"step/{operator}_{len(self._nodes)}_{index}" for index in range(outputs)]
        node = onnx_ir.node(operator, list(inputs), attributes, outputs=[onnx_ir.Value(name=name) for name in names])
        self._nodes.append(node)
        return node.outputs[0] if outputs == 1 else node.outputs

    def graph(self, outputs: Sequence[onnx_ir.Value]) -> onnx_ir.Graph:
        """The body; no value may be two outputs, so each is passed on by a node of its own."""
        named = [self.call("Identity", each) for each in outputs]
        for value in named:
            value.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        return onnx_ir.Graph(self.inputs, named, nodes=self._nodes, name="step")


def _scan(
    states: Sequence[Any],
    sequences: Sequence[Any],
    step: Callable[..., tuple[Sequence[Any], Sequence[Any]]],
    backwards: bool = False,
) -> Sequence[Any]:
    """Final states, then what is put out at every step, of `step(body, *states, *at_step)` → (states, put out)."""
    body = _Body()
    taken = [body.take(each, per_step=False) for each in states] + [
        body.take(each, per_step=True) for each in sequences
    ]
    after, put_out = step(body, *taken)
    graph = body.graph([*after, *put_out])
    directions = {
        "scan_input_directions": [int(backwards)] * len(sequences),
        "scan_output_directions": [int(backwards)] * len(put_out),
    }
    node = onnx_ir.node(
        "Scan", [*states, *sequences], {"body": graph, "num_scan_inputs": len(sequences), **directions},
        num_outputs=len(after) + len(put_out),
    )  # fmt: skip
    recorder: Any = evaluator.default()
    recorder.nodes.append(node)
    return node.outputs


def _split(x: Any, *sizes: int) -> Sequence[Any]:
    """Parts of the last axis."""
    axis, edges = op.Constant(value_ints=[-1]), list(itertools.accumulate(sizes, initial=0))
    parts = []
    for start, end in itertools.pairwise(edges):
        part: Any = op.Slice(x, op.Constant(value_ints=[start]), op.Constant(value_ints=[end]), axis)
        part.shape = onnx_ir.Shape([*x.shape[:-1], end - start])
        parts.append(part)
    return parts


def _gru(gates: Any, initial: Any, weight: Any, late_bias: Any) -> Any:
    size = int(initial.shape[-1])
    sizes = op.Constant(value_ints=[2 * size, size])

    def step(body: _Body, hidden: Any, early: Any, new: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        from_early, from_new = body.call("Split", body.call("MatMul", hidden, weight), sizes, axis=-1, outputs=2)
        early = body.call("Sigmoid", body.call("Add", from_early, early))
        reset, update = body.call("Split", early, axis=-1, num_outputs=2, outputs=2)
        gated = body.call("Mul", reset, body.call("Add", from_new, late_bias))
        new = body.call("Tanh", body.call("Add", gated, new))
        after = body.call("Add", new, body.call("Mul", update, body.call("Sub", hidden, new)))
        return [after], [after]

    return _scan([initial], _split(gates, 2 * size, size), step)[1]


def _gru_vjp(grad: Any, slopes: Any, kept: Any, weight: Any) -> Any:
    def step(body: _Body, carried: Any, grad: Any, slopes: Any, kept: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        total = body.call("Add", carried, grad)
        gates = body.call("Mul", body.call("Concat", total, total, total, axis=-1), slopes)
        carried = body.call("Add", body.call("MatMul", gates, weight), body.call("Mul", total, kept))
        return [carried], [total]

    first, total = _scan([_zero(grad)], [grad, slopes, kept], step, backwards=True)
    return total, first


def _lstm(gates: Any, initial: Any, initial_cell: Any, weight: Any) -> Any:
    def step(body: _Body, hidden: Any, cell: Any, gates: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        gates = body.call("Add", body.call("MatMul", hidden, weight), gates)
        taken, kept, new, shown = body.call("Split", gates, axis=-1, num_outputs=4, outputs=4)
        kept, taken = body.call("Sigmoid", kept), body.call("Sigmoid", taken)
        gain = body.call("Mul", taken, body.call("Tanh", new))
        cell = body.call("Add", body.call("Mul", kept, cell), gain)
        hidden = body.call("Mul", body.call("Sigmoid", shown), body.call("Tanh", cell))
        return [hidden, cell], [hidden, cell]

    return tuple(_scan([initial, initial_cell], [gates], step)[2:])


def _lstm_vjp(grad: Any, last_cell: Any, to_cell: Any, slopes: Any, kept: Any, weight: Any) -> Any:
    def step(
        body: _Body, carried: Any, cell: Any, grad: Any, to_cell: Any, slopes: Any, kept: Any
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        total = body.call("Add", carried, grad)
        cell = body.call("Add", cell, body.call("Mul", total, to_cell))
        gates = body.call("Mul", body.call("Concat", cell, cell, cell, total, axis=-1), slopes)
        return [body.call("MatMul", gates, weight), body.call("Mul", cell, kept)], [gates]

    sequences = [grad, to_cell, slopes, kept]
    first, first_cell, gates = _scan([_zero(grad), last_cell], sequences, step, backwards=True)
    return gates, first, first_cell


def _rnn(gates: Any, initial: Any, weight: Any, relu: bool) -> Any:
    def step(body: _Body, hidden: Any, gates: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        after = body.call("Relu" if relu else "Tanh", body.call("Add", body.call("MatMul", hidden, weight), gates))
        return [after], [after]

    return _scan([initial], [gates], step)[1]


def _rnn_vjp(grad: Any, slopes: Any, weight: Any) -> Any:
    def step(body: _Body, carried: Any, grad: Any, slopes: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        gates = body.call("Mul", body.call("Add", carried, grad), slopes)
        return [body.call("MatMul", gates, weight)], [gates]

    first, gates = _scan([_zero(grad)], [grad, slopes], step, backwards=True)
    return gates, first


def _zero(sequence: Any) -> Any:
    """Zeros of the shape of one step."""
    shape = op.Shape(sequence, start=1)
    zero: Any = op.ConstantOfShape(shape)
    zero.shape = onnx_ir.Shape(sequence.shape[1:])
    return zero


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """ONNX form of each recurrent operator, for the exporter."""
    ours = torch.ops.earwitness
    return {
        ours.gru.default: _gru,
        ours.gru_vjp.default: _gru_vjp,
        ours.lstm.default: _lstm,
        ours.lstm_vjp.default: _lstm_vjp,
        ours.rnn.default: _rnn,
        ours.rnn_vjp.default: _rnn_vjp,
    }
