"""`Evidence`: what speaks for a few items of each question, the rest being nothing; `Cells` holds it.

    offsets      [0,          3, 4]      question 0 has evidence for three items, question 1 for one
    column_C     [ 1,  6, 40,    2]      items 2, 7, 41 and 3
    score_C      [.2, .9, .1,   .4]      above 0

A floor of neighbours is such evidence. `Ahead` makes a `scoring.Ranker` of it by letting the rest follow in the order
of recency, `Product` by multiplying it with recency.

Letters: Q questions, V candidates, C cells of all questions, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, row_of_element

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Evidence of Q questions; 8 bytes a cell."""

    offsets: IntArray
    """[Q + 1] cuts cells into questions."""
    column_C: npt.NDArray[np.int32]
    """[C] item index less 1, ascending within a question."""
    score_C: Floats
    """[C] above 0."""
    num_candidates: int
    """V."""

    @classmethod
    def of(cls, matrix: Any) -> Cells:
        """From a sparse matrix [Q, V] of SciPy, by rows; what is not above 0 is left out."""
        matrix.data = np.where(matrix.data > 0, matrix.data, 0)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        return cls(
            offsets=matrix.indptr.astype(np.int64),
            column_C=matrix.indices.astype(np.int32, copy=False),
            score_C=matrix.data.astype(np.float32, copy=False),
            num_candidates=matrix.shape[1],
        )

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self.offsets) - 1

    def with_scores(self, score_C: Floats) -> Cells:
        """The same cells with other scores."""
        return replace(self, score_C=score_C)

    def share_of_best(self) -> Floats:
        """[C] each score as a share of the best of its question, so that questions are alike: above 0, at most 1."""
        filled = np.flatnonzero(np.diff(self.offsets))
        best = np.maximum.reduceat(self.score_C, self.offsets[filled]) if len(filled) else self.score_C[:0]
        share_C: Floats = self.score_C / np.repeat(best, np.diff(self.offsets)[filled])
        return share_C

    def of_questions(self, questions: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Row within the slice, column, and score of each cell of some questions."""
        begin, end = self.offsets[questions.start], self.offsets[questions.stop]
        rows = row_of_element(self.offsets[questions.start : questions.stop + 1] - begin)
        columns = self.column_C[begin:end].astype(np.int64)
        return torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(self.score_C[begin:end])

    def at(self, question_P: IntArray, column_P: IntArray) -> Floats:
        """[P] scores of single cells, 0 where there is none. Takes 8 bytes a cell while it looks."""
        if not len(self.column_C):
            return np.zeros(len(question_P), np.float32)
        key_C = row_of_element(self.offsets) * self.num_candidates + self.column_C
        key_P = question_P * self.num_candidates + column_P
        place_P = np.minimum(np.searchsorted(key_C, key_P), len(key_C) - 1)
        return np.where(key_C[place_P] == key_P, self.score_C[place_P], np.float32(0))


class Evidence(Protocol):
    """Whatever speaks for some items."""

    @property
    def num_candidates(self) -> int:
        """V."""
        ...

    def cells(self, examples: Examples) -> Cells:
        """Of the batch's questions. May look at what a `scoring.Ranker` may look at."""
        ...


class Remembered:
    """Evidence that keeps the cells of every batch, for who asks the same batches again.

    Args:
        evidence: To be asked once a batch.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._known: dict[int, tuple[Examples, Cells]] = {}

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._evidence.num_candidates

    def cells(self, examples: Examples) -> Cells:
        """See `Evidence`."""
        # By identity; the batch is kept too, so that no other can take its place in memory.
        if id(examples) not in self._known:
            self._known[id(examples)] = (examples, self._evidence.cells(examples))
        return self._known[id(examples)][1]
