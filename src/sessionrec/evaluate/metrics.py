"""Ranks of targets -> metrics of each question, in float64.

    Recall@K  = |{rank <= K}| / |V+|                                    [capped: / min(K, |V+|)]
    NDCG@K    = sum_{rank <= K} 1 / log2(1 + rank)  /  sum_{i = 1}^{min(|V+|, K)} 1 / log2(1 + i)
    MRR@K     = 1 / best rank if that is <= K, else 0
    HitRate@K = 1 if the best rank is <= K, else 0

V+ are the targets of a question, those that are no candidates included (paper 4.1.3). Ranks begin with 1.
Letters: Q questions, T targets of all questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.jagged import Jagged, row_of_element

RANK_METRICS = ("recall", "ndcg", "mrr", "hit_rate")
"""Names of the metrics at K."""

FloatArray = npt.NDArray[np.float64]


def metrics_of_ranks(
    ranks: Jagged[npt.NDArray[Any]], ks: Sequence[int], *, capped_recall: bool
) -> dict[str, FloatArray]:
    """Every metric of every question.

    Args:
        ranks: Q rows, one rank a target; no row is empty.
        ks: Lengths of the list.
        capped_recall: Divide recall by min(K, |V+|).

    Returns:
        `recall@K`, `ndcg@K`, `mrr@K`, `hit_rate@K` for each K, [Q] float64.
    """
    rank_T, size_Q, row_T = ranks.values, ranks.lengths, row_of_element(ranks.offsets)
    if np.any(size_Q == 0):
        raise ValueError("a question without targets has no metrics; leave it out")
    num_questions = ranks.num_rows
    best_Q = np.minimum.reduceat(rank_T, ranks.offsets[:-1]) if num_questions else rank_T
    gain_T = 1.0 / np.log2(1.0 + rank_T)
    deepest = int(min(max(ks), size_Q.max(initial=0)))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(1.0 + np.arange(1, deepest + 1)))])
    metrics: dict[str, FloatArray] = {}
    for k in ks:
        is_hit_T = rank_T <= k
        hits_Q = np.bincount(row_T, weights=is_hit_T, minlength=num_questions)
        dcg_Q = np.bincount(row_T, weights=gain_T * is_hit_T, minlength=num_questions)
        metrics[f"recall@{k}"] = hits_Q / (np.minimum(size_Q, k) if capped_recall else size_Q)
        metrics[f"ndcg@{k}"] = dcg_Q / ideal[np.minimum(size_Q, k)]
        metrics[f"mrr@{k}"] = np.where(best_Q <= k, 1.0 / best_Q, 0.0)
        metrics[f"hit_rate@{k}"] = (best_Q <= k).astype(np.float64)
    return metrics
