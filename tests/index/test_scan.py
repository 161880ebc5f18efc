"""The exact scan: worked answers, blocks, ties at the k-th place, and the scores' independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionrec.index import ExactConfig
from sessionrec.index import scan as scanning
from sessionrec.index.exact import ArraySource
from sessionrec.index.face import dots
from sessionrec.index.holdings import Excluded
from sessionrec.index.scan import scan


def test_a_worked_search() -> None:
    # Items 2, 3, 7, 9 with vectors (1,0) (0,1) (1,1) (2,-1); the query (1,2) scores 1, 2, 3, 0.
    vectors = np.array([[1, 0], [0, 1], [1, 1], [2, -1]])
    answer = ExactConfig().build(np.array([2, 3, 7, 9]), vectors).search(np.array([[1, 2]]), 5)
    assert answer.items_QC.tolist() == [[7, 3, 2, 9, -1]]
    assert answer.scores_QC.tolist() == [[3, 2, 1, 0, -np.inf]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Else a test would need a great catalogue to come to a second block.
    monkeypatch.setattr(scanning, "BLOCK_SCORES", 64)
    monkeypatch.setattr(scanning, "_MIN_ROWS", 16)
    monkeypatch.setattr(scanning, "_QUERIES", 5)


@pytest.mark.usefixtures("small_blocks")
@given(
    num_rows=st.integers(1, 200), k=st.integers(1, 40), seed=st.integers(0, 2**31), share=st.sampled_from([0.1, 0.5, 1])
)
def test_blocks_and_ties_make_no_difference(num_rows: int, k: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    # Few distinct values, all sums exact in float32: a tie at the k-th place nearly always.
    vectors = random.integers(-1, 2, (num_rows, 2)).astype(np.float32)
    queries = random.integers(-1, 2, (12, 2)).astype(np.float32)
    rows = np.flatnonzero(random.random(num_rows) < share)
    banned = random.random((12, num_rows)) < 0.2
    query_P, row_P = np.nonzero(banned)
    found, scores = scan(queries, ArraySource(vectors), k, rows_R=rows, excluded=Excluded(query_P=query_P, row_P=row_P))
    for query in range(12):
        fit = [row for row in rows.tolist() if not banned[query, row]]
        expected = sorted(fit, key=lambda row: (-float(queries[query] @ vectors[row]), row))[:k]
        assert found[query].tolist() == expected + [-1] * (k - len(expected))
        assert scores[query, : len(expected)].tolist() == [float(queries[query] @ vectors[row]) for row in expected]


@pytest.mark.usefixtures("small_blocks")
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-15, 1.0, 1e15]), width=st.integers(1, 130))
def test_nearly_equal_scores_are_ranked_by_the_scores_that_are_returned(seed: int, scale: float, width: int) -> None:
    # Vectors within rounding of one another: a GEMM alone ranks them otherwise from block to block.
    random = np.random.default_rng(seed)
    base = random.standard_normal(width)
    vectors = (scale * base * (1 + 1e-7 * random.integers(-2, 3, (150, 1)))).astype(np.float32)
    queries = random.standard_normal((7, width)).astype(np.float32)
    found, scores = scan(queries, ArraySource(vectors), 20)
    for query in range(7):
        all_scores = dots(np.repeat(queries[query, None], 150, axis=0), vectors)
        expected = np.lexsort((np.arange(150), -all_scores))[:20]
        assert found[query].tolist() == expected.tolist()
        assert scores[query].tolist() == all_scores[expected].tolist()


@given(seed=st.integers(0, 2**31), width=st.integers(1, 200), count=st.integers(1, 50))
def test_a_score_does_not_depend_on_what_is_scored_beside_it(seed: int, width: int, count: int) -> None:
    random = np.random.default_rng(seed)
    left, right = random.standard_normal((2, count, width)).astype(np.float32)
    alone = [dots(left[row, None], right[row, None])[0] for row in range(count)]
    assert dots(left, right).tolist() == alone
    assert dots(left[::-1].copy(), right[::-1].copy()).tolist() == alone[::-1]
