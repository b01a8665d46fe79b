"""What generator and critic are trained to lower, each kind as `GanTrainingConfig` says."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from earwitness.training.networks import Critic

Loss = Literal["wasserstein", "logistic", "relativistic"]
Labelled = tuple[Tensor, Tensor]
"""Excerpts `[B, 1, bands, frames]` and the label of each, −1 or 1, `[B]`."""


def loss_of_critic(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """Mean over the realness `[B]` of real and of generated excerpts."""
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    if kind == "logistic":
        return softplus(fake).mean() + softplus(-real).mean()
    return softplus(fake - real).mean()


def loss_of_generator(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """As `loss_of_critic`."""
    if kind == "wasserstein":
        return -fake.mean()
    if kind == "logistic":
        return softplus(-fake).mean()
    return softplus(real - fake).mean()


def gradient_penalty(kind: Loss, critic: Critic, real: Labelled, fake: Labelled) -> Tensor:
    """See GanTrainingConfig; over what `Critic.squared_slopes` says."""
    if kind == "wasserstein":
        share = torch.rand(len(real[0]), 1, 1, 1).to(real[0].device)
        norms = torch.sqrt(critic.squared_slopes(torch.lerp(fake[0], real[0], share), real[1]) + 1e-12)
        return (norms - 1.0).square().mean()
    penalty = 0.5 * critic.squared_slopes(*real).mean()
    if kind == "relativistic":
        penalty = penalty + 0.5 * critic.squared_slopes(*fake).mean()
    return penalty
