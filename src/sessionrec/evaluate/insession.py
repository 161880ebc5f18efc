"""Ranking inside a session: are the exposed items that the user acted on scored above the others? Where a system orders
a given list by other scores than it finds items by (`scoring.ListScorer`), these are asked.

AUC of a question: the share of (positive, negative) pairs in the right order, an equal score counting half, so that a
constant scores .5; its mean over users is GAUC. NDCG: over all exposed items, ties against us. Questions without a
negative are left out, and the report counts the others. An item that is no candidate scores below all candidates.
Letters: Q questions, P exposed items of all questions (pairs of a question and an item).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Targets
from sessionrec.evaluate.metrics import FloatArray
from sessionrec.jagged import IntArray, Jagged, row_of_element
from sessionrec.scoring import Scorer, list_scores


def exposed_scores(scorer: Scorer, targets: Targets) -> tuple[IntArray, npt.NDArray[np.bool_], FloatArray]:
    """Of every exposed item: its question, whether it is positive, its score."""
    sides = [_on_host(targets.positives), _on_host(targets.negatives)]
    question_P = np.concatenate([row_of_element(side.offsets) for side in sides])
    item_P = np.concatenate([side.values for side in sides])
    is_positive_P = np.arange(len(item_P)) < len(sides[0].values)
    score_P = np.full(len(item_P), -np.inf)
    known = np.flatnonzero((item_P >= 1) & (item_P <= scorer.num_candidates))
    if len(known):
        device = scorer.device
        pairs = torch.from_numpy(question_P[known]).to(device), torch.from_numpy(item_P[known]).to(device)
        score_P[known] = list_scores(scorer, *pairs).detach().double().cpu().numpy()
    return question_P, is_positive_P, score_P


def in_session_metrics(
    question_P: IntArray, is_positive_P: npt.NDArray[np.bool_], score_P: FloatArray, num_questions: int
) -> dict[str, FloatArray]:
    """`in_session_auc` and `in_session_ndcg` of each question, NaN for those without a positive or a negative.

    Args:
        question_P: [P] which question exposed the item; any order.
        is_positive_P: [P].
        score_P: [P].
        num_questions: Q.
    """
    if np.isnan(score_P).any():
        raise ValueError("an exposed item's score is not a number; look for NaN in the model's parameters or inputs")
    order = np.lexsort((score_P, question_P))
    question_P, is_positive_P, score_P = question_P[order], is_positive_P[order], score_P[order]
    positives_Q = np.bincount(question_P, weights=is_positive_P, minlength=num_questions)
    shown_Q = np.bincount(question_P, minlength=num_questions)
    # Groups of equal scores within a question; `below` = exposed in the question with a smaller score.
    is_new_P = np.ones(len(order), np.bool_)
    is_new_P[1:] = (question_P[1:] != question_P[:-1]) | (score_P[1:] != score_P[:-1])
    group_P = np.cumsum(is_new_P) - 1
    start_G = np.flatnonzero(is_new_P)
    first_Q = np.cumsum(shown_Q) - shown_Q
    below_P = start_G[group_P] - first_Q[question_P]
    equal_P = np.diff(np.append(start_G, len(order)))[group_P]

    negative_before = np.concatenate([[0], np.cumsum(~is_positive_P)])
    end_P = start_G[group_P] + equal_P
    less_P = negative_before[start_G[group_P]] - negative_before[first_Q[question_P]]
    same_P = negative_before[end_P] - negative_before[start_G[group_P]]
    won_Q = np.bincount(question_P, weights=is_positive_P * (less_P + 0.5 * same_P), minlength=num_questions)

    # A rank counts what scores at least as much, itself included.
    rank_P = shown_Q[question_P] - below_P
    dcg_Q = np.bincount(question_P, weights=is_positive_P / np.log2(1.0 + rank_P), minlength=num_questions)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(1.0 + np.arange(1, positives_Q.max(initial=0) + 1)))])
    is_asked_Q = (positives_Q > 0) & (shown_Q > positives_Q)
    undefined = np.full(num_questions, np.nan)
    pairs_Q = positives_Q * (shown_Q - positives_Q)
    return {
        "in_session_auc": np.divide(won_Q, pairs_Q, out=undefined.copy(), where=is_asked_Q),
        "in_session_ndcg": np.divide(dcg_Q, ideal[positives_Q.astype(np.int64)], out=undefined, where=is_asked_Q),
    }


def _on_host(rows: Jagged[torch.Tensor]) -> Jagged[npt.NDArray[Any]]:
    return Jagged(values=rows.values.cpu().numpy(), offsets=rows.offsets.cpu().numpy())
