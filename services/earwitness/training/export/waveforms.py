"""Networks of waveforms that have no axis for the band: `[B, samples]` where the others have `[B, 1, samples]`."""

import torch
from torch import Tensor, nn

from earwitness.training.export.discovery import run
from earwitness.training.export.errors import ShapeError


def fit_waveform(generator: nn.Module, classifier: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A generator that returns, and a classifier that takes, `[B, 1, samples]`, where either has `[B, samples]`.

    `x` is what the generator made. The classifier gets a hook, so that its layers keep their names. Networks of
    spectrograms, which have more than one band, are left as they are.
    """
    if x.ndim == 2:
        generator, x = nn.Sequential(generator, nn.Unflatten(1, (1, x.shape[1]))).eval(), x.unsqueeze(1)
    if x.ndim == 3 and x.shape[1] == 1 and not _takes(classifier, x) and _takes(classifier, x[:, 0]):
        classifier.register_forward_pre_hook(_without_band)
    return generator, x


def _takes(classifier: nn.Module, x: Tensor) -> bool:
    try:
        outputs = run("classifier", classifier, x)
    except ShapeError:
        return False
    return isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == len(x)


def _without_band(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (torch.squeeze(inputs[0], 1), *inputs[1:])
