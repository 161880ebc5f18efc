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
            is_there = order < (self.user_offsets[1:] - self.user_offsets[:-1])[:, None]
            return (order[None, :] <= order[:, None]) & is_there[:, None, :] & is_there[:, :, None]

        return self.once("causal", make)

    def _cell_S(self) -> Tensor:
        return self.once("cell", lambda: self.user_S * self.length + self.position_S)

    def once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """Something that layers share: made when first asked for."""
        if name not in self._cache:
            self._cache[name] = make()
        return self._cache[name]


def sequence_of(batch: SessionBatch, request_time_ms_B: Tensor) -> SessionSequence:
    """The sequences of a batch.

    Args:
        batch: Histories.
        request_time_ms_B: [B] int64, when the session after the last one begins: known when serving.
    """
    offsets = batch.user_offsets
    lengths = offsets[1:] - offsets[:-1]
    user_S = torch.repeat_interleave(lengths, output_size=batch.num_sessions)
    next_time = torch.empty_like(batch.session_time_ms_S)
    next_time[:-1] = batch.session_time_ms_S[1:]
    has_sessions = lengths > 0
    next_time[offsets[1:][has_sessions] - 1] = request_time_ms_B[has_sessions]
    return SessionSequence(
        user_offsets=offsets,
        length=batch.max_sessions,
        time_ms_S=batch.session_time_ms_S,
        next_time_ms_S=next_time,
        user_S=user_S,
        position_S=torch.arange(batch.num_sessions, device=offsets.device) - offsets[user_S],
    )
