"""The last look at each partition: filters applied, history cut, parts assigned; and the sums that number everything.

In: a partition's histories and what the filters keep of them. Out: the partition in its final shape, and counts per
item and per feature value that `prepare` turns into the catalogue and the vocabularies. Only training events are
counted there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from sessionrec.hashing import hash_ids, mix64
from sessionrec.jagged import IntArray, position_in_row, shrink_rows, sum_by_row
from sessionrec.sessions.bins import MAX_SAMPLE
from sessionrec.sessions.filters import Counts
from sessionrec.sessions.histories import Array, Histories, Mask
from sessionrec.sessions.polars_engine import Gathered
from sessionrec.sessions.split import DROPPED, Part, assign, find_leak, late_events
from sessionrec.sessions.truncation import Truncation, truncate
from sessionrec.sessions.vocabulary import Codes, Union


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCounts:
    """One part of the split."""

    users: int
    """Users with a session in it."""
    sessions: int
    events: int
    positives: int
    cold_positives: int
    """Positives whose item has no training event: no model can retrieve them, they count as misses."""
    without_history: int
    """Sessions to predict that are their user's first: nothing is known; asked only with `ask_first`."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """One partition after filters, truncation and split, and what the split says of its codes."""

    counts: Counts
    parts: dict[str, PartCounts]
    users_without_training: int
    truncated_events: int
    straddling_sessions: int
    late_events: int
    events_I: IntArray
    train_events_I: IntArray
    train_positives_I: IntArray
    first_seen_ms_I: IntArray
    held_out_I: dict[str, IntArray]
    category_events: dict[str, IntArray]
    number_samples: dict[str, Array]


def _without_empty(histories: Histories) -> Histories:
    """Drop sessions without events, then users without sessions."""
    kept = histories.keep_sessions(np.diff(histories.session_offsets) > 0)
    has_sessions_U = np.diff(kept.user_offsets) > 0
    if has_sessions_U.all():
        return kept
    return replace(
        kept,
        user_U=kept.user_U.filter(pl.Series(has_sessions_U)),
        user_offsets=shrink_rows(kept.user_offsets, has_sessions_U),
    )


def shaper(
    gathered: Gathered,
    item_maps: Sequence[Codes],
    alive: tuple[Mask, ...],
    truncation: Truncation,
    time_borders: tuple[int, int] | None,
    *,
    has_row_order: bool,
) -> Callable[[int], Shaped]:
    """What brings a partition into its final shape, replaces it in `gathered`, and counts it.

    Args:
        gathered: The partitions.
        item_maps: Per partition, local item code -> place in the union.
        alive: Per partition, [E] the events that the filters keep.
        truncation: Caps on a history.
        time_borders: T1 and T2 of a global-time split, or None.
        has_row_order: See `split.late_events`.
    """
    share = min(1.0, MAX_SAMPLE / gathered.rows_read)

    def shape(partition: int) -> Shaped:
        kept = _without_empty(gathered.load(partition).keep_events(alive[partition]))
        cut = _without_empty(truncate(kept, truncation))
        part_S = assign(cut, time_borders)
        parted = _without_empty(replace(cut, part_S=part_S).keep_sessions(part_S != DROPPED))
        late_E = late_events(parted, time_borders, has_row_order=has_row_order)
        final = _without_empty(parted.keep_events(~late_E))
        leak = find_leak(final, time_borders, has_row_order=has_row_order)
        if leak is not None:
            # Not an `assert`: the promise must hold under `python -O` too.
            raise AssertionError(f"the split leaks: {leak}; please report it with the config")
        gathered.replace(partition, final)
        found = gathered.found[partition]
        return _measure(
            final,
            num_items=len(item_maps[partition]),
            num_values={name: len(values) for name, values in found.categories.items()},
            sampled_E=_sample(final, share),
            lost=(kept.num_events - cut.num_events, cut.num_sessions - parted.num_sessions, int(late_E.sum())),
        )

    return shape


def _sample(histories: Histories, share: float) -> Mask:
    """[E] a random share of the events, the same however the log was partitioned: by hash of user and place."""
    if share >= 1:
        return np.ones(histories.num_events, np.bool_)
    place_E = position_in_row(histories.event_offsets).astype(np.uint64)
    word_E = np.repeat(hash_ids(histories.user_U), np.diff(histories.event_offsets)) ^ place_E
    return mix64(word_E) <= np.uint64(round(share * 2**64) - 1)


