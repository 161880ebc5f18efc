"""`Block`: the scores of some questions for all candidates, cut into parts of columns that fit in cache.

    questions q, candidates V       part 0: [q, w], columns 0 to w-1     part 1: [q, w], columns w to 2w-1     ...

Each part lies in one piece. A matrix product writes it about twice as fast as the same columns of rows that are
a whole catalogue long, and counting finds it in cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

PART_SCORES = 1 << 19
"""Scores of a part."""
_MIN_WIDTH = 1024
ALIGNED = 64
"""Columns of a part are a multiple of this, but for the last part."""


class Block:
    """Scores [q, V] by parts, in memory that the caller owns and uses again.

    Args:
        memory: [>= q x V] float32.
        num_questions: q.
        num_candidates: V.
    """

    def __init__(self, memory: torch.Tensor, num_questions: int, num_candidates: int) -> None:
        self.num_questions, self.num_candidates = num_questions, num_candidates
        self._memory = memory[: num_questions * num_candidates]
        self._width = max(PART_SCORES // max(num_questions, 1) // ALIGNED * ALIGNED, _MIN_WIDTH)
        self.parts: list[tuple[int, torch.Tensor]] = []
        """First column and scores [q, w] of each part, in the order of the columns."""
        for first in range(0, num_candidates, self._width):
            width = min(self._width, num_candidates - first)
            piece = self._memory[first * num_questions : (first + width) * num_questions]
            self.parts.append((first, piece.view(num_questions, width)))
        self._num_whole = num_candidates // self._width

    def _places(self, row_N: torch.Tensor, column_N: torch.Tensor) -> torch.Tensor:
        first_N = column_N // self._width * self._width
        width_N = (self.num_candidates - first_N).clamp(max=self._width)
        return first_N * self.num_questions + row_N * width_N + (column_N - first_N)

    def get(self, row_N: torch.Tensor, column_N: torch.Tensor) -> torch.Tensor:
        """[N] scores of single cells."""
        return self._memory[self._places(row_N, column_N)]

    def set(self, row_N: torch.Tensor, column_N: torch.Tensor, scores: torch.Tensor | float) -> None:
        """Write single cells: [N] scores, or one for all."""
        self._memory[self._places(row_N, column_N)] = scores

    def set_rows(self, start: int, scores_RV: torch.Tensor) -> None:
        """Write whole rows, from `start` on: [R, V], or [V] for every row from there."""
        stop = self.num_questions if scores_RV.ndim == 1 else start + len(scores_RV)
        for first, part_QV in self.parts:
            part_QV[start:stop] = scores_RV[..., first : first + part_QV.shape[1]]

    def set_row(self, row: int, scores_V: npt.NDArray[np.float32], less: np.float32) -> None:
        """Write one row, on the host: [V] scores, from each of which the same is taken off."""
        width, end = self._width, self._num_whole * self._width
        # The parts of full width as one array, so that a row is two steps and not one a part.
        whole_PQW = self._memory[: end * self.num_questions].view(-1, self.num_questions, width)
        np.subtract(scores_V[:end].reshape(-1, width), less, out=whole_PQW.numpy()[:, row])
        if end < self.num_candidates:
            np.subtract(scores_V[end:], less, out=self.parts[-1][1].numpy()[row])

    def whole(self) -> torch.Tensor:
        """[q, V] a copy in one piece."""
        return torch.cat([part_QV for _, part_QV in self.parts], 1)
