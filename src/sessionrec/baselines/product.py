"""`Product`: evidence times recency popularity.

    score(q, v) = (1 + lift * share(q, v)) * recency(v, t)^power

`share` is the evidence for an item as a share of the question's best, 0 where there is none. So an item without
evidence stands where recency puts it, a lift of 0 is recency alone, and a great lift multiplies evidence and recency as
they are, while items without evidence, as if they had 1 / lift of the best's, still come in recency's order.

Recency is a logarithm to the base 2 (`recency`), so all is added in logarithms. An item that nobody acted on before the
question has a recency of nothing; it counts as last acted on a million half-lives ago: behind all others, and among its
like by evidence.
"""

from __future__ import annotations

import numpy as np
import torch

from sessionrec.baselines.evidence import Cells, Evidence
from sessionrec.baselines.recency import RecencyPopularity
from sessionrec.batch import Examples
from sessionrec.scoring import Block, Scorer

_NEVER = -float(1 << 20)
"""Half-lives, ten years of the shortest; in float32 there is room for sixteenths below it."""


class Product:
    """Ranks by evidence times recency.

    Args:
        evidence: What speaks for some items.
        recency: Faded popularity.
        lift: What the best evidence adds to 1, at least 0.
        power: Of recency, above 0.
    """

    def __init__(self, evidence: Evidence, recency: RecencyPopularity, *, lift: float = 1000, power: float = 1) -> None:
        if not lift >= 0:
            raise ValueError(f"`lift` must be at least 0, got {lift}")
        if not power > 0:
            raise ValueError(f"`power` must be above 0, got {power}")
        self._evidence, self._recency, self._lift, self._power = evidence, recency, lift, power

    def scorer(self, examples: Examples) -> ProductScorer:
        """See `scoring.Ranker`. Costs the evidence of all questions, 8 bytes a cell."""
        cells = self._evidence.cells(examples)
        lifted_C = np.log2(1 + np.float32(self._lift) * cells.share_of_best())
        return ProductScorer(cells.with_scores(lifted_C), self._recency.scorer(examples), self._power)


class ProductScorer:
    """Recency, raised in some cells.

    Args:
        cells: Logarithms to the base 2 of what recency is multiplied by.
        recency: Logarithms to the base 2 of faded popularity.
        power: Of recency.
    """

    device = torch.device("cpu")

    def __init__(self, cells: Cells, recency: Scorer, power: float) -> None:
        self._cells, self._recency, self._power = cells, recency, power

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._recency.num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._recency.num_candidates

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        self._recency.fill(questions, block)
        for _, part_QV in block.parts:
            part_QV.clamp_(min=_NEVER).mul_(self._power)
        rows, columns, lifted = self._cells.of_questions(questions)
        block.set(rows, columns, block.get(rows, columns) + lifted)

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `scoring.Scorer.pairs`."""
        lifted_P = torch.from_numpy(self._cells.at(question_P.numpy(), item_P.numpy() - 1))
        return self._recency.pairs(question_P, item_P).clamp(min=_NEVER) * self._power + lifted_P
