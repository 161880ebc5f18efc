"""Popularity: the positive events of an item, the same for every question.

It counts all sessions of the parts that may be known, whatever their time; where users' last sessions are left out, a
question may thus be answered with what others did after it. `recency` does not do that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.schema import TRAIN_POSITIVES
from sessionrec.scoring import Block


class Popularity:
    """Scores every candidate by its number of positive events.

    Args:
        count_V: [V] of items 1, 2, ...
    """

    def __init__(self, count_V: npt.NDArray[np.integer]) -> None:
        # Places of the counts, equal counts at one place: float32 holds each exactly, as it would not large counts.
        self._score_V = torch.from_numpy(np.unique(count_V, return_inverse=True)[1].astype(np.float32))

    @classmethod
    def fit(cls, dataset: Dataset) -> Popularity:
        """From the training events of a data set, as its catalogue counts them; its users are not read."""
        return cls(dataset.items[TRAIN_POSITIVES].to_numpy()[: dataset.num_candidates])

    def scorer(self, examples: Examples) -> SameForAll:
        """See `scoring.Ranker`."""
        return SameForAll(self._score_V, examples.targets.num_questions)


class SameForAll:
    """One row of scores for every question.

    Args:
        score_V: [V] float32.
        num_questions: Q.
    """

    device = torch.device("cpu")

    def __init__(self, score_V: torch.Tensor, num_questions: int) -> None:
        self._score_V, self._num_questions = score_V, num_questions

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self._score_V)

    def fill(self, questions: slice, block: Block) -> None:  # noqa: ARG002 - all are alike
        """See `scoring.Scorer.fill`."""
        block.set_rows(0, self._score_V)

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """See `scoring.Scorer.pairs`."""
        return self._score_V[item_P - 1]
