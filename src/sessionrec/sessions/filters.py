"""Filters of the paper (4.1.1), repeated until nothing changes.

All four conditions are monotone: dropping something can only make another count fall, never rise. So there is exactly
one largest set that meets them all, whatever the order of the steps, and an independent count must find the same one.
Item counts run over all partitions, everything else is a user's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field

from sessionrec.config import Config
from sessionrec.hashing import hash_ids
from sessionrec.jagged import IntArray, sum_by_row, take_rows
from sessionrec.schema import POSITIVE
from sessionrec.sessions.histories import Histories, Mask
from sessionrec.sessions.vocabulary import Codes


class Filters(Config):
    """What a data set keeps; the defaults are the paper's."""

    min_item_events: int = Field(default=5, ge=1)
    """Events of any kind that an item needs."""
    min_user_events: int = Field(default=5, ge=1)
    """Events of any kind that a user needs."""
    min_user_sessions: int = Field(default=3, ge=1)
    """Sessions with a positive that a user needs."""
    sessions_without_positives: Literal["drop", "input"] = "drop"
    """`drop` them, or keep them as `input` only: part of the history, never a target."""
    passes: Literal["until_stable", "one"] = "until_stable"
    """Repeat the filters until nothing changes, or run them once."""
    sample_users: int | None = Field(default=None, gt=0)
    """Of the users left, keep this many, those with the smallest hash; then filter again. None keeps all."""


class ForEach(Protocol):
    """`map`, perhaps with threads."""

    def __call__(self, function: Callable[[int], Any], numbers: Iterable[int], /) -> Iterable[Any]:
        """Results in the order of the numbers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Size of a log or data set."""

    users: int
    items: int
    sessions: int
    events: int
    positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the filters leave."""

    items: Mask
    """[M] over the union of item ids."""
    events: tuple[Mask, ...]
    """[E] one a partition."""
    passes: tuple[Counts, ...]
    """Counts before any pass, then after each."""


class _Partition:
    """Counts of one partition's users and sessions, lowered as events go; only what a pass touches costs time."""

    def __init__(self, filters: Filters, histories: Histories, item_map: Codes) -> None:
        self._filters, self.item_map = filters, item_map
        user_offsets, session_offsets = np.asarray(histories.user_offsets), np.asarray(histories.session_offsets)
        self.alive_E = np.ones(histories.num_events, np.bool_)
        # Narrow counts: these arrays of all partitions live side by side until the filters are done.
        self._events_S = np.diff(session_offsets).astype(np.int32)
        self._positives_S = sum_by_row(histories.is_positive_E(), session_offsets).astype(np.int32)
        self._events_U = np.diff(session_offsets[user_offsets])
        self._targets_U = sum_by_row(self._positives_S > 0, user_offsets)
        self.events_I = np.bincount(histories.item_E, minlength=len(item_map)).astype(np.int32)

    def counts(self) -> Counts:
        """Users, sessions and events that are left; items are counted over all partitions."""
        return Counts(
            users=int(np.count_nonzero(self._events_U)),
            items=0,
            sessions=int(np.count_nonzero(self._events_S)),
            events=int(self._events_U.sum()),
            positives=int(self._positives_S.sum()),
        )

    def sweep(self, histories: Histories, dead_M: Mask) -> IntArray:
        """One pass: take out the events of dead items, then poor sessions, then poor users.

        Args:
            histories: The partition's own.
            dead_M: [M] items that died since the last sweep.

        Returns:
            [I] events taken out of each local item.
        """
        before_I = self.events_I.copy()
        dead_I = dead_M[self.item_map]
        if dead_I.any():
            self._kill(histories, np.flatnonzero(dead_I[histories.item_E] & self.alive_E))
        if self._filters.sessions_without_positives == "drop":
            self._kill_sessions(histories, (self._events_S > 0) & (self._positives_S == 0))
        poor_U = (self._events_U < self._filters.min_user_events) | (self._targets_U < self._filters.min_user_sessions)
        self.kill_users(histories, poor_U & (self._events_U > 0))
        return before_I - self.events_I

    def kill_users(self, histories: Histories, doomed_U: Mask) -> None:
        """Take out all events of some users."""
        if doomed_U.any():
            self._kill_sessions(histories, np.repeat(doomed_U, np.diff(histories.user_offsets)))

    def is_user_alive(self) -> Mask:
        """[U] users that have events left."""
        return self._events_U > 0

    def _kill_sessions(self, histories: Histories, doomed_S: Mask) -> None:
        rows = np.flatnonzero(doomed_S & (self._events_S > 0))
        if len(rows):
            index_E, _ = take_rows(histories.session_offsets, rows)
            self._kill(histories, index_E[self.alive_E[index_E]])

    def _kill(self, histories: Histories, index_E: IntArray) -> None:
        """Take out events; `index_E` ascends and names only living ones."""
        self.alive_E[index_E] = False
        np.subtract(
            self.events_I, np.bincount(histories.item_E[index_E], minlength=len(self.events_I)), out=self.events_I
        )
        session_E = np.searchsorted(histories.session_offsets, index_E, "right") - 1
        touched, first, gone = np.unique(session_E, return_index=True, return_counts=True)
        is_positive_E = (histories.action_E[index_E] & POSITIVE).astype(np.int64)
        lost = np.add.reduceat(is_positive_E, first) if len(first) else first
        was_target = self._positives_S[touched] > 0
        self._events_S[touched] -= gone
        self._positives_S[touched] -= lost
        user_S = np.searchsorted(histories.user_offsets, touched, "right") - 1
        np.subtract.at(self._events_U, user_S, gone)
        np.subtract.at(self._targets_U, user_S, was_target & (self._positives_S[touched] == 0))


