from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from sessionrec.jagged import Jagged
from sessionrec.schema import NO_ITEM
from sessionrec.scoring import MISS, Block, DotScorer, Memory, Scorer, ranks, search, top_k


def jagged(*rows: list[int]) -> Jagged[torch.Tensor]:
    offsets = torch.tensor([0, *(len(row) for row in rows)], dtype=torch.int64).cumsum(0)
    return Jagged(values=torch.tensor([value for row in rows for value in row], dtype=torch.int64), offsets=offsets)


class TableScorer:
    """Scores written down."""

    def __init__(self, scores: list[list[float]], num_candidates: int | None = None) -> None:
        self.scores_QV = torch.tensor(scores).view(len(scores), -1) if scores else torch.zeros(0, num_candidates or 0)
        self.device = torch.device("cpu")
        self.num_questions, self.num_candidates = self.scores_QV.shape

    def fill(self, questions: slice, block: Block) -> None:
        block.set_rows(0, self.scores_QV[questions])

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        return self.scores_QV[question_P, item_P - 1]


def table_of(scorer: Scorer) -> torch.Tensor:
    size_q, size_v = scorer.num_questions, scorer.num_candidates
    block = Block(torch.empty(size_q * size_v), size_q, size_v)
    scorer.fill(slice(0, size_q), block)
    return block.whole()


def slow_rank(scores: list[float], target: int, hidden: list[int]) -> int:
    """From the words: candidates with a score as great as the target's own, itself being the last of them."""
    if not 1 <= target <= len(scores) or target in hidden:
        return MISS
    own = scores[target - 1]
    return sum(score >= own for item, score in enumerate(scores, 1) if item not in hidden)


def slow_top(scores: list[float], k: int, hidden: list[int]) -> list[tuple[int, float]]:
    best = sorted((-score, item) for item, score in enumerate(scores, 1) if item not in hidden)[:k]
    return [(item, -score) for score, item in best] + [(NO_ITEM, -torch.inf)] * (k - len(best))


def test_ranks_of_a_small_table() -> None:
    scorer = TableScorer([[0.1, 0.9, 0.5, 0.5], [4.0, 3.0, 2.0, 1.0]])
    # Question 0: item 2 is best; items 3 and 4 are equal, so both are third. Item 5 is no candidate, nor is item 0.
    assert ranks(scorer, jagged([2, 3, 4, 1], [4, 5, 0])).tolist() == [1, 3, 3, 4, 4, MISS, MISS]


def test_excluded_items_do_not_count_and_an_excluded_target_is_a_miss() -> None:
    scorer = TableScorer([[0.1, 0.9, 0.5, 0.5]])
    assert ranks(scorer, jagged([1, 3, 2]), exclude=jagged([2, 4, 2, 0, 77])).tolist() == [2, 1, MISS]


def test_the_best_items_stand_in_order_and_equals_by_lower_index() -> None:
    scorer = TableScorer([[0.5, 0.9, 0.5, 0.5], [1.0, 1.0, 1.0, 1.0]])
    best = top_k(scorer, 3)
    assert best.items_QC.tolist() == [[2, 1, 3], [1, 2, 3]]
    assert torch.equal(best.scores_QC, torch.tensor([[0.9, 0.5, 0.5], [1.0, 1.0, 1.0]]))


def test_where_candidates_are_fewer_than_k_the_rest_is_no_item() -> None:
    best = top_k(TableScorer([[0.5, 0.9]]), 4, exclude=jagged([2]))
    assert best.items_QC.tolist() == [[1, NO_ITEM, NO_ITEM, NO_ITEM]]
    assert best.scores_QC.tolist() == [[0.5, -torch.inf, -torch.inf, -torch.inf]]


def test_minus_zero_equals_zero() -> None:
    best = top_k(TableScorer([[-0.0, 0.0, -0.0, 0.0]]), 2)
    assert best.items_QC.tolist() == [[1, 2]]
    assert ranks(TableScorer([[-0.0, 0.0]]), jagged([1, 2])).tolist() == [2, 2]


@pytest.mark.parametrize("size", [0, 1])
def test_no_questions_and_no_candidates_are_legal(size: int) -> None:
    nobody = TableScorer([], num_candidates=size)
    assert ranks(nobody, jagged()).tolist() == []
    assert top_k(nobody, 2).items_QC.shape == (0, 2)
    nothing = DotScorer(torch.zeros(1, 3), torch.zeros(0, 3))
    assert ranks(nothing, jagged([1])).tolist() == [MISS]
    assert top_k(nothing, 2).items_QC.tolist() == [[NO_ITEM, NO_ITEM]]


coarse = st.sampled_from([-2.0, -0.5, -0.0, 0.0, 0.25, 1.0, 1.0000001, 3.0])


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]], list[list[int]]]:
    size_q, size_v = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    table = [draw(st.lists(coarse, min_size=size_v, max_size=size_v)) for _ in range(size_q)]
    item = st.integers(0, size_v + 2)
    targets = [draw(st.lists(item, max_size=5, unique=True)) for _ in range(size_q)]
    return table, targets, [draw(st.lists(item, max_size=8)) for _ in range(size_q)]


@given(cases(), st.integers(1, 14), st.integers(1, 4), st.integers(1, 5))
def test_blocks_and_parts_of_any_size_equal_loops(case: Any, k: int, questions: int, columns: int) -> None:
    table, targets, hidden = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessionrec.scoring.blockwise.MIN_QUESTIONS", questions)
        patch.setattr("sessionrec.scoring.block.PART_SCORES", 0)
        patch.setattr("sessionrec.scoring.block._MIN_WIDTH", columns)
        found, best = search(TableScorer(table), jagged(*targets), k, exclude=jagged(*hidden), block_bytes=0)
    expected = [
        slow_rank(row, t, out)
        for row, asked, out in zip(torch.tensor(table).tolist(), targets, hidden, strict=True)
        for t in asked
    ]
    assert found.tolist() == expected
    for row, out, items, scores in zip(
        torch.tensor(table).tolist(), hidden, best.items_QC.tolist(), best.scores_QC.tolist(), strict=True
    ):
        assert list(zip(items, scores, strict=True)) == slow_top(row, k, out)


