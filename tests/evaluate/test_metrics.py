from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given

from sessionrec.evaluate.metrics import metrics_of_ranks
from sessionrec.jagged import Jagged
from sessionrec.scoring import MISS, DotScorer, ranks


def rows(*ranks: list[int]) -> Jagged[npt.NDArray[Any]]:
    offsets = np.cumsum([0, *map(len, ranks)], dtype=np.int64)
    return Jagged(values=np.array([rank for row in ranks for rank in row], np.int64), offsets=offsets)


def test_metrics_of_two_questions_by_hand() -> None:
    found = metrics_of_ranks(rows([2, 5, MISS], [1]), [1, 3, 10], capped_recall=False)
    assert found["recall@1"].tolist() == [0, 1]
    assert found["recall@3"].tolist() == [1 / 3, 1]
    assert found["recall@10"].tolist() == [2 / 3, 1]
    # The ideal list of 3 targets at K = 10 has gains at 1, 2 and 3; at K = 1 only one.
    ideal = 1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg@10"] == pytest.approx([(1 / math.log2(3) + 1 / math.log2(6)) / ideal, 1])
    assert found["ndcg@1"].tolist() == [0, 1]
    assert found["mrr@1"].tolist() == [0, 1]
    assert found["mrr@3"].tolist() == [1 / 2, 1]
    assert found["hit_rate@1"].tolist() == [0, 1]
    assert found["hit_rate@3"].tolist() == [1, 1]
    assert all(values.dtype == np.float64 for values in found.values())


def test_capped_recall_divides_by_what_the_list_can_hold() -> None:
    found = metrics_of_ranks(rows([1, 2, 9]), [2, 5], capped_recall=True)
    assert found["recall@2"].tolist() == [2 / 2]
    assert found["recall@5"].tolist() == [2 / 3]


def test_a_question_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="without targets"):
        metrics_of_ranks(rows([1], []), [1], capped_recall=False)


def test_no_questions_have_no_metrics() -> None:
    found = metrics_of_ranks(rows(), [1], capped_recall=False)
    assert {len(values) for values in found.values()} == {0}


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True), min_size=1, max_size=8))
def test_metrics_equal_loops(drawn: list[list[int]]) -> None:
    for k in (1, 4, 20):
        found = metrics_of_ranks(rows(*drawn), [k], capped_recall=False)
        for q, row in enumerate(drawn):
            hits = [rank for rank in row if rank <= k]
            ideal = sum(1 / math.log2(1 + i) for i in range(1, min(len(row), k) + 1))
            assert found[f"recall@{k}"][q] == pytest.approx(len(hits) / len(row))
            assert found[f"ndcg@{k}"][q] == pytest.approx(sum(1 / math.log2(1 + rank) for rank in hits) / ideal)
            assert found[f"mrr@{k}"][q] == pytest.approx(1 / min(hits) if hits else 0)
            assert found[f"hit_rate@{k}"][q] == bool(hits)


# Made by ranx 0.3.21 (`ranx.evaluate(qrels, run, metrics, return_mean=False)`) on the scores and targets of the test
# below, relevance 1 for each target, all 60 items in the run; rounded to 12 digits. It answers in the order of the
# questions' names as text, so these were `00` to `11`.
RANX = {
    "recall@10": [0.0, 0.5, 0.666666666667, 0.25, 0.0, 1.0, 0.0, 0.0, 0.25, 0.2, 0.0, 0.0],
    "recall@25": [1.0, 0.5, 1.0, 0.25, 0.2, 1.0, 0.5, 0.333333333333, 0.5, 0.4, 1.0, 0.0],
    "ndcg@3": [0.0, 0.0, 0.469278726023, 0.296081910966, 0.0, 0.0, 0.0, 0.0, 0.234639363011, 0.469278726023, 0.0, 0.0],
    "ndcg@10": [
        *(0.0, 0.177239286784, 0.604930699455, 0.246302388741, 0.0, 0.356207187108),
        *(0.0, 0.0, 0.195190024996, 0.339160205274, 0.0, 0.0),
    ],
    "ndcg@25": [
        *(0.278942945651, 0.177239286784, 0.717469588251, 0.246302388741, 0.082975728085, 0.356207187108),
        *(0.171033084068, 0.110472394959, 0.280333589405, 0.416376893556, 0.218104291986, 0.0),
    ],
    "mrr@25": [
        *(0.090909090909, 0.1, 1.0, 0.5, 0.0625, 0.166666666667),
        *(0.090909090909, 0.055555555556, 0.333333333333, 1.0, 0.04347826087, 0.0),
    ],
    "hit_rate@10": [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0],
}


def test_ranks_and_metrics_equal_those_of_ranx() -> None:
    question, item = np.arange(12)[:, None], np.arange(1, 61)[None]
    scores_QV = np.sin(7.0 * question + item * item)
    targets = [sorted({1 + (13 * q + 17 * j * j) % 60 for j in range(1 + q % 5)}) for q in range(12)]
    asked = Jagged(
        values=torch.tensor([item for row in targets for item in row]),
        offsets=torch.tensor([0, *map(len, targets)]).cumsum(0),
    )
    # With unit vectors for questions the dot products are the scores themselves.
    rank_T = ranks(DotScorer(torch.eye(12), torch.from_numpy(scores_QV.T.copy())), asked)
    counted = Jagged(values=rank_T.numpy(), offsets=asked.offsets.numpy())
    found = metrics_of_ranks(counted, [3, 10, 25], capped_recall=False)
    for metric, expected in RANX.items():
        np.testing.assert_allclose(found[metric], expected, atol=1e-11, err_msg=metric)
