"""Fused attention, where a network chooses the kernel itself: written out, forward and backward."""

from math import sqrt

import torch
from torch import Tensor


def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention of `[B, heads, L, E]` to `[B, heads, S, E]`, and the logarithm of the sums of exponentials
    `[B, heads, L]`."""
    scores = _scores(query, key, is_causal, attn_mask, scale)
    return torch.softmax(scores, dim=-1) @ value, torch.logsumexp(scores, dim=-1)


def flash_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `flash_attention` with respect to query, key and value."""
    factor = _factor(query, scale)
    shares = torch.softmax(_scores(query, key, is_causal, attn_mask, scale), dim=-1)
    of_shares = grad @ value.transpose(-2, -1)
    of_scores = shares * (of_shares - (of_shares * shares).sum(-1, keepdim=True)) * factor
    return of_scores @ key, of_scores.transpose(-2, -1) @ query, shares.transpose(-2, -1) @ grad


def _scores(query: Tensor, key: Tensor, is_causal: bool, mask: Tensor | None, scale: float | None) -> Tensor:
    scores = query @ key.transpose(-2, -1) * _factor(query, scale)
    if is_causal:
        later = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores if mask is None else scores + mask


def _factor(query: Tensor, scale: float | None) -> float:
    return 1 / sqrt(query.shape[-1]) if scale is None else scale
