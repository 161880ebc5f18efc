"""Dropout on a CPU for an eighth of torch's price.

Torch draws a double for every number; here 64 random bits make four decisions. The rate is rounded to 1/65536, and what
is kept is scaled by the rounded rate, so that means are kept exactly. From torch's global generator, as ever.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.grouped import is_fast_here

_LEVELS = 1 << 16


class _Masked(torch.autograd.Function):
    """`x * mask`; the mask is kept, the input is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.mask = mask
        return x * mask

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.mask, None


def dropout(x: Tensor, rate: float, is_training: bool) -> Tensor:
    """`x` with a share of its numbers zeroed and the others scaled up, while training."""
    if not is_training or rate == 0.0:
        return x
    if not is_fast_here(x):
        return F.dropout(x, rate)
    masked: Tensor = _Masked.apply(x, keep_mask(x, rate))  # type: ignore[no-untyped-call]
    return masked


def keep_mask(like: Tensor, rate: float) -> Tensor:
    """0 with a probability of `rate`, else 1 / (1 - rate); independent."""
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)
    mask = torch.empty_like(like, memory_format=torch.contiguous_format)
    torch.ge(bits, dropped - _LEVELS // 2, out=mask)
    return mask.mul_(_LEVELS / (_LEVELS - dropped))


class Dropout(nn.Module):
    """As `nn.Dropout`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return dropout(x, self._rate, self.training)
