"""The two forward graphs of a bundle: the generator, and the classifier with the units of every named layer."""

from torch import Tensor
from torch.fx import GraphModule

from earwitness.training.export.layers import units_of
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
    """spectrogram `[B, bands, frames]` → probability `[B, outputs]`, if it has one (see `heads`), then the units
    `[B, units]` of every layer.

    Raises: UnsupportedOperator.
    """

    def classify(weights: Weights, spectrogram: Tensor) -> tuple[Tensor, ...]:
        result, outputs = pair.judge(weights, spectrogram.unsqueeze(1) if pair.has_channel else spectrogram)
        units = tuple(map(units_of, outputs))
        probability = pair.head.served(result, units[pair.output_index])
        return units if probability is None else (probability, *units)

    return lower(trace(classify, {"classifier": pair.classifier}, {"spectrogram": list(pair.spectrogram_shape)}))
