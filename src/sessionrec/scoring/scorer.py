"""`Scorer`: what writes scores into a block; `Ranker`: what makes one for a batch of questions; the dot product."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from sessionrec.batch import Examples
from sessionrec.scoring.block import ALIGNED, Block

_MIN_ROWS = 16


class Scorer(Protocol):
    """The scores of Q questions for all V candidates, made when asked for."""

    @property
    def num_questions(self) -> int:
        """Q."""
        ...

    @property
    def num_candidates(self) -> int:
        """V: the items 1 to V."""
        ...

    @property
    def device(self) -> torch.device:
        """Where scores are made."""
        ...

    def fill(self, questions: slice, block: Block) -> None:
        """Write the scores of some questions.

        Args:
            questions: Which, from start to stop.
            block: [stop - start, V], to be filled with finite numbers; column c is item c + 1.
        """
        ...

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """[P] the scores of some questions for one candidate each; equal to `fill`'s up to rounding.

        Args:
            question_P: [P] int64, on the scorer's device.
            item_P: [P] int64, item indices in 1..V.
        """
        ...


@runtime_checkable
class ListScorer(Protocol):
    """A scorer that orders a list that is given otherwise than it finds items in the catalogue: what is shown is shown,
    so how likely that is does not count."""

    def in_list(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """[P] scores to order the items of one list by; see `Scorer.pairs`."""
        ...


def list_scores(scorer: Scorer, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
    """[P] scores that a scorer orders a given list by: its own for that, or else those it finds items by."""
    if isinstance(scorer, ListScorer):
        return scorer.in_list(question_P, item_P)
    return scorer.pairs(question_P, item_P)


class Ranker(Protocol):
    """Whatever answers questions: a trained model, a floor."""

    def scorer(self, examples: Examples) -> Scorer:
        """The scores of the batch's questions. May look at `inputs`, and at `user_Q`, `num_before_Q`, `time_ms_Q`."""
        ...


class DotScorer:
    """Dot products of queries and candidate vectors, plus a bias.

    Args:
        queries_QD: [Q, D].
        items_VD: [V, D]; row 0 is item 1.
        bias_V: [V], added to every question's scores.
    """

    def __init__(self, queries_QD: torch.Tensor, items_VD: torch.Tensor, bias_V: torch.Tensor | None = None) -> None:
        if queries_QD.ndim != 2 or items_VD.ndim != 2 or queries_QD.shape[1] != items_VD.shape[1]:
            shapes = f"{tuple(queries_QD.shape)} and {tuple(items_VD.shape)}"
            raise ValueError(f"queries and items must be [Q, D] and [V, D], got {shapes}")
        if bias_V is not None and bias_V.shape != items_VD.shape[:1]:
            raise ValueError(f"`bias_V` must have one entry for each of the {len(items_VD)} items, got {len(bias_V)}")
        self._queries_QD, self._items_VD = queries_QD.detach().float(), items_VD.detach().float()
        self._bias_V = None if bias_V is None else bias_V.detach().float()
        rest_VD = self._items_VD[len(items_VD) // ALIGNED * ALIGNED :]
        self._rest_VD = torch.cat([rest_VD, rest_VD.new_zeros(ALIGNED - len(rest_VD), rest_VD.shape[1])])

    @classmethod
    def cosine(cls, queries_QD: torch.Tensor, items_VD: torch.Tensor) -> DotScorer:
        """Cosine similarity: the dot product of vectors of length one."""
        normalise = torch.nn.functional.normalize
        return cls(normalise(queries_QD.detach().float(), dim=1), normalise(items_VD.detach().float(), dim=1))

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self._queries_QD)

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self._items_VD)

    @property
    def device(self) -> torch.device:
        """Of the vectors."""
        return self._queries_QD.device

    def fill(self, questions: slice, block: Block) -> None:
        """A matrix product a part; see `Scorer.fill`.

        A library of matrix products treats few rows, and columns left over at the end, by other code that rounds
        otherwise; equal vectors would then not tie. So both are filled up with zeros.
        """
        queries_QD = self._queries_QD[questions]
        size = len(queries_QD)
        if size < _MIN_ROWS:
            queries_QD = torch.cat([queries_QD, queries_QD.new_zeros(_MIN_ROWS - size, queries_QD.shape[1])])
        for first, part_QV in block.parts:
            width = part_QV.shape[1] // ALIGNED * ALIGNED
            if width:
                out = part_QV[:, :width] if size == len(queries_QD) else None
                scores_QV = torch.mm(queries_QD, self._items_VD[first : first + width].T, out=out)
                if out is None:
                    part_QV[:, :width] = scores_QV[:size]
            if width < part_QV.shape[1]:
                rest_QV = torch.mm(queries_QD, self._rest_VD.T)
                part_QV[:, width:] = rest_QV[:size, : part_QV.shape[1] - width]
            if self._bias_V is not None:
                part_QV += self._bias_V[first : first + part_QV.shape[1]]

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `Scorer.pairs`."""
        scores_P = (self._queries_QD[question_P] * self._items_VD[item_P - 1]).sum(1)
        return scores_P if self._bias_V is None else scores_P + self._bias_V[item_P - 1]
