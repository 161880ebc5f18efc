"""`Retriever`: the best items by a model and its prior together, without scoring the whole catalogue.

    near     greatest (scale + trust * experience) * <query, item>    from an index, `near` a question
    fresh    greatest prior for a user without a history              `fresh` of all, found again every `refresh_s`
    own      whatever the user's own history, or its neighbours, speak for

What these three lists have is scored as `PriorScorer` scores it. An item on none of them has no history with the
user, is less near than `near` others and less fresh than `fresh` others; so of the best hundred few are missed, and how
few is measured (`quality`).

Letters: Q questions, C answers a question (k), V candidates, P pairs of question and item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.index import Answer, Filter, Index
from sessionrec.jagged import IntArray, Jagged, position_in_row, row_of_element
from sessionrec.prior import PriorRanker
from sessionrec.prior.features import merged
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.schema import NO_ITEM
from sessionrec.scoring import DotScorer, Scorer, top_k

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a retriever looks."""

    near: int = 200
    """Items of the index a question, at least twice as many as are asked for."""
    fresh: int = 200
    """Items that are best for anybody, likewise."""
    refresh_s: float = 60.0
    """How long the fresh list is used; scores are always those of the question's own time."""
    whole: int = 10_000
    """Catalogues of so many candidates are scored whole, where all of them may be answers: that is faster, and nothing
    is missed."""


class Retriever:
    """Searches for a model with a prior.

    Args:
        ranker: Whose scores.
        model: Its model.
        index: On `dense_vectors`.
        reach: How far to look.
    """

    def __init__(self, ranker: PriorRanker, model: ModelRanker, index: Index, reach: Reach | None = None) -> None:
        self._ranker, self._model, self._index, self._reach = ranker, model, index, reach or Reach()
        self._fresh: tuple[int, Vectors] | None = None

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._ranker.num_candidates

    def search(
        self,
        examples: Examples,
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Filter | None = None,
    ) -> Answer:
        """The best items of each question.

        Args:
            examples: The questions.
            k: Length of an answer.
            exclude: Q rows of item indices that cannot be answers.
            allow: The only items that may be answers.
        """
        size_v = self.num_candidates
        queries_QD = self._model.queries(examples).float()
        scorer = self._ranker.scorer(examples, DotScorer(queries_QD, self._model.items_VD))
        if allow is None and size_v <= self._reach.whole:
            hidden = None
            if exclude is not None:
                hidden = Jagged(values=torch.from_numpy(exclude.values), offsets=torch.from_numpy(exclude.offsets))
            items_QC, scores_QC = top_k(scorer, k, exclude=hidden)
            return Answer(items_QC=items_QC.numpy(), scores_QC=scores_QC.numpy())
        near = min(max(self._reach.near, 2 * k), size_v)
        near_QC = self._index.search(queries_QD.cpu().numpy(), near, exclude=exclude, allow=allow).items_QC
        is_item = near_QC != NO_ITEM
        near_P = np.nonzero(is_item)[0] * size_v + near_QC[is_item] - 1
        others_P = np.concatenate([self._fresh_of(examples, k, allow), scorer.own_keys])
        others_P = others_P[self._may_be(others_P, exclude, allow)]
        return _best(scorer, merged(near_P, others_P), k)

    def popular(
        self,
        time_ms_Q: IntArray,
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Filter | None = None,
    ) -> Answer:
        """The best items for users of whom nothing is known, by the prior alone as the list of what is fresh has it.

        See `search`.
        """
        allowed_V = self._allowed(allow)
        items_QC = np.full((len(time_ms_Q), k), NO_ITEM, np.int64)
        scores_QC = np.full((len(time_ms_Q), k), -np.inf, np.float32)
        for question, time_ms in enumerate(time_ms_Q.tolist()):
            score_V = self.for_strangers(time_ms)
            may_be = allowed_V
            if exclude is not None:
                may_be = allowed_V[~np.isin(allowed_V + 1, exclude.row(question))]
            best = may_be[np.argsort(-score_V[may_be], kind="stable")[:k]]
            items_QC[question, : len(best)], scores_QC[question, : len(best)] = best + 1, score_V[best]
        return Answer(items_QC=items_QC, scores_QC=scores_QC)

    def _fresh_of(self, examples: Examples, k: int, allow: Filter | None) -> IntArray:
        """[P] keys, question x V + column, of the freshest items at each question's time."""
        number = max(self._reach.fresh, 2 * k)
        due_Q = self._due(examples.targets.time_ms_Q.cpu().numpy())
        allowed_V, keys = self._allowed(allow), []
        for due in np.unique(due_Q).tolist():
            score_V = self.for_strangers(due)
            best = allowed_V[np.argsort(-score_V[allowed_V], kind="stable")[:number]]
            keys.append((np.flatnonzero(due_Q == due)[:, None] * self.num_candidates + best).ravel())
        return np.concatenate(keys) if keys else np.zeros(0, np.int64)

    def for_strangers(self, time_ms: int) -> Vectors:
        """[V] the prior of a user without a history, as it was when the list of what is fresh became due."""
        due_ms = int(self._due(np.array([time_ms]))[0])
        if self._fresh is None or self._fresh[0] != due_ms:
            self._fresh = (due_ms, self._ranker.stranger(due_ms).numpy())
        return self._fresh[1]

    def _due(self, time_ms_Q: IntArray) -> IntArray:
        """[Q] when the list was made that a question uses: not after the question."""
        refresh_ms = max(int(self._reach.refresh_s * 1000), 1)
        return time_ms_Q // refresh_ms * refresh_ms

    def _allowed(self, allow: Filter | None) -> IntArray:
        """[R] columns that may be answers, ascending."""
        rows = self._index.holdings.allowed(allow)
        items = self._index.holdings.items_N
        return (items if rows is None else items[rows]) - 1

    def _may_be(
        self, key_P: IntArray, exclude: Jagged[npt.NDArray[Any]] | None, allow: Filter | None
    ) -> npt.NDArray[np.bool_]:
        """[P] whether a pair may be an answer."""
        size_v = self.num_candidates
        is_kept_P = np.ones(len(key_P), np.bool_)
        if allow is not None:
            is_allowed_V = np.zeros(size_v, np.bool_)
            is_allowed_V[self._allowed(allow)] = True
            is_kept_P &= is_allowed_V[key_P % size_v]
        if exclude is not None:
            hidden = row_of_element(np.asarray(exclude.offsets)) * size_v + np.asarray(exclude.values) - 1
            is_kept_P &= ~np.isin(key_P, hidden[np.asarray(exclude.values) > 0])
        return is_kept_P


