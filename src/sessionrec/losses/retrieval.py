"""Losses over sampled or all negatives (paper 3.7.1, Eq. 8) and over the exposures of the next session (3.7.2, Eq. 9).

Letters: Q questions, P positives of all questions, C negatives, N exposures of all questions, D width, V candidates.

Every loss is a sum over the P pairs (question, positive) divided by P, so that the parts of a total weigh alike. The
log-sum-exp over negatives is taken once a question and joined with each positive by `logaddexp`: |V+| + C, not their
product. Other positives of the same session are never in a denominator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = float("-inf")


def masked_score(dtype: torch.dtype) -> float:
    """The score of what must not count: low enough to add exactly nothing to a sum of exponentials.

    Finite, for the log-sum-exp of a question that has nothing else has the gradient NaN at -inf.
    """
    return torch.finfo(dtype).min


def mask_hits(drawn_RC: Tensor, row_Q: Tensor, positive_P: Tensor, question_P: Tensor) -> tuple[Tensor, Tensor]:
    """Where a drawn negative is a positive of the question: (questions, columns) to be masked.

    All draws are one ascending list of (row, item), in which every positive is looked for: memory P, time P log(R C),
    and the draws are not copied for each question. With the whole catalogue as the only row it is a walk down V.

    Args:
        drawn_RC: [R, C] item indices, ascending in each row; repeats allowed.
        row_Q: [Q] the row of each question.
        positive_P: [P] item indices.
        question_P: [P] their questions.
    """
    num_rows, number = drawn_RC.shape
    row_P = row_Q[question_P]
    if num_rows == 1:
        keys, wanted = drawn_RC.reshape(-1), positive_P
    else:
        # Items of all rows and positives lie below `stride`.
        stride = torch.maximum(drawn_RC.max(), positive_P.max()) + 1 if len(positive_P) else drawn_RC.max() + 1
        row_R = torch.arange(num_rows, device=drawn_RC.device)
        keys, wanted = (drawn_RC + (row_R * stride)[:, None]).view(-1), positive_P + row_P * stride
    first, last = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted, right=True)
    count = last - first
    question = torch.repeat_interleave(question_P, count)
    start = torch.repeat_interleave(first - row_P * number - (count.cumsum(0) - count), count)
    return question, start + torch.arange(len(question), device=question.device)


def sampled_cross_entropy(positive_scores_P: Tensor, negative_lse_Q: Tensor, question_P: Tensor) -> Tensor:
    """Eq. 8: mean over pairs of `log(e^s+ + sum e^s-) - s+`.

    Args:
        positive_scores_P: [P].
        negative_lse_Q: [Q] log-sum-exp of the question's negatives; -inf where it has none.
        question_P: [P].
    """
    lse_P = negative_lse_Q[question_P]
    # softplus(lse - s) = logaddexp(lse, s) - s, and 0 with gradient 0 where there is no negative.
    return F.softplus(lse_P - positive_scores_P).sum() / max(len(positive_scores_P), 1)


def binary_cross_entropy(
    positive_scores_P: Tensor, negative_scores_QC: Tensor, question_P: Tensor, calibration: float = 1.0
) -> Tensor:
    """BCE of SASRec, or gBCE: mean over pairs of `-log sigma(s+)^beta - sum_c log(1 - sigma(s_c))`.

    Args:
        positive_scores_P: [P].
        negative_scores_QC: [Q, C]; `masked_score` where masked.
        question_P: [P].
        calibration: beta; 1 is plain BCE.
    """
    negatives_Q = F.softplus(negative_scores_QC).sum(1)
    return (calibration * F.softplus(-positive_scores_P) + negatives_Q[question_P]).sum() / max(len(question_P), 1)


def gbce_calibration(number: int, num_candidates: int, strength: float) -> float:
    """beta of gBCE: `a (t (1 - 1/a) + 1/a)` with a = C / (V - 1), at most 1 (Petrov and Macdonald 2023)."""
    rate = min(number / max(num_candidates - 1, 1), 1.0)
    return rate * (strength * (1 - 1 / rate) + 1 / rate)


def jagged_logsumexp(scores_N: Tensor, row_N: Tensor, num_rows: int) -> Tensor:
    """[num_rows] log-sum-exp of each row's scores; -inf for an empty row."""
    top = scores_N.new_full((num_rows,), NEVER).scatter_reduce(0, row_N, scores_N.detach(), "amax")
    shift = torch.where(top == NEVER, 0.0, top)
    total = scores_N.new_zeros(num_rows).index_add(0, row_N, (scores_N - shift[row_N]).exp())
    # The maximum of an empty row stays out of the logarithm, or its gradient would be 0/0.
    is_empty = top == NEVER
    return torch.where(is_empty, NEVER, torch.where(is_empty, 1.0, total).log() + shift)
