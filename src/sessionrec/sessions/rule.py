"""What ends a session: one rule, in two forms that a property test keeps equal.

`step` is pure, one event at a time, and serves the live stream and the server; `starts` is the same decision as a
Polars expression over a whole table, and serves the batch engine. Both see a user's events in the order time, then row.

To add a rule: a config class with `step` and `starts`, and its name in the union at the end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
from pydantic import Field, field_validator

from sessionrec.config import Config
from sessionrec.schema import SESSION, TIME_MS, USER

SessionKey = int | str | None


class Event(NamedTuple):
    """What a rule looks at."""

    time_ms: int
    """UTC epoch."""
    session: SessionKey
    """The log's own session id, if it has one."""


class Rule(Protocol):
    """A session rule. `S` below is its state for one user; plain data, so that a store can keep it."""

    @property
    def needs_session(self) -> bool:
        """Whether the log must bring its own session ids."""
        ...

    @property
    def has_row_order(self) -> bool:
        """Whether events of one user and one time can be sessions of their own, in the order of their rows.

        Then the earlier row is known when the later one is asked for. Elsewhere events of one time are simultaneous.
        """
        ...

    def step(self, state: object, event: Event) -> tuple[object, bool]:
        """One event of one user.

        Args:
            state: What the previous step returned; None before the first event.
            event: The next event; its time is not before the previous one's.

        Returns:
            The new state, and whether the event begins a session.
        """
        ...

    def starts(self) -> pl.Expr:
        """Boolean: the row begins a session. For a table sorted by user, time, row."""
        ...


def _new_user() -> pl.Expr:
    return pl.col(USER).ne_missing(pl.col(USER).shift())


class NativeRule(Config):
    """The log's own session id: events of one user with one id are one session, wherever they stand."""

    kind: Literal["native"] = "native"
    """The log's own session id."""

    @property
    def needs_session(self) -> bool:
        """True."""
        return True

    @property
    def has_row_order(self) -> bool:
        """False."""
        return False

    def step(self, state: object, event: Event) -> tuple[object, bool]:
        """State: the ids seen so far, since two devices can take turns. It grows with the user's sessions."""
        # A store that keeps states as JSON hands a list back.
        seen: tuple[SessionKey, ...] = tuple(state) if isinstance(state, tuple | list) else ()
        if event.session in seen:
            return seen, False
        return (*seen, event.session), True

    def starts(self) -> pl.Expr:
        """First row of each (user, session id)."""
        return pl.struct(USER, SESSION).is_first_distinct()


class EqualTimeRule(Config):
    """Events of one user with the same time were sent together: one request is one session (KuaiSAR)."""

    kind: Literal["equal_time"] = "equal_time"
    """Same time stamp, same session."""

    @property
    def needs_session(self) -> bool:
        """False."""
        return False

    @property
    def has_row_order(self) -> bool:
        """False."""
        return False

    def step(self, state: object, event: Event) -> tuple[object, bool]:
        """State: the time of the previous event."""
        return event.time_ms, state != event.time_ms

    def starts(self) -> pl.Expr:
        """The time differs from the row before."""
        return _new_user() | (pl.col(TIME_MS) != pl.col(TIME_MS).shift())


class GapRule(Config):
    """A pause longer than `gap_s` seconds ends the session."""

    kind: Literal["gap"] = "gap"
    """A pause ends the session."""
    gap_s: float = Field(default=1800.0, gt=0, le=100 * 366 * 86_400)
    """Longest pause inside a session, seconds; at most 100 years."""

    @property
    def needs_session(self) -> bool:
        """False."""
        return False

    @property
    def has_row_order(self) -> bool:
        """False."""
        return False

    @property
    def _gap_ms(self) -> int:
        return round(self.gap_s * 1000)

    def step(self, state: object, event: Event) -> tuple[object, bool]:
        """State: the time of the previous event."""
        return event.time_ms, not isinstance(state, int) or event.time_ms - state > self._gap_ms

    def starts(self) -> pl.Expr:
        """More than the gap after the row before."""
        return _new_user() | (pl.col(TIME_MS) - pl.col(TIME_MS).shift() > self._gap_ms)


class WindowRule(Config):
    """Windows of the local clock: 86400 s is a calendar day, 28800 s is night, day and evening."""

    kind: Literal["window"] = "window"
    """A window of the local clock, such as the calendar day."""
    length_s: int = Field(default=86_400, gt=0, le=366 * 86_400)
    """Length of a window, seconds, at most 366 days; windows are counted from local midnight of 1970-01-01."""
    zone: str = "UTC"
    """IANA time zone whose clock counts, for example `Asia/Shanghai`."""

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("must be an IANA time zone such as `UTC` or `Europe/Copenhagen`")
        return zone

    @property
    def needs_session(self) -> bool:
        """False."""
        return False

    @property
    def has_row_order(self) -> bool:
        """False."""
        return False

    def step(self, state: object, event: Event) -> tuple[object, bool]:
        """State: the number of the previous event's window."""
        local_ms = event.time_ms + _utc_offset_ms(event.time_ms, self.zone)
        window = local_ms // (self.length_s * 1000)
        return window, state != window

    def starts(self) -> pl.Expr:
        """The window differs from the row before's."""
        local = pl.from_epoch(TIME_MS, time_unit="ms").dt.replace_time_zone("UTC").dt.convert_time_zone(self.zone)
        window = local.dt.replace_time_zone(None).dt.epoch("ms") // (self.length_s * 1000)
        return _new_user() | (window != window.shift())


class EventRule(Config):
    """Every event is a session: item-level logs, whose interactions belong to no visit (MovieLens, Amazon)."""

    kind: Literal["event"] = "event"
    """Every event is a session of its own."""

    @property
    def needs_session(self) -> bool:
        """False."""
        return False

    @property
    def has_row_order(self) -> bool:
        """True: of the ratings of one second, the last row is the last rating."""
        return True

    def step(self, state: object, event: Event) -> tuple[object, bool]:  # noqa: ARG002 - one event is like another
        """No state: every event begins a session."""
        return None, True

    def starts(self) -> pl.Expr:
        """Every row."""
        return pl.col(USER).is_not_null()


def _utc_offset_ms(time_ms: int, zone: str) -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


SessionRule = Annotated[NativeRule | EqualTimeRule | GapRule | WindowRule | EventRule, Field(discriminator="kind")]