def _measure(
    histories: Histories, *, num_items: int, num_values: dict[str, int], sampled_E: Mask, lost: tuple[int, int, int]
) -> Shaped:
    item_E, positive_E = histories.item_E, histories.is_positive_E()
    lengths_S = np.diff(histories.session_offsets)
    part_E = np.repeat(histories.part_S, lengths_S)
    train_E = part_E == Part.TRAIN
    first_seen = np.full(num_items, np.iinfo(np.int64).max)
    np.minimum.at(first_seen, item_E[train_E], histories.time_ms_E[train_E])
    is_target_S = sum_by_row(positive_E, histories.session_offsets) > 0
    is_first_S = np.zeros(histories.num_sessions, np.bool_)
    is_first_S[histories.user_offsets[:-1]] = True
    is_asked_S = is_target_S & ~is_first_S & (histories.part_S == Part.TRAIN)
    parts, held_out = {}, {}
    for part in Part:
        of_part_E, of_part_S = part_E == part, histories.part_S == part
        parts[part.name.lower()] = PartCounts(
            users=int(np.count_nonzero(sum_by_row(of_part_S, histories.user_offsets))),
            sessions=int(of_part_S.sum()),
            events=int(of_part_E.sum()),
            positives=int((of_part_E & positive_E).sum()),
            cold_positives=0,
            without_history=int((of_part_S & is_target_S & is_first_S).sum()),
        )
        held_out[part.name.lower()] = np.bincount(item_E[of_part_E & positive_E], minlength=num_items)
    counts = Counts(
        users=histories.num_users,
        items=0,
        sessions=histories.num_sessions,
        events=histories.num_events,
        positives=int(positive_E.sum()),
    )
    features = histories.features
    return Shaped(
        counts=counts,
        parts=parts,
        users_without_training=int(np.count_nonzero(sum_by_row(is_asked_S, histories.user_offsets) == 0)),
        truncated_events=lost[0],
        straddling_sessions=lost[1],
        late_events=lost[2],
        events_I=np.bincount(item_E, minlength=num_items),
        train_events_I=np.bincount(item_E[train_E], minlength=num_items),
        train_positives_I=held_out["train"],
        first_seen_ms_I=first_seen,
        held_out_I=held_out,
        category_events={
            name: np.bincount(features[name][train_E & (features[name] >= 0)], minlength=size)
            for name, size in num_values.items()
        },
        number_samples={
            name: values[train_E & sampled_E] for name, values in features.items() if name not in num_values
        },
    )


class Tally:
    """Sums over partitions, item by item and value by value."""

    def __init__(self, union: Union, time_borders: tuple[int, int] | None) -> None:
        size = len(union)
        self._union, self.time_borders = union, time_borders
        self.events_M, self.train_events_M, self.train_positives_M = (np.zeros(size, np.int64) for _ in range(3))
        self.first_seen_ms_M = np.full(size, np.iinfo(np.int64).max)
        self.held_out_M = {part.name.lower(): np.zeros(size, np.int64) for part in Part}
        self.shaped: list[Shaped] = []

    def add(self, partition: int, shaped: Shaped) -> None:
        """Add what one partition counted."""
        place = self._union.maps[partition]
        self.events_M[place] += shaped.events_I
        self.train_events_M[place] += shaped.train_events_I
        self.train_positives_M[place] += shaped.train_positives_I
        self.first_seen_ms_M[place] = np.minimum(self.first_seen_ms_M[place], shaped.first_seen_ms_I)
        for part, count_I in shaped.held_out_I.items():
            self.held_out_M[part][place] += count_I
        # The item tables are summed up; keeping each partition's would cost (partitions x items).
        nothing = np.zeros(0, np.int64)
        self.shaped.append(
            replace(
                shaped,
                events_I=nothing,
                train_events_I=nothing,
                train_positives_I=nothing,
                first_seen_ms_I=nothing,
                held_out_I={},
            )
        )

    def total(self, name: str) -> int:
        """Sum of one count over the partitions."""
        return sum(int(getattr(shaped, name)) for shaped in self.shaped)

    def part_counts(self, part: str) -> PartCounts:
        """Size of one part of the split."""
        cold = int(self.held_out_M[part][self.train_events_M == 0].sum())
        sums = {
            name: sum(int(getattr(shaped.parts[part], name)) for shaped in self.shaped)
            for name in ("users", "sessions", "events", "positives", "without_history")
        }
        return PartCounts(**sums, cold_positives=cold)

    def counts(self) -> Counts:
        """Size of the data set."""
        sums = {
            name: sum(int(getattr(shaped.counts, name)) for shaped in self.shaped)
            for name in ("users", "sessions", "events", "positives")
        }
        return Counts(items=int(np.count_nonzero(self.events_M)), **sums)
