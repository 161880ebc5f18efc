"""`Ahead`: items that have evidence go ahead, by evidence; the rest follows by recency popularity.

    score(q, v) = evidence(q, v)                      where that is above 0
                  recency(v, t) - 64                  otherwise, which is below 0

The logarithm of faded popularity is at most that of the number of events, so 64 less is below every evidence.
"""

from __future__ import annotations

import torch

from sessionrec.baselines.evidence import Cells, Evidence
from sessionrec.baselines.recency import RecencyPopularity
from sessionrec.batch import Examples
from sessionrec.scoring import Block, Scorer

_BELOW = 64.0


class Ahead:
    """Ranks by evidence, then by recency.

    Args:
        evidence: What goes ahead.
        recency: What orders the rest.
    """

    def __init__(self, evidence: Evidence, recency: RecencyPopularity) -> None:
        self._evidence, self._recency = evidence, recency

    def scorer(self, examples: Examples) -> AheadScorer:
        """See `scoring.Ranker`. Costs the evidence of all questions, 8 bytes a cell."""
        return AheadScorer(self._evidence.cells(examples), self._recency.scorer(examples))


class AheadScorer:
    """Cells above the rest's scores."""

    device = torch.device("cpu")

    def __init__(self, cells: Cells, rest: Scorer) -> None:
        self._cells, self._rest = cells, rest

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._rest.num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._rest.num_candidates

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        self._rest.fill(questions, block)
        for _, part_QV in block.parts:
            part_QV -= _BELOW
        block.set(*self._cells.of_questions(questions))

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `scoring.Scorer.pairs`."""
        own_P = torch.from_numpy(self._cells.at(question_P.numpy(), item_P.numpy() - 1))
        return torch.where(own_P > 0, own_P, self._rest.pairs(question_P, item_P) - _BELOW)
