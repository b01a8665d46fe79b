"""Small generator–classifier pairs that are not ours, each built around one thing that an export can get wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

LATENT = 6


@dataclass(frozen=True)
class Case:
    """A pair and the layers to serve, by name and module path."""

    generator: nn.Module
    classifier: nn.Module
    layers: dict[str, str] = field(default_factory=dict)


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def plain_generator(rows: int = 12, columns: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, rows * columns), nn.Tanh(), nn.Unflatten(1, (1, rows, columns)))


def strides() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 5, 4, stride=(3, 2), padding=(2, 1), bias=False),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(5, 4, 2, stride=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(2),
    )
    return Case(plain_generator(13, 17), classifier, {"linear_conv": "0", "conv": "3", "last": "5"})


def dilations() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 16, 3, dilation=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 4, 3, dilation=(1, 3), padding=(3, 4)),
        nn.ELU(),
        nn.Conv2d(4, 3, 2, dilation=2, stride=2, padding=1),
        nn.Flatten(),
        nn.LazyLinear(1),
    )
    return Case(plain_generator(), classifier, {"first": "1", "second": "3"})


def groups() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.Conv2d(8, 12, 1),
        nn.Hardswish(),
        nn.Conv2d(12, 6, 3, groups=3, stride=2),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6, stride=2, padding=1, dilation=2),
        nn.Conv2d(6, 4, 2, groups=2, padding=2),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    return Case(plain_generator(), classifier, {"depthwise": "2", "grouped": "6"})


def batch_norm() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ELU(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 6, 3),
        nn.BatchNorm2d(6, affine=False),
        nn.ELU(alpha=0.7),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
        nn.Flatten(),
        nn.LazyLinear(8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 2),
    )
    return Case(plain_generator(), classifier, {"normed": "1", "elu": "2", "pooled": "7", "dense": "11"})


def smooth_activations() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.GELU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.GELU(approximate="tanh"),
        nn.AdaptiveAvgPool2d((3, 5)),
        nn.Conv2d(4, 6, 2),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.Mish(),
        nn.Linear(5, 4),
        nn.Softplus(),
        nn.Linear(4, 1),
    )
    return Case(plain_generator(), classifier, {"gelu": "1", "silu": "6", "mish": "10"})


def max_feature_map() -> Case:
    def mfm(x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.maximum(first, second)

    def mfm_by_amax(x: Tensor) -> Tensor:
        return x.unflatten(1, (2, -1)).amax(1)

    classifier = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2),
        Apply(mfm),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 12, 1),
        Apply(lambda x: torch.max(*x.split(6, dim=1))),
        nn.Conv2d(6, 8, 3),
        Apply(mfm_by_amax),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(8),
        Apply(lambda x: x.reshape(-1, 2, 4).max(dim=1).values),
        nn.Linear(4, 2),
    )
    return Case(plain_generator(), classifier, {"mfm": "1", "pool": "2", "by_amax": "6", "dense": "10"})


class Residual(nn.Module):
    """A block with a projected shortcut and a gate from its own spatial mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2)
        self.gate = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x)))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3))))[:, :, None, None]
        return functional.leaky_relu(y + self.shortcut(x), 0.05)


def residual() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 16, 3), Residual(16, 16), Residual(16, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    return Case(plain_generator(), classifier, {"stem": "0", "block1": "1", "block2": "2", "inner": "1.second"})


def transposed() -> Case:
    generator = nn.Sequential(
        nn.Linear(LATENT, 48),
        nn.LeakyReLU(0.2),
        nn.Unflatten(1, (8, 2, 3)),
        nn.ConvTranspose2d(8, 8, 5, stride=2, padding=2, output_padding=1),
        nn.ELU(),
        nn.ConvTranspose2d(8, 6, (3, 4), stride=(1, 2), padding=(0, 1), output_padding=(0, 1), groups=2),
        nn.SiLU(),
        nn.ConvTranspose2d(6, 4, 2, stride=2, dilation=3, padding=1, output_padding=2),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.PixelShuffle(2),
        Apply(lambda x: x[:, :, 2:-3, 1::1].clamp(min=-0.5)),
    )
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=4),
        nn.LeakyReLU(),
        nn.Conv2d(4, 1, 3, padding=1),
        nn.ELU(),
        nn.Flatten(),
        nn.LazyLinear(1),
    )
    return Case(generator, classifier, {"conv": "1", "one_channel": "3"})


def ties() -> Case:
    """The generator's floor holds in whole regions, so there all elements of a pooling window are equal."""
    floored = Apply(lambda x: torch.clamp(4 * x.repeat_interleave(4, 3), min=1))
    generator = nn.Sequential(plain_generator(13, 16), floored)
    classifier = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(3),
        nn.Conv2d(16, 4, (1, 2)),
        nn.Tanh(),
        nn.MaxPool2d((1, 2)),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.LazyLinear(2),
    )
    return Case(generator, classifier, {"conv": "1", "pool": "2", "overlap": "6"})


