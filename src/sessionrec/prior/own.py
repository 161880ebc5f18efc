"""What a user's own history says of items: faded counts of what was acted on, and of what was passed over.

    by sessions    sum over the user's events with v before the question: decay^(sessions after the event's)
    by time        sum over the same: 2^{-(t - t_i) / half_life}

A feature is `max(log2 sum, lowest) - lowest`, and 0 without such an event; since of one event the logarithm falls
evenly with time, the counts by time also tell how long ago it was. Attributes are the same over all items with the same
value, by sessions. Others may say something of items that are like those of the history (`Other`). Only cells that
there is something to say of are made, never questions x catalogue.

Letters: Q questions, V candidates, Y events of all questions' histories, C cells (question, item), F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, take_rows
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.items import words
from sessionrec.schema import POSITIVE

Floats = npt.NDArray[np.float32]
_ATTRIBUTE_DECAY, _ATTRIBUTE_LOWEST = 0.9, -4.0
_OTHER_LOWEST = -14.0


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
        self.has_passed = has_passed and config.has_passed
        self.attributes = attributes if config.has_attributes else ()
        fades = (
            *(f"{decay:g} a session" for decay in config.session_decays),
            *(words(half_life) for half_life in config.own_half_lives_s),
        )
        kinds = ("own acted", "own passed") if self.has_passed else ("own acted",)
        self.names: tuple[str, ...] = tuple(f"{kind} {fade}" for kind in kinds for fade in fades)

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
        attributes = []
        fade_Y = np.where(is_acted_Y, _ATTRIBUTE_DECAY**ago_Y, 0.0)
        for place in range(len(self.attributes)):
            code_Y = self._codes_VA[column_Y, place].astype(np.int64)
            has_Y = is_acted_Y & (code_Y > 0)
            size = int(self._codes_VA[:, place].max(initial=0)) + 1
            attributes.append(_cells(question_Y[has_Y], code_Y[has_Y], [fade_Y[has_Y]], size, _ATTRIBUTE_LOWEST))
        others = []
        for other in self.others:
            question_C, column_C, score_C = other.found(examples)
            weights = [score_C.astype(np.float64)]
            others.append(_cells(question_C, column_C, weights, self.num_candidates, _OTHER_LOWEST))
        return OwnCells(items=items, attributes=attributes, others=others)

    def codes(self, place: int) -> IntArray:
        """[V] codes of an attribute."""
        return self._codes_VA[:, place].astype(np.int64)


def _cells(
    row_Y: IntArray, column_Y: IntArray, weights: list[npt.NDArray[np.float64]], num_columns: int, lowest: float
) -> Cells:
    key_C, place_Y = np.unique(row_Y * num_columns + column_Y, return_inverse=True)
    sums_CF = np.stack([np.bincount(place_Y, weights=weight_Y, minlength=len(key_C)) for weight_Y in weights], axis=1)
    with np.errstate(divide="ignore"):
        values_CF = np.maximum(np.log2(sums_CF), lowest) - lowest
    return Cells(key_C=key_C, values_CF=values_CF.astype(np.float32), num_columns=num_columns)
