"""The hand-over sheet between the data side and the model side: what is known of some users, and what is asked.

    user_offsets     [0,      2, 3]            user 0: sessions 0-1      user 1: session 2
    session_offsets  [0,   3, 4,      6]       session 0: events 0-2     session 1: event 3     session 2: events 4-5
    item_E           [7, 2, 2, 5, 9, 1]

    user_Q           [0, 0, 1]                 three questions: user 0 after 1 and after 2 sessions, user 1 after 1
    num_before_Q     [1, 2, 1]

Letters: B users, S sessions of all users, E events of all sessions, Q questions (scored positions). Nothing is padded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, TypeVar

import torch

from sessionrec.jagged import Jagged

T = TypeVar("T", "SessionBatch", "Targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBatch:
    """Histories of B users, oldest session first; checked when made, without a device synchronisation."""

    user_index_B: torch.Tensor
    """[B] int64, place of the user in the data set; -1 for a user that is not in it."""
    user_offsets: torch.Tensor
    """[B + 1] int64, cuts sessions into users; a user may have none."""
    session_offsets: torch.Tensor
    """[S + 1] int64, cuts events into sessions; no session is empty."""
    session_time_ms_S: torch.Tensor
    """[S] int64, UTC epoch of the session's start."""
    item_E: torch.Tensor
    """[E] int64, item index; 0 = unknown."""
    action_E: torch.Tensor
    """[E] int64, bit set of actions; bit 0 = positive."""
    time_ms_E: torch.Tensor
    """[E] int64, UTC epoch."""
    features: dict[str, torch.Tensor]
    """[E] int64 each, context features by name; 0 = unknown."""
    max_sessions: int
    """Sessions of the user with the most; known on the host so that padding needs no synchronisation."""
    max_events: int
    """Events of the session with the most."""

    def __post_init__(self) -> None:
        num_sessions, num_events = len(self.session_offsets) - 1, len(self.item_E)
        _expect(len(self.user_index_B) == len(self.user_offsets) - 1, "user_index_B", "one entry a user")
        _expect(len(self.session_time_ms_S) == num_sessions, "session_time_ms_S", "one entry a session")
        for name, values in {"action_E": self.action_E, "time_ms_E": self.time_ms_E, **self.features}.items():
            _expect(len(values) == num_events, name, f"one entry for each of the {num_events} events")
        # Both cuts must fit together; only on the host is looking at the values free.
        Jagged(values=self.session_time_ms_S, offsets=self.user_offsets)
        Jagged(values=self.item_E, offsets=self.session_offsets)

    @property
    def num_users(self) -> int:
        """B."""
        return len(self.user_index_B)

    @property
    def num_sessions(self) -> int:
        """S."""
        return len(self.session_time_ms_S)

    @property
    def num_events(self) -> int:
        """E."""
        return len(self.item_E)

    def to(self, device: torch.device | str) -> SessionBatch:
        """The same batch on another device."""
        return _to(self, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Q questions: which items does this user act on next, after so many sessions, at this time?"""

    user_Q: torch.Tensor
    """[Q] int64, row of the user in the batch, ascending."""
    num_before_Q: torch.Tensor
    """[Q] int64, sessions of the user in the batch that may be seen; 0 asks for the user's very first session."""
    time_ms_Q: torch.Tensor
    """[Q] int64, UTC epoch of the request: the start of the session to predict, or the time of its last positive where
    that is asked for after a part of the session."""
    positives: Jagged[torch.Tensor]
    """Q rows of item indices: what was acted on. Distinct within a row, never empty."""
    negatives: Jagged[torch.Tensor]
    """Q rows of item indices: what was shown there and not acted on. May be empty."""
    cloze: bool = False
    """Whether what is asked for stands in the inputs, the session after `num_before_Q`, to be hidden by a mask; what
    comes after it is seen."""

    def __post_init__(self) -> None:
        for name in ("num_before_Q", "time_ms_Q"):
            _expect(len(getattr(self, name)) == len(self.user_Q), name, "one entry a question")
        for name in ("positives", "negatives"):
            _expect(getattr(self, name).num_rows == len(self.user_Q), name, "one row a question")

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self.user_Q)

    def to(self, device: torch.device | str) -> Targets:
        """The same questions on another device."""
        return _to(self, device)


class Examples(NamedTuple):
    """What a loader yields."""

    inputs: SessionBatch
    targets: Targets


def _to(sheet: T, device: torch.device | str) -> T:
    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device, non_blocking=True)
        if isinstance(value, Jagged):
            return Jagged(values=moved(value.values), offsets=moved(value.offsets))
        if isinstance(value, dict):
            return {name: moved(entry) for name, entry in value.items()}
        return value

    return replace(sheet, **{field.name: moved(getattr(sheet, field.name)) for field in fields(sheet)})


def _expect(is_true: bool, name: str, what: str) -> None:
    if not is_true:
        raise ValueError(f"`{name}` must have {what}")
