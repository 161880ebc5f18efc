"""Ranks of the targets of a block, by counting the candidates that score less."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sessionrec.errors import ScoreError
from sessionrec.jagged import Jagged
from sessionrec.scoring.block import Block

MISS = 1 << 62
"""Rank of a target that cannot be found; greater than any k."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Where items of a ragged array stand in a block of scores; items that are no candidates stand nowhere."""

    row: torch.Tensor
    column: torch.Tensor
    place: torch.Tensor
    """Of the element among the ragged array's values, on the host."""

    @staticmethod
    def of(items: Jagged[torch.Tensor], questions: slice, num_candidates: int, device: torch.device) -> Cells:
        """Of the rows of some questions."""
        offsets = items.offsets[questions.start : questions.stop + 1].cpu()
        begin, end = int(offsets[0]), int(offsets[-1])
        item = items.values[begin:end].cpu()
        row = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff(), output_size=end - begin)
        kept = torch.nonzero((item >= 1) & (item <= num_candidates))[:, 0]
        return Cells(row[kept].to(device), (item[kept] - 1).to(device), kept + begin)


class Counter:
    """Counts, for the targets of a block, the candidates that score less.

    The first targets of all questions are compared at once with the scores as they lie. The others, as many as there
    are questions at a time, are compared with copies of their questions' rows, from cache.
    """

    def __init__(self, targets: Cells, block: Block) -> None:
        self._targets = targets
        own_T = block.get(targets.row, targets.column)
        if not torch.isfinite(own_T).all():
            raise ScoreError("a target's score is not finite; look for NaN in the model's parameters or inputs")
        # Rows ascend, so a row's first target is where the row changes.
        is_first_T = torch.ones(len(own_T), dtype=torch.bool, device=own_T.device)
        is_first_T[1:] = targets.row[1:] != targets.row[:-1]
        first, others = torch.nonzero(is_first_T)[:, 0], torch.nonzero(~is_first_T)[:, 0]
        self._rounds: list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]] = []
        for chosen in (first, *torch.split(others, block.num_questions)):
            rows = None if chosen is first and len(first) == block.num_questions else targets.row[chosen]
            self._rounds.append((chosen, rows, own_T[chosen, None]))
        self._less_T = torch.zeros(len(own_T), dtype=torch.int64, device=own_T.device)
        self._copy = self._is_less = torch.empty(0, device=own_T.device)

    def add(self, part_QV: torch.Tensor) -> None:
        """Count in some columns."""
        if len(self._is_less) < part_QV.numel():
            self._copy, self._is_less = torch.empty(2, part_QV.numel(), device=part_QV.device)
        for chosen, rows, own in self._rounds:
            rows_QV = part_QV
            if rows is not None:
                # Into memory that is there: `part_QV[rows]` takes four times as long.
                copy = self._copy[: len(rows) * part_QV.shape[1]].view(len(rows), part_QV.shape[1])
                rows_QV = torch.index_select(part_QV, 0, rows, out=copy)
            # As floats: a sum of booleans takes ten times as long. Exact, a part has far fewer than 2^24 columns.
            is_less = self._is_less[: rows_QV.numel()].view(rows_QV.shape)
            torch.lt(rows_QV, own, out=is_less)
            self._less_T[chosen] += is_less.sum(1).to(torch.int64)

    def ranks(self, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """The ranks and, of each, its place among all targets; the block shows which targets are excluded."""
        # What is not less is ahead or equal, a score of NaN too; the target itself is the 1 that a rank begins with.
        rank_T = block.num_candidates - self._less_T
        rank_T[block.get(self._targets.row, self._targets.column) == -torch.inf] = MISS
        return rank_T.cpu(), self._targets.place
