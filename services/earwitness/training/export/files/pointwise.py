"""Rules for element-wise operators."""

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch import Tensor

from earwitness.training.export.files.values import Arguments, NoRule, Sizes, Value, text

Rule = Callable[[Arguments], Value]

FLOATING = (1, 10, 11, 16)
"""ONNX's numbers of float, float16, double and bfloat16: all of them are float32 here."""
WHOLE = {2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool}


def _unary(function: Callable[[Tensor], Tensor]) -> Rule:
    return lambda given: function(given.tensor(0))


def _binary(function: Callable[[Any, Any], Any], of_sizes: Callable[[Any, Any], Any] | None = None) -> Rule:
    def rule(given: Arguments) -> Value:
        one, other = given.value(0), given.value(1)
        if isinstance(one, Sizes) and isinstance(other, Sizes) and of_sizes is not None:
            length = max(len(one.values), len(other.values))
            pairs = zip(_spread(one, length), _spread(other, length), strict=True)
            return Sizes(tuple(of_sizes(*pair) for pair in pairs), one.scalar and other.scalar)
        left, right = given.tensor(0), given.tensor(1)
        result: Tensor = function(left, right)
        return result

    return rule


def _spread(sizes: Sizes, length: int) -> tuple[Any, ...]:
    return sizes.values * length if len(sizes.values) == 1 else sizes.values


def _divide(one: Tensor, other: Tensor) -> Tensor:
    if one.is_floating_point():
        return one / other
    return torch.div(one, other, rounding_mode="trunc")


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    return lambda given: reduce(function, (given.tensor(place) for place in range(len(given))))


def _mean(given: Arguments) -> Value:
    return reduce(operator.add, (given.tensor(place) for place in range(len(given)))) / len(given)


def _clip(given: Arguments) -> Value:
    low = given.number(1, given.attribute("min"))
    high = given.number(2, given.attribute("max"))
    return given.tensor(0) if low is None and high is None else given.tensor(0).clamp(low, high)


def _cast(given: Arguments) -> Value:
    kind, value = given.attribute("to"), given.value(0)
    if isinstance(value, Sizes):
        if kind in (6, 7):
            return value
        value = value.tensor()
    if kind in FLOATING:
        return value.to(torch.float32)
    if kind in WHOLE:
        return value.to(WHOLE[kind])
    raise NoRule(f"it casts to ONNX's type {kind}")


def _pow(given: Arguments) -> Value:
    exponent = given.known.get(1)
    if exponent is not None and exponent.size == 1:
        number = float(exponent.ravel()[0])
        return given.tensor(0) ** (int(number) if number.is_integer() else number)
    return given.tensor(0) ** given.tensor(1)


def _where(given: Arguments) -> Value:
    condition, one, other = given.value(0), given.value(1), given.value(2)
    if isinstance(condition, Sizes) and isinstance(one, Sizes) and isinstance(other, Sizes):
        length = max(len(each.values) for each in (condition, one, other))
        rows = zip(*(_spread(each, length) for each in (condition, one, other)), strict=True)
        return Sizes(tuple(left if holds else right for holds, left, right in rows), condition.scalar)
    return torch.where(given.tensor(0).bool(), given.tensor(1), given.tensor(2))


def _gelu(given: Arguments) -> Value:
    return F.gelu(given.tensor(0), approximate=text(given.attribute("approximate", "none")))


def _hard_sigmoid(given: Arguments) -> Value:
    alpha, beta = given.attribute("alpha", 0.2), given.attribute("beta", 0.5)
    return torch.clamp(alpha * given.tensor(0) + beta, 0, 1)


RULES: Mapping[str, Rule] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(operator.add, operator.add),
    "And": _binary(torch.logical_and),
    "Cast": _cast,
    "CastLike": lambda given: given.tensor(0).to(given.tensor(1).dtype),
    "Ceil": _unary(torch.ceil),
    "Celu": lambda given: F.celu(given.tensor(0), given.attribute("alpha", 1.0)),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _binary(_divide, operator.floordiv),
    "Dropout": lambda given: given.tensor(0),
    "Elu": lambda given: F.elu(given.tensor(0), given.attribute("alpha", 1.0)),
    "Equal": _binary(torch.eq, operator.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": _gelu,
    "Greater": _binary(torch.gt, operator.gt),
    "GreaterOrEqual": _binary(torch.ge, operator.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda given: given.tensor(0) * (given.tensor(0) / 6 + 0.5).clamp(0, 1),
    "Identity": lambda given: given.value(0),
    "LeakyRelu": lambda given: F.leaky_relu(given.tensor(0), given.attribute("alpha", 0.01)),
    "Less": _binary(torch.lt, operator.lt),
    "LessOrEqual": _binary(torch.le, operator.le),
    "Log": _unary(torch.log),
    "Max": _many(torch.maximum),
    "Mean": _mean,
    "Mish": _unary(F.mish),
    "Min": _many(torch.minimum),
    "Mod": _binary(torch.remainder, operator.mod),
    "Mul": _binary(operator.mul, operator.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": lambda given: torch.where(given.tensor(0) > 0, given.tensor(0), given.tensor(0) * given.tensor(1)),
    "Pow": _pow,
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Selu": _unary(F.selu),
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(operator.sub, operator.sub),
    "Sum": _many(operator.add),
    "Tan": _unary(torch.tan),
    "Tanh": _unary(torch.tanh),
    "Where": _where,
}
