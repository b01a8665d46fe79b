"""The two forward graphs of a bundle: the generator, and the classifier with the units of every named layer."""

import torch
from torch import Tensor
from torch.fx import GraphModule

from earwitness.training.export.lowering import lower
from earwitness.training.export.pair import Pair, Weights
from earwitness.training.export.tracing import trace

PROBABILITY = "probability"


def generator_graph(pair: Pair) -> GraphModule:
    """z `[B, Z]` → spectrogram `[B, bands, frames]`, log-mel, unstandardised.

    Raises: UnsupportedOperator.
    """

    def generate(weights: Weights, z: Tensor) -> tuple[Tensor, ...]:
        x = pair.generate(weights, z)
        return (x.squeeze(1) if pair.has_channel else x,)

    return lower(trace(generate, {"generator": pair.generator}, {"z": [pair.latent_size]}))


def classifier_graph(pair: Pair) -> GraphModule:
    """spectrogram `[B, bands, frames]` → probability `[B, outputs]`, then the units `[B, units]` of every layer.

    The probability is the sigmoid of one output, the softmax of several.

    Raises: UnsupportedOperator.
    """
    output = next(index for index, layer in enumerate(pair.layers) if layer.kind == "output")

    def classify(weights: Weights, spectrogram: Tensor) -> tuple[Tensor, ...]:
        units = pair.classify(weights, spectrogram.unsqueeze(1) if pair.has_channel else spectrogram)
        return probability(units[output]), *units

    return lower(trace(classify, {"classifier": pair.classifier}, {"spectrogram": list(pair.spectrogram_shape)}))


def probability(logits: Tensor) -> Tensor:
    """Sigmoid of `[B, 1]` logits, softmax over the outputs of `[B, n]` ones."""
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, dim=1)