def dense_vectors(model: ModelRanker, ranker: PriorRanker | None) -> Vectors:
    """[V, D] vectors whose product with a query is the model's share of a score, for an index.

    Args:
        model: Whose items.
        ranker: It with its prior, which scales it; None = the model alone.
    """
    items_VD = model.items_VD.float()
    if ranker is not None:
        items_VD = items_VD * ranker.scale_V.to(items_VD.device)[:, None]
    return items_VD.cpu().numpy()


def quality(retriever: Retriever, ranker: PriorRanker, examples: Examples, k: int) -> float:
    """Share of the exact best k items of some questions that a retriever finds."""
    exact_QC = top_k(ranker.scorer(examples), k).items_QC.numpy()
    found_QC = retriever.search(examples, k).items_QC
    size = retriever.num_candidates + 1
    rows_Q = np.arange(len(exact_QC))[:, None] * size
    is_item = exact_QC != NO_ITEM
    return float(np.isin((rows_Q + exact_QC)[is_item], (rows_Q + found_QC)[found_QC != NO_ITEM]).mean())


def _best(scorer: Scorer, key_P: IntArray, k: int) -> Answer:
    """The best k pairs of each question, scored exactly; `key_P` ascends, question x V + column."""
    size_q, size_v = scorer.num_questions, scorer.num_candidates
    question_P, column_P = np.divmod(key_P, size_v)
    device = scorer.device
    pairs = torch.from_numpy(question_P).to(device), torch.from_numpy(column_P + 1).to(device)
    score_P = scorer.pairs(*pairs).float().cpu().numpy()
    order = np.lexsort((column_P, -score_P, question_P))
    cuts = np.searchsorted(question_P, np.arange(size_q + 1))
    rank_P = position_in_row(cuts)
    kept = rank_P < k
    question, rank, place = question_P[order][kept], rank_P[kept], order[kept]
    items_QC = np.full((size_q, k), NO_ITEM, np.int64)
    scores_QC = np.full((size_q, k), -np.inf, np.float32)
    items_QC[question, rank], scores_QC[question, rank] = column_P[place] + 1, score_P[place]
    return Answer(items_QC=items_QC, scores_QC=scores_QC)
