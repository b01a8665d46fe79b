"""A generator and a classifier that fit together, and what one pass through both shows of them."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from earwitness.inference.metadata import Layer, OutputKind, ProbabilityKind
from earwitness.training.export.discovery import (
    find_layers,
    fit_channel,
    fit_latent,
    latent_size_of,
    run,
)
from earwitness.training.export.errors import ExportError, ShapeError
from earwitness.training.export.final_calls import FinalCalls
from earwitness.training.export.heads import Head, head_of
from earwitness.training.export.layers import LayerSpec, capturing, describe, layer_specs, units_of, with_output
from earwitness.training.export.waveforms import fit_waveform

Result = TypeVar("Result")
Weights = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Pair:
    """Copies of both networks, in eval mode, float32, on the CPU, without requiring gradients."""

    generator: nn.Module
    classifier: nn.Module
    latent_size: int
    spectrogram_shape: tuple[int, int]
    has_channel: bool
    """The generator returns, and the classifier takes, `[B, 1, bands, frames]`; else `[B, bands, frames]`."""
    specs: tuple[LayerSpec, ...]
    layers: tuple[Layer, ...]
    head: Head
    overwrites: bool = False
    """The networks write in place over values that their own gradient needs: no harm in training, where nobody asks for
    the gradient of the input; here every such operation becomes one that does not."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "classifier": self.classifier}

    @property
    def output_index(self) -> int:
        """Which of the layers is the output."""
        return next(index for index, layer in enumerate(self.layers) if layer.kind == "output")

    @property
    def output_path(self) -> str:
        """Path of the module that is the output layer."""
        return self.specs[self.output_index].path

    @property
    def unit_count(self) -> int:
        """U: the units of all layers together."""
        return sum(layer.unit_count for layer in self.layers)

    def generate(self, weights: Weights, z: Tensor) -> Tensor:
        """z `[B, Z]` → spectrogram, with the channel axis if the networks have one."""

        def run(z: Tensor) -> Tensor:
            x: Tensor = torch.func.functional_call(self.generator, dict(weights["generator"]), (z,))
            return x

        return self._run(run, z)

    def classify(self, weights: Weights, x: Tensor) -> tuple[Tensor, ...]:
        """Spectrogram as `generate` gives it → units `[B, units]` of every layer, in order."""
        return tuple(map(units_of, self.layer_outputs(weights, x)))

    def layer_outputs(self, weights: Weights, x: Tensor) -> tuple[Tensor, ...]:
        """Spectrogram as `generate` gives it → what every layer returns, `[B, units]` or `[B, C, ...]`, in order."""
        return self.judge(weights, x)[1]

    def judge(self, weights: Weights, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What the classifier returns, `[B, outputs]`, and what every layer does; the output layer its units."""

        def run(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            with capturing(self.classifier, self.specs) as capture, FinalCalls() as calls:
                result = torch.func.functional_call(self.classifier, dict(weights["classifier"]), (x,))
            if self.head.sources:
                capture.outputs[self.output_path] = self.head.units(result, calls)
            return result, tuple(capture.outputs[spec.path] for spec in self.specs)

        return self._run(run, x)

    def _run(self, run: Callable[[Tensor], Result], x: Tensor) -> Result:
        """Of a copy, as a network may write into its input, which is another's result."""
        copied = x.clone()
        return torch.func.functionalize(run)(copied) if self.overwrites else run(copied)

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Parameters and buffers of both networks, as `generate` and `classify` take them."""
        return {
            name: {key: value.detach() for key, value in (*network.named_parameters(), *network.named_buffers())}
            for name, network in self.networks.items()
        }


def make_pair(
    generator: nn.Module,
    classifier: nn.Module,
    layers: Mapping[str, str] | Sequence[LayerSpec] | None,
    latent_size: int | None = None,
    output: OutputKind | None = None,
    probability: ProbabilityKind | None = None,
) -> Pair:
    """Checks that the two fit and finds the shapes and the units.

    The generator takes z `[B, latent_size]` or `[B, latent_size, 1, 1]` and returns `[B, 1, bands, frames]` or
    `[B, bands, frames]`; the classifier takes either and gives logits or probabilities `[B, outputs]`. Without
    `layers`, every convolution, recurrent and dense layer is one; without `latent_size`, it is what the generator says;
    what the outputs are is found, unless `output` and `probability` say it (see `heads`).

    Raises: ShapeError; LayerError; ExportError when weights or results are not finite.
    """
    generator, classifier = _frozen("generator", generator), _frozen("classifier", classifier)
    latent_size = latent_size_of(generator, latent_size)
    specs = None if layers is None else layer_specs(layers, classifier)
    generator, x = fit_latent(generator, latent_size)
    generator, x = fit_waveform(generator, classifier, x)
    if x.ndim not in (3, 4) or x.shape[0] != 2 or (x.ndim == 4 and x.shape[1] != 1):
        raise ShapeError(
            f"generator: z [2, {latent_size}] became {list(x.shape)}, expected [2, 1, bands, frames] or "
            "[2, bands, frames], of waveforms [2, 1, samples] or [2, samples]"
        )
    generator, x = fit_channel(generator, classifier, x)
    specs = specs or find_layers(classifier, x)
    outputs = run("classifier", classifier, x)
    if outputs.ndim != 2 or outputs.shape[0] != 2:
        raise ShapeError(f"classifier: {list(x.shape)} became {list(outputs.shape)}, expected [2, outputs]")
    head = head_of(classifier, x, output, probability)
    with capturing(classifier, specs) as capture, torch.no_grad(), FinalCalls() as calls:
        result = classifier(x.clone())
    specs, path = with_output(specs, capture, head.units(result, calls))
    described = describe(specs, capture, path)
    bands, frames = x.shape[-2:]
    pair = Pair(generator, classifier, latent_size, (bands, frames), x.ndim == 4, specs, described, head)
    return replace(pair, overwrites=_overwrites(pair))


def _overwrites(pair: Pair) -> bool:
    """Whether autograd finds a value overwritten that a gradient needs."""
    z = torch.randn(2, pair.latent_size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = pair.weights()
    try:
        torch.autograd.grad(torch.cat(pair.classify(weights, pair.generate(weights, z)), dim=1).sum(), z)
    except RuntimeError as err:
        return "modified by an inplace operation" in str(err)
    return False


def _frozen(role: str, network: nn.Module) -> nn.Module:
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if is_lazy(tensor):
            raise ExportError(
                f"{role}: {name!r} has no shape yet; load weights, or run the network once, before export"
            )
        if tensor.is_floating_point() and (wrong := int((~tensor.isfinite()).sum())):
            raise ExportError(
                f"{role}: {name!r} holds {wrong} NaN or infinite values of {tensor.numel()}; "
                "training diverged, or the file is damaged: export another checkpoint"
            )
    return _folded(_copy(network).eval()).float().cpu().requires_grad_(False)


def _copy(network: nn.Module) -> nn.Module:
    """A deep copy, also of results that modules keep: after a pass `torch.nn.utils.weight_norm` leaves its weight."""
    results = (value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return copy.deepcopy(network, {id(each): each.detach().clone() for each in results if not each.is_leaf})


def _folded(network: nn.Module) -> nn.Module:
    """The network, its weights in place of how they are computed: weight and spectral normalisation, any other."""
    for module in list(network.modules()):
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(module, hook.name)
        if parametrize.is_parametrized(module):
            # torch's own removal changes the class of the module, which the copy shares with what it is a copy of.
            weights = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            for name, weight in weights.items():
                module.register_parameter(name, nn.Parameter(weight.clone()))
    return network
