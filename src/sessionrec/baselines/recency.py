"""Popularity that fades: each positive event counts half as much after a half-life.

    score(v, t) = log2  sum_{events of v at times t_1 <= t_2 <= ... < t}  2^{-(t - t_i) / half_life}

The logarithm changes no order, and keeps apart what would underflow to zero after some days of a half-life of an hour.
Only events strictly before the question's time count, and only of parts before the one evaluated (`events`), so that no
answer knows its own time. An item without such an event scores below all others, all such items alike.

With every event i is kept `level_i = log2 sum_{j <= i} 2^{(t_j - t_0) / half_life}`: the score of its item from then
until the next event, but for the age `(t - t_0) / half_life`, which all items of a question share.

Letters: Q questions, V candidates, N events, P pairs.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.baselines.events import PositiveEvents
from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, position_in_row, row_of_element
from sessionrec.scoring import Block

HALF_LIVES_S = tuple(
    float(hours * 3600) for hours in (1 / 12, 1 / 4, 1 / 2, 1, 2, 4, 8, 24, 3 * 24, 7 * 24, 14 * 24, 28 * 24, 84 * 24)
)
"""Half-lives to choose from, in seconds: 5 minutes to 12 weeks."""

_NEVER = -1e30
"""Score of an item that nobody acted on before."""

_BLOCK_SCORES = 1 << 23
"""Scores made at once, 8 bytes each."""

_CHECKPOINTS, _CHECKPOINT_SCORES = 256, 1 << 24
"""States kept at most, and levels in all of them together, 8 bytes each."""


class RecencyPopularity:
    """Scores candidates by their faded popularity at the time of the question.

    Takes about 40 bytes an event and up to 128 MB for checkpoints.

    Args:
        events: What may be known.
        half_life_s: Seconds after which an event counts half.
    """

    def __init__(self, events: PositiveEvents, *, half_life_s: float) -> None:
        if not half_life_s > 0:
            raise ValueError(f"`half_life_s` must be above 0, got {half_life_s}")
        self.half_life_s = half_life_s
        self._events = events
        num_events, size_v = len(events.time_ms_N), events.num_candidates
        self._start_ms = int(events.time_ms_N.min()) if num_events else 0
        self._level_N = _running_log2_sum(self._age(events.time_ms_N), events.offsets)
        # The same once more in the order of time, and the state after each share of the events.
        order = np.argsort(events.time_ms_N, kind="stable")
        self._time_ms_T, self._level_T = events.time_ms_N[order], self._level_N[order]
        self._column_T = row_of_element(events.offsets)[order]
        num_states = max(min(_CHECKPOINTS, _CHECKPOINT_SCORES // max(size_v, 1)), 1)
        self._borders = np.unique(np.linspace(0, num_events, num_states, endpoint=False, dtype=np.int64))
        self._states = np.full((len(self._borders), size_v), -np.inf)
        for place, (begin, end) in enumerate(pairwise(self._borders), 1):
            self._states[place] = self._states[place - 1]
            self._states[place, self._column_T[begin:end]] = self._level_T[begin:end]

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._events.num_candidates

    def _age(self, time_ms: IntArray) -> npt.NDArray[np.float64]:
        """Half-lives since the first event."""
        return (time_ms - self._start_ms) / (self.half_life_s * 1000)

    def scorer(self, examples: Examples) -> RecencyScorer:
        """See `scoring.Ranker`."""
        return RecencyScorer(self, examples.targets.time_ms_Q.cpu().numpy())

    def fill(self, time_ms_Q: IntArray, block: Block) -> None:
        """Write the scores of all items at some times.

        Questions between the same two checkpoints go together, oldest first: each event since the checkpoint is written
        once, into the row of the first question after it, and going down the rows the greatest level is the newest. So
        the cost is Q x V, and a look at the events between the checkpoints.
        """
        order = np.argsort(time_ms_Q, kind="stable")
        known_Q = np.searchsorted(self._time_ms_T, time_ms_Q[order], "left")  # events strictly before
        state_Q = np.searchsorted(self._borders, known_Q, "right") - 1
        step = max(_BLOCK_SCORES // max(self.num_candidates, 1), 1)
        cuts = np.flatnonzero(np.diff(state_Q)) + 1
        cuts = np.union1d(np.append(cuts, len(order)), np.arange(0, len(order), step))
        for begin, end in pairwise(cuts.tolist()):
            state, rows = int(state_Q[begin]), order[begin:end]
            event_T = np.arange(self._borders[state], known_Q[end - 1])
            first_T = np.searchsorted(known_Q[begin:end], event_T, "right")
            level_QV = np.full((end - begin, self.num_candidates), -np.inf)
            level_QV[0] = self._states[state]
            # Levels of an item ascend with time, so of several in a cell the last stays.
            level_QV[first_T, self._column_T[event_T]] = self._level_T[event_T]
            np.maximum.accumulate(level_QV, axis=0, out=level_QV)
            level_QV -= self._age(time_ms_Q[rows])[:, None]
            np.maximum(level_QV, _NEVER, out=level_QV)
            for first, part_QV in block.parts:
                part_QV.numpy()[rows] = level_QV[:, first : first + part_QV.shape[1]]

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> npt.NDArray[np.float32]:
        """[P] scores of single items at some times, by bisection."""
        low_P = self._events.offsets[item_P - 1].copy()
        first_P, high_P = low_P.copy(), self._events.offsets[item_P].copy()
        while np.any(low_P < high_P):
            middle_P = (low_P + high_P) // 2
            is_open_P = low_P < high_P
            is_before_P = np.zeros(len(low_P), np.bool_)
            is_before_P[is_open_P] = self._events.time_ms_N[middle_P[is_open_P]] < time_ms_P[is_open_P]
            low_P = np.where(is_before_P, middle_P + 1, low_P)
            high_P = np.where(is_open_P & ~is_before_P, middle_P, high_P)
        level_P = np.full(len(low_P), -np.inf)
        known_P = low_P > first_P
        level_P[known_P] = self._level_N[low_P[known_P] - 1]
        return np.maximum(level_P - self._age(time_ms_P), _NEVER).astype(np.float32)


class RecencyScorer:
    """Faded popularity at the times of Q questions."""

    device = torch.device("cpu")

    def __init__(self, floor: RecencyPopularity, time_ms_Q: IntArray) -> None:
        self._floor, self._time_ms_Q = floor, time_ms_Q

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self._time_ms_Q)

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._floor.num_candidates

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        self._floor.fill(self._time_ms_Q[questions], block)

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `scoring.Scorer.pairs`."""
        return torch.from_numpy(self._floor.at(self._time_ms_Q[question_P.numpy()], item_P.numpy()))


def _running_log2_sum(power_N: npt.NDArray[np.float64], offsets: IntArray) -> npt.NDArray[np.float64]:
    """[N] log2 of the running sum of 2^power within each row.

    Doubling: after a step of 1, 2, 4, ... each element holds the sum of the 2, 4, 8, ... elements up to it. So as many
    passes as the longest row has bits, over ever fewer elements, instead of a loop over rows.
    """
    level_N = power_N.copy()
    position_N = position_in_row(offsets)
    step, longest = 1, int(np.diff(offsets).max(initial=0))
    while step < longest:
        later = np.flatnonzero(position_N >= step)
        level_N[later] = np.logaddexp2(level_N[later], level_N[later - step])
        step *= 2
    return level_N
