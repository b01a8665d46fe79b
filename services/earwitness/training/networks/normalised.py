"""SVDNet with batch normalisation while it learns, and without it afterwards: the same network, reached sooner."""

from typing import Final

import torch
from torch import Tensor, nn

from earwitness.training.networks.svd import SVDNet


class NormalisedSVDNet(nn.Module):
    """Trains an SVDNet through batch normalisation after conv2, conv4, conv5, fc7 and fc8.

    Each one normalises before the nonlinearity, with a bias of its own and no scale. A positive factor and a shift
    commute with max pooling, so the normalisation follows the pooling, on a ninth of the values, and `folded` can
    multiply it into the layer's weights: what is validated, saved and shipped is a plain SVDNet. conv1 has none: its
    input is standardised, and its output the largest of all.

    Source: batch normalisation, Ioffe & Szegedy 2015 (arXiv:1502.03167).
    """

    layers: Final = ("conv2", "conv4", "conv5", "fc7", "fc8")

    def __init__(self, network: SVDNet) -> None:
        super().__init__()
        self.network = network
        self.norms = nn.ModuleDict()
        for name in self.layers:
            width = _linear_part(network, name).weight.shape[0]
            norm = nn.BatchNorm2d(width) if name.startswith("conv") else nn.BatchNorm1d(width)
            norm.weight.requires_grad_(False)
            self.norms[name] = norm

    def segment_logits(self, x: Tensor) -> Tensor:
        """As `SVDNet.segment_logits`; in training mode normalised by the statistics of this batch."""
        network, norms = self.network, self.norms
        x = network.conv1(network.standardise(x))
        x = network.conv2[1](norms["conv2"](network.pool3(network.conv2[0](x))))
        x = network.conv4[1](norms["conv4"](network.conv4[0](x)))
        x = network.conv5[1](norms["conv5"](network.pool6(network.conv5[0](x))))
        excerpts = x.unfold(3, network.pooled_shape[2], 1).permute(0, 3, 1, 2, 4).flatten(2)
        batch, count = excerpts.shape[:2]
        x = excerpts.flatten(0, 1)
        for name in ("fc7", "fc8"):
            dense, activation = getattr(network, name)
            x = activation(norms[name](dense(network.dropout(x))))
        logits: Tensor = network.fc9(network.dropout(x))
        return logits.reshape(batch, count, -1)

    @torch.no_grad()
    def folded(self) -> SVDNet:
        """A plain SVDNet that computes what this one computes in eval mode."""
        plain = SVDNet(self.network.output_count, self.network.standardise.mean.shape[2], self.network.frame_count)
        plain.load_state_dict(self.network.state_dict())
        for name in self.layers:
            norm, target = self.norms[name], _linear_part(plain, name)
            assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            assert target.bias is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            target.weight.mul_(scale.reshape(-1, *[1] * (target.weight.ndim - 1)))
            target.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
        return plain.eval()


def _linear_part(network: SVDNet, name: str) -> nn.Conv2d | nn.Linear:
    part = getattr(network, name)[0]
    assert isinstance(part, nn.Conv2d | nn.Linear)
    return part
