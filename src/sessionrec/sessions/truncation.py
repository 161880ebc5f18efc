"""How much of a long history is kept: the newest whole sessions, and the newest events of a session."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from sessionrec.config import Config
from sessionrec.jagged import row_of_element, sum_by_row
from sessionrec.sessions.histories import Histories, Mask


class Truncation(Config):
    """Caps on a history; None means no cap. The exposures of a kept session ride along (paper 4.1.4)."""

    max_positives: int | None = Field(default=None, gt=0)
    """Newest whole sessions until the number of positives reaches this (paper: 200 for KuaiSAR, 400 for RecFlow)."""
    max_sessions: int | None = Field(default=None, gt=0)
    """Newest sessions."""
    max_events_per_session: int | None = Field(default=None, gt=0)
    """Newest events of each session."""

    @property
    def is_none(self) -> bool:
        """Whether nothing is ever cut."""
        return self.max_positives is None and self.max_sessions is None and self.max_events_per_session is None


def newest_sessions(histories: Histories, truncation: Truncation) -> Mask:
    """[S] which sessions the caps on positives and sessions keep; a user's newest session is always kept."""
    keep_S = np.ones(histories.num_sessions, np.bool_)
    last_S = np.repeat(histories.user_offsets[1:], np.diff(histories.user_offsets))
    if truncation.max_sessions is not None:
        keep_S &= last_S - np.arange(histories.num_sessions) <= truncation.max_sessions
    if truncation.max_positives is not None:
        positives_S = sum_by_row(histories.is_positive_E(), histories.session_offsets)
        through = np.zeros(histories.num_sessions + 1, np.int64)
        np.cumsum(positives_S, out=through[1:])
        newer_S = through[last_S] - through[1:]
        keep_S &= newer_S < truncation.max_positives
    return keep_S


def truncate(histories: Histories, truncation: Truncation) -> Histories:
    """Apply all caps."""
    if truncation.is_none:
        return histories
    kept = histories.keep_sessions(newest_sessions(histories, truncation))
    if truncation.max_events_per_session is None:
        return kept
    end_E = kept.session_offsets[1:][row_of_element(kept.session_offsets)]
    return kept.keep_events(end_E - np.arange(kept.num_events) <= truncation.max_events_per_session)
