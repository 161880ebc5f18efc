"""`Retrieved`: what a search finds, behind the answer type that evaluation asks. All else of the catalogue is nowhere.

Ranks then are those that a user meets: an item that the search misses stands behind all that it finds.

Letters: Q questions, V candidates, C answers a question, T those that there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sessionrec.batch import Examples
from sessionrec.evaluate.evaluator import seen_items
from sessionrec.index import Answer, Searchable
from sessionrec.jagged import Jagged
from sessionrec.prior import PriorRanker
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, Retriever
from sessionrec.schema import NO_ITEM
from sessionrec.scoring import Block, DotScorer, Scorer, list_scores

Rows = Jagged[npt.NDArray[Any]]
Search = Callable[[Examples, int, Rows | None], tuple[Scorer, Answer]]
"""Some questions, a length, items that cannot be answers -> what scores single items, and the answers."""

_NOWHERE = float(np.finfo(np.float32).min)


class Retrieved:
    """A search as a `Ranker`.

    Args:
        search: What finds.
        k: Length of an answer, the longest list that is looked at.
        is_filtered: Whether items of the history cannot be answers. Whoever asks must know the same: that the search is
            told is what lets it find as many others instead.
    """

    def __init__(self, search: Search, k: int, *, is_filtered: bool = False) -> None:
        self._search, self._k, self._is_filtered = search, k, is_filtered

    def scorer(self, examples: Examples) -> RetrievedScorer:
        """See `scoring.Ranker`."""
        exclude = None
        if self._is_filtered:
            seen = seen_items(examples.inputs, examples.targets)
            exclude = Jagged(values=seen.values.numpy(), offsets=seen.offsets.numpy())
        return RetrievedScorer(*self._search(examples, self._k, exclude))


class RetrievedScorer:
    """Scores of what was found; the least there is for all else.

    Args:
        whole: Scores any item; a list that is given is ordered by it, since nothing is searched for then.
        answer: What was found.
    """

    def __init__(self, whole: Scorer, answer: Answer) -> None:
        self._whole = whole
        items_QC = torch.from_numpy(answer.items_QC)
        self._question_T, place_T = torch.nonzero(items_QC != NO_ITEM, as_tuple=True)
        self._column_T = items_QC[self._question_T, place_T] - 1
        self._score_T = torch.from_numpy(answer.scores_QC)[self._question_T, place_T]

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._whole.num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._whole.num_candidates

    @property
    def device(self) -> torch.device:
        """The host: lists are short."""
        return torch.device("cpu")

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        for _, part_QV in block.parts:
            part_QV.fill_(_NOWHERE)
        first, last = torch.searchsorted(self._question_T, torch.tensor([questions.start, questions.stop])).tolist()
        some = slice(first, last)
        block.set(self._question_T[some] - questions.start, self._column_T[some], self._score_T[some])

    def pairs(self, question_P: Tensor, item_P: Tensor) -> Tensor:
        """See `scoring.Scorer.pairs`."""
        size_v = self.num_candidates
        key_T, order = torch.sort(self._question_T * size_v + self._column_T)
        key_P = question_P * size_v + item_P - 1
        scores_P = torch.full((len(key_P),), _NOWHERE)
        if len(key_T):
            place_P = torch.searchsorted(key_T, key_P).clamp(max=len(key_T) - 1)
            is_found_P = key_T[place_P] == key_P
            scores_P[is_found_P] = self._score_T[order[place_P[is_found_P]]]
        return scores_P

    def in_list(self, question_P: Tensor, item_P: Tensor) -> Tensor:
        """See `scoring.ListScorer.in_list`."""
        device = self._whole.device
        return list_scores(self._whole, question_P.to(device), item_P.to(device)).cpu()


def search_of(model: ModelRanker, ranker: PriorRanker | None, index: Searchable, reach: Reach | None = None) -> Search:
    """How answers are found in service: by the `Retriever`, or, without a prior, by the index alone.

    Args:
        model: The model.
        ranker: It with its prior, if it has one.
        index: On `dense_vectors` of the two, of all candidates.
        reach: How far a retriever looks; nothing without a prior.
    """
    if ranker is not None:
        retriever = Retriever(ranker, model, index, reach)
        return lambda examples, k, exclude: retriever.scored(examples, k, exclude=exclude)

    def nearest(examples: Examples, k: int, exclude: Rows | None) -> tuple[Scorer, Answer]:
        queries_QD = model.queries(examples).float()
        answer = index.search(queries_QD.cpu().numpy(), k, exclude=exclude)
        return DotScorer(queries_QD, model.items_VD), answer

    return nearest
