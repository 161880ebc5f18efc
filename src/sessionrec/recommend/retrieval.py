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

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.index import Answer, Filter, Searchable
from sessionrec.jagged import IntArray, Jagged, position_in_row, row_of_element
from sessionrec.prior import PriorRanker
from sessionrec.prior.features import merged
from sessionrec.prior.prior import PriorScorer
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.schema import NO_ITEM
from sessionrec.scoring import DotScorer, Scorer, top_k

Vectors = npt.NDArray[np.float32]

_PAIRS = 1 << 18
"""Scored at once: their features take some 40 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a retriever looks."""

    near: int = 200
    """Items of the index a question, at least twice as many as are asked for."""
    fresh: int = 200
    """Items that are best for anybody, likewise."""
    neighbours: int = 500
    """Items a question that neighbours speak for, the best of them; those of the history itself are looked at all."""
    refresh_s: float = 60.0
    """How long the fresh list is used. Scores are those of the question's own time; only of a user without a history
    they are those of the list."""
    whole: int = 10_000
    """Where at most so many items may be answers, all of them are scored: that is faster, and nothing is missed."""

    def is_whole(self, number: int) -> bool:
        """Whether so many items are few enough to score all of them."""
        return number <= self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fresh:
    """What is fresh at a time. Replaced as a whole, so that searches in several threads each see one that fits."""

    due_ms: int
    changes: int
    """Of `ItemSource.changes`."""
    made_s: float
    """By the clock that only goes on."""
    score_V: Vectors
    """[V] prior of a user without a history."""
    best: IntArray
    """Columns that may be answers, the freshest first: as many as anybody asked for yet."""


