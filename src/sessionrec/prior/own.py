"""What a user's own history says of items: faded counts of what was acted on, and of what was passed over.

    by sessions    sum over the user's events with v before the question: decay^(sessions after the event's)
    by time        sum over the same: 2^{-(t - t_i) / half_life}

    own share      both again, each event counting 1 / (positive events of its session)

A feature is `max(log2 sum, lowest) - lowest`, and 0 without such an event; since of one event the logarithm falls
evenly with time, the counts by time also tell how long ago it was. Attributes are the same over all items with the same
value, by sessions. Others may say something of items that are like those of the history (`Other`). Only cells that
there is something to say of are made, never questions x catalogue.

Of an item that was acted on, `_rhythm` also says how regularly: it is due when the time since the last event nears the
usual interval. What is alike for all items of a question, such as how long the user has been away, tells the items of
the history from all others.

Letters: Q questions, V candidates, Y events of all questions' histories, C cells (question, item), F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, sum_by_row, take_rows
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.items import words
from sessionrec.schema import POSITIVE

Floats = npt.NDArray[np.float32]
_ATTRIBUTE_DECAY, _ATTRIBUTE_LOWEST = 0.9, -4.0
_OTHER_LOWEST = -14.0
_SHARE_LOWER = -4.0
"""log2 of the share that an event counts at least, on top of `own_lowest`."""
_RHYTHM = (
    "own last session",
    "own last day",
    "own interval",
    "own due",
    "own often",
    "own sessions",
    "own away",
    "own session size",
    "own items",
)
_DAY_MS, _MINUTE_S = 86_400_000, 60.0
_SOON_D, _SHORTEST_D, _STAY_D = 0.05, 0.5, 1.0
"""Days: the least since an event that is told from none, the least usual interval, and the least time that a user has
been there, which stands for the interval of what was acted on in one session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Features of some (row, column) pairs; 0 for all others."""

    key_C: IntArray
    """[C] ascending, row x `num_columns` + column."""
    values_CF: Floats
    """[C, F]."""
    num_columns: int
    """Columns of a row."""

    def at(self, row_P: IntArray, column_P: IntArray) -> Floats:
        """[P, F] of single pairs."""
        found_PF = np.zeros((len(row_P), self.values_CF.shape[1]), np.float32)
        if len(self.key_C):
            wanted_P = row_P * self.num_columns + column_P
            place_P = np.minimum(np.searchsorted(self.key_C, wanted_P), len(self.key_C) - 1)
            is_there_P = self.key_C[place_P] == wanted_P
            found_PF[is_there_P] = self.values_CF[place_P[is_there_P]]
        return found_PF

    def rows(self, start: int, stop: int) -> tuple[IntArray, IntArray, Floats]:
        """[c] row from `start`, [c] column and [c, F] values of some rows' cells."""
        begin, end = np.searchsorted(self.key_C, [start * self.num_columns, stop * self.num_columns])
        key_C = self.key_C[begin:end] - start * self.num_columns
        return key_C // self.num_columns, key_C % self.num_columns, self.values_CF[begin:end]


