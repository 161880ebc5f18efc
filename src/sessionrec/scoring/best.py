"""The best k candidates of the questions of a block, part by part."""

from __future__ import annotations

import torch

from sessionrec.schema import NO_ITEM


class Best:
    """The best so far of each question of a block, best first, of equal scores the lower index first."""

    def __init__(self, num_questions: int, k: int, device: torch.device) -> None:
        self.items_QC = torch.full((num_questions, k), NO_ITEM, dtype=torch.int64, device=device)
        self.scores_QC = torch.full((num_questions, k), -torch.inf, device=device)

    def add(self, part_QV: torch.Tensor, first: int) -> None:
        """Look at some columns, which must come in ascending order."""
        # An equal score in a later column loses, so only rows with a greater one are looked at (or with NaN).
        rows = torch.nonzero(~(part_QV.amax(1) <= self.scores_QC[:, -1]))[:, 0]
        if len(rows) == 0:
            return
        k = self.scores_QC.shape[1]
        scores, columns = _best_of(part_QV if len(rows) == len(part_QV) else part_QV.index_select(0, rows), k)
        if torch.isnan(scores).any():
            raise ValueError("a score is not a number; look for NaN in the model's parameters or inputs")
        # Columns of this part are greater than all before, so a stable sort keeps the lower index first.
        both = torch.cat([self.scores_QC[rows], scores], 1)
        items = torch.cat([self.items_QC[rows], columns + first + 1], 1)
        scores, order = both.sort(dim=1, descending=True, stable=True)
        self.scores_QC[rows] = scores[:, :k]
        self.items_QC[rows] = items.gather(1, order[:, :k]).masked_fill(scores[:, :k] == -torch.inf, NO_ITEM)


def _best_of(part_QV: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best k columns of each row, best first, of equal scores the lower column first.

    `topk` is free to choose among equals. Rows where it had to choose at the k-th place are done again by keys that
    have no equals, score and column in one integer, which costs more.
    """
    width = part_QV.shape[1]
    scores, columns = part_QV.topk(min(k + 1, width), dim=1)
    if width > k:
        is_tied = (scores[:, k - 1] == scores[:, k]) & (scores[:, k] > -torch.inf)
        scores, columns = scores[:, :k], columns[:, :k]
        tied = torch.nonzero(is_tied)[:, 0]
        if len(tied):
            columns = columns.clone()
            columns[tied] = _keys(part_QV[tied]).topk(k, dim=1).indices
            scores = part_QV.gather(1, columns)
    columns = columns.sort(dim=1).values
    scores, order = part_QV.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return scores, columns.gather(1, order)


def _keys(part_QV: torch.Tensor) -> torch.Tensor:
    """int64, in the order of (score, minus column)."""
    bits = (part_QV + 0.0).view(torch.int32)  # + 0.0: minus zero is zero
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64)
    return (ordered << 32) - torch.arange(part_QV.shape[1], device=part_QV.device)
