"""`ItemFacts`: what evaluation has to know of the catalogue; the caller fills it from the data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sessionrec.jagged import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts:
    """Items 1 to I, of which 1 to V are candidates."""

    num_candidates: int
    """V: items that can be answers."""
    train_positives_I: IntArray
    """[I] positive training events of items 1, 2, ...; what popularity means in a report."""
    num_trained: int | None = None
    """Items with a training event, the first ones; by default all that can be answers."""

    @property
    def first_cold(self) -> int:
        """The first item without a training event."""
        return 1 + (self.num_candidates if self.num_trained is None else self.num_trained)

    def __post_init__(self) -> None:
        if self.num_trained is not None and not 0 <= self.num_trained <= len(self.train_positives_I):
            raise ValueError(
                f"`num_trained` must be in 0..{len(self.train_positives_I)}, the items there are, "
                f"got {self.num_trained}"
            )
        if not 0 <= self.num_candidates <= len(self.train_positives_I):
            raise ValueError(
                f"`num_candidates` must be in 0..{len(self.train_positives_I)}, the items there are, "
                f"got {self.num_candidates}"
            )

    def popularity_of(self, item_N: IntArray) -> IntArray:
        """[N] positive training events of items; 0 for an index that is no item."""
        known = (item_N >= 1) & (item_N <= len(self.train_positives_I))
        return np.where(known, np.append(self.train_positives_I, 0)[np.where(known, item_N - 1, -1)], 0)