class Retriever:
    """Searches for a model with a prior. Several threads may search at once.

    Args:
        ranker: Whose scores.
        model: Its model.
        index: On `dense_vectors`.
        reach: How far to look.
    """

    def __init__(self, ranker: PriorRanker, model: ModelRanker, index: Searchable, reach: Reach | None = None) -> None:
        self._ranker, self._model, self._index, self._reach = ranker, model, index, reach or Reach()
        self._fresh: _Fresh | None = None

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
        return self.scored(examples, k, exclude=exclude, allow=allow)[1]

    def scored(
        self,
        examples: Examples,
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Filter | None = None,
    ) -> tuple[PriorScorer, Answer]:
        """What scores the questions, and `search` by it."""
        queries_QD = self._model.queries(examples).float()
        scorer = self._ranker.scorer(examples, DotScorer(queries_QD, self._model.items_VD))
        return scorer, self._found(examples, queries_QD, scorer, k, exclude, allow)

    def _found(
        self,
        examples: Examples,
        queries_QD: torch.Tensor,
        scorer: PriorScorer,
        k: int,
        exclude: Jagged[npt.NDArray[Any]] | None,
        allow: Filter | None,
    ) -> Answer:
        size_v = self.num_candidates
        if allow is None and self._reach.is_whole(size_v):
            hidden = None
            if exclude is not None:
                hidden = Jagged(values=torch.from_numpy(exclude.values), offsets=torch.from_numpy(exclude.offsets))
            items_QC, scores_QC = top_k(scorer, k, exclude=hidden)
            return Answer(items_QC=items_QC.numpy(), scores_QC=scores_QC.numpy())
        if allow is not None and self._reach.is_whole(len(allowed := self._allowed(allow))):
            every_P = (np.arange(scorer.num_questions)[:, None] * size_v + allowed).ravel()
            return _best(scorer, every_P[self._may_be(every_P, exclude, None)], k)
        near = min(max(self._reach.near, 2 * k), size_v)
        near_QC = self._index.search(queries_QD.cpu().numpy(), near, exclude=exclude, allow=allow).items_QC
        is_item = near_QC != NO_ITEM
        near_P = np.nonzero(is_item)[0] * size_v + near_QC[is_item] - 1
        others_P = np.concatenate(
            [self._fresh_of(examples, k, exclude, allow), scorer.own_keys(self._reach.neighbours)]
        )
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
        allowed_R = None if allow is None else self._allowed(allow)
        items_QC = np.full((len(time_ms_Q), k), NO_ITEM, np.int64)
        scores_QC = np.full((len(time_ms_Q), k), -np.inf, np.float32)
        for question, due_ms in enumerate(self._due(time_ms_Q).tolist()):
            hidden = np.zeros(0, np.int64) if exclude is None else np.unique(np.asarray(exclude.row(question)))
            best, score_V = self._freshest(due_ms, k + len(hidden), allowed_R)
            best = best[~np.isin(best + 1, hidden)][:k]
            items_QC[question, : len(best)], scores_QC[question, : len(best)] = best + 1, score_V[best]
        return Answer(items_QC=items_QC, scores_QC=scores_QC)

    def _fresh_of(
        self, examples: Examples, k: int, exclude: Jagged[npt.NDArray[Any]] | None, allow: Filter | None
    ) -> IntArray:
        """[P] keys, question x V + column, of the freshest items at each question's time; of those that may be answers
        at least as many as the reach says, however many are excluded."""
        due_Q = self._due(examples.targets.time_ms_Q.cpu().numpy())
        number_Q = np.full(len(due_Q), max(self._reach.fresh, 2 * k))
        if exclude is not None:
            number_Q += np.diff(np.asarray(exclude.offsets))
        allowed_R, keys = None if allow is None else self._allowed(allow), [np.zeros(0, np.int64)]
        due_T, place_Q = np.unique(due_Q, return_inverse=True)
        number_T = np.zeros(len(due_T), np.int64)
        np.maximum.at(number_T, place_Q, number_Q)
        for place, best in self._lists(due_T, number_T, allowed_R):
            questions = np.flatnonzero(place_Q == place).tolist()
            keys += [question * self.num_candidates + best[: number_Q[question]] for question in questions]
        return np.concatenate(keys)

    def _lists(self, due_T: IntArray, number_T: IntArray, allowed_R: IntArray | None) -> Iterator[tuple[int, IntArray]]:
        """Each time's place, and so many of the freshest columns at it. Users of today share one list, which is kept;
        questions of other days have one each, and these are made one after the other and forgotten."""
        if len(due_T) == 1:
            yield 0, self._freshest(int(due_T[0]), int(number_T[0]), allowed_R)[0]
            return
        rows = self._allowed(None) if allowed_R is None else allowed_R
        for place, score_V in self._ranker.strangers(due_T):
            yield place, rows[_greatest(score_V.numpy()[rows], int(number_T[place]))]

    def for_strangers(self, time_ms: int) -> Vectors:
        """[V] the prior of a user without a history, as it was when the list of what is fresh became due."""
        return self._fresh_at(int(self._due(np.array([time_ms]))[0])).score_V

    def _freshest(self, due_ms: int, number: int, allowed_R: IntArray | None) -> tuple[IntArray, Vectors]:
        """Columns of the freshest items, best first, of some or of all; and [V] how fresh all are."""
        fresh = self._fresh_at(due_ms)
        if allowed_R is not None:
            return allowed_R[_greatest(fresh.score_V[allowed_R], number)], fresh.score_V
        if len(fresh.best) < min(number, self._index.holdings.num_items):
            held_R = self._allowed(None)
            fresh = replace(fresh, best=held_R[_greatest(fresh.score_V[held_R], number)])
            self._fresh = fresh
        return fresh.best[:number], fresh.score_V

    def _fresh_at(self, due_ms: int) -> _Fresh:
        fresh, changes, now_s = self._fresh, self._ranker.items.changes, time.monotonic()
        # Questions of long after the newest event all mean one time; what comes late to it shall be seen all the same.
        is_old = fresh is not None and fresh.changes != changes and now_s - fresh.made_s >= self._reach.refresh_s
        if fresh is None or fresh.due_ms != due_ms or is_old:
            score_V = self._ranker.stranger(due_ms).numpy()
            fresh = _Fresh(due_ms=due_ms, changes=changes, made_s=now_s, score_V=score_V, best=np.zeros(0, np.int64))
            self._fresh = fresh
        return fresh

    def _due(self, time_ms_Q: IntArray) -> IntArray:
        """[Q] when the list was made that a question uses: not after the question."""
        refresh_ms = max(int(self._reach.refresh_s * 1000), 1)
        return self._ranker.items.meant(time_ms_Q) // refresh_ms * refresh_ms

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
            item_E = np.asarray(exclude.values)
            # Histories have items that are no candidates; their keys would be those of the next question's items.
            is_candidate_E = (item_E >= 1) & (item_E <= size_v)
            hidden = row_of_element(np.asarray(exclude.offsets)) * size_v + item_E - 1
            is_kept_P &= ~np.isin(key_P, hidden[is_candidate_E])
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a retriever finds, and what that costs beside scoring all candidates."""

    k: int
    num_questions: int
    recall: float
    """Share of the exact best k items."""
    ms_a_question: float
    """In one batch."""
    exact_ms_a_question: float


def quality(retriever: Retriever, ranker: PriorRanker, examples: Examples, k: int) -> Found:
    """Compare a retriever with scoring all candidates.

    Args:
        retriever: To be measured.
        ranker: Whose scores it searches.
        examples: The questions.
        k: Length of an answer.
    """
    started = time.perf_counter()
    exact_QC = top_k(ranker.scorer(examples), k).items_QC.numpy()
    between = time.perf_counter()
    found_QC = retriever.search(examples, k).items_QC
    ended = time.perf_counter()
    size, number = retriever.num_candidates + 1, max(len(exact_QC), 1)
    rows_Q = np.arange(len(exact_QC))[:, None] * size
    is_item = exact_QC != NO_ITEM
    is_found = np.isin((rows_Q + exact_QC)[is_item], (rows_Q + found_QC)[found_QC != NO_ITEM])
    return Found(
        k=k,
        num_questions=len(exact_QC),
        recall=float(is_found.mean()),
        ms_a_question=(ended - between) / number * 1000,
        exact_ms_a_question=(between - started) / number * 1000,
    )


def _greatest(score_R: Vectors, number: int) -> IntArray:
    """Places of the greatest, of equals the first; without sorting all."""
    places = np.arange(len(score_R))
    if number < len(score_R):
        least = np.partition(score_R, len(score_R) - number)[len(score_R) - number]
        places = np.flatnonzero(score_R >= least)
    return places[np.argsort(-score_R[places], kind="stable")[:number]]


def _best(scorer: Scorer, key_P: IntArray, k: int) -> Answer:
    """The best k pairs of each question, scored exactly; `key_P` ascends, question x V + column."""
    size_q, size_v = scorer.num_questions, scorer.num_candidates
    question_P, column_P = np.divmod(key_P, size_v)
    score_P = np.empty(len(key_P), np.float32)
    for start in range(0, len(key_P), _PAIRS):
        some = slice(start, start + _PAIRS)
        pairs = (torch.from_numpy(one[some]).to(scorer.device) for one in (question_P, column_P + 1))
        score_P[some] = scorer.pairs(*pairs).float().cpu().numpy()
    order = np.lexsort((column_P, -score_P, question_P))
    cuts = np.searchsorted(question_P, np.arange(size_q + 1))
    rank_P = position_in_row(cuts)
    kept = rank_P < k
    question, rank, place = question_P[order][kept], rank_P[kept], order[kept]
    items_QC = np.full((size_q, k), NO_ITEM, np.int64)
    scores_QC = np.full((size_q, k), -np.inf, np.float32)
    items_QC[question, rank], scores_QC[question, rank] = column_P[place] + 1, score_P[place]
    return Answer(items_QC=items_QC, scores_QC=scores_QC)
