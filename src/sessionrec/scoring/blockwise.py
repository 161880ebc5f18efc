"""`ranks`, `top_k`, and both at once: block by block, part by part."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sessionrec.jagged import Jagged
from sessionrec.schema import NO_ITEM
from sessionrec.scoring.best import Best
from sessionrec.scoring.block import Block
from sessionrec.scoring.counting import MISS, Cells, Counter
from sessionrec.scoring.scorer import Scorer

BLOCK_BYTES = 512 << 20
"""Memory for a block of scores, enough for 128 questions and a million candidates: fewer questions make a matrix
product slower, more hardly faster. At least `MIN_QUESTIONS` questions are scored at once, also if that takes more."""
MIN_QUESTIONS, MAX_QUESTIONS = 16, 1024


class Memory:
    """Memory for blocks that stays between searches: fresh pages of a large block take as long as its scores."""

    def __init__(self) -> None:
        self._scores = torch.empty(0)

    def take(self, size: int, device: torch.device) -> torch.Tensor:
        """[size] float32, not set; the same memory as before where that is enough."""
        if len(self._scores) < size or self._scores.device != device:
            self._scores = torch.empty(0)  # the old goes before the new comes
            self._scores = torch.empty(size, device=device)
        return self._scores[:size]


class TopK(NamedTuple):
    """The best items of each question, best first; of equal scores the lower index first."""

    items_QC: torch.Tensor
    """[Q, k] int64 item indices, `NO_ITEM` where there is none."""
    scores_QC: torch.Tensor
    """[Q, k] float32, -inf where there is no item."""


@torch.no_grad()
def ranks(
    scorer: Scorer, targets: Jagged[torch.Tensor], *, exclude: Jagged[torch.Tensor] | None = None
) -> torch.Tensor:
    """Rank of every target among the candidates, by counting.

    Args:
        scorer: Of the Q questions.
        targets: Q rows of item indices.
        exclude: Q rows of item indices that do not count; may repeat.

    Returns:
        [T] int64, in the order of `targets.values`: 1 = best; `MISS` for no candidate, and for an excluded one.
    """
    return search(scorer, targets, 0, exclude=exclude)[0]


@torch.no_grad()
def top_k(scorer: Scorer, k: int, *, exclude: Jagged[torch.Tensor] | None = None) -> TopK:
    """The best `k` candidates of every question.

    Args:
        scorer: Of the Q questions.
        k: Answers a question; where the candidates are fewer, the rest is `NO_ITEM`.
        exclude: Q rows of item indices that cannot be answers; may repeat.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}")
    return search(scorer, None, k, exclude=exclude)[1]


@torch.no_grad()
def search(
    scorer: Scorer,
    targets: Jagged[torch.Tensor] | None,
    k: int,
    *,
    exclude: Jagged[torch.Tensor] | None = None,
    block_bytes: int = BLOCK_BYTES,
    memory: Memory | None = None,
) -> tuple[torch.Tensor, TopK]:
    """`ranks` and `top_k` of the same scores, made once.

    Every score is written to memory once and read about once; a question with more targets is read again for each, from
    cache. A target's own score is taken from the block that it is compared with, so rounding cannot move a rank.

    Args:
        scorer: Of the Q questions.
        targets: Q rows of item indices; None = no ranks.
        k: Answers a question; 0 = none.
        exclude: Q rows of item indices that do not count.
        block_bytes: Memory for scores.
        memory: To use again, for who searches more than once.

    Raises:
        ValueError: Rows do not fit the questions.
        ScoreError: A target's score is not finite.
    """
    size_q, size_v = scorer.num_questions, scorer.num_candidates
    for name, rows in {"targets": targets, "exclude": exclude}.items():
        if rows is not None and rows.num_rows != size_q:
            raise ValueError(f"`{name}` must have one row for each of the {size_q} questions, got {rows.num_rows}")
    rank_T = torch.full((0 if targets is None else len(targets.values),), MISS, dtype=torch.int64)
    items_QC = torch.full((size_q, k), NO_ITEM, dtype=torch.int64)
    scores_QC = torch.full((size_q, k), -torch.inf)
    if size_v == 0:
        return rank_T, TopK(items_QC, scores_QC)
    step = min(max(block_bytes // (4 * size_v), MIN_QUESTIONS), MAX_QUESTIONS, max(size_q, 1))
    scores = (memory or Memory()).take(step * size_v, scorer.device)
    for start in range(0, size_q, step):
        questions = slice(start, min(start + step, size_q))
        num_rows = questions.stop - start
        block = Block(scores, num_rows, size_v)
        scorer.fill(questions, block)
        hidden = None if exclude is None else Cells.of(exclude, questions, size_v, scorer.device)
        counter = None
        if targets is not None:
            counter = Counter(Cells.of(targets, questions, size_v, scorer.device), block)
        if hidden is not None:
            block.set(hidden.row, hidden.column, -torch.inf)
        best = Best(num_rows, min(k, size_v), scorer.device) if k else None
        for first, part_QV in block.parts:
            if counter is not None:
                counter.add(part_QV)
            if best is not None:
                best.add(part_QV, first)
        if counter is not None:
            found, places = counter.ranks(block)
            rank_T[places] = found
        if best is not None:
            items_QC[questions, : best.items_QC.shape[1]] = best.items_QC.cpu()
            scores_QC[questions, : best.items_QC.shape[1]] = best.scores_QC.cpu()
    return rank_T, TopK(items_QC, scores_QC)
