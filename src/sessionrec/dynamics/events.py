"""`ItemEvents`: when each candidate was acted on, or shown, in the parts before the one that is evaluated.

Who is asked test questions may know training and validation sessions, of all users; for validation questions, training
sessions alone. Of these each question uses what lies strictly before its own time, see `faded`. A live system, which a
stream tells of every event, knows the sessions of the evaluated part too, up to the question, and items that came after
training: then `before` is None, and candidates are all items.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sessionrec.data.dataset import Dataset
from sessionrec.jagged import IntArray, offsets_from_lengths
from sessionrec.schema import DAY_MS, MAX_TIME_MS
from sessionrec.sessions.split import Part

_log = logging.getLogger(__name__)
_WRONG_CLOCKS = 10_000
"""Of so many events fewer than one may lie far after all others without being believed."""

Kind = Literal["acted", "shown"]
"""Positive events, or all of them: what was acted on had been shown."""
Before = Literal["validation", "test"] | None
"""The part that is evaluated; None = none, so all events are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEvents:
    """Letters: V candidates, N events, by item, then time."""

    offsets: IntArray
    """[V + 1] cuts events into items; row 0 is item 1."""
    time_ms_N: IntArray
    """[N] UTC epoch, ascending within an item."""
    by_time_N: IntArray
    """[N] places of the events in the order of time; found once for all that is made of them."""

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self.offsets) - 1

    @property
    def count_V(self) -> IntArray:
        """[V] events of items 1, 2, ..."""
        return np.diff(self.offsets)

    @classmethod
    def collect(
        cls, dataset: Dataset, *, before: Before = "test", kind: Kind = "acted", num_candidates: int | None = None
    ) -> ItemEvents:
        """Read all row groups once, in turn. Takes 16 bytes an event, and three times as much while sorting.

        Args:
            dataset: Of whom.
            before: Only events of the parts before it are taken.
            kind: Which events.
            num_candidates: V, by default the items with a training event.
        """
        size_v = dataset.num_candidates if num_candidates is None else num_candidates
        items, times = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for item_N, time_ms_N in events_before(dataset, before, kind, size_v):
            items.append(item_N)
            times.append(time_ms_N)
        return cls.of(np.concatenate(items), np.concatenate(times), size_v)

    @classmethod
    def of(cls, item_N: IntArray, time_ms_N: IntArray, num_candidates: int) -> ItemEvents:
        """From events in any order, their items in 1..V."""
        order = np.lexsort((time_ms_N, item_N))
        counts = np.bincount(item_N, minlength=num_candidates + 1)[1:]
        time_ms_N = time_ms_N[order]
        return cls(
            offsets=offsets_from_lengths(counts), time_ms_N=time_ms_N, by_time_N=np.argsort(time_ms_N, kind="stable")
        )


def events_before(
    dataset: Dataset, before: Before, kind: Kind, num_candidates: int
) -> Iterator[tuple[npt.NDArray[np.int32], IntArray]]:
    """[N] candidate and [N] time in ms of the events that may be known, a row group at a time."""
    for histories in dataset.histories():
        keep_E = np.repeat(is_before(histories.part_S, before), np.diff(histories.session_offsets))
        if kind == "acted":
            keep_E &= histories.is_positive_E()
        # Items after the candidates are those that training never saw.
        keep_E &= (histories.item_E >= 1) & (histories.item_E <= num_candidates)
        yield histories.item_E[keep_E], histories.time_ms_E[keep_E]


def newest_ms(dataset: Dataset, gap_ms: int) -> int:
    """Time of the newest event of a data set, but of wrong clocks: where fewer than one event in ten thousand lie more
    than a gap after all others, these are not believed. One pass; to the day, or exactly where nothing is left out."""
    counts_D = np.zeros(MAX_TIME_MS // DAY_MS + 1, np.int64)
    newest = 0
    for histories in dataset.histories():
        counts_D += np.bincount(histories.time_ms_E // DAY_MS, minlength=len(counts_D))
        newest = max(newest, int(histories.time_ms_E.max(initial=0)))
    days = np.flatnonzero(counts_D)
    # Events of each day and after it.
    since = counts_D[days][::-1].cumsum()[::-1]
    is_wrong = np.zeros(len(days), np.bool_)
    is_wrong[1:] = (np.diff(days) - 1 > gap_ms / DAY_MS) & (since[1:] * _WRONG_CLOCKS < since[0])
    if not is_wrong.any():
        return newest
    first = int(np.argmax(is_wrong))
    _log.warning(
        "%d of %d events lie more than %.0f days after all others; they are taken for those of a wrong clock, and "
        "nobody who asks from now on is told of them",
        since[first],
        since[0],
        gap_ms / DAY_MS,
    )
    return int(days[first - 1] + 1) * DAY_MS - 1


def is_before(part_S: npt.NDArray[np.uint8], before: Before) -> npt.NDArray[np.bool_]:
    """[S] whether a session may be known before a part is asked."""
    if before is None:
        return np.ones(len(part_S), np.bool_)
    known_S: npt.NDArray[np.bool_] = part_S < Part[before.upper()]
    return known_S
