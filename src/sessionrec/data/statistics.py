"""What a data set looks like: lengths, rhythm, popularity, repetition; measured in one pass, row group by row group.

In: a data set. Out: `Statistics`, small tables however long the log is. Users are whole within a row group, so what
concerns one user needs no memory of another; only items, days and tables of counts are carried along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sessionrec.data.dataset import Dataset
from sessionrec.data.distribution import Concentration, Distribution, ShareTally, Tally
from sessionrec.jagged import IntArray, row_of_element, sum_by_row
from sessionrec.progress import Progress
from sessionrec.schema import DAY_MS, MAX_TIME_MS
from sessionrec.sessions.histories import Histories, Mask
from sessionrec.sessions.split import Part

_NUM_DAYS: Final = MAX_TIME_MS // DAY_MS + 1
_NUM_PARTS: Final = len(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Events by day (UTC), from the first day with an event to the last."""

    first_day: int
    """Days since 1970-01-01."""
    counts_DPK: IntArray
    """[days, parts, 2] exposures, then positives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The positives of a held-out part: what a model is asked for."""

    positives: int
    in_history: int
    """Their item stands in an earlier session of the same user, acted on or only shown."""
    acted_before: int
    """The user acted on their item positively in an earlier session."""
    cold: int
    """Their item has no training event of anybody: a model alone cannot retrieve it."""

    def share(self, count: int) -> float:
        """A count as a share of the positives."""
        return count / self.positives if self.positives else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of all parts together, after the filters, unless it says otherwise."""

    num_users: int
    num_items: int
    """Items with at least one event."""
    num_sessions: int
    num_events: int
    num_positives: int
    sessions_per_user: Distribution
    events_per_user: Distribution
    """Its mean is the average length of the paper's Table 1."""
    positives_per_user: Distribution
    """Its mean is the average positive length of the paper's Table 1."""
    events_per_session: Distribution
    positives_per_session: Distribution
    positive_share: Distribution
    """Of each session, positives over events, in thousandths."""
    gap_s: Distribution
    """From the last event of a session to the first of the user's next, seconds; 0 where they overlap."""
    span_s: Distribution
    """From the first event of a session to its last, seconds."""
    item_events: Concentration
    item_positives: Concentration
    days: Days
    actions: dict[str, int]
    """Events with each named action."""
    repeat_positives: int
    """Positives whose item the user acted on positively in an earlier session."""
    targets: dict[str, Targets]
    """By part: `validation`, `test`."""

    @property
    def repeat_share(self) -> float:
        """Repeats as a share of all positives, those of first sessions included."""
        return self.repeat_positives / self.num_positives if self.num_positives else 0.0


def measure(dataset: Dataset, progress: Progress = lambda *_: None) -> Statistics:
    """Read a data set once and measure it.

    Args:
        dataset: What to measure.
        progress: Called with `"measure"`, the events done, and the events in all.
    """
    meter = _Meter(dataset)
    for histories in dataset.histories():
        meter.add(histories)
        progress("measure", meter.num_events, dataset.summary.kept.events)
    return meter.statistics()


