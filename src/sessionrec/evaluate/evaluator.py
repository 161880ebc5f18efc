"""`evaluate`: a system, questions and a protocol -> `EvalReport`. Any `Ranker` will do, a model or a floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.evaluate import report as columns
from sessionrec.evaluate.breakdown import PopularityTally, by_history, weighted_mean
from sessionrec.evaluate.facts import ItemFacts
from sessionrec.evaluate.insession import exposed_scores, in_session_metrics
from sessionrec.evaluate.lists import ListTally
from sessionrec.evaluate.metrics import FloatArray, metrics_of_ranks
from sessionrec.evaluate.protocol import EvalProtocol
from sessionrec.evaluate.report import EvalReport
from sessionrec.jagged import IntArray, Jagged, offsets_from_lengths
from sessionrec.scoring import MISS, Memory, Ranker, search

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answers:
    """What is kept of one batch. Letters: B users, Q questions."""

    user_index_B: IntArray
    user_Q: IntArray
    time_ms_Q: IntArray
    first_target_Q: IntArray
    num_before_Q: IntArray
    num_targets_Q: IntArray
    findable: int
    metrics: dict[str, FloatArray]


@torch.no_grad()
def evaluate(
    system: Ranker,
    examples: Iterable[Examples],
    facts: ItemFacts,
    protocol: EvalProtocol,
    *,
    name: str,
    about: dict[str, Any] | None = None,
    num_users: int = 0,
    progress: Progress = lambda *_: None,
) -> EvalReport:
    """Ask a system every question and count.

    Memory: the block of scores (`scoring.BLOCK_BYTES`) and about 100 bytes a question. Batches of some hundred users
    make the best use of a large catalogue, whose vectors are read once a block.

    Args:
        system: Answers.
        examples: The questions, each once; a `Loader` without `shuffle` gives them, of the view that
            `data.view.evaluation_view` makes for the protocol.
        facts: Of the catalogue.
        protocol: What is asked and how answers count.
        name: The system's, for tables.
        about: What else names the run: data set and fingerprint, part, seed, config; plain values.
        num_users: How many there will be, for `progress`.
        progress: Called with stage, users done and users in all.

    Raises:
        ValueError: There is no question; one comes twice; the questions are not those of the protocol; the system
            scores another number of items or questions.
    """
    _expect_history(examples, protocol)
    batches: list[_Answers] = []
    memory = Memory()
    lists = ListTally(facts, protocol.list_length)
    popularity = PopularityTally(facts, protocol.ks)
    done = 0
    for inputs, asked in examples:
        targets = _last_items(asked) if protocol.targets == "last_item" else asked
        _expect_one_target(targets, protocol)
        batches.append(_answer(system, Examples(inputs, targets), facts, protocol, (lists, popularity), memory))
        done += inputs.num_users
        progress("evaluate", done, max(num_users, done))
    if sum(len(batch.user_Q) for batch in batches) == 0:
        raise ValueError("there is no question to evaluate; does the part of the view have sessions?")
    users = _by_user(batches, protocol)
    weight_U = users[columns.WEIGHT].to_numpy()
    values = {metric: users[metric].to_numpy() for metric in batches[0].metrics}
    means = {metric: weighted_mean(values_U, weight_U) for metric, values_U in values.items()}
    num_targets = int(users[columns.NUM_TARGETS].sum())
    in_session = values.get("in_session_auc", np.full(len(users), np.nan))
    return EvalReport(
        system=name,
        protocol=protocol,
        metrics={metric: mean for metric, mean in means.items() if not np.isnan(mean)},
        num_users=len(users),
        num_questions=int(users[columns.NUM_QUESTIONS].sum()),
        num_targets=num_targets,
        num_candidates=facts.num_candidates,
        target_coverage=sum(batch.findable for batch in batches) / num_targets,
        num_in_session_users=int(np.count_nonzero(~np.isnan(in_session))),
        lists=lists.metrics(),
        by_history=by_history(users[columns.NUM_BEFORE].to_numpy(), weight_U, values),
        by_popularity=popularity.rows(),
        about=about or {},
        users=users,
    )


def _answer(
    system: Ranker,
    examples: Examples,
    facts: ItemFacts,
    protocol: EvalProtocol,
    tallies: tuple[ListTally, PopularityTally],
    memory: Memory,
) -> _Answers:
    inputs, targets = examples
    scorer = system.scorer(examples)
    found = (scorer.num_questions, scorer.num_candidates)
    if found != (targets.num_questions, facts.num_candidates):
        raise ValueError(
            f"the system scores {found[0]} questions x {found[1]} items, expected {targets.num_questions} x "
            f"{facts.num_candidates}; was it made for another data set?"
        )
    exclude = seen_items(inputs, targets) if protocol.seen == "filtered" else None
    rank_T, best = search(scorer, targets.positives, protocol.list_length, exclude=exclude, memory=memory)
    ranks = Jagged(values=rank_T.numpy(), offsets=targets.positives.offsets.cpu().numpy())
    metrics = metrics_of_ranks(ranks, protocol.ks, capped_recall=protocol.recall == "capped")
    if protocol.in_session:
        metrics |= in_session_metrics(*exposed_scores(scorer, targets), targets.num_questions)
    target_T = targets.positives.values.cpu().numpy()
    lists, popularity = tallies
    lists.add(best.items_QC.numpy(), target_T)
    popularity.add(target_T, ranks.values)
    return _Answers(
        user_index_B=inputs.user_index_B.cpu().numpy(),
        user_Q=targets.user_Q.cpu().numpy(),
        time_ms_Q=targets.time_ms_Q.cpu().numpy(),
        # No question is without a target.
        first_target_Q=target_T[targets.positives.offsets.cpu().numpy()[:-1]],
        num_before_Q=targets.num_before_Q.cpu().numpy(),
        num_targets_Q=ranks.lengths,
        findable=int(np.count_nonzero(ranks.values < MISS)),
        metrics=metrics,
    )


def _expect_history(examples: Iterable[Examples], protocol: EvalProtocol) -> None:
    """What a loader's view shows of the target's session must be what the protocol says; others may not tell."""
    shows = getattr(examples, "has_partial_session", protocol.has_partial_session)
    if shows != protocol.has_partial_session:
        raise ValueError(
            f"the protocol's targets are {protocol.targets!r}, but the history of these questions "
            f"{'has' if shows else 'has no'} part of the target's own session; make the view by "
            "`evaluation_view(view, part, protocol.targets)`"
        )


def _expect_one_target(targets: Targets, protocol: EvalProtocol) -> None:
    if protocol.has_partial_session and len(targets.positives.values) != targets.num_questions:
        raise ValueError(
            f"the protocol's targets are {protocol.targets!r}, one a question, but {targets.num_questions} questions "
            f"have {len(targets.positives.values)} targets; make the view by "
            "`evaluation_view(view, part, protocol.targets)`"
        )


def seen_items(inputs: SessionBatch, targets: Targets) -> Jagged[torch.Tensor]:
    """Q rows: the items of all events, positive or not, that the question's inputs show; repeats stay."""
    user_Q = targets.user_Q.cpu().numpy()
    first_Q = inputs.user_offsets.cpu().numpy()[user_Q]
    session_offsets = inputs.session_offsets.cpu().numpy()
    begin_Q, end_Q = session_offsets[first_Q], session_offsets[first_Q + targets.num_before_Q.cpu().numpy()]
    offsets = offsets_from_lengths(end_Q - begin_Q)
    events = np.repeat(begin_Q - offsets[:-1], end_Q - begin_Q) + np.arange(offsets[-1])
    return Jagged(values=inputs.item_E.cpu()[torch.from_numpy(events)], offsets=torch.from_numpy(offsets))


