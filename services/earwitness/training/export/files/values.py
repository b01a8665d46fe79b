"""What an operator of an ONNX graph is given: tensors, known numbers, and sizes that may depend on the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class NoRule(Exception):
    """An operation has no rule here, or is used in a way that the rule does not cover; says which."""


@dataclass(frozen=True)
class Operation:
    """One node: its tensors by name ("" where one is left out), its attributes, the version of its operator set."""

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def __str__(self) -> str:
        domain = f"{self.domain}." if self.domain else ""
        return f"{domain}{self.operator} ({self.name or self.outputs[0]})"


@dataclass(frozen=True)
class Sizes:
    """Whole numbers that Python computes with: of shapes, and symbolic where they are the batch. `scalar` ones are of
    no axis, and one alone."""

    values: tuple[Any, ...]
    scalar: bool = False

    def tensor(self) -> Tensor:
        """The numbers as int64."""
        numbers = [int(value) for value in self.values]
        return torch.tensor(numbers[0] if self.scalar else numbers, dtype=torch.int64)


Value = Tensor | Sizes
Known = NDArray[Any]


@dataclass(frozen=True)
class Arguments:
    """An operation and its inputs; `known` are those whose numbers are in the file, by place."""

    operation: Operation
    values: Sequence[Value | None]
    known: Mapping[int, Known]

    def __len__(self) -> int:
        return len(self.values)

    def has(self, place: int) -> bool:
        """Whether the input is there."""
        return place < len(self.values) and self.values[place] is not None

    def value(self, place: int) -> Value:
        """An input as it is. Raises: NoRule."""
        value = self.values[place] if place < len(self.values) else None
        if value is None:
            raise NoRule(f"its input {place} is missing")
        return value

    def tensor(self, place: int) -> Tensor:
        """An input as a tensor. Raises: NoRule."""
        value = self.value(place)
        return value.tensor() if isinstance(value, Sizes) else value

    def sizes(self, place: int) -> tuple[Any, ...]:
        """An input as whole numbers. Raises: NoRule where they are computed from the sound."""
        value = self.value(place)
        if isinstance(value, Sizes):
            return value.values
        if place in self.known:
            return tuple(int(each) for each in np.ravel(self.known[place]))
        raise NoRule(f"its input {self.operation.inputs[place]!r}, a shape or an index, depends on the sound")

    def number(self, place: int, default: float | None = None) -> float | None:
        """An input as a number that the file holds. Raises: NoRule."""
        if not self.has(place):
            return default
        if place not in self.known:
            raise NoRule(f"its input {self.operation.inputs[place]!r} is no constant")
        return float(np.ravel(self.known[place])[0])

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default."""
        return self.operation.attributes.get(name, default)

    def axes(self, place: int) -> tuple[int, ...] | None:
        """Axes, which were an attribute and became an input in later opsets; None where they are left out."""
        given = self.attribute("axes")
        if given is not None:
            return tuple(given)
        return tuple(int(axis) for axis in self.sizes(place)) if self.has(place) else None


def text(value: Any) -> str:
    """An attribute that is a word, which onnx reads as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
