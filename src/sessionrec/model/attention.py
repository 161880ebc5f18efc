"""The pieces of HSTU's attention: bucketed bias tables, and pointwise (SiLU) attention with them.

Letters: B users, L padded length, H heads, K width of a head, T rows of a bias table.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_TIME_BUCKETS = 129


def time_buckets(later_ms: Tensor, earlier_ms: Tensor) -> Tensor:
    """Bucket of a time difference: `floor(ln(max(1, |seconds|)) / 0.301)`, 0 to 128; int64."""
    seconds = (later_ms - earlier_ms).abs().double() / 1000
    buckets = (seconds.clamp(min=1).log() / 0.301).floor()
    return buckets.clamp(max=NUM_TIME_BUCKETS - 1).long()


class _Lookup(torch.autograd.Function):
    """`table[index]` whose gradient is one weighted count instead of a scatter of single numbers."""

    @staticmethod
    def forward(ctx: Any, table_T: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = len(table_T)
        return table_T[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        flat = grads[0].reshape(-1)
        return torch.bincount(index.reshape(-1), flat, minlength=ctx.size).to(flat.dtype), None


def lookup(table_T: Tensor, index: Tensor) -> Tensor:
    """`table[index]`; one number an entry. On a CPU about ten times as fast, with its gradient, as an embedding."""
    found: Tensor = _Lookup.apply(table_T, index)  # type: ignore[no-untyped-call]
    return found


def silu_attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, bias_BLL: Tensor | None, mask_BLL: Tensor) -> Tensor:
    """[B, H, L, K] HSTU's attention: `(SiLU(q k^T + bias) * mask) v`, no softmax and no scaling by the width.

    Two [B, H, L, L] blocks live at once (scores, and what SiLU keeps for its gradient).

    Args:
        q_BHLK, k_BHLK, v_BHLK: Queries, keys, values.
        bias_BLL: Shared by the heads; None for none.
        mask_BLL: What the weights are multiplied with: 1 / N where a row may look, 0 elsewhere.
    """
    scores = q_BHLK @ k_BHLK.transpose(-1, -2)
    if bias_BLL is not None:
        scores = scores + bias_BLL[:, None]
    return (F.silu(scores) * mask_BLL[:, None]) @ v_BHLK


def softmax_attention(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, sees_BLL: Tensor) -> Tensor:
    """[B, H, L, K] softmax attention. Rows of padding see themselves, so that no row is empty; they are dropped later.

    No dropout on the weights: with it the CPU's fused kernel is not taken.
    """
    eye = torch.eye(sees_BLL.shape[1], dtype=torch.bool, device=sees_BLL.device)
    scale = 1 / math.sqrt(q_BHLK.shape[-1])
    return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=(sees_BLL | eye)[:, None], scale=scale)