def _last_items(targets: Targets) -> Targets:
    """The same questions, asked for the last positive alone; the negatives stay for the ranking inside the session."""
    offsets = targets.positives.offsets
    return replace(
        targets,
        positives=Jagged(values=targets.positives.values[offsets[1:] - 1], offsets=torch.arange(len(offsets))),
    )


def _by_user(batches: list[_Answers], protocol: EvalProtocol) -> pl.DataFrame:
    """One row a user with a question: means over its questions, users in the order of their first."""
    sizes = np.array([len(batch.user_index_B) for batch in batches])
    first_row = np.cumsum(sizes) - sizes
    index_R = np.concatenate([batch.user_index_B for batch in batches])
    row_Q = np.concatenate([batch.user_Q + first for batch, first in zip(batches, first_row, strict=True)])
    time_ms_Q = np.concatenate([batch.time_ms_Q for batch in batches])
    targets_Q = np.concatenate([batch.num_targets_Q for batch in batches])
    before_Q = np.concatenate([batch.num_before_Q for batch in batches])
    # A user may have several rows, one for each of its questions; one that is not in the data set is a user by itself.
    key_Q = np.where(index_R[row_Q] >= 0, index_R[row_Q], -1 - row_Q)
    first_target_Q = np.concatenate([batch.first_target_Q for batch in batches])
    _expect_once(key_Q, row_Q, time_ms_Q, first_target_Q)
    _, first_Q, by_key_Q, questions_K = np.unique(key_Q, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first_Q)  # in the order of the examples
    place_K = np.empty_like(order)
    place_K[order] = np.arange(len(order))
    place_Q, questions_U, index_U = place_K[by_key_Q], questions_K[order], index_R[row_Q[first_Q[order]]]
    size = len(order)
    is_micro = protocol.average == "micro"
    weight_Q = targets_Q.astype(np.float64) if is_micro else np.ones(len(row_Q))
    targets_U = np.bincount(place_Q, weights=targets_Q, minlength=size)
    last_U = np.zeros(size, np.int64)
    np.maximum.at(last_U, place_Q, before_Q)
    frame: dict[str, npt.NDArray[Any]] = {
        columns.USER_INDEX: index_U,
        columns.NUM_QUESTIONS: questions_U,
        columns.NUM_TARGETS: targets_U.astype(np.int64),
        columns.NUM_BEFORE: last_U,
        columns.WEIGHT: targets_U if is_micro else np.ones(size),
    }
    for metric in batches[0].metrics:
        value_Q = np.concatenate([batch.metrics[metric] for batch in batches])
        counts_Q = np.where(np.isnan(value_Q), 0.0, weight_Q)
        total_U = np.bincount(place_Q, weights=np.nan_to_num(value_Q) * counts_Q, minlength=size)
        weight_U = np.bincount(place_Q, weights=counts_Q, minlength=size)
        frame[metric] = np.divide(total_U, weight_U, out=np.full(size, np.nan), where=weight_U > 0)
    return pl.DataFrame(frame)


def _expect_once(key_Q: IntArray, row_Q: IntArray, time_ms_Q: IntArray, first_target_Q: IntArray) -> None:
    """No question twice: the held-out sessions of a user begin at different times or, where every event is one, ask
    for different items."""
    order = np.lexsort((row_Q, first_target_Q, time_ms_Q, key_Q))
    same = np.ones(len(order) - 1, np.bool_)
    for column_Q in (key_Q, time_ms_Q, first_target_Q):
        same &= np.diff(column_Q[order]) == 0
    if (same & (np.diff(row_Q[order]) != 0)).any():
        raise ValueError("a question comes more than once; evaluate with a loader that does not shuffle, one process")
