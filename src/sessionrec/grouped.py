"""Rows of a table, looked up and pooled by many; the gradients as sums over sorted groups. For models and losses.

Letters: T rows of a table, E lookups, S pools, D width.

On a CPU, torch's gradient of a lookup scatters [E, D] additions one after the other, and costs ten times the lookup.
Sorted by row, the same sum is one more pooled lookup (`embedding_bag`), a fused kernel that writes [T, D] alone. The
sum runs in the order of the lookups, so the same input gives the same bits. Elsewhere, and under autocast, the plain
formulas are taken; tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 32
_LOW = (1 << _SHIFT) - 1


def is_fast_here(tensor: Tensor) -> bool:
    """Whether the hand-written gradients apply: on the host, outside autocast."""
    return tensor.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


class Grouping:
    """Which row each lookup takes; sorted by row when a gradient first asks for it.

    Args:
        place_E: [E] int64 rows.
        num_rows: T.
        order_E: [E] lookups sorted by row, stable, if it is known.
    """

    def __init__(self, place_E: Tensor, num_rows: int, order_E: Tensor | None = None) -> None:
        self.place_E, self.num_rows = place_E, num_rows
        self._order_E = order_E
        self._offsets: Tensor | None = None

    @property
    def order_E(self) -> Tensor:
        """[E] lookups of row 0, of row 1, ..."""
        if self._order_E is None:
            _, self._order_E = sort_stable(self.place_E)
        return self._order_E

    @property
    def offsets(self) -> Tensor:
        """[T + 1] cuts `order_E` into rows."""
        if self._offsets is None:
            self._offsets = self.place_E.new_zeros(self.num_rows + 1)
            torch.cumsum(torch.bincount(self.place_E, minlength=self.num_rows), 0, out=self._offsets[1:])
        return self._offsets


def sort_stable(keys_E: Tensor) -> tuple[Tensor, Tensor]:
    """[E] ascending keys, and [E] where each stood; equal keys stay in order. Keys on the host, 0 to 2^31 - 1.

    Key and place in one number: NumPy sorts plain int64 with vector instructions, three times as fast as torch.
    """
    packed = torch.bitwise_left_shift(keys_E, _SHIFT)
    packed += torch.arange(len(keys_E))
    packed.numpy().sort()
    return packed >> _SHIFT, packed & _LOW


def distinct(keys_E: Tensor) -> tuple[Tensor, Grouping]:
    """[T] ascending distinct keys, and which of them each of E is. Keys on the host, 0 to 2^31 - 1."""
    sorted_E, order_E = sort_stable(keys_E)
    is_new_E = torch.ones_like(sorted_E, dtype=torch.bool)
    torch.ne(sorted_E[1:], sorted_E[:-1], out=is_new_E[1:])
    keys_T = sorted_E[is_new_E]
    place_E = torch.empty_like(keys_E).index_copy_(0, order_E, is_new_E.cumsum(0) - 1)
    return keys_T, Grouping(place_E, len(keys_T), order_E)


def pool_sum(values_TD: Tensor, place_E: Tensor, offsets: Tensor, weight_E: Tensor | None = None) -> Tensor:
    """[S, D] sums of looked-up rows, each times its weight if there are weights; no gradient."""
    values = values_TD.detach()
    if not len(values) or not len(place_E):
        return values.new_zeros(len(offsets) - 1, values.shape[1])
    return F.embedding_bag(place_E, values, offsets, mode="sum", per_sample_weights=weight_E, include_last_offset=True)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_TD: Tensor, grouping: Grouping) -> Tensor:
        ctx.grouping = grouping
        return values_TD.index_select(0, grouping.place_E)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grouping: Grouping = ctx.grouping
        return pool_sum(grads[0].contiguous(), grouping.order_E, grouping.offsets), None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_TD: Tensor, grouping: Grouping | None, offsets: Tensor) -> Tensor:
        ctx.grouping, ctx.offsets = grouping, offsets
        place_E = torch.arange(len(values_TD)) if grouping is None else grouping.place_E
        return pool_sum(values_TD, place_E, offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grouping: Grouping | None = ctx.grouping
        pool_E = torch.repeat_interleave(ctx.offsets[1:] - ctx.offsets[:-1])
        if grouping is None:
            return grads[0].index_select(0, pool_E), None, None
        pool_E = pool_E.index_select(0, grouping.order_E)
        return pool_sum(grads[0].contiguous(), pool_E, grouping.offsets), None, None


def take(values_TD: Tensor, grouping: Grouping) -> Tensor:
    """[E, D] the rows that are looked up."""
    if not is_fast_here(values_TD):
        return F.embedding(grouping.place_E, values_TD)
    taken: Tensor = _Take.apply(values_TD, grouping)  # type: ignore[no-untyped-call]
    return taken


def pool(values_TD: Tensor, grouping: Grouping | None, offsets: Tensor) -> Tensor:
    """[S, D] the sum of each pool's rows; one pass over E reads, S writes.

    Args:
        values_TD: The table.
        grouping: Lookups of all pools, end to end; None = every row once, in order.
        offsets: [S + 1] cuts the lookups into pools.
    """
    if not is_fast_here(values_TD):
        values_ED = values_TD if grouping is None else F.embedding(grouping.place_E, values_TD)
        pool_E = torch.repeat_interleave(offsets[1:] - offsets[:-1], output_size=len(values_ED))
        return values_ED.new_zeros(len(offsets) - 1, values_ED.shape[1]).index_add(0, pool_E, values_ED)
    pooled: Tensor = _Pool.apply(values_TD, grouping, offsets)  # type: ignore[no-untyped-call]
    return pooled
