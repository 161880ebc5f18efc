"""`KnownSessions`: the sessions of all users before the part that is evaluated, by what was acted on in them.

Letters: S sessions with a positive event, in the order of their ends, E their items, V candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.baselines.library import sparse
from sessionrec.data.dataset import Dataset
from sessionrec.dynamics.events import Before, is_before
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, take_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSessions:
    """Sessions as sets of items."""

    user_S: IntArray
    """[S] place of the user in the data set."""
    end_ms_S: IntArray
    """[S] UTC epoch of the last positive event, ascending: from then on the session is known as a whole."""
    offsets: IntArray
    """[S + 1] cuts items into sessions."""
    column_E: npt.NDArray[np.int32]
    """[E] item index less 1, distinct and ascending within a session."""
    num_candidates: int
    """V."""

    @property
    def num_sessions(self) -> int:
        """S."""
        return len(self.user_S)

    @classmethod
    def collect(cls, dataset: Dataset, *, before: Before = "test", num_candidates: int | None = None) -> KnownSessions:
        """Read all row groups once, in turn. Takes 24 bytes a positive event, and twice as much while sorting.

        Args:
            dataset: Of whom.
            before: Only sessions of the parts before it are taken.
            num_candidates: V, by default the items with a training event.
        """
        size_v = dataset.num_candidates if num_candidates is None else num_candidates
        users, sessions, items, times = ([np.zeros(0, np.int64)] for _ in range(4))
        first_user, first_session = 0, 0
        for histories in dataset.histories():
            is_known_E = np.repeat(is_before(histories.part_S, before), np.diff(histories.session_offsets))
            keep_E = histories.is_positive_E() & is_known_E
            # Items after the candidates are those that training never saw.
            keep_E &= (histories.item_E >= 1) & (histories.item_E <= size_v)
            session_E = row_of_element(histories.session_offsets)[keep_E]
            users.append(first_user + row_of_element(histories.user_offsets)[session_E])
            sessions.append(first_session + session_E)
            items.append(histories.item_E[keep_E].astype(np.int64))
            times.append(histories.time_ms_E[keep_E])
            first_user += histories.num_users
            first_session += histories.num_sessions
        user_N, session_N, item_N, time_ms_N = map(np.concatenate, (users, sessions, items, times))
        return cls.of(user_N, session_N, item_N, time_ms_N, size_v)

    @classmethod
    def of(
        cls, user_N: IntArray, session_N: IntArray, item_N: IntArray, time_ms_N: IntArray, num_candidates: int
    ) -> KnownSessions:
        """From positive events in any order, their items in 1..V; a session has one user and a number of its own."""
        _, first_S, place_N = np.unique(session_N, return_index=True, return_inverse=True)
        end_ms_S = np.full(len(first_S), np.iinfo(np.int64).min)
        np.maximum.at(end_ms_S, place_N, time_ms_N)
        cell_E = np.unique(place_N * num_candidates + item_N - 1)
        offsets = np.searchsorted(cell_E, np.arange(len(first_S) + 1) * num_candidates)
        order = np.argsort(end_ms_S, kind="stable")
        index_E, _ = take_rows(offsets, order)
        return cls(
            user_S=user_N[first_S][order],
            end_ms_S=end_ms_S[order],
            offsets=offsets_from_lengths(np.diff(offsets)[order]),
            column_E=(cell_E[index_E] % num_candidates).astype(np.int32),
            num_candidates=num_candidates,
        )

    def matrix(self) -> Any:
        """[S, V] float32, sparse by rows: 1 where an item was acted on in a session."""
        ones_E, shape = np.ones(len(self.column_E), np.float32), (self.num_sessions, self.num_candidates)
        return sparse().csr_array((ones_E, self.column_E, self.offsets), shape=shape)

    def by_user(self) -> Any:
        """[U, V] float32, sparse by rows: sessions of a user in which an item was acted on; users in any order."""
        users, row_S = np.unique(self.user_S, return_inverse=True)
        row_E = np.repeat(row_S, np.diff(self.offsets))
        ones_E = np.ones(len(row_E), np.float32)
        return sparse().csr_array((ones_E, (row_E, self.column_E)), shape=(len(users), self.num_candidates))
