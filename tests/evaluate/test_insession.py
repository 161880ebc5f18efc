from __future__ import annotations

import math
from itertools import product
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from sessionrec.batch import Targets
from sessionrec.evaluate.insession import exposed_scores, in_session_metrics
from sessionrec.jagged import Jagged
from sessionrec.scoring import DotScorer


def test_auc_and_ndcg_of_one_session_by_hand() -> None:
    # Scores: positives 3 and 1, negatives 2, 1 and 0. Right: 3 against three, 1 against 0 and half against 1.
    question, positive = np.zeros(5, np.int64), np.array([True, True, False, False, False])
    found = in_session_metrics(question, positive, np.array([3.0, 1.0, 2.0, 1.0, 0.0]), 1)
    assert found["in_session_auc"].tolist() == [(3 + 1 + 0.5) / (2 * 3)]
    # The positive with score 1 ties with a negative, so it is fourth.
    ideal = 1 / math.log2(2) + 1 / math.log2(3)
    assert found["in_session_ndcg"] == pytest.approx([(1 / math.log2(2) + 1 / math.log2(5)) / ideal])


def test_sessions_without_both_kinds_have_none() -> None:
    question, positive = np.array([0, 2, 2]), np.array([True, True, False])
    found = in_session_metrics(question, positive, np.array([1.0, 1.0, 1.0]), 3)
    np.testing.assert_equal(found["in_session_auc"], [np.nan, np.nan, 0.5])
    np.testing.assert_equal(np.isnan(found["in_session_ndcg"]), [True, True, False])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([-np.inf, 0.0, 0.5, 1.0, 2.0])), max_size=25)
)
def test_auc_and_ndcg_equal_loops(exposed: list[Any]) -> None:
    question = np.array([q for q, _, _ in exposed], np.int64)
    positive = np.array([is_liked for _, is_liked, _ in exposed], np.bool_)
    score = np.array([s for _, _, s in exposed], np.float64)
    found = in_session_metrics(question, positive, score, 4)
    for q in range(4):
        liked = [s for k, is_liked, s in exposed if k == q and is_liked]
        others = [s for k, is_liked, s in exposed if k == q and not is_liked]
        if not liked or not others:
            assert math.isnan(found["in_session_auc"][q])
            assert math.isnan(found["in_session_ndcg"][q])
            continue
        won = sum((a > b) + (a == b) / 2 for a, b in product(liked, others))
        assert found["in_session_auc"][q] == pytest.approx(won / len(liked) / len(others))
        dcg = sum(1 / math.log2(1 + sum(t >= s for t in liked + others)) for s in liked)
        assert found["in_session_ndcg"][q] == pytest.approx(
            dcg / sum(1 / math.log2(1 + i) for i in range(1, len(liked) + 1))
        )


def test_exposed_items_that_are_no_candidates_score_below_all() -> None:
    targets = Targets(
        user_Q=torch.tensor([0, 1]),
        num_before_Q=torch.tensor([1, 1]),
        time_ms_Q=torch.tensor([5, 5]),
        positives=Jagged(values=torch.tensor([2, 4, 1]), offsets=torch.tensor([0, 2, 3])),
        negatives=Jagged(values=torch.tensor([3]), offsets=torch.tensor([0, 1, 1])),
    )
    scorer = DotScorer(torch.tensor([[1.0], [2.0]]), torch.tensor([[-5.0], [-6.0], [-7.0]]))
    question, positive, score = exposed_scores(scorer, targets)
    assert question.tolist() == [0, 0, 1, 0]
    assert positive.tolist() == [True, True, True, False]
    assert score.tolist() == [-6, -np.inf, -10, -7]


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        in_session_metrics(np.zeros(1, np.int64), np.array([True]), np.array([np.nan]), 1)
