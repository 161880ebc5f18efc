"""The session sequences of a batch: where each session stands, when, and how to pad and unpad around an op.

Letters: B users, S sessions of all users, L longest user, D width. Padding is made here, used inside an op and dropped;
what travels between parts is [S, ...].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sessionrec.batch import SessionBatch


@dataclass(slots=True, kw_only=True)
class SessionSequence:
    """When and where, for every session of a batch; what all layers share is computed once."""

    user_offsets: Tensor
    """[B + 1] int64, cuts sessions into users."""
    length: int
    """L, sessions of the longest user."""
    time_ms_S: Tensor
    """[S] int64, start of the session."""
    next_time_ms_S: Tensor
    """[S] int64, start of the user's next session; for the last one, the time of the request."""
    user_S: Tensor
    """[S] row of the user."""
    position_S: Tensor
    """[S] 0 for the user's oldest session."""
    _cache: dict[str, Tensor] = field(default_factory=dict)

    @property
    def num_users(self) -> int:
        """B."""
        return len(self.user_offsets) - 1

    def pad(self, values_SX: Tensor) -> Tensor:
        """[S, ...] -> [B, L, ...], zeros after a user's last session."""
        padded = values_SX.new_zeros(self.num_users * self.length, *values_SX.shape[1:])
        padded = padded.index_copy(0, self._cell_S(), values_SX)
        return padded.view(self.num_users, self.length, *values_SX.shape[1:])

    def unpad(self, values_BLX: Tensor) -> Tensor:
        """[B, L, ...] -> [S, ...]."""
        return values_BLX.reshape(-1, *values_BLX.shape[2:]).index_select(0, self._cell_S())

    def causal_BLL(self) -> Tensor:
        """[B, L, L] boolean: row i may look at column j, that is j <= i and both are sessions."""

        def make() -> Tensor:
            order = torch.arange(self.length, device=self.user_S.device)
            return (order[None, :] <= order[:, None]) & self.both_BLL()

        return self.once("causal", make)

    def both_BLL(self) -> Tensor:
        """[B, L, L] boolean: row and column are sessions of the user."""

        def make() -> Tensor:
            order = torch.arange(self.length, device=self.user_S.device)
            is_there = order < (self.user_offsets[1:] - self.user_offsets[:-1])[:, None]
            return is_there[:, None, :] & is_there[:, :, None]

        return self.once("both", make)

    def _cell_S(self) -> Tensor:
        return self.once("cell", lambda: self.user_S * self.length + self.position_S)

    def once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Something that layers share: made when first asked for."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]


def sequence_of(
    batch: SessionBatch, request_time_ms_B: Tensor, *, has_start: bool = False, has_end: bool = False
) -> SessionSequence:
    """The sequences of a batch.

    Args:
        batch: Histories.
        request_time_ms_B: [B] int64, when the session after the last one begins: known when serving.
        has_start: Whether each user has one more position in front, at the time of the first session (without one, of
            the request); see `add_start`.
        has_end: Whether each user has one more position behind, at the time of the request; see `add_end`.
    """
    offsets, time_ms_S, length = batch.user_offsets, batch.session_time_ms_S, batch.max_sessions
    if has_start:
        lengths = offsets[1:] - offsets[:-1]
        # The first session where there is one; the request comes behind the last.
        times = torch.cat([time_ms_S, request_time_ms_B])
        user_B = torch.arange(len(lengths), device=offsets.device)
        first_ms_B = times[torch.where(lengths > 0, offsets[:-1], len(time_ms_S) + user_B)]
        time_ms_S = add_start(offsets, time_ms_S, first_ms_B)
        offsets, length = _with_one_more(offsets), length + 1
    if has_end:
        time_ms_S = add_end(offsets, time_ms_S, request_time_ms_B)
        offsets, length = _with_one_more(offsets), length + 1
    lengths = offsets[1:] - offsets[:-1]
    user_S = torch.repeat_interleave(lengths, output_size=len(time_ms_S))
    next_time = torch.empty_like(time_ms_S)
    next_time[:-1] = time_ms_S[1:]
    has_sessions = lengths > 0
    next_time[offsets[1:][has_sessions] - 1] = request_time_ms_B[has_sessions]
    return SessionSequence(
        user_offsets=offsets,
        length=length,
        time_ms_S=time_ms_S,
        next_time_ms_S=next_time,
        user_S=user_S,
        position_S=torch.arange(len(time_ms_S), device=offsets.device) - offsets[user_S],
    )


def add_start(user_offsets: Tensor, values_SX: Tensor, start_BX: Tensor) -> Tensor:
    """[S + B, ...] each user's rows with one more in front."""
    user_S = torch.repeat_interleave(user_offsets[1:] - user_offsets[:-1], output_size=len(values_SX))
    cell_S = torch.arange(len(values_SX), device=user_offsets.device) + user_S + 1
    added = values_SX.new_zeros(len(values_SX) + len(start_BX), *values_SX.shape[1:])
    return added.index_copy(0, _with_one_more(user_offsets)[:-1], start_BX).index_copy(0, cell_S, values_SX)


def add_end(user_offsets: Tensor, values_SX: Tensor, end_BX: Tensor) -> Tensor:
    """[S + B, ...] each user's rows with one more behind."""
    user_S = torch.repeat_interleave(user_offsets[1:] - user_offsets[:-1], output_size=len(values_SX))
    cell_S = torch.arange(len(values_SX), device=user_offsets.device) + user_S
    added = values_SX.new_zeros(len(values_SX) + len(end_BX), *values_SX.shape[1:])
    return added.index_copy(0, _with_one_more(user_offsets)[1:] - 1, end_BX).index_copy(0, cell_S, values_SX)


def _with_one_more(user_offsets: Tensor) -> Tensor:
    return user_offsets + torch.arange(len(user_offsets), device=user_offsets.device)