def run_filters(
    filters: Filters,
    load: Callable[[int], Histories],
    item_maps: Sequence[Codes],
    num_items: int,
    each: ForEach,
) -> Kept:
    """Filter to the fixed point.

    Args:
        filters: The conditions.
        load: Partition number -> its histories; called once a pass, so it may map them from disk.
        item_maps: Per partition, local item code -> place in the union.
        num_items: M, size of the union.
        each: Maps a function over partition numbers, perhaps in parallel; results come in order.
    """
    numbers = range(len(item_maps))
    partitions = list(each(lambda number: _Partition(filters, load(number), item_maps[number]), numbers))
    events_M = np.zeros(num_items, np.int64)
    for partition in partitions:
        events_M[partition.item_map] += partition.events_I
    passes = [_total(partitions, events_M)]

    def until_stable() -> None:
        fallen_M = np.ones(num_items, np.bool_)
        while True:
            dead_M = fallen_M & (events_M < filters.min_item_events)
            before_M = events_M.copy()
            sweeps = each(_sweeper(partitions, load, dead_M), numbers)
            for partition, gone_I in zip(partitions, sweeps, strict=True):
                events_M[partition.item_map] -= gone_I
            fallen_M = events_M < before_M
            passes.append(_total(partitions, events_M))
            if filters.passes == "one" or not fallen_M.any():
                return

    until_stable()
    if filters.sample_users is not None and passes[-1].users > filters.sample_users:
        for partition, doomed_U, number in zip(
            partitions, _surplus(filters.sample_users, partitions, load), numbers, strict=True
        ):
            before_I = partition.events_I.copy()
            partition.kill_users(load(number), doomed_U)
            events_M[partition.item_map] -= before_I - partition.events_I
        passes.append(_total(partitions, events_M))
        until_stable()
    return Kept(items=events_M > 0, events=tuple(p.alive_E for p in partitions), passes=tuple(passes))


def _sweeper(
    partitions: Sequence[_Partition], load: Callable[[int], Histories], dead_M: Mask
) -> Callable[[int], IntArray]:
    return lambda number: partitions[number].sweep(load(number), dead_M)


def _surplus(size: int, partitions: Sequence[_Partition], load: Callable[[int], Histories]) -> list[Mask]:
    """Per partition [U]: the living users beyond the `size` with the smallest hash."""
    hashes = [hash_ids(load(number).user_U) for number in range(len(partitions))]
    living = np.concatenate([h[p.is_user_alive()] for h, p in zip(hashes, partitions, strict=True)])
    limit = np.partition(living, size - 1)[size - 1]
    return [p.is_user_alive() & (h > limit) for h, p in zip(hashes, partitions, strict=True)]


def _total(partitions: Sequence[_Partition], events_M: IntArray) -> Counts:
    counts = [partition.counts() for partition in partitions]
    return Counts(
        users=sum(c.users for c in counts),
        items=int(np.count_nonzero(events_M)),
        sessions=sum(c.sessions for c in counts),
        events=sum(c.events for c in counts),
        positives=sum(c.positives for c in counts),
    )
