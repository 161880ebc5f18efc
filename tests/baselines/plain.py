"""Small logs as lists, for floors and for the loops they are compared with."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import torch

from sessionrec.baselines import KnownSessions
from sessionrec.baselines.evidence import Cells
from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.dynamics import ItemEvents
from sessionrec.jagged import Jagged
from sessionrec.scoring import Block, Scorer

S = 1000
"""A second, in milliseconds."""

Visit = tuple[int, list[tuple[int, int]]]
"""(time in seconds, (item, action) of each event); the events come at that time and each next second."""
Users = list[list[Visit]]
Question = tuple[int, int, int]
"""(user, sessions before, time in seconds)."""

ITEMS = 6
"""Candidates of `drawn_users`; items 0 and 7 are none."""

_visits = st.lists(st.tuples(st.integers(0, ITEMS + 1), st.sampled_from([1, 1, 3, 0])), min_size=1, max_size=4)


@st.composite
def drawn_users(draw: st.DrawFn) -> Users:
    """Up to four users with up to five sessions each, ten seconds or more apart."""
    users = draw(st.lists(st.lists(_visits, max_size=5), min_size=1, max_size=4))
    return [[(place + 10 * day, visit) for day, visit in enumerate(user)] for place, user in enumerate(users)]


def all_questions(users: Users, time: int | None = None) -> list[Question]:
    """Every user after every number of sessions, when the next would begin or at one time."""
    return [
        (user, before, (10 * before + 3) if time is None else time)
        for user, visits in enumerate(users)
        for before in range(len(visits) + 1)
    ]


def positives(visit: Visit, num_candidates: int = ITEMS) -> list[int]:
    return [item for item, action in visit[1] if action & 1 and 1 <= item <= num_candidates]


def end_of(visit: Visit, num_candidates: int = ITEMS) -> int:
    """When its last positive came, in seconds."""
    places = [place for place, (item, action) in enumerate(visit[1]) if action & 1 and 1 <= item <= num_candidates]
    return visit[0] + places[-1]


def _flat(users: Users, num_candidates: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], ...]:
    rows = [
        (user, number, item, (at + place) * S)
        for user, visits in enumerate(users)
        for number, (at, visit) in enumerate(visits, 100 * user)
        for place, (item, action) in enumerate(visit)
        if action & 1 and 1 <= item <= num_candidates
    ]
    return tuple(np.array(rows, np.int64).reshape(-1, 4).T)


def known_sessions(users: Users, num_candidates: int = ITEMS) -> KnownSessions:
    user_N, session_N, item_N, time_ms_N = _flat(users, num_candidates)
    return KnownSessions.of(user_N, session_N, item_N, time_ms_N, num_candidates)


def known_events(users: Users, num_candidates: int = ITEMS) -> ItemEvents:
    _, _, item_N, time_ms_N = _flat(users, num_candidates)
    return ItemEvents.of(item_N, time_ms_N, num_candidates)


def examples_of(users: Users, questions: list[Question]) -> Examples:
    visits = [visit for user in users for visit in user]
    events = [(item, action, (at + place) * S) for at, visit in visits for place, (item, action) in enumerate(visit)]
    columns = torch.tensor(events, dtype=torch.int64).reshape(-1, 3).unbind(1)
    inputs = SessionBatch(
        user_index_B=torch.arange(len(users)),
        user_offsets=torch.tensor([0, *map(len, users)]).cumsum(0),
        session_offsets=torch.tensor([0, *(len(visit) for _, visit in visits)]).cumsum(0),
        session_time_ms_S=torch.tensor([at * S for at, _ in visits], dtype=torch.int64),
        item_E=columns[0],
        action_E=columns[1],
        time_ms_E=columns[2],
        features={},
        max_sessions=max(map(len, users), default=0),
        max_events=max((len(visit) for _, visit in visits), default=0),
    )
    size = len(questions)
    asked = torch.tensor(questions, dtype=torch.int64).reshape(-1, 3)
    targets = Targets(
        user_Q=asked[:, 0],
        num_before_Q=asked[:, 1],
        time_ms_Q=asked[:, 2] * S,
        positives=Jagged(values=torch.ones(size, dtype=torch.int64), offsets=torch.arange(size + 1)),
        negatives=Jagged(values=torch.ones(0, dtype=torch.int64), offsets=torch.zeros(size + 1, dtype=torch.int64)),
    )
    return Examples(inputs, targets)


def dense(cells: Cells) -> torch.Tensor:
    """[Q, V] with 0 where there is no evidence; the cells are checked on the way."""
    table = torch.zeros(cells.num_questions, cells.num_candidates)
    rows, columns, scores = cells.of_questions(slice(0, cells.num_questions))
    assert (scores > 0).all()
    keys = rows * cells.num_candidates + columns
    assert (keys.diff() > 0).all()
    table[rows, columns] = scores
    return table


def filled(scorer: Scorer, *, is_rounded: bool = False) -> torch.Tensor:
    """[Q, V] scores; asked one by one, by pairs and all together they are the same, pairs perhaps up to rounding."""

    def fill(start: int, stop: int) -> torch.Tensor:
        size = stop - start
        block = Block(torch.empty(size * scorer.num_candidates), size, scorer.num_candidates)
        scorer.fill(slice(start, stop), block)
        return block.whole()

    scores = fill(0, scorer.num_questions)
    assert scores.isfinite().all()
    assert torch.equal(scores, torch.cat([fill(place, place + 1) for place in range(scorer.num_questions)]))
    question, column = (torch.from_numpy(axis.ravel()) for axis in np.indices(tuple(scores.shape)))
    near = 1e-5 if is_rounded else 0
    torch.testing.assert_close(scorer.pairs(question, column + 1), scores.flatten(), rtol=near, atol=near)
    return scores