class _Meter:
    """Adds up one group of whole users after the other."""

    def __init__(self, dataset: Dataset) -> None:
        self._num_candidates, self._actions = dataset.num_candidates, dataset.actions
        self.num_events = self._num_users = self._num_sessions = self._num_positives = self._repeats = 0
        self._sessions_per_user, self._events_per_user, self._positives_per_user = Tally(), Tally(), Tally()
        self._events_per_session, self._positives_per_session = Tally(), Tally()
        self._gap_s, self._span_s, self._positive_share = Tally(), Tally(), ShareTally()
        self._events_V = np.zeros(dataset.num_items + 1, np.int64)
        self._positives_V = np.zeros(dataset.num_items + 1, np.int64)
        self._days = np.zeros(_NUM_DAYS * _NUM_PARTS * 2, np.int64)
        self._bit_sets = np.zeros(1 << 16, np.int64)
        self._targets = np.zeros((_NUM_PARTS, 4), np.int64)

    def add(self, histories: Histories) -> None:
        """Measure some whole users."""
        if not histories.num_events:
            return
        is_positive_E = histories.is_positive_E()
        self.num_events += histories.num_events
        self._num_users += histories.num_users
        self._num_sessions += histories.num_sessions
        self._num_positives += int(np.count_nonzero(is_positive_E))
        self._bit_sets += np.bincount(histories.action_E, minlength=1 << 16)
        self._add_lengths(histories, is_positive_E)
        self._add_times(histories, is_positive_E)
        self._events_V += np.bincount(histories.item_E, minlength=len(self._events_V))
        self._positives_V += np.bincount(histories.item_E[is_positive_E], minlength=len(self._positives_V))
        self._add_repeats(histories, is_positive_E)

    def _add_lengths(self, histories: Histories, is_positive_E: Mask) -> None:
        events_S = np.diff(histories.session_offsets)
        positives_S = sum_by_row(is_positive_E, histories.session_offsets)
        self._sessions_per_user.add(np.diff(histories.user_offsets))
        self._events_per_user.add(np.diff(histories.event_offsets))
        self._positives_per_user.add(sum_by_row(positives_S, histories.user_offsets))
        self._events_per_session.add(events_S)
        self._positives_per_session.add(positives_S)
        is_filled_S = events_S > 0
        self._positive_share.add(positives_S[is_filled_S], events_S[is_filled_S])

    def _add_times(self, histories: Histories, is_positive_E: Mask) -> None:
        is_filled_S = np.diff(histories.session_offsets) > 0
        first_ms_S = histories.time_ms_E[histories.session_offsets[:-1][is_filled_S]]
        last_ms_S = histories.time_ms_E[histories.session_offsets[1:][is_filled_S] - 1]
        self._span_s.add((last_ms_S - first_ms_S) // 1000, is_duration=True)
        user_S = row_of_element(histories.user_offsets)[is_filled_S]
        gap_ms = (first_ms_S[1:] - last_ms_S[:-1])[user_S[1:] == user_S[:-1]]
        self._gap_s.add(np.maximum(gap_ms, 0) // 1000, is_duration=True)
        part_E = np.repeat(histories.part_S, np.diff(histories.session_offsets)).astype(np.int64)
        cell_E = (histories.time_ms_E // DAY_MS * _NUM_PARTS + part_E) * 2 + is_positive_E
        self._days += np.bincount(cell_E, minlength=len(self._days))

    def _add_repeats(self, histories: Histories, is_positive_E: Mask) -> None:
        session_E = row_of_element(histories.session_offsets)
        user_E = row_of_element(histories.event_offsets)
        item_of_user_E = user_E * len(self._events_V) + histories.item_E
        positive = np.flatnonzero(is_positive_E)
        is_seen = comes_again(item_of_user_E, session_E)[positive]
        is_repeat = comes_again(item_of_user_E[positive], session_E[positive])
        self._repeats += int(np.count_nonzero(is_repeat))
        part = histories.part_S[session_E[positive]]
        item = histories.item_E[positive]
        is_cold = (item > self._num_candidates) | (item == 0)
        for column, chosen in enumerate((np.ones(len(part), np.bool_), is_seen, is_repeat, is_cold)):
            self._targets[:, column] += np.bincount(part[chosen], minlength=_NUM_PARTS)

    def statistics(self) -> Statistics:
        """What was measured so far."""
        return Statistics(
            num_users=self._num_users,
            num_items=int(np.count_nonzero(self._events_V)),
            num_sessions=self._num_sessions,
            num_events=self.num_events,
            num_positives=self._num_positives,
            sessions_per_user=self._sessions_per_user.distribution(),
            events_per_user=self._events_per_user.distribution(),
            positives_per_user=self._positives_per_user.distribution(),
            events_per_session=self._events_per_session.distribution(),
            positives_per_session=self._positives_per_session.distribution(),
            positive_share=self._positive_share.distribution(),
            gap_s=self._gap_s.distribution(),
            span_s=self._span_s.distribution(),
            item_events=_concentration(self._events_V, self._events_V),
            item_positives=_concentration(self._positives_V, self._events_V),
            days=self._trimmed_days(),
            actions={name: self._count_action(bit) for bit, name in enumerate(self._actions, start=1)},
            repeat_positives=self._repeats,
            targets={
                part.name.lower(): Targets(
                    positives=int(row[0]), in_history=int(row[1]), acted_before=int(row[2]), cold=int(row[3])
                )
                for part, row in zip(Part, self._targets, strict=True)
                if part is not Part.TRAIN
            },
        )

    def _trimmed_days(self) -> Days:
        counts_DPK = self._days.reshape(_NUM_DAYS, _NUM_PARTS, 2)
        filled = np.flatnonzero(counts_DPK.any(axis=(1, 2)))
        first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, -1)
        return Days(first_day=first, counts_DPK=counts_DPK[first : last + 1].copy())

    def _count_action(self, bit: int) -> int:
        return int(self._bit_sets[(np.arange(1 << 16) >> bit & 1).astype(np.bool_)].sum())


def _concentration(counts_V: IntArray, events_V: IntArray) -> Concentration:
    return Concentration(counts=np.sort(counts_V[events_V > 0])[::-1])


def comes_again(key_E: IntArray, session_E: IntArray) -> Mask:
    """[E] whether an earlier session has an event with the same key.

    Args:
        key_E: [E] what must be the same, for example the pair of user and item.
        session_E: [E] ascending.
    """
    order = np.argsort(key_E, kind="stable")
    sorted_key = key_E[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = sorted_key[1:] != sorted_key[:-1]
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    again = np.empty(len(order), np.bool_)
    again[order] = session_E[order] > session_E[order[first]]
    return again
