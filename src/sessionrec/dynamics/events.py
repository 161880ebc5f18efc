"""`ItemEvents`: when each candidate was acted on, or shown, in the parts before the one that is evaluated.

Who is asked test questions may know training and validation sessions, of all users; for validation questions, training
sessions alone. Of these each question uses what lies strictly before its own time, see `faded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sessionrec.data.dataset import Dataset
from sessionrec.jagged import IntArray, offsets_from_lengths
from sessionrec.sessions.split import Part

Kind = Literal["acted", "shown"]
"""Positive events, or all of them: what was acted on had been shown."""


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
        cls, dataset: Dataset, *, before: Literal["validation", "test"] = "test", kind: Kind = "acted"
    ) -> ItemEvents:
        """Read all row groups once, in turn. Takes 16 bytes an event, and three times as much while sorting.

        Args:
            dataset: Of whom.
            before: The part that is evaluated; only events of earlier parts are taken.
            kind: Which events.
        """
        items, times = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for histories in dataset.histories():
            is_known_S = histories.part_S < Part[before.upper()]
            keep_E = np.repeat(is_known_S, np.diff(histories.session_offsets))
            if kind == "acted":
                keep_E &= histories.is_positive_E()
            # An item first acted on in validation is no candidate, so nobody can recommend it.
            keep_E &= (histories.item_E >= 1) & (histories.item_E <= dataset.num_candidates)
            items.append(histories.item_E[keep_E])
            times.append(histories.time_ms_E[keep_E])
        return cls.of(np.concatenate(items), np.concatenate(times), dataset.num_candidates)

    @classmethod
    def of(cls, item_N: IntArray, time_ms_N: IntArray, num_candidates: int) -> ItemEvents:
        """From events in any order, their items in 1..V."""
        order = np.lexsort((time_ms_N, item_N))
        counts = np.bincount(item_N, minlength=num_candidates + 1)[1:]
        time_ms_N = time_ms_N[order]
        return cls(
            offsets=offsets_from_lengths(counts), time_ms_N=time_ms_N, by_time_N=np.argsort(time_ms_N, kind="stable")
        )
