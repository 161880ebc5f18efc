"""Sessions of histories put together anew: ranges of them, the newest, each event by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sessionrec.jagged import IntArray, offsets_from_lengths, take_rows
from sessionrec.sessions.histories import Histories


def newest(histories: Histories, number: int) -> Histories:
    """The newest so many sessions, or events where each is a session of its own, of every user."""
    lengths_U = np.diff(histories.user_offsets)
    left_S = np.repeat(histories.user_offsets[1:], lengths_U) - np.arange(histories.num_sessions)
    return histories.keep_sessions(left_S <= number)


def ranges(start_R: IntArray, stop_R: IntArray) -> tuple[IntArray, IntArray]:
    """The numbers `start..stop` of each row, and [R + 1] the offsets that cut them into rows."""
    lengths = stop_R - start_R
    offsets = offsets_from_lengths(lengths)
    return np.repeat(start_R - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets


def take_sessions(histories: Histories, sessions: IntArray) -> Histories:
    """Some sessions, in the order asked for; the caller says which rows they belong to."""
    events, session_offsets = take_rows(histories.session_offsets, sessions)
    return histories.map_columns(
        events,
        user_offsets=np.array([0, len(sessions)]),
        session_time_ms_S=histories.session_time_ms_S[sessions],
        part_S=histories.part_S[sessions],
        session_offsets=session_offsets,
    )


def one_event_a_session(histories: Histories) -> Histories:
    """Every event a session of its own, at its own time."""
    return replace(
        histories,
        user_offsets=histories.event_offsets,
        session_time_ms_S=histories.time_ms_E,
        part_S=np.repeat(histories.part_S, np.diff(histories.session_offsets)),
        session_offsets=np.arange(histories.num_events + 1),
    )
