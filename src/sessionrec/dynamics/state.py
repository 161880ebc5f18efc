"""`ItemState`: how items stand now. An event changes one row of it, so a stream or a server can carry it along.

Letters: V candidates, H half-lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from sessionrec.jagged import IntArray

NEVER: Final = -np.inf
"""log2 of a count of no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemState:
    """Faded counts of all items, each as it was just after its newest event. 16 + 4 H bytes an item."""

    half_lives_s: tuple[float, ...]
    """[H] seconds."""
    after_VH: npt.NDArray[np.float32]
    """[V, H] log2 of the faded count, the newest event included; `NEVER` before a first one."""
    time_ms_V: IntArray
    """[V] time of the newest event; 0 before a first one."""
    first_ms_V: IntArray
    """[V] time of the first event; 0 before it."""

    @classmethod
    def empty(cls, num_candidates: int, half_lives_s: Sequence[float]) -> Self:
        """Before any event."""
        return cls(
            half_lives_s=tuple(half_lives_s),
            after_VH=np.full((num_candidates, len(half_lives_s)), NEVER, np.float32),
            time_ms_V=np.zeros(num_candidates, np.int64),
            first_ms_V=np.zeros(num_candidates, np.int64),
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

    def at(self, time_ms: int) -> npt.NDArray[np.float32]:
        """[V, H] log2 of the counts at a time not before the newest event; `NEVER` of none."""
        since_s_V = ((time_ms - self.time_ms_V) / 1000).astype(np.float32)
        rates_H = (1 / np.array(self.half_lives_s)).astype(np.float32)
        counts_VH: npt.NDArray[np.float32] = self.after_VH - since_s_V[:, None] * rates_H
        return counts_VH
