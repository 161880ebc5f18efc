"""HSTU's attention over ragged users on a CPU, forward and backward by hand, in blocks that fit a cache.

Letters: B users, S sessions, D width, H heads, K width of a head, L longest of a block, R rows of a block, C columns it
may see, N longest history of the model.

    s_ij = q_i . k_j + p[j - i] + w[bucket_ij]        a_ij = SiLU(s_ij) / N        out_i = sum_j a_ij v_j     j <= i

Torch's autograd would walk some fifteen times over padded [B, H, L, L] blocks in memory. Here users are taken a few at
a time, padded to the longest of those few, and long histories a slice of rows at a time with the columns up to its
last row: what causality hides is mostly not computed. What must not be seen has the time bucket `NUM_TIME_BUCKETS`,
whose bias is so low that SiLU and its derivative are exactly 0. Padding cells hold some other session, which nobody
sees: they need no zeros.

Every product and sum runs in an order that the batch alone decides: same input, same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sessionrec.model.attention import NUM_TIME_BUCKETS, time_buckets
from sessionrec.model.sequence import SessionSequence

_HIDDEN = -1e30
"""Bias of what must not be seen: SiLU(-1e30) = -0, and so is its derivative."""
_BLOCK_CELLS = 1 << 16
"""Cells (user, row, column) of a block; a few blocks of floats must fit the cache of a core."""
_BLOCK_ROWS = 64
"""Rows of a slice of a long history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """Rows of a chunk's users that are computed together."""

    first: int
    """First row."""
    end: int
    """One past the last row, and the columns that are seen by any."""
    bucket_X: Tensor
    """[B * R * C] int64, time bucket of each pair, or `NUM_TIME_BUCKETS` where column must not be seen by row."""
    distance_Y: Tensor
    """[R * C] int64, place of `j - i` in the position table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Neighbouring users, padded to the longest of them. Rows of K numbers are moved, so that padding, splitting into
    heads and putting heads before sessions is one copy."""

    num_users: int
    length: int
    start: int
    """First session."""
    end: int
    """One past the last session."""
    parts_Z: Tensor
    """[3 * B * H * L] where, among the rows [S, 4, H] of the chunk, each cell of the three blocks V, Q, K is."""
    one_Z: Tensor
    """[B * H * L] the same for rows [S, H]."""
    cells: Tensor
    """[S * H] where in the rows [B, H, L] of a block each (session, head) is."""
    slices: list[_Slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a batch is cut; shared by all layers."""

    chunks: list[_Chunk]
    heads: int
    scale: float
    """1 / N."""


def plan(sequence: SessionSequence, *, heads: int, max_sessions: int, divisor: int, time_bias: str) -> Plan:
    """Cut a batch on the host.

    Args:
        sequence: Where sessions stand, and when.
        heads: H.
        max_sessions: Longest history.
        divisor: N.
        time_bias: `next`, `same` or `none`, see `HstuConfig`.
    """
    offsets: list[int] = sequence.user_offsets.tolist()
    chunks = [
        _chunk(sequence, offsets[first : end + 1], heads, max_sessions, time_bias)
        for first, end in _cut(offsets)
        if offsets[first] < offsets[end]
    ]
    return Plan(chunks=chunks, heads=heads, scale=1 / divisor)


def _cut(offsets: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring users whose padded rows times columns stay below a block's cells; at least one."""
    first, longest = 0, 0
    for user in range(len(offsets) - 1):
        grown = max(longest, offsets[user + 1] - offsets[user])
        if user > first and (user + 1 - first) * min(grown, _BLOCK_ROWS) * grown > _BLOCK_CELLS:
            yield first, user
            first, grown = user, offsets[user + 1] - offsets[user]
        longest = grown
    yield first, len(offsets) - 1


def _chunk(sequence: SessionSequence, offsets: list[int], heads: int, max_sessions: int, time_bias: str) -> _Chunk:
    start, end = offsets[0], offsets[-1]
    begin_B = torch.tensor(offsets[:-1]) - start
    length_B = torch.tensor(offsets[1:]) - start - begin_B
    length = int(length_B.max())
    order_L = torch.arange(length)
    is_there_BL = order_L < length_B[:, None]
    session_BL = torch.where(is_there_BL, begin_B[:, None] + order_L, 0)
    own_BL = sequence.time_ms_S[start:end][session_BL]
    until_BL = own_BL if time_bias != "next" else sequence.next_time_ms_S[start:end][session_BL]
    slices = []
    for row in range(0, length, _BLOCK_ROWS):
        stop = min(row + _BLOCK_ROWS, length)
        distance_RC = order_L[None, :stop] - order_L[row:stop, None]
        is_hidden_BRC = (distance_RC > 0) | ~is_there_BL[:, row:stop, None]
        if time_bias == "none":
            bucket_BRC = is_hidden_BRC * NUM_TIME_BUCKETS
        else:
            bucket_BRC = time_buckets(until_BL[:, row:stop, None], own_BL[:, None, :stop])
            bucket_BRC.masked_fill_(is_hidden_BRC, NUM_TIME_BUCKETS)
        distance_Y = (distance_RC + max_sessions - 1).reshape(-1)
        slices.append(_Slice(first=row, end=stop, bucket_X=bucket_BRC.reshape(-1), distance_Y=distance_Y))
    head_H = torch.arange(heads)
    # A cell of padding holds session 0 of the chunk, whatever it is.
    one = session_BL[:, None, :] * heads + head_H[:, None]
    parts = (
        session_BL[None, :, None, :] * (4 * heads) + (torch.arange(1, 4)[:, None] * heads + head_H)[:, None, :, None]
    )
    user_S, place_S = is_there_BL.nonzero(as_tuple=True)
    return _Chunk(
        num_users=len(length_B),
        length=length,
        start=start,
        end=end,
        parts_Z=parts.reshape(-1),
        one_Z=one.reshape(-1),
        cells=((user_S[:, None] * heads + head_H) * length + place_S[:, None]).reshape(-1),
        slices=slices,
    )


def gated_attention(
    mixed_SX: Tensor, position: Tensor | None, time: Tensor | None, plan: Plan
) -> tuple[Tensor, Tensor]:
    """[S, D] the gate, and [S, D] what each session takes from the user's sessions up to itself.

    Args:
        mixed_SX: [S, 4 D] gate, values, queries and keys, before their SiLU; the latter three each split into heads.
        position: [2 N - 1] bias by `j - i`, or None.
        time: [NUM_TIME_BUCKETS] bias by bucket, or None.
        plan: Of the batch.
    """
    gate_SD, attended_SD = _GatedAttention.apply(mixed_SX, position, time, plan)  # type: ignore[no-untyped-call]
    return gate_SD, attended_SD


class _GatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mixed_SX: Tensor, position: Tensor | None, time: Tensor | None, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        mixed_SX = mixed_SX.contiguous()
        active_SX = F.silu(mixed_SX)
        width = mixed_SX.shape[1] // 4
        out_SD = mixed_SX.new_empty(len(mixed_SX), width)
        table = _table(time, mixed_SX)
        kept = []
        for chunk in plan.chunks:
            v, q, k = _padded(active_SX, chunk, chunk.parts_Z, plan.heads)
            out = v.new_empty(v.shape)
            for part in chunk.slices:
                scores = _scores(q, k, part, chunk, position, table)
                share = scores.sigmoid()
                _store(out, part.first, part.end, scores * share, v[:, : part.end])
                if any(ctx.needs_input_grad):
                    kept.append((scores, share))
            own_SD = out_SD[chunk.start : chunk.end]
            torch.index_select(out.view(-1, out.shape[2]), 0, chunk.cells, out=own_SD.view(-1, out.shape[2]))
        out_SD.mul_(plan.scale)
        ctx.save_for_backward(mixed_SX, active_SX, position, time)
        ctx.plan, ctx.kept = plan, kept
        return active_SX[:, :width], out_SD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        mixed_SX, active_SX, position, time = ctx.saved_tensors
        plan: Plan = ctx.plan
        gate_grad_SD, out_grad_SD = grads[0], grads[1] * plan.scale
        width = gate_grad_SD.shape[1]
        grad_SX = torch.empty_like(active_SX)
        grad_SX[:, :width] = gate_grad_SD
        position_grad = None if position is None else torch.zeros_like(position)
        time_grad = mixed_SX.new_zeros(NUM_TIME_BUCKETS + 1)
        kept = iter(ctx.kept)
        for chunk in plan.chunks:
            v, q, k = _padded(active_SX, chunk, chunk.parts_Z, plan.heads)
            (grad_out,) = _padded(out_grad_SD, chunk, chunk.one_Z, plan.heads)
            blocks = v.new_zeros(3, *v.shape) if len(chunk.slices) > 1 else v.new_empty(3, *v.shape)
            grad_v, grad_q, grad_k = blocks
            for part in chunk.slices:
                scores, share = next(kept)
                seen, rows = slice(0, part.end), slice(part.first, part.end)
                weights = scores * share
                _add(grad_v, part, weights.transpose(1, 2), grad_out[:, rows])
                grad_scores = torch.bmm(grad_out[:, rows], v[:, seen].transpose(1, 2))
                # SiLU'(s) = share (1 + s - s share).
                grad_scores.mul_(torch.sub(scores, weights, out=weights).add_(1).mul_(share))
                _store(grad_q, part.first, part.end, grad_scores, k[:, seen])
                _add(grad_k, part, grad_scores.transpose(1, 2), q[:, rows])
                by_pair = grad_scores.view(chunk.num_users, plan.heads, -1).sum(1)
                if position_grad is not None:
                    position_grad.index_add_(0, part.distance_Y, by_pair.sum(0))
                if time is not None:
                    time_grad.scatter_add_(0, part.bucket_X, by_pair.view(-1))
            for place, block in enumerate(blocks, start=1):
                rows_SD = block.view(-1, block.shape[2]).index_select(0, chunk.cells).view(-1, width)
                grad_SX[chunk.start : chunk.end, place * width : (place + 1) * width] = rows_SD
        torch.ops.aten.silu_backward.grad_input(grad_SX, mixed_SX, grad_input=grad_SX)
        return grad_SX, position_grad, None if time is None else time_grad[:NUM_TIME_BUCKETS], None


def _table(time: Tensor | None, like: Tensor) -> Tensor:
    """[NUM_TIME_BUCKETS + 1] biases by bucket, the last one of what must not be seen."""
    table = like.new_zeros(NUM_TIME_BUCKETS + 1)
    if time is not None:
        table[:NUM_TIME_BUCKETS] = time.detach()
    table[NUM_TIME_BUCKETS] = _HIDDEN
    return table


def _padded(values_SX: Tensor, chunk: _Chunk, rows_Z: Tensor, heads: int) -> Tensor:
    """[.., B H, L, K] padded blocks of a chunk's sessions."""
    num_blocks = len(rows_Z) // len(chunk.one_Z)
    head_width = values_SX.shape[1] // (4 if num_blocks == 3 else 1) // heads
    own_ZK = values_SX[chunk.start : chunk.end].reshape(-1, head_width)
    return own_ZK.index_select(0, rows_Z).view(num_blocks, chunk.num_users * heads, chunk.length, head_width)


def _scores(q: Tensor, k: Tensor, part: _Slice, chunk: _Chunk, position: Tensor | None, table: Tensor) -> Tensor:
    """[B H, R, C] `q k^T + bias`."""
    shape = (chunk.num_users, part.end - part.first, part.end)
    bias_BRC = table.index_select(0, part.bucket_X).view(shape)
    if position is not None:
        bias_BRC += position.detach().index_select(0, part.distance_Y).view(shape[1:])
    heads = len(q) // chunk.num_users
    scores = bias_BRC.new_empty(shape[0], heads, *shape[1:]).copy_(bias_BRC[:, None]).view(len(q), *shape[1:])
    return scores.baddbmm_(q[:, part.first : part.end], k[:, : part.end].transpose(1, 2))


def _store(target: Tensor, first: int, end: int, left: Tensor, right: Tensor) -> None:
    """`target[:, first:end] = left @ right`; a batched product goes into whole tensors only."""
    if end - first == target.shape[1]:
        torch.bmm(left, right, out=target)
    else:
        target[:, first:end] = torch.bmm(left, right)


def _add(target: Tensor, part: _Slice, left: Tensor, right: Tensor) -> None:
    """`target[:, :end] += left @ right`, or `=` where there is one slice alone."""
    if part.end - part.first == target.shape[1]:
        torch.bmm(left, right, out=target)
    else:
        target[:, : part.end] += torch.bmm(left, right)
