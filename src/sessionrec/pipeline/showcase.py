"""Some users to read: their history, what was predicted, and what came."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.people import printable
from sessionrec.data.view import View
from sessionrec.evaluate.evaluator import seen_items
from sessionrec.jagged import IntArray
from sessionrec.schema import ITEM, POSITIVE, TITLE
from sessionrec.scoring import MISS, Ranker, search

_SESSIONS, _EVENTS, _BEST = 8, 12, 10
_MEDIUM = (0.3, 0.8)


def showcase(
    system: Ranker, dataset: Dataset, view: View, loading: Loading, number: int, *, exclude_seen: bool
) -> list[dict[str, Any]]:
    """Answers for some users with a history of medium length, as plain values.

    What came is shown whole, also where the protocol asks for its last item alone.

    Args:
        system: Answers.
        dataset: Whose users.
        view: What is asked.
        loading: Without `shuffle`.
        number: How many users.
        exclude_seen: Whether items of the history are no candidates.
    """
    if not number:
        return []
    loader = Loader(dataset, view, loading, seed=0)
    examples = next(iter(loader))
    inputs, targets = examples
    sessions_B = np.diff(inputs.user_offsets.numpy())
    low, high = np.quantile(sessions_B, _MEDIUM, method="nearest")
    last_Q = np.append(np.diff(targets.user_Q.numpy()) != 0, True)
    asked_Q = np.flatnonzero(
        last_Q & (sessions_B[targets.user_Q.numpy()] >= low) & (sessions_B[targets.user_Q.numpy()] <= high)
    )
    rank_T, best = search(
        system.scorer(examples),
        targets.positives,
        _BEST,
        exclude=seen_items(inputs, targets) if exclude_seen else None,
    )
    names = _names(dataset)
    users = dict(zip(*_user_ids(dataset, inputs.user_index_B.numpy()), strict=True))
    return [
        _one(examples, int(question), rank_T.numpy(), (best.items_QC.numpy(), best.scores_QC.numpy()), names)
        | {"user": printable(users[int(inputs.user_index_B[targets.user_Q[question]])])}
        for question in asked_Q[:: max(len(asked_Q) // number, 1)][:number]
    ]


def _one(
    examples: Examples, question: int, rank_T: IntArray, best: tuple[Any, Any], names: list[str]
) -> dict[str, Any]:
    inputs, targets = examples
    user = int(targets.user_Q[question])
    first = int(inputs.user_offsets[user])
    stop = first + int(targets.num_before_Q[question])
    cuts = inputs.session_offsets
    history = []
    for session in range(max(first, stop - _SESSIONS), stop):
        events = range(int(cuts[session]), int(cuts[session + 1]))
        acted = [names[int(inputs.item_E[event])] for event in events if int(inputs.action_E[event]) & POSITIVE]
        shown = [names[int(inputs.item_E[event])] for event in events if not int(inputs.action_E[event]) & POSITIVE]
        history.append(
            {"time": _moment(inputs.session_time_ms_S[session]), "positives": acted[:_EVENTS], "shown": shown[:_EVENTS]}
        )
    wanted = targets.positives.row(question).tolist()
    begin = int(targets.positives.offsets[question])
    ranks = rank_T[begin : begin + len(wanted)].tolist()
    seen = set(inputs.item_E[int(cuts[first]) : int(cuts[stop])].tolist())
    items_C, scores_C = best[0][question].tolist(), best[1][question].tolist()
    return {
        "num_sessions": stop - first,
        "history": history,
        "predicted": [
            {"name": names[item], "score": score, "is_hit": item in wanted, "is_seen": item in seen}
            for item, score in zip(items_C, scores_C, strict=True)
            if item > 0
        ],
        "came": {
            "time": _moment(targets.time_ms_Q[question]),
            "positives": [
                {"name": names[item], "rank": None if rank >= MISS else rank}
                for item, rank in zip(wanted, ranks, strict=True)
            ][:_EVENTS],
            "num_positives": len(wanted),
            "shown": [names[item] for item in targets.negatives.row(question).tolist()][:_EVENTS],
        },
    }


def _names(dataset: Dataset) -> list[str]:
    """Name of each index, 0 the unknown item."""
    items = dataset.items
    ids = items[ITEM].to_list()
    titles = items[TITLE].to_list() if TITLE in items.columns else ids
    return ["unknown", *(printable(title if title else id_) for title, id_ in zip(titles, ids, strict=True))]


def _user_ids(dataset: Dataset, user_index_B: IntArray) -> tuple[list[int], list[Any]]:
    """Ids in the log of some users of the data set."""
    places, ids = [], []
    for group in dataset.row_groups:
        inside = user_index_B[(user_index_B >= group.first_user) & (user_index_B < group.first_user + group.users)]
        if len(inside):
            found = dataset.read(group).user_U
            places += inside.tolist()
            ids += [found[int(place) - group.first_user] for place in inside]
    return places, ids


def _moment(time_ms: torch.Tensor) -> str:
    return f"{datetime.fromtimestamp(int(time_ms) / 1000, UTC):%Y-%m-%d %H:%M}"
