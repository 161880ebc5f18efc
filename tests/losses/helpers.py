"""Small questions as lists, and losses by loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sessionrec.batch import Targets
from tests.model.helpers import jagged

Rows = Sequence[Sequence[int]]


def targets_of(user_Q: Sequence[int], positives: Rows, negatives: Rows | None = None) -> Targets:
    count = len(user_Q)
    return Targets(
        user_Q=torch.tensor(user_Q, dtype=torch.int64),
        num_before_Q=torch.ones(count, dtype=torch.int64),
        time_ms_Q=torch.ones(count, dtype=torch.int64),
        positives=jagged(positives),
        negatives=jagged(negatives if negatives is not None else [[]] * count),
    )


def softmax_loss(scores: Sequence[float], others: Sequence[Sequence[float]], of: Rows) -> float:
    """Eq. 8 as it stands: for every pair, its own denominator; `others` are the scores beside the positive's."""
    total, pairs, place = 0.0, 0, 0
    for question, positives in enumerate(of):
        for _ in positives:
            score = scores[place]
            total -= math.log(math.exp(score) / (math.exp(score) + sum(math.exp(s) for s in others[question])))
            pairs, place = pairs + 1, place + 1
    return total / pairs


def score(query_QD: Tensor, vectors_VD: Tensor, question: int, item: int) -> float:
    """Dot product, as a plain sum."""
    return sum(float(q) * float(v) for q, v in zip(query_QD[question].detach(), vectors_VD[item].detach(), strict=True))
