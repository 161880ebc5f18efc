"""`ItemState`: how items stand now. An event changes one row of it, so a stream or a server can carry it along.

Letters: V candidates, H half-lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from sessionrec.data.dataset import Dataset
from sessionrec.dynamics.events import Before, Kind, events_before
from sessionrec.jagged import IntArray
from sessionrec.schema import MAX_TIME_MS

NEVER: Final = -np.inf
"""log2 of a count of no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemState:
    """Faded counts of all items, each as it was just after its newest event. 16 + 4 H bytes an item; 16 + 8 H where
    events are taken one by one, see `after_VH`."""

    half_lives_s: tuple[float, ...]
    """[H] seconds."""
    after_VH: npt.NDArray[np.floating]
    """[V, H] log2 of the faded count, the newest event included; `NEVER` before a first one. In float32 an event more
    changes nothing from a count of 1.5 million on, and neither does a second that passes: a state that is fed one event
    at a time keeps float64."""
    time_ms_V: IntArray
    """[V] time of the newest event; 0 before a first one."""
    first_ms_V: IntArray
    """[V] time of the first event; 0 before it."""

    @classmethod
    def collect(
        cls,
        dataset: Dataset,
        half_lives_s: Sequence[float],
        *,
        before: Before,
        kind: Kind,
        num_candidates: int,
        until_ms: int = MAX_TIME_MS,
    ) -> Self:
        """How items stand after the events that may be known before a part, none after a time; one pass, memory of a
        row group."""
        state = cls.empty(num_candidates, half_lives_s)
        for item_N, time_ms_N in events_before(dataset, before, kind, num_candidates):
            is_kept_N = time_ms_N <= until_ms
            state.add_all(item_N[is_kept_N], time_ms_N[is_kept_N])
        return state

    @classmethod
    def empty(cls, num_candidates: int, half_lives_s: Sequence[float]) -> Self:
        """Before any event."""
        return cls(
            half_lives_s=tuple(half_lives_s),
            after_VH=np.full((num_candidates, len(half_lives_s)), NEVER, np.float32),
            time_ms_V=np.zeros(num_candidates, np.int64),
            first_ms_V=np.zeros(num_candidates, np.int64),
        )

    def with_items(self, number: int) -> Self:
        """A copy with so many items more, of which nothing has happened."""
        fresh = type(self).empty(number, self.half_lives_s)
        return type(self)(
            half_lives_s=self.half_lives_s,
            after_VH=np.concatenate([self.after_VH, fresh.after_VH.astype(self.after_VH.dtype)]),
            time_ms_V=np.concatenate([self.time_ms_V, fresh.time_ms_V]),
            first_ms_V=np.concatenate([self.first_ms_V, fresh.first_ms_V]),
        )

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self.time_ms_V)

    @property
    def is_known_V(self) -> npt.NDArray[np.bool_]:
        """[V] whether the item has an event."""
        known: npt.NDArray[np.bool_] = self.time_ms_V > 0
        return known

    def add(self, item: int, time_ms: int) -> None:
        """Take an event of an item (1..V). Late ones count as if they had come in time.

        Raises:
            ValueError: There is no such item, or the time is not after 1970.
        """
        if not 1 <= item <= self.num_candidates:
            raise ValueError(f"`item` must be in 1..{self.num_candidates}, got {item}")
        if time_ms <= 0:
            raise ValueError(f"`time_ms` must be above 0, got {time_ms}")
        column, half_lives = item - 1, np.array(self.half_lives_s)
        newest = int(self.time_ms_V[column])
        if not newest:
            self.after_VH[column], self.time_ms_V[column], self.first_ms_V[column] = 0.0, time_ms, time_ms
            return
        since_H = abs(time_ms - newest) / 1000 / half_lives
        after_H = self.after_VH[column].astype(np.float64)
        # The older of the two has faded by the time of the newer one.
        old_H, new_H = (after_H - since_H, 0.0) if time_ms >= newest else (after_H, -since_H)
        self.after_VH[column] = np.logaddexp2(old_H, new_H)
        self.time_ms_V[column] = max(time_ms, newest)
        self.first_ms_V[column] = min(time_ms, int(self.first_ms_V[column]))

    def add_all(self, item_N: npt.NDArray[np.integer], time_ms_N: IntArray) -> None:
        """Take many events at once, in any order: the same as `add` of each."""
        if not len(item_N):
            return
        # Only of the items that are touched: a few events shall not cost a pass over the catalogue.
        touched, place_N = np.unique(item_N.astype(np.int64) - 1, return_inverse=True)
        before_T, first_T = self.time_ms_V[touched], self.first_ms_V[touched]
        newest_T = before_T.copy()
        np.maximum.at(newest_T, place_N, time_ms_N)
        first_T[first_T == 0] = np.iinfo(np.int64).max
        np.minimum.at(first_T, place_N, time_ms_N)
        since_s_N, moved_s_T = (newest_T[place_N] - time_ms_N) / 1000, (newest_T - before_T) / 1000
        for place, half_life in enumerate(self.half_lives_s):
            # The newest event counts 1, so what is too old for a float64 is too little to matter beside it.
            sums_T = np.bincount(place_N, weights=np.exp2(-since_s_N / half_life))
            old_T = self.after_VH[touched, place].astype(np.float64) - moved_s_T / half_life
            self.after_VH[touched, place] = np.logaddexp2(old_T, np.log2(np.maximum(sums_T, 1e-300)))
        self.time_ms_V[touched], self.first_ms_V[touched] = newest_T, first_T

    def at(self, time_ms_P: IntArray | int, columns_P: IntArray | slice = slice(None)) -> npt.NDArray[np.float32]:
        """[P, H] log2 of the counts of some items, by default of all V, at times not before the newest event; `NEVER`
        of none.

        Args:
            time_ms_P: One time, or one an item.
            columns_P: Item indices less 1.
        """
        since_s_P = ((time_ms_P - self.time_ms_V[columns_P]) / 1000).astype(np.float32)
        rates_H = (1 / np.array(self.half_lives_s)).astype(np.float32)
        after_PH: npt.NDArray[np.float32] = self.after_VH[columns_P].astype(np.float32, copy=False)
        counts_PH: npt.NDArray[np.float32] = after_PH - since_s_P[:, None] * rates_H
        return counts_PH
