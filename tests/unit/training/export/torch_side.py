"""The tests' own account of a pair in torch: hooks and autograd, nothing of the code under test."""

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.unit.training.export.networks import Case

Array = NDArray[np.float64]


def units_of_layers(case: Case, z: Tensor) -> dict[str, Tensor]:
    """Units `[B, units]` of every named layer and of the output, in order of the search graph."""
    found: dict[str, Tensor] = {}
    handles = [
        dict(case.classifier.named_modules())[path].register_forward_hook(
            lambda module, args, output, name=name: found.__setitem__(name, _values(output))
        )
        for name, path in case.layers.items()
    ]
    output = case.classifier(case.generator(z))
    for handle in handles:
        handle.remove()
    ordered = {**{name: found[name] for name in case.layers}, "output": output}
    return {name: value if value.ndim == 2 else value.flatten(2).mean(2) for name, value in ordered.items()}


def _values(output: Tensor | tuple[Tensor, object]) -> Tensor:
    """A recurrent layer returns `[B, T, units]` beside its last state."""
    return output.clone() if isinstance(output, Tensor) else output[0].transpose(1, 2)


@dataclass(frozen=True)
class Answer:
    activation: Array
    gradient: Array


def answer(case: Case, z: NDArray[np.float32], unit_weights: NDArray[np.float32]) -> Answer:
    """Activation `[B]` and gradient `[B, Z]` in float64."""
    generator, classifier = case.generator.double(), case.classifier.double()
    latent = torch.from_numpy(z).double().requires_grad_(True)
    units = torch.cat(list(units_of_layers(Case(generator, classifier, case.layers), latent).values()), dim=1)
    activation = (units * torch.from_numpy(unit_weights)).sum(1)
    (gradient,) = torch.autograd.grad(activation.sum(), latent)
    generator.float()
    classifier.float()
    return Answer(activation.detach().numpy(), gradient.numpy())


def run(session: onnxruntime.InferenceSession, **inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
