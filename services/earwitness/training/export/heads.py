"""The end of a classifier: whether its outputs are logits or probabilities, and where the logits are that these are of.

It is found by what the network computes, not by how it is written: in a pass over probing inputs, the value is looked
for whose sigmoid or softmax is the result. So `nn.Sigmoid`, `torch.special.expit` and `1 / (1 + exp(-x))` are one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from earwitness.inference.metadata import OutputKind, ProbabilityKind, default_probability
from earwitness.training.export.errors import ExportError, ShapeError
from earwitness.training.export.final_calls import FinalCalls

TOLERANCE = 2e-6
"""Absolute difference of two probabilities that float32 makes of the same logits."""
LARGER = (1.0, 4.0, 30.0)
"""How many times larger than a spectrogram the probing inputs are: a sigmoid shows itself where it bends."""

SQUASHING = {
    "sigmoid", "sigmoid_", "expit", "softmax", "softmin", "log_softmax", "logsigmoid", "hardsigmoid", "exp", "exp_",
    "clamp", "clamp_", "clip",
}  # fmt: skip
BOUNDED = {"tanh", "tanh_", "softsign", "hardtanh", "erf"}
"""What ends in scores of a bounded range that are no probabilities."""
WEIGHTED = {
    "linear", "conv1d", "conv2d", "conv3d", "bilinear", "layer_norm", "batch_norm", "group_norm", "instance_norm",
    "rms_norm", "embedding", "addmm", "baddbmm", "scaled_dot_product_attention", "multi_head_attention_forward",
}  # fmt: skip
"""Functions with weights: what is behind them says nothing of the range of their results."""
PRODUCTS = {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "einsum"}
"""Weighted where one operand is a parameter; else a weighted mean, as of attention pooling."""


@dataclass(frozen=True)
class Source:
    """Where a tensor of logits is: `calls` before the end of a pass, its place there, and what to take of it.

    Without `column` it is the whole of it, `[B, n]` once flattened, times `factor`. With one it is that column times
    `factor`, or where `against_others` its log odds against the other columns.
    """

    calls: int
    place: int
    factor: float = 1.0
    column: int | None = None
    against_others: bool = False


@dataclass(frozen=True)
class Head:
    """What the units of the output layer are, and how the probability comes of them.

    With `sources` they are the logits in there, and what the network returns is its probability, or where
    `logarithmic` the logarithm of it. Where probabilities that were `joined` from columns sum to 1, the logits are such
    that their softmax is right.
    """

    output: OutputKind
    probability: ProbabilityKind
    sources: tuple[Source, ...] = ()
    logarithmic: bool = False
    joined: bool = False

    def meaning(self, output_count: int) -> str:
        """What of it a model's identity depends on; "" for logits that the network returns, as all once were."""
        usual = self.output == "logit" and self.probability == default_probability(output_count) and not self.sources
        return "" if usual else f"{self.output} {self.probability} {'inside' if self.sources else 'returned'}"

    def units(self, result: Tensor, calls: FinalCalls) -> Tensor:
        """The output layer's units `[B, n]` of a pass that returned `result`."""
        if not self.sources:
            return result
        parts = [_read(source, calls) for source in self.sources]
        if self.sources[0].column is None:
            return parts[0]
        logits = torch.stack(parts, dim=1)
        if not self.joined:
            return logits
        return logits / 2 if len(parts) == 2 else functional.logsigmoid(logits)

    def served(self, result: Tensor, units: Tensor) -> Tensor | None:
        """The probability `[B, n]`; None where there is none."""
        if self.sources:
            return result.exp() if self.logarithmic else result
        if self.output == "probability":
            return units
        return probability(units, self.probability)


def probability(logits: Tensor, kind: ProbabilityKind) -> Tensor | None:
    """Of logits `[B, n]`: the sigmoid of each, or the softmax over all; None for scores."""
    if kind == "none":
        return None
    return torch.sigmoid(logits) if kind == "sigmoid" else torch.softmax(logits, dim=1)


def head_of(
    classifier: nn.Module, x: Tensor, output: OutputKind | None = None, kind: ProbabilityKind | None = None
) -> Head:
    """The head as it is said to be, and else as it is found with spectrograms `x` `[B, ...]` as the networks take them.

    Raises: ShapeError when what is said cannot be, with what was found.
    """
    if output == "probability":
        if kind not in (None, "none"):
            raise ShapeError(
                f"probability: {kind!r} is what makes probabilities of logits, and output says that the classifier "
                "returns probabilities; leave one of them out"
            )
        return Head("probability", "none")
    count = classifier(x).shape[1]
    if output == "logit" or kind == "none":
        return Head("logit", kind or default_probability(count))
    found = _found(classifier, x)
    if kind is None or kind == found.probability:
        return found
    if found.output == "probability":
        raise ShapeError(
            f"probability: got {kind!r}, but the classifier returns probabilities already, as the functions at its end "
            "show; leave it out, or say output='logit' (--output logit) if they are none"
        )
    if found.sources:
        raise ShapeError(
            f"probability: got {kind!r}, but the classifier ends in a {found.probability} itself; leave it out, or say "
            "output='logit' (--output logit) to take what it returns for logits"
        )
    return Head("logit", kind)


