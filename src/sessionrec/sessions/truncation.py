"""How much of a long history is kept: the newest whole sessions, and the newest exposures of a session."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from sessionrec.config import Config
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, sum_by_row
from sessionrec.sessions.histories import Histories


class Truncation(Config):
    """Caps on a history; None means no cap. The exposures of a kept session ride along (paper 4.1.4)."""

    max_positives: int | None = Field(default=None, gt=0)
    """Newest whole sessions until the number of positives reaches this (paper: 200 for KuaiSAR, 400 for RecFlow)."""
    max_sessions: int | None = Field(default=None, gt=0)
    """Newest sessions."""
    max_events_per_session: int | None = Field(default=None, gt=0)
    """Events of each session: its positives, all of them, and of its exposures the newest that fit beside them."""

    @property
    def has_no_session_caps(self) -> bool:
        """Whether no session is ever cut away."""
        return self.max_positives is None and self.max_sessions is None

    @property
    def is_none(self) -> bool:
        """Whether nothing is ever cut."""
        return self.has_no_session_caps and self.max_events_per_session is None


def first_visible(truncation: Truncation, positives_S: IntArray, first_T: IntArray, target_T: IntArray) -> IntArray:
    """[T] where the history of each target begins, under the caps on sessions and positives.

    Args:
        truncation: The caps.
        positives_S: [S] positives of each session.
        first_T: [T] the user's first session.
        target_T: [T] the session to predict, or one past the newest session to keep; the history ends before it.
    """
    start_T = first_T
    if truncation.max_sessions is not None:
        start_T = np.maximum(start_T, target_T - truncation.max_sessions)
    if truncation.max_positives is not None:
        through = offsets_from_lengths(positives_S)
        # A session stays while the newer ones hold fewer positives than the cap; the newest always does.
        start_T = np.maximum(
            start_T, np.searchsorted(through[1:], through[target_T] - truncation.max_positives, "right")
        )
    return np.minimum(start_T, target_T)


def truncate(histories: Histories, truncation: Truncation) -> Histories:
    """Apply all caps, counted from each user's newest session."""
    if truncation.is_none:
        return histories
    positives_S = sum_by_row(histories.is_positive_E(), histories.session_offsets)
    first_U, end_U = histories.user_offsets[:-1], histories.user_offsets[1:]
    start_S = np.repeat(first_visible(truncation, positives_S, first_U, end_U), end_U - first_U)
    return cap_events(histories.keep_sessions(np.arange(histories.num_sessions) >= start_S), truncation)


def cap_events(histories: Histories, truncation: Truncation) -> Histories:
    """Apply the cap on the events of a session."""
    if truncation.max_events_per_session is None:
        return histories
    is_positive_E, offsets = histories.is_positive_E(), histories.session_offsets
    room_S = np.maximum(truncation.max_events_per_session - sum_by_row(is_positive_E, offsets), 0)
    session_E = row_of_element(offsets)
    through = offsets_from_lengths(~is_positive_E)
    newer_E = through[offsets[1:]][session_E] - through[1:]
    return histories.keep_events(is_positive_E | (newer_E < room_S[session_E]))