def overlapping_max_pool() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1),
        nn.LeakyReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(5, 4, 3, padding=1),
        nn.MaxPool2d((2, 3), stride=1, dilation=(2, 1)),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveMaxPool2d((1, 2)),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    return Case(plain_generator(12, 18), classifier, {"pool1": "2", "pool2": "4", "pool3": "5", "adaptive": "6"})


class SoftmaxPooling(nn.Module):
    """Mean over time weighted by a softmax, beside the standard deviation over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, 1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.norm(x.mean(2).transpose(1, 2))
        weights = torch.softmax(self.score(steps), dim=1)
        return torch.cat([(weights * steps).sum(1), steps.std(1)], dim=1)


def softmax_heads() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), SoftmaxPooling(8), nn.Linear(16, 3), nn.LogSoftmax(dim=1),
        nn.Linear(3, 2),  # or the scores would be found to be the output's logits
    )  # fmt: skip
    return Case(plain_generator(), classifier, {"normed": "1", "pooled": "3", "scores": "4"})


def one_dimensional() -> Case:
    generator = nn.Sequential(
        nn.Linear(LATENT, 24),
        nn.Unflatten(1, (4, 6)),
        nn.ConvTranspose1d(4, 8, 4, stride=3, padding=1, output_padding=1),
        nn.Tanh(),
        nn.Conv1d(8, 10, 3, padding=1),
    )
    classifier = nn.Sequential(
        nn.Conv1d(10, 16, 3, dilation=2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 6, 3, stride=2, padding=1),
        nn.SELU(),
        nn.AvgPool1d(2),
        nn.Conv1d(6, 4, 1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    return Case(generator, classifier, {"conv": "2", "pool": "3", "selu": "5", "average": "6"})


def bounded_activations() -> Case:
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.PReLU(4),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Hardtanh(-0.3, 0.4),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.GLU(dim=1),
        nn.CELU(0.5),
        nn.Flatten(),
        nn.LazyLinear(6),
        nn.Hardsigmoid(),
        nn.Linear(6, 6),
        nn.LogSigmoid(),
        nn.Linear(6, 4),
        nn.Sigmoid(),
        nn.Linear(4, 1),
    )
    return Case(plain_generator(), classifier, {"prelu": "1", "hardtanh": "3", "celu": "6", "sigmoid": "13"})


def borders_and_sizes() -> Case:
    generator = nn.Sequential(
        plain_generator(6, 8),
        nn.Upsample(size=(13, 15), mode="bilinear"),
        nn.ReflectionPad2d((2, 1, 0, 3)),
        Apply(lambda x: functional.interpolate(x, scale_factor=(1.0, 2.0), mode="bicubic", align_corners=True)),
    )
    classifier = nn.Sequential(
        nn.ReplicationPad2d((1, 2, 3, 0)),
        nn.Conv2d(1, 3, 4, stride=2),
        nn.Softsign(),
        nn.ZeroPad2d((0, 1, 2, 0)),
        Apply(lambda x: functional.interpolate(x, size=(7, 9), mode="nearest-exact")),
        nn.Conv2d(3, 2, 3),
        nn.Flatten(),
        nn.LazyLinear(2),
    )
    return Case(generator, classifier, {"softsign": "2", "resized": "4"})


def dense_concatenation() -> Case:
    def grow(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        y = torch.cat([x, functional.relu(first(x))], dim=1)
        return torch.cat([y, y[:, ::2, 1:, :-1].abs().sum((2, 3), keepdim=True) * torch.tanh(second(y))], dim=1)

    block = Apply(grow, nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 4, 1))
    classifier = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.InstanceNorm2d(4, affine=True),
        block,
        Apply(lambda x: torch.einsum("bchw,dc->bdhw", x, torch.linspace(-1, 1, 24, dtype=x.dtype).reshape(2, 12))),
        Apply(lambda x: torch.logsumexp(x.flatten(2), dim=2)),
        nn.Linear(2, 2),
    )
    return Case(plain_generator(), classifier, {"normed": "1", "block": "2", "mixed": "3"})


CASES: dict[str, Callable[[], Case]] = {
    build.__name__: build
    for build in (
        strides,
        dilations,
        groups,
        batch_norm,
        smooth_activations,
        max_feature_map,
        residual,
        transposed,
        ties,
        overlapping_max_pool,
        softmax_heads,
        one_dimensional,
        bounded_activations,
        borders_and_sizes,
        dense_concatenation,
    )
}


def build(name: str) -> Case:
    """The case with seeded weights, non-trivial normalisation statistics, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(map(ord, name)))
        case = CASES[name]()
        case.generator.eval()
        case.classifier.eval()
        with torch.no_grad():
            case.classifier(case.generator(torch.randn(2, LATENT)))
            for module in case.classifier.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    assert module.running_mean is not None
                    assert module.running_var is not None
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 2)
                    if module.affine:
                        module.weight.uniform_(0.5, 1.5)
                        module.bias.normal_(0, 0.3)
    return case
