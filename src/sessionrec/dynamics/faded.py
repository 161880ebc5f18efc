"""Faded counts of an item's events, at several half-lives, at any time.

    count_h(v, t) = sum_{events of v at times t_1 <= t_2 <= ... < t}  2^{-(t - t_i) / h}

With event i of an item is kept `after_ih = log2 count_h(v, just after t_i)`, itself included, which is never below 0.
From then until the item's next event the logarithm is `after_ih - (t - t_i) / h`. So a count at any time is one search
for the last event strictly before it and one subtraction, whatever lies between, and 4 bytes an event and half-life
hold it to float32's precision: no snapshots, and no times counted from a beginning far away.

Letters: V candidates, N events by item then time, H half-lives, P pairs of item and time, Q questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sessionrec.dynamics.events import ItemEvents
from sessionrec.dynamics.state import NEVER, ItemState
from sessionrec.jagged import IntArray, position_in_row, row_of_element

Floats = npt.NDArray[np.float32]


class FadedCounts:
    """log2 of faded counts.

    Takes 8 + 4 H bytes an event beside the events themselves, and about 80 more while it is made.

    Args:
        events: What may be known.
        half_lives_s: Seconds after which an event counts half.
    """

    def __init__(self, events: ItemEvents, half_lives_s: Sequence[float]) -> None:
        if any(not half_life > 0 for half_life in half_lives_s):
            raise ValueError(f"`half_lives_s` must be above 0, got {tuple(half_lives_s)}")
        self.events, self.half_lives_s = events, tuple(float(half_life) for half_life in half_lives_s)
        times = events.time_ms_N
        self._start_ms = int(times.min()) if len(times) else 0
        # One ascending number for item and time; times beyond the last event are all after it.
        self._span = int(times.max()) - self._start_ms + 2 if len(times) else 1
        self._key_N = row_of_element(events.offsets) * self._span + (times - self._start_ms)
        self._after_NH = np.empty((len(times), len(self.half_lives_s)), np.float32)
        for column, half_life in enumerate(self.half_lives_s):
            age_N = (times - self._start_ms) / (half_life * 1000)
            self._after_NH[:, column] = running_log2_sum(age_N, events.offsets) - age_N

    @property
    def num_candidates(self) -> int:
        """V."""
        return self.events.num_candidates

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> Floats:
        """[P, H] log2 of the counts of items (1..V) at some times, from events strictly before; `NEVER` of none."""
        place_P, is_known_P = self._last(time_ms_P, item_P - 1)
        found_PH = np.full((len(place_P), len(self.half_lives_s)), NEVER, np.float32)
        place_K = place_P[is_known_P]
        since_s_K = (time_ms_P[is_known_P] - self.events.time_ms_N[place_K]) / 1000
        found_PH[is_known_P] = self._after_NH[place_K] - since_s_K[:, None] / np.array(self.half_lives_s)
        return found_PH

    def state(self, time_ms: int) -> ItemState:
        """How items stand at a time, by events strictly before it; a copy."""
        columns_V = np.arange(self.num_candidates)
        place_V, is_known_V = self._last(np.full(len(columns_V), time_ms), columns_V)
        state = ItemState.empty(self.num_candidates, self.half_lives_s)
        place_K = place_V[is_known_V]
        state.after_VH[is_known_V] = self._after_NH[place_K]
        state.time_ms_V[is_known_V] = self.events.time_ms_N[place_K]
        state.first_ms_V[is_known_V] = self.events.time_ms_N[self.events.offsets[:-1][is_known_V]]
        return state

    def sweep(self, time_ms_Q: IntArray) -> Iterator[tuple[int, ItemState]]:
        """Each question's place, and how items stand at its time; oldest question first.

        The state moves on: copy what shall stay. Costs each event between two questions once, or, where these are more
        than twice the items, a search for each item.
        """
        order = np.argsort(time_ms_Q, kind="stable")
        if not len(order):
            return
        events = self.events
        place_T = events.by_time_N
        until_Q = np.searchsorted(events.time_ms_N[place_T], time_ms_Q[order], "left")
        column_N = row_of_element(events.offsets)
        state = self.state(int(time_ms_Q[order[0]]))
        known = int(until_Q[0])
        for row, until in zip(order.tolist(), until_Q.tolist(), strict=True):
            if until - known > 2 * self.num_candidates:
                state, known = self.state(int(time_ms_Q[row])), until
            elif until > known:
                # In the order of time, so of several events of an item the last stays.
                news = place_T[known:until]
                columns = column_N[news]
                state.after_VH[columns] = self._after_NH[news]
                state.time_ms_V[columns] = events.time_ms_N[news]
                state.first_ms_V[columns] = events.time_ms_N[events.offsets[columns]]
                known = until
            yield row, state

    def _last(self, time_ms_P: IntArray, column_P: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """[P] place of an item's last event strictly before a time, and whether there is one."""
        inside_P = np.clip(time_ms_P - self._start_ms, 0, self._span - 1)
        place_P = np.searchsorted(self._key_N, column_P * self._span + inside_P, "left") - 1
        return place_P, place_P >= self.events.offsets[column_P]


def running_log2_sum(power_N: npt.NDArray[np.float64], offsets: IntArray) -> npt.NDArray[np.float64]:
    """[N] log2 of the running sum of 2^power within each row.

    Doubling: after a step of 1, 2, 4, ... each element holds the sum of the 2, 4, 8, ... elements up to it. So as many
    passes as the longest row has bits, over ever fewer elements, instead of a loop over rows.
    """
    level_N = power_N.copy()
    position_N = position_in_row(offsets)
    step, longest = 1, int(np.diff(offsets).max(initial=0))
    while step < longest:
        later = np.flatnonzero(position_N >= step)
        one, other = level_N[later], level_N[later - step]
        # `np.logaddexp2` is one number at a time, and three times as slow.
        more = np.maximum(one, other)
        level_N[later] = more + np.log2(1 + np.exp2(np.minimum(one, other) - more))
        step *= 2
    return level_N
