"""A network in torch of an ONNX graph: the same numbers, so that its gradient can be exported as any network's.

Converters there are (onnx2torch is the best known) have not kept up: no release since 2024, opsets up to 16 for most
operators, no branches, shapes as tensors, which fix the batch. These rules take opset 7 and newer, keep shapes as
whole numbers, symbolic in the batch, and make torch's own modules of whatever has weights.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from earwitness.training.export.errors import ExportError
from earwitness.training.export.files import learned, moving, pointwise, reducing
from earwitness.training.export.files.values import Arguments, Known, NoRule, Operation, Sizes, Value
from earwitness.training.export.files.weighted import module_of, run_module

RULES: Mapping[str, Callable[[Arguments], Any]] = {**pointwise.RULES, **moving.RULES, **reducing.RULES}
ML = "ai.onnx.ml"
MOST_SIZES = 64
"""Whole numbers up to so many are taken for a shape or an index."""
WEIGHT_ENDINGS = re.compile(
    r"([./](weight|kernel|MatMul/ReadVariableOp|Conv\w*/ReadVariableOp|Cast/ReadVariableOp)\w*(:\d+)?)+$"
)


class NoGradient(ExportError):
    """The gradient of a file cannot be computed; `operation` is the first reason, None where it is another."""


class OnnxNetwork(nn.Module):
    """`forward` takes the graph's input and returns one of its outputs, by name `output`. A graph that was written for
    one number of rows, `batch`, takes any.

    Raises: NoGradient naming the first operation without a rule.
    """

    def __init__(self, model: onnx.ModelProto, given: str, output: str, batch: int | None = None) -> None:
        super().__init__()
        self._given, self._output, self._batch = given, output, batch
        self._opsets = {each.domain or "": each.version for each in model.opset_import}
        self._known: dict[str, Known] = {
            each.name: _numbers(numpy_helper.to_array(each)) for each in model.graph.initializer
        }
        self._buffers_of: dict[str, str] = {}
        self._modules_of: dict[str, str] = {}
        self._operations: list[Operation] = []
        ranks = _ranks(model)
        for operation in needed(self._read(model.graph), [output]):
            self._place(operation, ranks)

    def forward(self, x: Tensor) -> Tensor:
        """The output for the input. Raises: NoGradient."""
        values: dict[str, Value] = {self._given: x}
        for operation in self._operations:
            given = self._arguments(operation, values)
            name = self._modules_of.get(operation.outputs[0])
            results = _apply(operation, given) if name is None else [run_module(self.get_submodule(name), given)]
            values.update(zip(operation.outputs, results, strict=False))
        found = values[self._output]
        return found.tensor() if isinstance(found, Sizes) else found

    def _read(self, graph: onnx.GraphProto) -> list[Operation]:
        """The operations in order; branches whose condition the file holds are taken in."""
        read = []
        for node in graph.node:
            operation = self._operation(node)
            if operation.operator == "Constant":
                self._known[operation.outputs[0]] = _numbers(_constant(operation))
            elif operation.operator == "If":
                read += self._branch(operation)
            else:
                read.append(self._of_any_batch(operation))
                self._fold(operation)
        return _biased(read, self._known)

    def _of_any_batch(self, operation: Operation) -> Operation:
        """A shape that begins with the number of rows that the graph was written for takes it from what it shapes."""
        if operation.operator != "Reshape" or self._batch is None or operation.inputs[0] in self._known:
            return operation
        shape = self._known.get(operation.inputs[1])
        if shape is None or not shape.size or int(shape.ravel()[0]) != self._batch:
            return operation
        name = f"{operation.inputs[1]} of any batch"
        self._known[name] = np.array([0, *shape.ravel()[1:]], np.int64)
        attributes = {**operation.attributes, "allowzero": 0}
        return replace(operation, inputs=(operation.inputs[0], name), attributes=attributes)

    def _branch(self, operation: Operation) -> list[Operation]:
        condition = self._known.get(operation.inputs[0])
        if condition is None:
            raise NoGradient(f"operation {operation} takes one of two branches by what is computed of the sound")
        taken: onnx.GraphProto = operation.attributes["then_branch" if condition.ravel()[0] else "else_branch"]
        for tensor in taken.initializer:
            self._known[tensor.name] = _numbers(numpy_helper.to_array(tensor))
        renamed = [
            Operation("Identity", "", operation.name, (inner.name,), (outer,), {}, operation.opset)
            for inner, outer in zip(taken.output, operation.outputs, strict=True)
        ]
        operations = [*self._read(taken), *renamed]
        for each in renamed:
            self._fold(each)
        return operations

    def _fold(self, operation: Operation) -> None:
        """Computes what the file alone determines."""
        if not operation.inputs or any(name and name not in self._known for name in operation.inputs):
            return
        if operation.operator.startswith("Random"):
            return
        values = {name: _value(self._known[name]) for name in operation.inputs if name}
        try:
            with torch.no_grad():
                results = _apply(operation, self._arguments(operation, values))
        except NoGradient:
            return  # said where it is needed
        for name, result in zip(operation.outputs, results, strict=False):
            self._known[name] = _array(result)

    def _place(self, operation: Operation, ranks: Mapping[str, int]) -> None:
        """Keeps an operation that depends on the sound, with its module or the constants that it takes."""
        if all(name in self._known for name in operation.outputs if name):
            return
        known = {place: self._known[name] for place, name in enumerate(operation.inputs) if name in self._known}
        try:
            module = module_of(operation, known, ranks.get(operation.inputs[0]) if operation.inputs else None)
        except NoRule as err:
            raise NoGradient(f"operation {operation}: {err}") from err
        if module is not None:
            name = self._name(operation, known)
            self.add_module(name, module)
            self._modules_of[operation.outputs[0]] = name
        else:
            if not _has_rule(operation):
                raise NoGradient(f"operation {operation}: {_why_none(operation)}")
            for place in known:
                self._keep(operation.inputs[place])
        self._operations.append(operation)

    def _keep(self, name: str) -> None:
        numbers = self._known[name]
        if name not in self._buffers_of and not _is_sizes(numbers):
            self._buffers_of[name] = f"constant_{len(self._buffers_of)}"
            self.register_buffer(self._buffers_of[name], torch.from_numpy(np.array(numbers)))

    def _arguments(self, operation: Operation, values: Mapping[str, Value]) -> Arguments:
        found: list[Value | None] = []
        known = {}
        for place, name in enumerate(operation.inputs):
            if name in self._known:
                known[place] = self._known[name]
            if not name:
                found.append(None)
            elif name in values:
                found.append(values[name])
            elif name in self._buffers_of:
                found.append(self.get_buffer(self._buffers_of[name]))
            else:
                found.append(_value(self._known[name]) if name in self._known else None)
        return Arguments(operation, found, known)

    def _operation(self, node: onnx.NodeProto) -> Operation:
        domain = "" if node.domain == "ai.onnx" else node.domain
        attributes = {each.name: _attribute(each) for each in node.attribute}
        return Operation(
            node.op_type,
            domain,
            node.name,
            tuple(node.input),
            tuple(node.output),
            attributes,
            self._opsets.get(domain, 1),
        )

    def _name(self, operation: Operation, known: Mapping[int, Known]) -> str:
        """After its weight in the file, as the network's author called the layer; else after the operation."""
        weight = operation.inputs[1] if len(operation.inputs) > 1 and 1 in known else ""
        base = WEIGHT_ENDINGS.sub("", weight) if WEIGHT_ENDINGS.search(weight) else operation.name or operation.operator
        base = re.sub(rf"(?<=\w)/{operation.operator}(_\d+)?$", "", base)
        name = re.sub(r"\W+", "_", base).strip("_").lower() or operation.operator.lower()
        taken, count = name, 1
        while hasattr(self, taken):
            count += 1
            taken = f"{name}_{count}"
        return taken


