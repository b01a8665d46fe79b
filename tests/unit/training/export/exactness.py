"""How exact served graphs are: against torch's own autograd in float64, on networks as their authors run them."""

import copy

import numpy as np
import torch
from torch import nn

from earwitness.training.export.forward_graphs import classifier_graph
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import make_pair
from earwitness.training.export.search_graph import INPUTS, OUTPUTS, search_graph
from tests.unit.training.export.torch_side import run, session_of

LATENT, BANDS, FRAMES = 5, 8, 12


def dense(*shape: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(LATENT, 96), nn.Tanh(), nn.Unflatten(1, shape or (1, BANDS, FRAMES)))


def require_exact(generator: nn.Module, classifier: nn.Module, tolerance: float = 1e-5) -> None:
    """Holds outputs and gradients of the search and classifier graphs, at batches of 1 and 4, against float64."""
    pair = make_pair(generator.eval(), classifier.eval(), None)
    session = session_of(to_onnx(search_graph(pair), INPUTS, OUTPUTS).SerializeToString())
    names = ["probability", *(layer.name for layer in pair.layers)]
    forward = session_of(to_onnx(classifier_graph(pair), ["spectrogram"], names).SerializeToString())
    first = pair.layers[pair.output_index].first_unit
    outputs = pair.layers[pair.output_index].unit_count
    exact = copy.deepcopy(generator).double(), copy.deepcopy(classifier).double()
    for batch in (1, 4):
        rng = np.random.default_rng(batch)
        z = rng.standard_normal((batch, pair.latent_size)).astype(np.float32)
        weights = np.zeros((batch, pair.unit_count), np.float32)
        weights[:, first : first + outputs] = rng.standard_normal((batch, outputs))
        got = run(session, z=z, unit_weights=weights, prior_weight=np.zeros((batch, 1), np.float32))
        latent = torch.from_numpy(z).double().requires_grad_(True)
        x = exact[0](latent)
        logits = exact[1](x)
        wanted = (logits * torch.from_numpy(weights[:, first : first + outputs])).sum(1)
        wanted.sum().backward()  # reentrant checkpointing allows nothing else
        gradient = latent.grad
        assert _off(got["activation"][:, 0], wanted) <= tolerance
        assert _off(got["gradient"], gradient) <= tolerance
        spectrogram = x.detach().float().reshape(batch, *pair.spectrogram_shape).numpy()
        served = run(forward, spectrogram=spectrogram)[pair.layers[pair.output_index].name]
        assert _off(served, logits) <= tolerance


def _off(got: np.ndarray, want: torch.Tensor) -> float:
    true = want.detach().numpy()
    return float(np.abs(got - true).max() / np.abs(true).max())
