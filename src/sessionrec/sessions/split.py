"""Which part of a data set each session belongs to, and the proof that nothing leaks from a later part to an earlier.

Leave-last-session (paper 4.1.3): per user the last session is the test, the second last the validation. Global time:
sessions that end before T1 train, those between T1 and T2 validate, those from T2 on test; a session across a border
would show one part the other's time, so it is dropped and counted.

Sessions without positives, where the filters keep them, are input only: they take the part of the next session that can
be a target, since they become known just before it; after a user's last target nothing needs them and they are dropped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from sessionrec.config import Config
from sessionrec.errors import ConfigError
from sessionrec.jagged import IntArray, row_of_element, sum_by_row
from sessionrec.sessions.histories import Histories, Mask


class Part(IntEnum):
    """Parts in the order of time; a part may see every earlier one."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


DROPPED = 255
"""Not a part: the session is taken out."""


class LeaveLastSession(Config):
    """Per user: last session = test, second last = validation, the rest = training."""

    kind: Literal["leave_last_session"] = "leave_last_session"
    """Per user, the last session is the test and the second last the validation."""


class GlobalTime(Config):
    """One clock for all users: train before T1, validate from T1 to T2, test from T2 on."""

    kind: Literal["global_time"] = "global_time"
    """Train before T1, validate from T1 to T2, test from T2 on."""
    validation_from: str | None = None
    """T1, ISO 8601, UTC unless it has an offset. None: by `validation_share`."""
    test_from: str | None = None
    """T2, likewise. None: by `test_share`."""
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of sessions, by start, between T1 and T2 when no times are given."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of sessions, by start, from T2 on when no times are given."""

    @field_validator("validation_from", "test_from")
    @classmethod
    def _iso(cls, text: str | None) -> str | None:
        if text is not None:
            _epoch_ms(text)
        return text

    @model_validator(mode="after")
    def _in_order(self) -> GlobalTime:
        first, second = self.validation_from, self.test_from
        if (first is None) != (second is None):
            raise ValueError("give both `validation_from` and `test_from`, or neither")
        if first is not None and second is not None and _epoch_ms(first) >= _epoch_ms(second):
            raise ValueError("`validation_from` must be before `test_from`")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("`validation_share` + `test_share` must leave something to train on")
        return self


SplitRule = Annotated[LeaveLastSession | GlobalTime, Field(discriminator="kind")]


def _epoch_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def borders(rule: GlobalTime, session_time_ms_S: IntArray) -> tuple[int, int]:
    """T1 and T2 in epoch milliseconds: as given, or at the quantiles of all sessions' starts."""
    if rule.validation_from is not None and rule.test_from is not None:
        return _epoch_ms(rule.validation_from), _epoch_ms(rule.test_from)
    shares = [1 - rule.validation_share - rule.test_share, 1 - rule.test_share]
    first, second = np.quantile(session_time_ms_S, shares, method="higher")
    if first >= second:
        raise ConfigError(
            f"split: the shares put both borders at {first} ms, too many sessions begin at once; "
            "give `validation_from` and `test_from`"
        )
    return int(first), int(second)