def _found(classifier: nn.Module, x: Tensor) -> Head:
    result, calls = _probe(classifier, x)
    count = result.shape[1]
    for probabilities, logarithmic in _readings(result):
        sums = probabilities.sum(1)
        exclusive = count > 1 and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        head = _inside(probabilities, calls, exclusive, logarithmic)
        if head is not None and _holds(head, classifier, x):
            return head
    bounded = bool(((result >= 0) & (result <= 1)).all())
    if bounded and (_ends_in(SQUASHING, result, calls) or (count > 1 and _sum_to_one(result))):
        return Head("probability", "none")
    if bool((result.abs() <= 1).all()) and _ends_in(BOUNDED, result, calls):
        return Head("logit", "none")
    return Head("logit", default_probability(count))


def _probe(classifier: nn.Module, x: Tensor) -> tuple[Tensor, FinalCalls]:
    """The finite rows of a pass over `x`, and over noise that is like it and larger; the calls hold all rows."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) * x.std() + x.mean()
    with torch.no_grad(), FinalCalls() as calls:
        result: Tensor = classifier(torch.cat([x, *(factor * noise for factor in LARGER)]))
    finite = result.isfinite().all(1)
    calls.keep_rows(finite)
    return result[finite], calls


def _readings(result: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """The result as probabilities, and whether it is their logarithm; nothing where it can be neither."""
    if bool(((result >= -TOLERANCE) & (result <= 1 + TOLERANCE)).all()):
        yield result, False
    if bool((result <= TOLERANCE).all()):
        yield result.exp(), True


def _inside(probabilities: Tensor, calls: FinalCalls, exclusive: bool, logarithmic: bool) -> Head | None:
    """The head whose logits are inside the network, from the earliest of the final calls that has them."""
    rows, count = probabilities.shape
    low, high = probabilities.min(), probabilities.max()

    def alike(got: Tensor) -> bool:
        return torch.allclose(got.clamp(low, high), probabilities, rtol=0, atol=TOLERANCE)

    for index, place, value in calls.tensors(rows):
        if value.shape[1] != count or torch.equal(value, value[:1].expand_as(value)):
            continue
        for factor in (1.0, -1.0):
            if count > 1 and alike(torch.softmax(factor * value, dim=1)):
                return Head("logit", "softmax", (Source(index, place, factor),), logarithmic)
        for factor in (1.0, -1.0, 2.0, -2.0):
            if not exclusive and alike(torch.sigmoid(factor * value)):
                return Head("logit", "sigmoid", (Source(index, place, factor),), logarithmic)
        within = bool(((value >= 0) & (value <= 1)).all())
        if alike(functional.hardsigmoid(value)) or (not within and alike(value.clamp(0, 1))):
            return Head("logit", "sigmoid", (Source(index, place),), logarithmic)
    columns = [_column(probabilities[:, column], calls) for column in range(count)]
    sources = tuple(source for source in columns if source is not None)
    if len(sources) < count:
        return None
    return Head("logit", "softmax" if exclusive else "sigmoid", sources, logarithmic, joined=exclusive)


def _column(wanted: Tensor, calls: FinalCalls) -> Source | None:
    """Where one output's logit is: a column of its own, or one of a softmax of which some columns are left out."""
    for index, place, value in calls.tensors(len(wanted)):
        moves = value.amax(0) - value.amin(0) > 0
        for factor in (1.0, -1.0):
            close = (torch.sigmoid(factor * value) - wanted[:, None]).abs().amax(0) <= TOLERANCE
            if (columns := torch.nonzero(close & moves).flatten()).numel():
                return Source(index, place, factor, int(columns[0]))
        if value.shape[1] > 1:
            close = (torch.softmax(value, dim=1) - wanted[:, None]).abs().amax(0) <= TOLERANCE
            if (columns := torch.nonzero(close & moves).flatten()).numel():
                return Source(index, place, 1.0, int(columns[0]), against_others=True)
    return None


def _read(source: Source, calls: FinalCalls) -> Tensor:
    value = calls.tensor(source.calls, source.place).flatten(1)
    if source.column is None:
        return value if source.factor == 1 else source.factor * value
    own = value[:, source.column]
    if not source.against_others:
        return source.factor * own
    others = torch.cat([value[:, : source.column], value[:, source.column + 1 :]], dim=1)
    return own - (others[:, 0] if others.shape[1] == 1 else torch.logsumexp(others, dim=1))


def _holds(head: Head, classifier: nn.Module, x: Tensor) -> bool:
    """Whether the logits are in the same place, and lead back to `x`, in a pass with gradients, which may differ."""
    found = []
    for wanted in (False, True):
        with torch.set_grad_enabled(wanted), FinalCalls() as calls:
            result = classifier(x.clone().requires_grad_(wanted))
        try:
            found.append(head.units(result, calls))
        except (ExportError, RuntimeError):
            return False
    plain, differentiable = found
    return differentiable.requires_grad and torch.allclose(plain, differentiable.detach(), rtol=1e-3, atol=1e-4)


def _sum_to_one(result: Tensor) -> bool:
    sums = result.sum(1)
    return torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


def _ends_in(functions: set[str], result: Tensor, calls: FinalCalls) -> bool:
    """Whether one of the functions has a part in the result with no weights between."""
    return calls.leads_to(functions, WEIGHTED, PRODUCTS)
