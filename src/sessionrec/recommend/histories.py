"""Histories as callers have them -> `Histories` in the indices of a model.

In: lists of sessions, or a data frame with one row an event. Out: what a data set would hold of these users, cut into
sessions by the same rule and coded by the same vocabularies. An item or a value that the model never saw becomes the
unknown one, index 0; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.config import Config, parse
from sessionrec.data.dataset import Dataset
from sessionrec.errors import HistoryError
from sessionrec.jagged import IntArray
from sessionrec.logs.base import Feature
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.coding import (
    IS_POSITIVE,
    Lookup,
    as_frame,
    event_times,
    expect_column,
    expect_ids,
    expect_times,
    feature_values,
    flags,
    item_ids,
)
from sessionrec.schema import ACTION, ITEM, MAX_TIME_MS, MIN_TIME_MS, POSITIVE, SESSION, TIME_MS, UNKNOWN, USER
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.bins import to_bins
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule, SessionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One visit, as a caller knows it. A plain list of item ids is a session of items acted on."""

    items: Sequence[Any]
    """Ids of the items that were acted on, in order."""
    shown: Sequence[Any] = ()
    """Ids of the items that were only shown."""
    time: datetime | None = None
    """When it began; without a zone it is UTC. Give it for all sessions or for none: without times, sessions are taken
    to lie as far apart as they do in the middle of the training data, the newest one such pause ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Histories in the indices of a model."""

    users: list[Any]
    """[B] ids, in the order they were given in; places 0, 1, ... where there are no ids."""
    histories: Histories
    """Of those users that have an event, in an order of its own."""
    place_U: IntArray
    """[U] place in `users` of each user of `histories`."""
    num_unknown_B: IntArray
    """[B] events with an item that the model does not know."""
    time_ms_B: IntArray
    """[B] UTC epoch, when each user's next session begins."""


class _Stored(Config):
    session: SessionRule