class Other(Protocol):
    """Whatever else finds items for a history, such as neighbours of its items."""

    @property
    def name(self) -> str:
        """Of the feature."""
        ...

    def found(self, examples: Examples) -> tuple[IntArray, IntArray, Floats]:
        """[C] question, [C] column of the item and [C] score above 0 of what was found; each pair once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCells:
    """What the histories of a batch say."""

    items: Cells
    """[C, F] of items of the history."""
    attributes: list[Cells]
    """[C, 1] each, of values of an attribute."""
    others: list[Cells]
    """[C, 1] each, of items that another found."""


class OwnFeatures:
    """Makes the cells of a batch.

    Args:
        config: Which features.
        codes_VA: [V, A] code of each attribute of each candidate, row 0 item 1; 0 is none.
        attributes: [A] their names.
        has_passed: Whether the log has exposures.
        others: What else finds items for a history.
    """

    def __init__(
        self,
        config: PriorConfig,
        codes_VA: npt.NDArray[np.int32],
        attributes: tuple[str, ...],
        *,
        has_passed: bool,
        others: tuple[Other, ...] = (),
    ) -> None:
        self._config, self._codes_VA, self.others = config, codes_VA, others
        self._sizes_A = codes_VA.max(axis=0, initial=0) + 1
        self.has_passed = has_passed and config.has_passed
        self.attributes = attributes if config.has_attributes else ()
        fades = (
            *(f"{decay:g} a session" for decay in config.session_decays),
            *(words(half_life) for half_life in config.own_half_lives_s),
        )
        kinds = (
            "own acted",
            *(("own passed",) if self.has_passed else ()),
            *(("own share",) if config.has_share else ()),
        )
        rhythm = _RHYTHM if config.has_rhythm else ()
        self.names: tuple[str, ...] = (*(f"{kind} {fade}" for kind in kinds for fade in fades), *rhythm)

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self._codes_VA)

    def cells(self, examples: Examples) -> OwnCells:
        """Of all questions of a batch."""
        inputs, targets = examples
        user_offsets, session_offsets = inputs.user_offsets.cpu().numpy(), inputs.session_offsets.cpu().numpy()
        first_Q = user_offsets[targets.user_Q.cpu().numpy()]
        before_Q = targets.num_before_Q.cpu().numpy()
        time_ms_Q = targets.time_ms_Q.cpu().numpy()
        # Every session before a question, once for each question after it.
        cuts = offsets_from_lengths(before_Q)
        session_X = np.repeat(first_Q - cuts[:-1], before_Q) + np.arange(cuts[-1])
        ago_X = np.repeat(cuts[1:], before_Q) - 1 - np.arange(cuts[-1])
        event_Y, event_cuts = take_rows(session_offsets, session_X)
        own_Y = row_of_element(event_cuts)
        item_Y = inputs.item_E.cpu().numpy()[event_Y]
        is_acted_Y = (inputs.action_E.cpu().numpy()[event_Y] & POSITIVE) != 0
        kept_Y = (item_Y >= 1) & (item_Y <= self.num_candidates)
        if not self.has_passed:
            kept_Y &= is_acted_Y
        own_Y, event_Y, column_Y, is_acted_Y = own_Y[kept_Y], event_Y[kept_Y], item_Y[kept_Y] - 1, is_acted_Y[kept_Y]
        question_Y, ago_Y = row_of_element(cuts)[own_Y], ago_X[own_Y]
        since_s_Y = (time_ms_Q[question_Y] - inputs.time_ms_E.cpu().numpy()[event_Y]) / 1000
        config = self._config
        fades = [decay**ago_Y for decay in config.session_decays]
        fades += [np.exp2(-np.maximum(since_s_Y, 0) / half_life) for half_life in config.own_half_lives_s]
        kinds = (is_acted_Y, ~is_acted_Y) if self.has_passed else (is_acted_Y,)
        weights = [np.where(is_kind_Y, fade_Y, 0.0) for is_kind_Y in kinds for fade_Y in fades]
        items = _cells(question_Y, column_Y, weights, self.num_candidates, config.own_lowest)
        if config.has_share or config.has_rhythm:
            past = _Past(
                size_S=sum_by_row((inputs.action_E.cpu().numpy() & POSITIVE) != 0, session_offsets),
                start_ms_S=inputs.session_time_ms_S.cpu().numpy(),
                first_Q=first_Q,
                before_Q=before_Q,
                time_ms_Q=time_ms_Q,
            )
            acted = np.flatnonzero(is_acted_Y)
            place_Y = np.searchsorted(items.key_C, question_Y[acted] * self.num_candidates + column_Y[acted])
            session_Y, columns = session_X[own_Y[acted]], [items.values_CF]
            if config.has_share:
                weights = [fade_Y[acted] / past.size_S[session_Y] for fade_Y in fades]
                columns.append(_levels(place_Y, weights, len(items.key_C), config.own_lowest + _SHARE_LOWER))
            if config.has_rhythm:
                question_C = items.key_C // self.num_candidates
                columns.append(past.rhythm(place_Y, session_Y, ago_Y[acted], since_s_Y[acted], question_C))
            items = Cells(key_C=items.key_C, values_CF=np.concatenate(columns, axis=1), num_columns=self.num_candidates)
        attributes = []
        fade_Y = np.where(is_acted_Y, _ATTRIBUTE_DECAY**ago_Y, 0.0)
        for place in range(len(self.attributes)):
            code_Y = self._codes_VA[column_Y, place].astype(np.int64)
            has_Y = is_acted_Y & (code_Y > 0)
            size = int(self._sizes_A[place])
            attributes.append(_cells(question_Y[has_Y], code_Y[has_Y], [fade_Y[has_Y]], size, _ATTRIBUTE_LOWEST))
        others = []
        for other in self.others:
            question_C, column_C, score_C = other.found(examples)
            weights = [score_C.astype(np.float64)]
            others.append(_cells(question_C, column_C, weights, self.num_candidates, _OTHER_LOWEST))
        return OwnCells(items=items, attributes=attributes, others=others)

    def codes(self, place: int, columns_P: IntArray | slice = slice(None)) -> IntArray:
        """[P] codes of an attribute of some items, by default of all V."""
        return self._codes_VA[columns_P, place].astype(np.int64)


def _cells(
    row_Y: IntArray, column_Y: IntArray, weights: list[npt.NDArray[np.float64]], num_columns: int, lowest: float
) -> Cells:
    key_C, place_Y = np.unique(row_Y * num_columns + column_Y, return_inverse=True)
    return Cells(key_C=key_C, values_CF=_levels(place_Y, weights, len(key_C), lowest), num_columns=num_columns)


def _levels(place_Y: IntArray, weights: list[npt.NDArray[np.float64]], num_cells: int, lowest: float) -> Floats:
    """[C, F] log2 of the sums of some weights in each cell, above the lowest."""
    sums_CF = np.stack([np.bincount(place_Y, weights=weight_Y, minlength=num_cells) for weight_Y in weights], axis=1)
    with np.errstate(divide="ignore"):
        values_CF = np.maximum(np.log2(sums_CF), lowest) - lowest
    return values_CF.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """Sessions of a batch, S of them, and the questions after them."""

    size_S: IntArray
    """[S] positive events."""
    start_ms_S: IntArray
    """[S] when each began."""
    first_Q: IntArray
    """[Q] the user's first session."""
    before_Q: IntArray
    """[Q] sessions before the question."""
    time_ms_Q: IntArray
    """[Q] when it is asked."""

    def rhythm(
        self,
        place_Y: IntArray,
        session_Y: IntArray,
        ago_Y: IntArray,
        since_s_Y: npt.NDArray[np.float64],
        row_C: IntArray,
    ) -> Floats:
        """[C, R] of each cell, as in `_RHYTHM`; 0 where nothing was acted on.

        Args:
            place_Y: [Y] the cell of each event that was acted on.
            session_Y: [Y] its session.
            ago_Y: [Y] sessions after it.
            since_s_Y: [Y] seconds after it.
            row_C: [C] the cell's question.
        """
        size_c, size_q = len(row_C), len(self.before_Q)
        day_Y = np.maximum(since_s_Y, 0) * 1000 / _DAY_MS
        ago_C, last_C, oldest_C = np.full(size_c, np.inf), np.full(size_c, np.inf), np.zeros(size_c)
        np.minimum.at(ago_C, place_Y, ago_Y)
        np.minimum.at(last_C, place_Y, day_Y)
        np.maximum.at(oldest_C, place_Y, day_Y)
        times_C = np.bincount(np.unique(place_Y * len(self.size_S) + session_Y) // len(self.size_S), minlength=size_c)
        is_own_C, is_again_C = times_C > 0, times_C > 1
        items_Q = np.bincount(row_C[is_own_C], minlength=size_q)
        through = np.append(0, np.cumsum(self.size_S))
        size_Q = (through[self.first_Q + self.before_Q] - through[self.first_Q]) / np.maximum(self.before_Q, 1)
        # A question that knows nothing has no cell.
        newest_Q = np.maximum(self.first_Q + self.before_Q - 1, 0)
        there_Q, away_Q = self._since(self.first_Q), self._since(newest_Q)
        interval_C = np.zeros(size_c)
        interval_C[is_again_C] = ((oldest_C - last_C)[is_again_C]) / (times_C[is_again_C] - 1)
        usual_C = np.where(
            is_again_C, np.maximum(interval_C, _SHORTEST_D), np.maximum(there_Q[row_C] / _DAY_MS, _STAY_D)
        )
        last_C[~is_own_C], ago_C[~is_own_C] = 0, 0
        columns = [
            np.log2(1 + ago_C),
            np.log2(1 + last_C),
            np.log2(1 + interval_C),
            np.log2(np.maximum(last_C, _SOON_D) / usual_C),
            np.log2(np.maximum(times_C, 1) / np.maximum(self.before_Q, 1)[row_C]),
            np.log2(np.maximum(self.before_Q, 1))[row_C],
            np.log2(1 + away_Q / (1000 * _MINUTE_S))[row_C],
            np.log2(1 + size_Q)[row_C],
            np.log2(1 + items_Q)[row_C],
        ]
        found_CR: Floats = np.where(is_own_C[:, None], np.stack(columns, axis=1), 0).astype(np.float32)
        return found_CR

    def _since(self, session_Q: IntArray) -> IntArray:
        """[Q] ms from the beginning of a session to the question."""
        if not len(self.start_ms_S):
            return np.zeros(len(session_Q), np.int64)
        since_Q: IntArray = np.maximum(
            self.time_ms_Q - self.start_ms_S[np.minimum(session_Q, len(self.start_ms_S) - 1)], 0
        )
        return since_Q
