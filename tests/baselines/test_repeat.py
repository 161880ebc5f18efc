from __future__ import annotations

from collections import defaultdict
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from sessionrec.baselines.repeat import Repeat
from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.jagged import Jagged
from sessionrec.scoring import Block

Session = list[tuple[int, int]]
"""(item, action) of each event."""


def batch(users: list[list[Session]], questions: list[tuple[int, int]]) -> Examples:
    """Users' sessions, and questions as (user, sessions before)."""
    sessions = [session for user in users for session in user]
    events = [event for session in sessions for event in session]
    size = len(questions)
    inputs = SessionBatch(
        user_index_B=torch.arange(len(users)),
        user_offsets=torch.tensor([0, *map(len, users)]).cumsum(0),
        session_offsets=torch.tensor([0, *map(len, sessions)]).cumsum(0),
        session_time_ms_S=torch.arange(len(sessions)),
        item_E=torch.tensor([item for item, _ in events], dtype=torch.int64),
        action_E=torch.tensor([action for _, action in events], dtype=torch.int64),
        time_ms_E=torch.zeros(len(events), dtype=torch.int64),
        features={},
        max_sessions=max(map(len, users), default=0),
        max_events=max(map(len, sessions), default=0),
    )
    targets = Targets(
        user_Q=torch.tensor([user for user, _ in questions], dtype=torch.int64),
        num_before_Q=torch.tensor([before for _, before in questions], dtype=torch.int64),
        time_ms_Q=torch.zeros(size, dtype=torch.int64),
        positives=Jagged(values=torch.ones(size, dtype=torch.int64), offsets=torch.arange(size + 1)),
        negatives=Jagged(values=torch.ones(0, dtype=torch.int64), offsets=torch.zeros(size + 1, dtype=torch.int64)),
    )
    return Examples(inputs, targets)


def table(floor: Repeat, examples: Examples) -> torch.Tensor:
    scorer = floor.scorer(examples)

    def filled(start: int, stop: int) -> torch.Tensor:
        size = stop - start
        block = Block(torch.empty(size * scorer.num_candidates), size, scorer.num_candidates)
        scorer.fill(slice(start, stop), block)
        return block.whole()

    scores = filled(0, scorer.num_questions)
    assert torch.equal(scores, torch.cat([filled(place, place + 1) for place in range(scorer.num_questions)]))
    question, column = (torch.from_numpy(axis.ravel()) for axis in np.indices(tuple(scores.shape)))
    assert torch.equal(scorer.pairs(question, column + 1), scores.flatten())
    return scores


def best_first(scores: torch.Tensor) -> list[int]:
    return (scores.argsort(descending=True, stable=True) + 1).tolist()


def test_own_items_come_first_newer_sessions_count_more_then_the_popular() -> None:
    count = np.array([9, 5, 5, 1, 7])
    # Item 4 twice long ago: .5^2 + .5^2 = .5; item 3 in the last session: 1; item 2 in the last but one: .5, and more
    # popular than 4. Item 1 was only shown.
    user = [[(4, 1)], [(4, 1)], [(2, 1), (1, 0)], [(3, 1)]]
    # .5^3 + .5^2 = .375 for item 4.
    scores = table(Repeat(count, decay=0.5), batch([user], [(0, 4)]))[0]
    assert best_first(scores) == [3, 2, 4, 1, 5]


def test_equal_weights_go_by_popularity_and_equals_in_both_tie() -> None:
    scores = table(Repeat(np.array([1, 8, 8, 5, 5]), decay=0.9), batch([[[(1, 1), (2, 1), (3, 1)]]], [(0, 1)]))[0]
    assert scores[1] == scores[2] > scores[0] > scores[3] == scores[4]


def test_nothing_after_the_question_counts() -> None:
    user = [[(1, 1)], [(2, 1)]]
    scores = table(Repeat(np.array([1, 1, 5]), decay=0.5), batch([user, user], [(0, 0), (0, 1), (1, 2)]))
    assert [best_first(row) for row in scores] == [[3, 1, 2], [1, 3, 2], [2, 1, 3]]


def test_a_weight_that_would_underflow_keeps_its_order() -> None:
    user: list[Session] = [[(1, 1)], [(2, 1)], *([[(3, 1)]] * 3000)]
    scores = table(Repeat(np.array([9, 1, 1, 1]), decay=0.3), batch([user], [(0, 3002)]))[0]
    assert best_first(scores) == [3, 2, 1, 4]


sessions = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=4)


@given(st.data(), st.sampled_from([0.5, 0.9, 1.0]))
def test_the_order_equals_that_of_loops(data: Any, decay: float) -> None:
    users = data.draw(st.lists(st.lists(sessions, max_size=5), min_size=1, max_size=3))
    count = data.draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
    questions = [(user, before) for user in range(len(users)) for before in range(len(users[user]) + 1)]
    scores = table(Repeat(np.array(count), decay=decay), batch(users, questions))
    for row, (user, before) in zip(scores.tolist(), questions, strict=True):
        weight: dict[int, float] = defaultdict(float)
        for place, session in enumerate(users[user][:before]):
            for item, action in session:
                if action & 1:
                    weight[item] += decay ** (before - 1 - place)
        key = [(round(weight.get(item, 0.0), 9), count[item - 1]) for item in range(1, 7)]
        for a in range(6):
            for b in range(6):
                assert (row[a] < row[b]) == (key[a] < key[b]), (a, b, row, key)


def test_a_decay_is_a_share() -> None:
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            Repeat(np.array([1]), decay=wrong)
