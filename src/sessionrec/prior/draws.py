"""Candidates that the weights of a prior are fitted against: all over the catalogue, what is fresh, the user's own.

A softmax over a catalogue is estimated from some of it: each candidate drawn adds `e^{score} / expected draws`, so
that the sum is right on average whatever it is drawn from, and steady if the likely ones are drawn often:

    uniform    from the whole catalogue, with replacement         expected U / V
    recent     items of the newest events before the question     expected R * share of the window
    sure       the user's own items and the model's best, once    expected 1

An item may come from several sources; what is expected of it is their sum. The model's best are there for sure since
the logarithm of an estimated sum is too low on average, the more so the fewer terms carry it.

Letters: Q questions, V candidates, D draws of all questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sessionrec.dynamics import ItemEvents
from sessionrec.jagged import IntArray, row_of_element


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Candidates of all questions, by question."""

    question_D: IntArray
    """[D] ascending."""
    item_D: IntArray
    """[D] in 1..V."""
    log_expected_D: npt.NDArray[np.float32]
    """[D] log of how often the question was expected to draw the item."""


NONE = Draws(question_D=np.zeros(0, np.int64), item_D=np.zeros(0, np.int64), log_expected_D=np.zeros(0, np.float32))
"""No candidates."""


class Candidates:
    """Draws candidates.

    Args:
        acted: Positive events that may be known.
        uniform: U draws a question.
        recent: R draws a question.
        window: Events before the question that `recent` draws from.
        generator: Of the draws.
    """

    def __init__(
        self, acted: ItemEvents, *, uniform: int, recent: int, window: int, generator: np.random.Generator
    ) -> None:
        self._uniform, self._recent, self._window, self._generator = uniform, recent, window, generator
        self._num_candidates = acted.num_candidates
        column_N = row_of_element(acted.offsets)
        self._time_ms_T, self._column_T = acted.time_ms_N[acted.by_time_N], column_N[acted.by_time_N]
        self._stride = len(column_N) + 1
        place_N = np.empty(len(column_N), np.int64)
        place_N[acted.by_time_N] = np.arange(len(column_N))
        # Of equal times the places need not ascend within an item.
        self._key_N = np.sort(column_N * self._stride + place_N)

    def draw(self, time_ms_Q: IntArray, sure_question: IntArray, sure_item: IntArray) -> Draws:
        """Candidates of some questions.

        Args:
            time_ms_Q: [Q] when they are asked.
            sure_question: Questions of the items that are drawn for sure.
            sure_item: The items, each once a question.
        """
        size_q, size_v = len(time_ms_Q), self._num_candidates
        end_Q = np.searchsorted(self._time_ms_T, time_ms_Q, "left")
        size_Q = np.minimum(end_Q, self._window)
        questions = [np.repeat(np.arange(size_q), self._uniform), sure_question]
        items = [self._generator.integers(1, size_v + 1, size_q * self._uniform), sure_item]
        asks = np.repeat(np.flatnonzero(size_Q > 0), self._recent)
        if len(asks):
            back = (self._generator.random(len(asks)) * size_Q[asks]).astype(np.int64)
            questions.append(asks)
            items.append(self._column_T[end_Q[asks] - 1 - back] + 1)
        question_D, item_D = np.concatenate(questions), np.concatenate(items)
        order = np.argsort(question_D, kind="stable")
        question_D, item_D = question_D[order], item_D[order]
        expected_D = np.full(len(item_D), self._uniform / size_v)
        expected_D += np.isin(question_D * (size_v + 1) + item_D, sure_question * (size_v + 1) + sure_item)
        begin, end = (end_Q - size_Q)[question_D], end_Q[question_D]
        in_window_D = self._before(item_D - 1, end) - self._before(item_D - 1, begin)
        expected_D += self._recent * in_window_D / np.maximum(size_Q[question_D], 1)
        return Draws(question_D=question_D, item_D=item_D, log_expected_D=np.log(expected_D).astype(np.float32))

    def everything(self, num_questions: int) -> Draws:
        """The whole catalogue for every question: the softmax itself."""
        question_D = np.repeat(np.arange(num_questions), self._num_candidates)
        item_D = np.tile(np.arange(1, self._num_candidates + 1), num_questions)
        return Draws(question_D=question_D, item_D=item_D, log_expected_D=np.zeros(len(item_D), np.float32))

    def _before(self, column_D: IntArray, place_D: IntArray) -> IntArray:
        """[D] events of all items up to this one that stand before a place in time."""
        return np.searchsorted(self._key_N, column_D * self._stride + place_D, "left")