def assign(histories: Histories, time_borders: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """[S] the part of each session, `DROPPED` where it has none.

    Args:
        histories: Of whole users.
        time_borders: T1 and T2 for a global-time split; None leaves each user's last two sessions out.
    """
    is_target_S = sum_by_row(histories.is_positive_E(), histories.session_offsets) > 0
    if time_borders is None:
        part_S = _by_rank(histories, is_target_S)
    else:
        part_S = _by_time(histories, time_borders)
        part_S[~is_target_S] = DROPPED
    if is_target_S.all():
        return part_S
    return _lend_to_inputs(histories, part_S, is_target_S)


def _by_rank(histories: Histories, is_target_S: Mask) -> npt.NDArray[np.uint8]:
    targets_before = np.zeros(histories.num_sessions + 1, np.int64)
    np.cumsum(is_target_S, out=targets_before[1:])
    # Targets of the same user that are still to come after this session.
    to_come_S = (
        np.repeat(targets_before[histories.user_offsets[1:]], np.diff(histories.user_offsets)) - targets_before[1:]
    )
    part_S = np.full(histories.num_sessions, DROPPED, np.uint8)
    part_S[is_target_S] = np.maximum(Part.TEST - to_come_S[is_target_S], Part.TRAIN)
    return part_S


def _by_time(histories: Histories, time_borders: tuple[int, int]) -> npt.NDArray[np.uint8]:
    start_S = histories.session_time_ms_S
    end_S = np.full(histories.num_sessions, -1, np.int64)
    filled = np.diff(histories.session_offsets) > 0
    end_S[filled] = histories.time_ms_E[histories.session_offsets[1:][filled] - 1]
    first, last = np.searchsorted(time_borders, start_S, "right"), np.searchsorted(time_borders, end_S, "right")
    return np.where(first == last, first, DROPPED).astype(np.uint8)


def _lend_to_inputs(histories: Histories, part_S: npt.NDArray[np.uint8], is_target_S: Mask) -> npt.NDArray[np.uint8]:
    """Give a session without positives the part of its user's next target."""
    index_S = np.arange(histories.num_sessions)
    has_part_S = is_target_S & (part_S != DROPPED)
    next_S = np.where(has_part_S, index_S, histories.num_sessions)
    next_S = np.minimum.accumulate(next_S[::-1])[::-1]
    padded_part, user_S = np.append(part_S, DROPPED), np.append(row_of_element(histories.user_offsets), -1)
    lent_S = np.where(user_S[next_S] == user_S[:-1], padded_part[next_S], DROPPED)
    return np.where(is_target_S, part_S, lent_S).astype(np.uint8)


def late_events(
    histories: Histories, time_borders: tuple[int, int] | None = None, *, has_row_order: bool = False
) -> Mask:
    """[E] events that happened at or after the start of a held-out session that comes later in the user's history.

    Native sessions can overlap, when a user takes turns on two devices; what a session shows after the target session
    began must not be part of the history before it. With one clock, what an input-only session shows after the period
    of the target it is lent to is late as well. Training sessions may overlap each other.

    Args:
        histories: Of whole users, with parts.
        time_borders: T1 and T2 for a global-time split.
        has_row_order: What `Rule.has_row_order` says: of one time, the session that stands earlier was earlier, so only
            what happened after the start of the later one is late.
    """
    part_S, num_sessions = histories.part_S, histories.num_sessions
    if num_sessions == 0:
        return np.zeros(0, np.bool_)
    user_S = row_of_element(histories.user_offsets)
    is_target_S = sum_by_row(histories.is_positive_E(), histories.session_offsets) > 0
    is_limit_S = np.append(is_target_S & (part_S > Part.TRAIN), True)
    limit_at_S = np.where(is_limit_S, np.arange(num_sessions + 1), num_sessions)
    next_limit_S = np.minimum.accumulate(limit_at_S[::-1])[::-1][1:]
    never = np.iinfo(np.int64).max
    start_S = np.append(histories.session_time_ms_S + int(has_row_order), never)
    limit_S = np.where(np.append(user_S, -1)[next_limit_S] == user_S, start_S[next_limit_S], never)
    if time_borders is not None:
        limit_S = np.minimum(limit_S, np.append(time_borders, never)[part_S])
    return histories.time_ms_E >= np.repeat(limit_S, np.diff(histories.session_offsets))


def find_leak(histories: Histories, time_borders: tuple[int, int] | None, *, has_row_order: bool = False) -> str | None:
    """Look for anything that a part would know of a later one.

    Checks, for every user: parts never fall along the sessions; sessions stand in the order of time; no event is at or
    after the start of a later held-out session. For a global-time split also: no event lies outside its part's period,
    but those of input-only sessions may lie before it.

    Args:
        histories: Of whole users, with parts.
        time_borders: T1 and T2 for a global-time split.
        has_row_order: See `late_events`.

    Returns:
        What leaks, in words, or None.
    """
    part_S, user_S = histories.part_S.astype(np.int64), row_of_element(histories.user_offsets)
    same_user = user_S[1:] == user_S[:-1]
    if np.any(same_user & (part_S[1:] < part_S[:-1])):
        return "a session of a later part stands before one of an earlier part"
    if np.any(same_user & (histories.session_time_ms_S[1:] < histories.session_time_ms_S[:-1])):
        return "a user's sessions are not in the order of time"
    if np.any(late_events(histories, has_row_order=has_row_order)):
        return "an event is not before the start of a later held-out session"
    if time_borders is not None:
        period_E = np.searchsorted(time_borders, histories.time_ms_E, "right")
        is_target_S = sum_by_row(histories.is_positive_E(), histories.session_offsets) > 0
        lengths_S = np.diff(histories.session_offsets)
        part_E, is_target_E = np.repeat(part_S, lengths_S), np.repeat(is_target_S, lengths_S)
        # An input-only session belongs to the part of the target it is lent to, which may come in a later period.
        if np.any((period_E > part_E) | (is_target_E & (period_E < part_E))):
            return "an event lies outside the period of its part"
    return None
