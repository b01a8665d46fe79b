"""Attention of every spelling becomes a graph with its gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.unit.training.export.exactness import BANDS, FRAMES, dense, require_exact

Attention = Callable[["Attending", Tensor, Tensor, Tensor], Tensor]
fused = functional.scaled_dot_product_attention


class Attending(nn.Module):
    """Heads of 4 values over the frames."""

    def __init__(self, attention: Attention, heads: int = 2, of_keys: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.fc = nn.Linear(BANDS, 4 * heads), nn.Linear(4 * heads, 2)
        self.key, self.value = nn.Linear(BANDS, 4 * of_keys), nn.Linear(BANDS, 4 * of_keys)
        self.bias = nn.Parameter(torch.randn(2 * FRAMES - 1, heads))
        self.attention = attention

    def relative(self) -> Tensor:
        """Bias by the distance of two frames, `[1, heads, frames, frames]`, as of Swin and BEATs."""
        distance = torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)[None] + FRAMES - 1
        return self.bias[distance].permute(2, 0, 1)[None]

    def forward(self, x: Tensor) -> Tensor:
        x = x.squeeze(1).transpose(1, 2)
        query, key, value = (
            layer(x).unflatten(2, (-1, 4)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return self.fc(self.attention(self, query, key, value).transpose(1, 2).flatten(2).mean(1))


def chosen_kernel(network: Attending, q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return fused(q, k, v, **more)


def by_hand(network: Attending, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-2, -1) / 2 + network.relative(), dim=-1) @ v


LATER = torch.ones(FRAMES, FRAMES, dtype=torch.bool).tril()
FUNCTIONS: dict[str, tuple[Attention, int, int]] = {
    "fused": (lambda net, q, k, v: fused(q, k, v), 2, 2),
    "causal, scaled": (lambda net, q, k, v: fused(q, k, v, is_causal=True, scale=0.3), 2, 2),
    "mask of truth values": (lambda net, q, k, v: fused(q, k, v, attn_mask=LATER), 2, 2),
    "mask that leaves nothing to a frame": (lambda net, q, k, v: fused(q, k, v, attn_mask=LATER.tril(-1)), 2, 2),
    "relative position": (lambda net, q, k, v: fused(q, k, v, attn_mask=net.relative()), 2, 2),
    "mask of the batch": (lambda net, q, k, v: fused(q, k, v, attn_mask=torch.zeros(len(q), 1, 1, FRAMES)), 2, 2),
    "grouped queries": (lambda net, q, k, v: fused(q, k, v, enable_gqa=True), 4, 2),
    "kernel chosen by the network": (chosen_kernel, 2, 2),
    "kernel chosen, causal": (lambda net, q, k, v: chosen_kernel(net, q, k, v, is_causal=True), 2, 2),
    "kernel chosen, mask": (lambda net, q, k, v: chosen_kernel(net, q, k, v, attn_mask=LATER, scale=0.4), 2, 2),
    "by hand": (by_hand, 2, 2),
}


@pytest.mark.parametrize(("attention", "heads", "of_keys"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions(attention: Attention, heads: int, of_keys: int) -> None:
    require_exact(dense(), Attending(attention, heads, of_keys))


class Around(nn.Module):
    """A module of attention over the frames, and a dense layer on the mean."""

    def __init__(self, module: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.call, self.fc = module, call, nn.Linear(BANDS, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.call(self.module, x.squeeze(1).transpose(1, 2)).mean(1))


def heads(**more: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.MultiheadAttention(BANDS, 2, batch_first=True, **more)


def block(**more: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(BANDS, 2, 16, batch_first=True, **more)


def padded(x: Tensor) -> Tensor:
    return (torch.arange(FRAMES) > 8).expand(x.shape[0], -1)


CAUSAL = nn.Transformer.generate_square_subsequent_mask(FRAMES)
MODULES: dict[str, tuple[nn.Module, Callable[..., Tensor]]] = {
    "heads": (heads(), lambda net, x: net(x, x, x)[0]),
    "heads without weights, causal": (
        heads(),
        lambda net, x: net(x, x, x, need_weights=False, attn_mask=CAUSAL, is_causal=True)[0],
    ),
    "heads of a padded batch": (
        heads(add_bias_kv=True, add_zero_attn=True),
        lambda net, x: net(x, x, x, need_weights=False, key_padding_mask=padded(x))[0],
    ),
    "block on its fast path": (block(), lambda net, x: net(x)),
    "blocks, padded": (
        nn.TransformerEncoder(block(norm_first=True, activation="gelu"), 2, enable_nested_tensor=False),
        lambda net, x: net(x, src_key_padding_mask=padded(x)),
    ),
}


@pytest.mark.parametrize(("module", "call"), MODULES.values(), ids=MODULES)
def test_modules(module: nn.Module, call: Callable[..., Tensor]) -> None:
    require_exact(dense(), Around(module, call))


def test_fast_paths_are_as_they_were_afterwards() -> None:
    assert torch.backends.mha.get_fastpath_enabled()
    require_exact(dense(), Around(block(), lambda net, x: net(x)))
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