def _apply(operation: Operation, given: Arguments) -> list[Value]:
    """Raises: NoGradient."""
    rules = learned.RULES if operation.domain == ML else RULES if not operation.domain else {}
    if operation.operator not in rules:
        raise NoGradient(f"operation {operation}: {_why_none(operation)}")
    try:
        results = rules[operation.operator](given)
    except NoRule as err:
        raise NoGradient(f"operation {operation}: {err}") from err
    return results if isinstance(results, list) else [results]


def _has_rule(operation: Operation) -> bool:
    return operation.operator in (learned.RULES if operation.domain == ML else RULES if not operation.domain else {})


def _why_none(operation: Operation) -> str:
    return learned.NO_GRADIENT.get(operation.operator, "there is no rule for its gradient here")


def needed(operations: Sequence[Operation], outputs: Sequence[str]) -> list[Operation]:
    """Those of the operations, in order, that the outputs are made by."""
    wanted, kept = set(outputs), list[Operation]()
    for operation in reversed(operations):
        if wanted & set(operation.outputs):
            kept.append(operation)
            wanted |= set(operation.inputs)
    return kept[::-1]


def _biased(operations: Sequence[Operation], known: Mapping[str, Known]) -> list[Operation]:
    """Products with a matrix of weights and the addition behind them as one operation, a dense layer."""
    takers: dict[str, list[int]] = {}
    for index, operation in enumerate(operations):
        for name in operation.inputs:
            takers.setdefault(name, []).append(index)
    joined, gone = dict(enumerate(operations)), set[int]()
    for index, operation in enumerate(operations):
        if operation.operator != "MatMul" or operation.inputs[1] not in known or operation.inputs[0] in known:
            continue
        weight, after = known[operation.inputs[1]], takers.get(operation.outputs[0], [])
        if weight.ndim != 2 or len(after) != 1 or operations[after[0]].operator != "Add":
            continue
        addition = operations[after[0]]
        bias = next((name for name in addition.inputs if name in known), None)
        if bias is not None and known[bias].size == weight.shape[1] and known[bias].ndim <= 2:
            joined[after[0]] = Operation(
                "Gemm", "", operation.name, (*operation.inputs, bias), addition.outputs, {}, operation.opset
            )
            gone.add(index)
    return [operation for index, operation in joined.items() if index not in gone]


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The number of axes of each tensor, as far as ONNX can tell."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # of operators that onnx does not know it need not tell
        inferred = model.graph
    tensors = (*inferred.value_info, *inferred.input, *inferred.output)
    return {
        each.name: len(each.type.tensor_type.shape.dim) for each in tensors if each.type.tensor_type.HasField("shape")
    }


def _constant(operation: Operation) -> Known:
    for name, value in operation.attributes.items():
        if name == "value":
            return np.asarray(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise NoGradient(f"operation {operation}: it is a constant of text or of a sparse tensor")


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _numbers(array: Known) -> Known:
    """Floating-point numbers of any width as float32: what is served."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _is_sizes(numbers: Known) -> bool:
    return numbers.dtype.kind in "iu" and numbers.ndim <= 1 and numbers.size <= MOST_SIZES


def _value(numbers: Known) -> Value:
    if _is_sizes(numbers):
        return Sizes(tuple(int(each) for each in numbers.ravel()), scalar=numbers.ndim == 0)
    return torch.from_numpy(np.array(numbers))


def _array(value: Value) -> Known:
    if isinstance(value, Sizes):
        return np.array(value.values[0] if value.scalar else value.values, np.int64)
    return value.numpy()
