"""Repeat: what the user acted on before, the newer sessions counting more; then the rest by popularity.

    weight(u, v) = sum over sessions s before the question with v acted on: decay^(sessions of the user after s)

Items are ordered by weight, then popularity; items that the user never acted on follow, by popularity. An item-level
view has one event a session, so there the decay is by event.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, take_rows
from sessionrec.schema import POSITIVE, TRAIN_POSITIVES
from sessionrec.scoring import Block

DECAYS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Decays a session to choose from."""


class Repeat:
    """Scores candidates by the user's own faded frequency.

    Args:
        count_V: [V] positive events of items 1, 2, ...
        decay: What a session counts of the one after it, above 0, at most 1.
    """

    def __init__(self, count_V: npt.NDArray[np.integer], *, decay: float) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"`decay` must be above 0 and at most 1, got {decay}")
        self.decay = decay
        # Places in the order by popularity, equal counts at one place; personal items stand above all places.
        self._place_V = np.unique(count_V, return_inverse=True)[1].astype(np.int64)

    @classmethod
    def fit(cls, dataset: Dataset, *, decay: float) -> Repeat:
        """From the training events of a data set, as its catalogue counts them."""
        return cls(dataset.items[TRAIN_POSITIVES].to_numpy()[: dataset.num_candidates], decay=decay)

    def scorer(self, examples: Examples) -> RepeatScorer:
        """See `scoring.Ranker`. Costs the questions' histories, sorted once."""
        inputs, targets = examples
        user_Q, before_Q = targets.user_Q.cpu().numpy(), targets.num_before_Q.cpu().numpy()
        first_Q = inputs.user_offsets.cpu().numpy()[user_Q]
        # All sessions before each question; a session stands once for each question after it.
        session_cuts = offsets_from_lengths(before_Q)
        session_X = np.repeat(first_Q - session_cuts[:-1], before_Q) + np.arange(session_cuts[-1])
        age_X = np.repeat(session_cuts[1:], before_Q) - 1 - np.arange(session_cuts[-1])
        event_Y, event_cuts = take_rows(inputs.session_offsets.cpu().numpy(), session_X)
        item_Y = inputs.item_E.cpu().numpy()[event_Y]
        own_Y = row_of_element(event_cuts)
        size_v = len(self._place_V)
        is_counted_Y = ((inputs.action_E.cpu().numpy()[event_Y] & POSITIVE) != 0) & (item_Y >= 1) & (item_Y <= size_v)
        question_Y = row_of_element(session_cuts)[own_Y][is_counted_Y]
        cell_Y = question_Y * size_v + item_Y[is_counted_Y] - 1
        cell_C, place_Y = np.unique(cell_Y, return_inverse=True)
        # In logarithms: a decay of .3 after a thousand sessions is zero in float64, and would tie what is not equal.
        weight_C = _log_sum(place_Y, age_X[own_Y][is_counted_Y] * np.log(self.decay), len(cell_C))
        return RepeatScorer(self._place_V, cell_C, self._order(cell_C, weight_C), len(user_Q))

    def _order(self, cell_C: IntArray, weight_C: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """[C] V plus the place of each cell among its question's, by weight, then popularity; equals share one."""
        size_v = len(self._place_V)
        # Sums in another order differ in their last bits; those are rounded away, so that equals tie.
        weight_C = np.round(weight_C, 9)
        question_C, place_C = cell_C // size_v, self._place_V[cell_C % size_v]
        order = np.lexsort((place_C, weight_C, question_C))
        is_start = np.ones(len(order), np.bool_)
        is_start[1:] = np.diff(question_C[order]) != 0
        is_step = is_start.copy()
        is_step[1:] |= (np.diff(weight_C[order]) != 0) | (np.diff(place_C[order]) != 0)
        steps = np.cumsum(is_step)
        start_steps = np.maximum.accumulate(np.where(is_start, steps, 0))
        scores_C = np.empty(len(order), np.float32)
        scores_C[order] = size_v + steps - start_steps
        return scores_C


class RepeatScorer:
    """Popularity with each question's own items lifted above it.

    Args:
        place_V: [V] place in the order by popularity.
        cell_C: [C] ascending, question x V + column.
        score_C: [C] float32, V or more.
        num_questions: Q.
    """

    device = torch.device("cpu")

    def __init__(
        self, place_V: IntArray, cell_C: IntArray, score_C: npt.NDArray[np.float32], num_questions: int
    ) -> None:
        self._base_V = torch.from_numpy(place_V.astype(np.float32))
        self._cell_C, self._score_C, self._num_questions = cell_C, score_C, num_questions

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self._base_V)

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        size_v = self.num_candidates
        block.set_rows(0, self._base_V)
        begin, end = np.searchsorted(self._cell_C, [questions.start * size_v, questions.stop * size_v])
        cells = torch.from_numpy(self._cell_C[begin:end] - questions.start * size_v)
        block.set(cells // size_v, cells % size_v, torch.from_numpy(self._score_C[begin:end]))

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `scoring.Scorer.pairs`."""
        cell_P = question_P.numpy() * self.num_candidates + item_P.numpy() - 1
        scores_P = self._base_V.numpy()[item_P.numpy() - 1]
        if len(self._cell_C):
            place_P = np.minimum(np.searchsorted(self._cell_C, cell_P), len(self._cell_C) - 1)
            scores_P = np.where(self._cell_C[place_P] == cell_P, self._score_C[place_P], scores_P)
        return torch.from_numpy(scores_P)


def _log_sum(place_Y: IntArray, log_Y: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """[size] log of the sum of exp(log_Y) in each place; no place is empty."""
    greatest = np.full(size, -np.inf)
    np.maximum.at(greatest, place_Y, log_Y)
    return greatest + np.log(np.bincount(place_Y, weights=np.exp(log_Y - greatest[place_Y]), minlength=size))