def test_many_candidates_in_many_parts_equal_a_sort() -> None:
    generator = torch.Generator().manual_seed(3)
    queries, items = torch.randn(40, 8, generator=generator), torch.randn(30_000, 8, generator=generator)
    targets = torch.randint(1, 30_001, (40, 3), generator=generator)
    rows = Jagged(values=targets.flatten(), offsets=torch.arange(0, 121, 3))
    found, best = search(DotScorer(queries, items), rows, 10, block_bytes=1 << 20)
    scores = queries @ items.T
    order = scores.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(best.items_QC, order[:, :10] + 1)
    place = (order[:, None, :] + 1 == targets[:, :, None]).int().argmax(2) + 1
    assert torch.equal(found.view(40, 3), place)


@pytest.mark.parametrize("width", [3, 61, 64, 128])
@pytest.mark.parametrize("questions", [1, 2, 17, 100])
def test_rounding_does_not_move_a_rank_among_equal_vectors(width: int, questions: int) -> None:
    # All items have one vector, so every target is last. Plain products fail here: a target scored apart, a question
    # alone and the last few columns are each rounded in another way.
    generator = torch.Generator().manual_seed(width)
    items = torch.randn(1, width, generator=generator).expand(5003, width)
    targets = Jagged(values=torch.arange(5003 - questions + 1, 5004), offsets=torch.arange(questions + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessionrec.scoring.block.PART_SCORES", 0)
        found = ranks(DotScorer(torch.randn(questions, width, generator=generator), items), targets)
    assert (found == 5003).all(), found.min()


def test_dot_products_take_a_bias_and_cosine_takes_the_lengths_away() -> None:
    queries, items = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
    assert table_of(DotScorer(queries, items, torch.tensor([0.0, 5.0, 0.5]))).tolist() == [[3.0, 6.0, 0.5]]
    assert table_of(DotScorer.cosine(queries * 7, items)).tolist() == [[1.0, 1.0, 0.0]]


def test_pairs_are_the_scores_of_the_table() -> None:
    generator = torch.Generator().manual_seed(1)
    scorer = DotScorer(
        torch.randn(5, 4, generator=generator),
        torch.randn(7, 4, generator=generator),
        torch.randn(7, generator=generator),
    )
    scores = table_of(scorer)
    question, item = torch.tensor([0, 4, 2]), torch.tensor([7, 1, 3])
    torch.testing.assert_close(scorer.pairs(question, item), scores[question, item - 1])


def test_a_score_that_is_no_number_is_refused_or_stands_ahead() -> None:
    scorer = TableScorer([[1.0, torch.nan, 0.5]])
    with pytest.raises(ValueError, match="not finite"):
        ranks(scorer, jagged([2]))
    with pytest.raises(ValueError, match="not a number"):
        top_k(scorer, 1)
    assert ranks(scorer, jagged([1])).tolist() == [2]


def test_wrong_calls_say_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[Q, D\] and \[V, D\], got \(2, 3\) and \(4, 5\)"):
        DotScorer(torch.zeros(2, 3), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="one entry for each of the 4 items, got 3"):
        DotScorer(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="`targets` must have one row for each of the 1 questions, got 2"):
        ranks(TableScorer([[1.0]]), jagged([1], [1]))
    with pytest.raises(ValueError, match="at least 1"):
        top_k(TableScorer([[1.0]]), 0)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4))
def test_a_block_in_parts_is_the_block_in_one_piece(size_q: int, size_v: int, width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sessionrec.scoring.block.PART_SCORES", 0)
        patch.setattr("sessionrec.scoring.block._MIN_WIDTH", width)
        block = Block(torch.empty(size_q * size_v + 3), size_q, size_v)
        plain = torch.arange(float(size_q * size_v)).view(size_q, size_v)
        block.set_rows(0, plain)
        assert torch.equal(block.whole(), plain)
        row, column = torch.meshgrid(torch.arange(size_q), torch.arange(size_v), indexing="ij")
        assert torch.equal(block.get(row.flatten(), column.flatten()), plain.flatten())
        block.set(row.flatten(), column.flatten(), -plain.flatten())
        assert torch.equal(block.whole(), -plain)
        block.set_rows(size_q - 1, plain[0])
        assert torch.equal(block.whole(), torch.cat([-plain[:-1], plain[:1]]))
        block.set_row(0, plain[-1].numpy(), np.float32(2))
        assert torch.equal(block.whole()[0], plain[-1] - 2)


def test_memory_is_used_again_and_changes_no_answer() -> None:
    generator = torch.Generator().manual_seed(5)
    memory = Memory()
    for size_q, size_v in ((7, 300), (3, 50), (9, 400), (9, 400)):
        scorer = DotScorer(torch.randn(size_q, 4, generator=generator), torch.randn(size_v, 4, generator=generator))
        targets = jagged(*[[place + 1, size_v - place] for place in range(size_q)])
        again, fresh = search(scorer, targets, 5, memory=memory), search(scorer, targets, 5)
        assert torch.equal(again[0], fresh[0])
        assert torch.equal(again[1].items_QC, fresh[1].items_QC)
    taken = memory.take(10, torch.device("cpu"))
    assert memory.take(8, torch.device("cpu")).data_ptr() == taken.data_ptr()
