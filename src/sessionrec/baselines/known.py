"""`Known`: what may be known before a part, read when a floor first needs it and shared by all floors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from sessionrec.baselines.recency import RecencyPopularity
from sessionrec.baselines.session_knn import Postings
from sessionrec.baselines.sessions import KnownSessions
from sessionrec.data.dataset import Dataset
from sessionrec.dynamics.events import Before, ItemEvents, events_before
from sessionrec.jagged import IntArray

T = TypeVar("T")


class Known:
    """Events of all users before a part, in the forms that floors are made of.

    Args:
        dataset: Of whom.
        before: The part that is evaluated.
        is_stream: Whether all events strictly before a question are known where time counts, of any part, and all items
            can be answers; see `evaluate.EvalProtocol.known`.
        is_asked_again: Whether the same batches will be asked many times, as they are while parameters are chosen.
    """

    def __init__(
        self,
        dataset: Dataset,
        before: Literal["validation", "test"],
        *,
        is_stream: bool = False,
        is_asked_again: bool = False,
    ) -> None:
        self._dataset, self._before, self.is_asked_again = dataset, before, is_asked_again
        self._is_stream = is_stream
        self._num_candidates = dataset.num_items if is_stream else dataset.num_candidates
        self._newest: dict[str, tuple[Any, Any]] = {}

    @cached_property
    def events(self) -> ItemEvents:
        """Times of positive events by item, of which a question uses those before it: one pass over the data set."""
        before = None if self._is_stream else self._before
        return ItemEvents.collect(self._dataset, before=before, num_candidates=self._num_candidates)

    @cached_property
    def count_V(self) -> IntArray:
        """[V] positive events before the part, whatever their time. So those of the part itself never count."""
        if not self._is_stream:
            return self.events.count_V
        counts = np.zeros(self._num_candidates + 1, np.int64)
        for item_N, _ in events_before(self._dataset, self._before, "acted", self._num_candidates):
            counts += np.bincount(item_N, minlength=len(counts))
        return counts[1:]

    @cached_property
    def sessions(self) -> KnownSessions:
        """Items of each session before the part, for who counts them whatever their time: a pass over the data set."""
        return self._collect(self._before)

    @cached_property
    def postings(self) -> Postings:
        """Sessions of each item, of which a question uses those that ended before it."""
        return Postings(self._collect(None) if self._is_stream else self.sessions)

    def _collect(self, before: Before) -> KnownSessions:
        return KnownSessions.collect(self._dataset, before=before, num_candidates=self._num_candidates)

    def recency(self, half_life_s: float) -> RecencyPopularity:
        """Faded popularity, the same object as long as the half-life stays."""
        return self.newest("recency", half_life_s, lambda: RecencyPopularity(self.events, half_life_s=half_life_s))

    def newest(self, kind: str, key: Any, make: Callable[[], T]) -> T:
        """What was made last of a kind, if it was made with an equal key; else it is made. One of a kind is kept."""
        if kind not in self._newest or self._newest[kind][0] != key:
            self._newest.pop(kind, None)  # the old goes before the new comes
            self._newest[kind] = (key, make())
        found: T = self._newest[kind][1]
        return found
