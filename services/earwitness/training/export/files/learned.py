"""Rules for scikit-learn's operators in ONNX (domain ai.onnx.ml): those whose gradient means something."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch import Tensor

from earwitness.training.export.files.values import Arguments, NoRule, Operation, Value, text

STEPS = "a decision tree's answer jumps, so it has no gradient"
NO_GRADIENT = {
    "TreeEnsembleClassifier": STEPS,
    "TreeEnsembleRegressor": STEPS,
    "TreeEnsemble": STEPS,
    "SVMClassifier": "support vectors have no rule here",
    "SVMRegressor": "support vectors have no rule here",
}


def _linear_classifier(given: Arguments) -> list[Value]:
    outputs = len(
        given.attribute("intercepts") or given.attribute("classlabels_ints") or given.attribute("classlabels_strings")
    )
    x = given.tensor(0).flatten(1)
    scores = _linear(x, given, outputs)
    post = text(given.attribute("post_transform", "NONE"))
    if outputs == 1:  # one score for two classes
        scores = torch.cat([-scores, scores], dim=1)
    if post == "LOGITS OF LOGISTIC":  # the softmax over both halves is the sigmoid of each score
        scores = scores / 2
    elif post == "LOGISTIC":
        scores = torch.sigmoid(scores)
    elif post == "SOFTMAX":
        scores = F.softmax(scores, dim=1)
    elif post not in ("NONE", "LOGITS OF SOFTMAX"):
        raise NoRule(f"its post_transform is {post}")
    return [scores.argmax(1), scores]


def tells_two_apart(operation: Operation) -> bool:
    """Whether a linear classifier has two classes, the scores of which are each the other's negative."""
    intercepts = np.array(operation.attributes.get("intercepts", ()))
    rows = np.array(operation.attributes["coefficients"]).reshape(len(intercepts) or 1, -1)
    return len(rows) == 1 or (len(rows) == 2 and not (rows.sum(axis=0).any() or intercepts.sum()))


def _linear_regressor(given: Arguments) -> Value:
    if text(given.attribute("post_transform", "NONE")) != "NONE":
        raise NoRule("it has a post_transform")
    return _linear(given.tensor(0).flatten(1), given, given.attribute("targets", 1))


def _linear(x: Tensor, given: Arguments, outputs: int) -> Tensor:
    weight = torch.tensor(given.attribute("coefficients"), dtype=torch.float32).reshape(outputs, -1)
    result = x @ weight.mT
    intercepts = given.attribute("intercepts")
    return result + torch.tensor(intercepts, dtype=torch.float32) if intercepts else result


def _scaler(given: Arguments) -> Value:
    offset, scale = (torch.tensor(given.attribute(name), dtype=torch.float32) for name in ("offset", "scale"))
    return (given.tensor(0) - offset) * scale


def _normalizer(given: Arguments) -> Value:
    x, norm = given.tensor(0), text(given.attribute("norm", "MAX"))
    if norm == "L1":
        return x / x.abs().sum(-1, keepdim=True)
    if norm == "L2":
        return x / x.square().sum(-1, keepdim=True).sqrt()
    return x / x.amax(-1, keepdim=True)


RULES: Mapping[str, Callable[[Arguments], Value | list[Value]]] = {
    "LinearClassifier": _linear_classifier,
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