class HistoryCoder:
    """Knows the vocabularies of a model.

    Args:
        model: Whose.
    """

    def __init__(self, model: TrainedModel) -> None:
        about = model.dataset
        self._pause_ms = int(about["pause_ms"])
        self._actions: list[str] = list(about["actions"])
        self._items = Lookup(model.items[ITEM], np.arange(1, len(model.items) + 1, dtype=np.int32))
        self._context = [entry for entry in about["features"] if entry["role"] == "context"]
        self._values = {
            entry["name"]: Lookup.of(model.vocabularies, "context", entry["name"])
            for entry in self._context
            if entry["kind"] == "category"
        }
        self.rule = parse(_Stored, {"session": about["session"]}, "the model's data set").session

    def item_indices(self, ids: Any) -> npt.NDArray[np.int32]:
        """[N] the index of each item id, 0 for one the model does not know."""
        return self._items.codes(item_ids(ids))

    def read(self, histories: Any, now: datetime | None) -> Intake:
        """Code some histories.

        Args:
            histories: A list of users, each a list of sessions, each a list of item ids or a `Session`; or a data frame
                with one row an event: `user`, `item`, `time` (or `time_ms`), and, if there are such, `session`,
                `positive`, the named actions and the context features of the data set; or what `of_dataset` returned.
            now: When the next session begins; by default now, or what `of_dataset` says. Sessions without times are
                laid before it.

        Raises:
            HistoryError: A column is missing or of the wrong type, or times are given for some sessions only.
        """
        if isinstance(histories, Intake):
            if now is None:
                return histories
            return replace(histories, time_ms_B=np.full(len(histories.users), time_ms(now)))
        now_ms = time_ms(now if now is not None else datetime.now(UTC))
        if (frame := as_frame(histories)) is not None:
            return self._code(*self._of_frame(frame), now_ms)
        return self._code(*self._of_lists(histories, now_ms), now_ms)

    def _of_lists(self, histories: Any, now_ms: int) -> tuple[list[Any], pl.DataFrame, bool]:
        if isinstance(histories, str | bytes | dict) or not isinstance(histories, Sequence):
            raise HistoryError(f"`histories` must be a list of users or a data frame, got {type(histories).__name__}")
        rows: dict[str, list[Any]] = {name: [] for name in (USER, ITEM, TIME_MS, SESSION, ACTION)}
        for user, history in enumerate(histories):
            sessions = [_session(user, session) for session in _listed(user, history)]
            times = self._times(user, sessions, now_ms)
            for number, (session, time_ms) in enumerate(zip(sessions, times, strict=True)):
                # Acted on wins where an item is in both; `assemble` merges the two.
                for items, action in ((session.items, POSITIVE), (session.shown, 0)):
                    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
                        raise HistoryError(f"user {user}: a session's items must be a list of item ids, got {items!r}")
                    rows[USER] += [user] * len(items)
                    rows[ITEM] += items
                    rows[TIME_MS] += [time_ms] * len(items)
                    rows[SESSION] += [number] * len(items)
                    rows[ACTION] += [action] * len(items)
        types = {USER: pl.Int64, TIME_MS: pl.Int64, SESSION: pl.Int64, ACTION: pl.UInt16}
        frame = pl.DataFrame({name: rows[name] for name in types}, schema=types)
        return list(range(len(histories))), frame.with_columns(item_ids(rows[ITEM]).alias(ITEM)), True

    def _times(self, user: int, sessions: list[Session], now_ms: int) -> list[int]:
        given = [session.time for session in sessions if session.time is not None]
        if not given:
            return [now_ms - self._pause_ms * (len(sessions) - number) for number in range(len(sessions))]
        if len(given) < len(sessions):
            found = f"{len(given)} of {len(sessions)} sessions have a time"
            raise HistoryError(f"user {user}: {found}; give it for all of them or for none")
        times = [time_ms(moment) for moment in given]
        if times != sorted(times):
            raise HistoryError(f"user {user}: sessions must stand oldest first, their times do not ascend")
        return times

    def _of_frame(self, frame: pl.DataFrame) -> tuple[list[Any], pl.DataFrame, bool]:
        for name in (USER, ITEM):
            expect_column(frame, name)
        times = event_times(frame)
        for name in (USER, ITEM):
            expect_ids(frame, name)
        expect_times(frame, times, MAX_TIME_MS, "a time from 1980 to 2100")
        bits = flags(frame, IS_POSITIVE, default=True) * np.uint16(POSITIVE)
        for bit, name in enumerate(self._actions, start=1):
            bits |= flags(frame, name, default=False).astype(np.uint16) << bit
        users = frame[USER].unique(maintain_order=True)
        numbers = pl.DataFrame({USER: users, "number": np.arange(len(users))})
        columns = [
            frame.select(USER).join(numbers, on=USER, how="left", maintain_order="left")["number"].alias(USER),
            item_ids(frame[ITEM]).alias(ITEM),
            times.alias(TIME_MS),
            pl.Series(ACTION, bits),
        ]
        has_session = SESSION in frame.columns
        if has_session and frame[SESSION].null_count():
            raise HistoryError(f"column `{SESSION}` has rows without a value; every event needs its session")
        if has_session:
            columns.append(frame[SESSION].alias(SESSION))
        elif self.rule.needs_session:
            raise HistoryError(f"column `{SESSION}` is missing: the model's sessions are those of its log's own ids")
        names = [entry["name"] for entry in self._context if entry["name"] in frame.columns]
        return users.to_list(), pl.DataFrame([*columns, *(frame[name] for name in names)]), has_session

    def _code(self, users: list[Any], events: pl.DataFrame, has_session: bool, now_ms: int) -> Intake:
        for entry in self._context:
            events = events.with_columns(
                feature_values(events, entry["name"], pl.String if entry["kind"] == "category" else pl.Float32)
            )
        rule = NativeRule() if has_session else self.rule
        features = tuple(Feature(name=entry["name"], kind=entry["kind"]) for entry in self._context)
        num_unknown_B = np.zeros(len(users), np.int64)
        codes_E = self.item_indices(events[ITEM])
        np.add.at(num_unknown_B, events[USER].to_numpy()[codes_E == UNKNOWN], 1)
        # Unknown items keep their ids until events of one item are merged; otherwise two of them would be one.
        histories, found = assemble(events, rule, features)
        coded = {}
        for entry in self._context:
            name, values = entry["name"], histories.features[entry["name"]]
            if entry["kind"] == "number":
                coded[name] = to_bins(values, np.asarray(entry["edges"], np.float64))
            else:
                # The last entry is reached by the code -1 of a missing value.
                table = np.append(self._values[name].codes(found.categories[name]), np.int32(UNKNOWN))
                coded[name] = table[values]
        items = self._items.codes(found.items)[histories.item_E]
        return Intake(
            users=users,
            histories=replace(histories, item_E=items, features=coded),
            place_U=histories.user_U.to_numpy(),
            num_unknown_B=num_unknown_B,
            time_ms_B=np.full(len(users), now_ms),
        )

    def of_dataset(self, dataset: Dataset, users: Sequence[Any]) -> Intake:
        """Whole histories of users of the model's data set; their next session begins a usual pause after the last.

        Args:
            dataset: The model was trained on.
            users: Ids as in the log; text is taken for a number where ids are numbers.

        Raises:
            HistoryError: There is no such user.
        """
        found = dataset.find_users(users)
        last_ms = found.time_ms_E[found.event_offsets[1:] - 1]
        return Intake(
            users=found.user_U.to_list(),
            histories=found,
            place_U=np.arange(found.num_users),
            num_unknown_B=np.zeros(found.num_users, np.int64),
            time_ms_B=last_ms + self._pause_ms,
        )


def time_ms(moment: datetime) -> int:
    """UTC epoch, milliseconds; without a zone it is UTC."""
    if not isinstance(moment, datetime):
        raise HistoryError(f"a time must be a `datetime`, got {moment!r}")
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    value = round(aware.timestamp() * 1000)
    if not MIN_TIME_MS <= value <= MAX_TIME_MS:
        raise HistoryError(f"expected a time from 1980 to 2100, got {moment.isoformat()}")
    return value


def _listed(user: int, history: Any) -> Sequence[Any]:
    if isinstance(history, str | bytes | Session) or not isinstance(history, Sequence):
        raise HistoryError(
            f"user {user}: a history must be a list of sessions, each a list of item ids, got {type(history).__name__}"
        )
    return history


def _session(user: int, session: Any) -> Session:
    if isinstance(session, Session):
        return session
    if isinstance(session, str | bytes) or not isinstance(session, Sequence):
        raise HistoryError(
            f"user {user}: a session must be a list of item ids or a `Session`, got {session!r}; "
            "wrap a single session into a list: [[item, item], [item]]"
        )
    return Session(items=session)
