"""Popularity that fades: each positive event counts half as much after a half-life.

    score(v, t) = log2  sum_{events of v at times t_1 <= t_2 <= ... < t}  2^{-(t - t_i) / half_life}

The logarithm changes no order, and keeps apart what would underflow to zero after some days of a half-life of an hour.
Only events strictly before the question's time count, and only of parts before the one evaluated (`events`), so that no
answer knows its own time. An item without such an event scores below all others, all such items alike.

With every event i is kept `level_i = log2 sum_{j <= i} 2^{(t_j - t_0) / half_life}`: the score of its item from then
until the next event, but for the age `(t - t_0) / half_life`, which all items of a question share.

Levels reach thousands, where float32 would tie what is not equal, so they are float64. The row of a question is made of
float32 all the same, from levels less the age of a *mark*, one every 16 half-lives, and the mark's distance to the
question is taken off the whole row: half the memory to move, and a score is exact to a millionth of a half-life.

Letters: Q questions, V candidates, N events, P pairs.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.dynamics.events import ItemEvents
from sessionrec.dynamics.faded import running_log2_sum
from sessionrec.jagged import IntArray, row_of_element
from sessionrec.scoring import Block

HALF_LIVES_S = tuple(
    float(hours * 3600) for hours in (1 / 12, 1 / 4, 1 / 2, 1, 2, 4, 8, 24, 3 * 24, 7 * 24, 14 * 24, 28 * 24, 84 * 24)
)
"""Half-lives to choose from, in seconds: 5 minutes to 12 weeks."""

_NEVER = -1e30
"""Score of an item that nobody acted on before."""

_MARK_HALF_LIVES = 16
"""Half-lives between marks."""

_CHECKPOINTS, _CHECKPOINT_SCORES = 256, 1 << 24
"""States kept at most, and levels in all of them together, 8 bytes each."""


class RecencyPopularity:
    """Scores candidates by their faded popularity at the time of the question.

    Takes about 40 bytes an event and up to 128 MB for checkpoints.

    Args:
        events: What may be known.
        half_life_s: Seconds after which an event counts half.
    """

    def __init__(self, events: ItemEvents, *, half_life_s: float) -> None:
        if not half_life_s > 0:
            raise ValueError(f"`half_life_s` must be above 0, got {half_life_s}")
        self.half_life_s = half_life_s
        self._events = events
        num_events, size_v = len(events.time_ms_N), events.num_candidates
        self._start_ms = int(events.time_ms_N.min()) if num_events else 0
        self._level_N = running_log2_sum(self._age(events.time_ms_N), events.offsets)
        # The same once more in the order of time, and the state after each share of the events.
        order = events.by_time_N
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

    def _mark(self, time_ms: IntArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """The age of the mark before each time, and the half-lives from there on."""
        age = self._age(time_ms)
        mark = np.floor(age / _MARK_HALF_LIVES) * _MARK_HALF_LIVES
        return mark, (age - mark).astype(np.float32)

    def scorer(self, examples: Examples) -> RecencyScorer:
        """See `scoring.Ranker`."""
        return RecencyScorer(self, examples.targets.time_ms_Q.cpu().numpy())

    def fill(self, time_ms_Q: IntArray, block: Block) -> None:
        """Write the scores of all items at some times.

        Oldest question first, so that a question's row is the one before it, but for the items of the events between.
        The cost is Q x V scores written, and of the events between the oldest and the newest question each once.
        """
        order = np.argsort(time_ms_Q, kind="stable")
        known_Q = np.searchsorted(self._time_ms_T, time_ms_Q[order], "left")  # events strictly before
        state_Q = np.searchsorted(self._borders, known_Q, "right") - 1
        mark_Q, since_Q = self._mark(time_ms_Q[order])
        level_V = np.empty(self.num_candidates)
        row_V = np.empty(self.num_candidates, np.float32)
        known, mark = -1, np.nan
        for place, row in enumerate(order.tolist()):
            border = int(self._borders[state_Q[place]])
            if known < 0 or border - known > self.num_candidates:
                level_V[:] = self._states[state_Q[place]]
                known, mark = border, np.nan
            # Levels of an item ascend with time, so of several in a column the last, which stays, is the newest.
            news = slice(known, known_Q[place])
            columns, levels = self._column_T[news], self._level_T[news]
            level_V[columns] = levels
            if mark != mark_Q[place]:
                mark = mark_Q[place]
                np.subtract(level_V, mark, out=row_V, casting="same_kind")
                np.maximum(row_V, _NEVER, out=row_V)
            else:
                row_V[columns] = levels - mark
            known = int(known_Q[place])
            block.set_row(row, row_V, since_Q[place])

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
        mark_P, since_P = self._mark(time_ms_P)
        return np.maximum((level_P - mark_P).astype(np.float32), np.float32(_NEVER)) - since_P


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
