"""Lists of items that callers want in order -> indices of a model, all users' at once, and the order they end in.

Letters: B users, P items of all lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sessionrec.errors import HistoryError
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element
from sessionrec.recommend.answers import Vectors
from sessionrec.recommend.histories import HistoryCoder
from sessionrec.schema import UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A list of items for each user."""

    wanted: list[Any]
    """[P] as they were given, list by list."""
    code_P: IntArray
    """[P] their indices; `UNKNOWN` for what is no candidate."""
    offsets: IntArray
    """[B + 1] cuts items into users."""

    @classmethod
    def of(cls, candidates: Any, num_users: int, coder: HistoryCoder, num_candidates: int) -> Given:
        """See `SessionRec.rank`.

        Raises:
            HistoryError: Not as many lists as users, or one of them is no list.
        """
        if isinstance(candidates, str | bytes) or not isinstance(candidates, Sequence):
            raise HistoryError(f"`candidates` must be a list of lists of item ids, got {type(candidates).__name__}")
        if len(candidates) != num_users:
            raise HistoryError(
                f"expected a list of candidates for each of {num_users} users, got {len(candidates)} lists"
            )
        for user, one in enumerate(candidates):
            if isinstance(one, str | bytes) or not isinstance(one, Sequence):
                raise HistoryError(f"candidates of user {user}: expected a list of item ids, got {one!r}")
        wanted = list(itertools.chain.from_iterable(candidates))
        code_P = coder.item_indices(wanted).astype(np.int64) if wanted else np.zeros(0, np.int64)
        return cls(
            wanted=wanted,
            code_P=np.where(code_P <= num_candidates, code_P, UNKNOWN),
            offsets=offsets_from_lengths(np.array([len(one) for one in candidates], np.int64)),
        )

    def order(self, score_P: Vectors) -> IntArray:
        """[P] places, of each user best first; of equals, and of what is unknown, which is last, as given."""
        least_P = np.where(self.code_P == UNKNOWN, np.inf, -score_P)
        order: IntArray = np.lexsort((least_P, row_of_element(self.offsets)))
        return order
