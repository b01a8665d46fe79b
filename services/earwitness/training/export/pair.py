"""A generator and a classifier that fit together, and what one pass through both shows of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from earwitness.features import FeatureProfile, WaveformProfile
from earwitness.inference.metadata import Layer, OutputKind, ProbabilityKind
from earwitness.training.export.discovery import (
    find_layers,
    latent_size_of,
    run,
)
from earwitness.training.export.errors import ShapeError
from earwitness.training.export.final_calls import FinalCalls
from earwitness.training.export.fitting import fit_channel, fit_latent, require_spectrograms
from earwitness.training.export.given import frozen
from earwitness.training.export.heads import Head, head_of
from earwitness.training.export.layers import LayerSpec, capturing, describe, layer_specs, units_of, with_output
from earwitness.training.export.plain_forms import plain_forms
from earwitness.training.export.waveforms import fit_waveform
from earwitness.training.export.wrapping import Wraps

AS_THEY_ARE = Wraps()
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
    wraps: Wraps = AS_THEY_ARE
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
        with plain_forms():
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
    wraps: Wraps = AS_THEY_ARE,
    profile: FeatureProfile | None = None,
) -> Pair:
    """Checks that the two fit and finds the shapes and the units.

    The generator takes z `[B, latent_size]` or `[B, latent_size, 1, 1]` and returns `[B, 1, bands, frames]` or
    `[B, bands, frames]`; the classifier takes either and gives logits or probabilities `[B, outputs]`. Without
    `layers`, every convolution, recurrent and dense layer is one; without `latent_size`, it is what the generator says;
    what the outputs are is found, unless `output` and `probability` say it (see `heads`). `wraps` stand
    around the networks, and the spectrograms are those of `profile`, where it is given.

    Raises: SourceError; ShapeError; LayerError; ExportError when weights or results are not finite.
    """
    generator, classifier = frozen("generator", generator), frozen("classifier", classifier)
    wraps.around(generator, classifier)
    latent_size = latent_size_of(generator, latent_size)
    specs = None if layers is None else layer_specs(layers, classifier)
    generator, x = fit_latent(generator, latent_size)
    if isinstance(profile, WaveformProfile):
        generator, x = fit_waveform(generator, classifier, x)
    require_spectrograms(x, latent_size, profile)
    generator, x = fit_channel(generator, classifier, x)
    specs = specs or find_layers(classifier, x)
    outputs = run("classifier", classifier, x)
    if outputs.ndim != 2 or outputs.shape[0] != 2:
        raise ShapeError(
            f"classifier: {list(x.shape)} became {list(outputs.shape)}, expected [2, outputs]; where there is an "
            "output for every frame, let a module around it take their mean or maximum"
        )
    head = head_of(classifier, x, output, probability)
    with capturing(classifier, specs) as capture, torch.no_grad(), FinalCalls() as calls:
        result = classifier(x.clone())
    specs, path = with_output(specs, capture, head.units(result, calls))
    described = describe(specs, capture, path)
    bands, frames = x.shape[-2:]
    pair = Pair(generator, classifier, latent_size, (bands, frames), x.ndim == 4, specs, described, head, wraps)
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
