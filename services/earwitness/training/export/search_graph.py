"""The search graph: from latent to activation, and the gradient of the objective back to the latent."""

import torch
from torch import Tensor
from torch.fx import GraphModule

from earwitness.training.export.errors import FrozenGradient
from earwitness.training.export.lowering import lower
from earwitness.training.export.pair import Pair, Weights
from earwitness.training.export.tracing import trace

INPUTS = ("z", "unit_weights", "prior_weight")
OUTPUTS = ("activation", "objective", "gradient")


def search_graph(pair: Pair) -> GraphModule:
    """The operators of one search step, ready to be written as ONNX.

    z `[B, Z]`, unit_weights `[B, U]`, prior_weight `[B, 1]` → activation `[B, 1]` = Σ_u unit_weights·units, objective
    `[B, 1]` = activation − prior_weight·‖z‖², gradient `[B, Z]` of the objective with respect to z. Rows do not meet.

    Raises: UnsupportedOperator; FrozenGradient when a layer does not depend on the latent.
    """

    def search(weights: Weights, z: Tensor, unit_weights: Tensor, prior_weight: Tensor) -> tuple[Tensor, ...]:
        # Plain autograd: inside torch.func's transforms some operators need the batch to be a number.
        latent = z.detach().requires_grad_(True)
        units = pair.classify(weights, pair.generate(weights, latent))
        shares = torch.split(unit_weights, [layer.unit_count for layer in pair.layers], dim=1)
        cut_off = [layer.name for layer, unit in zip(pair.layers, units, strict=True) if not unit.requires_grad]
        if cut_off:
            raise FrozenGradient(f"layers {', '.join(cut_off)}: no gradient leads from them to the latent")
        (slope,) = torch.autograd.grad(units, latent, shares)
        activation = (unit_weights * torch.cat(units, dim=1)).sum(1, keepdim=True)
        objective = activation - prior_weight * (z * z).sum(1, keepdim=True)
        return activation, objective, slope - 2 * prior_weight * z

    sizes = ([pair.latent_size], [pair.unit_count], [1])
    return lower(trace(search, pair.networks, dict(zip(INPUTS, sizes, strict=True))))
