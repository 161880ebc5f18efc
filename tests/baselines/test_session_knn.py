from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessionrec.baselines import session_knn
from sessionrec.baselines.session_knn import Postings, SessionKnn
from tests.baselines.plain import (
    ITEMS,
    Question,
    S,
    Users,
    all_questions,
    dense,
    drawn_users,
    end_of,
    examples_of,
    known_sessions,
    positives,
)


def slow_evidence(
    log: Users,
    history: list[list[int]],
    time: int,
    *,
    is_vector: bool,
    query_sessions: int,
    sample: int,
    neighbours: int,
    half_life_s: float | None,
    own: bool,
) -> list[float]:
    """From the formulas: history is the items of each session, oldest first."""
    known = sorted(
        (end_of(visit), number, set(positives(visit)))
        for number, visit in enumerate(visit for user in log for visit in user)
        if positives(visit) and end_of(visit) < time
    )
    weight: dict[int, float] = {}
    for ago, items in reversed(list(enumerate(reversed(history)))):
        for item in items:
            if ago < query_sessions:
                held = sum(item in basket for _, _, basket in known)
                idf = math.log2(1 + len(known) / held) if held else 0
                weight[item] = (1 - ago / query_sessions) * idf if is_vector else 1
    recent = [one for one in known if one[2] & set(weight)][-sample:]
    scored = []
    for at, number, basket in recent:
        sim = sum(weight[item] for item in basket & set(weight)) / math.sqrt(len(basket))
        if half_life_s is not None:
            sim *= 2 ** (-(recent[-1][0] - at) / half_life_s)
        scored.append((-round(sim, 9), -at, -number, sim, basket))
    found: dict[int, float] = defaultdict(float)
    for *_, sim, basket in sorted(scored, key=lambda one: one[:3])[:neighbours]:
        for item in basket:
            found[item] += sim
    seen = {item for items in history for item in items}
    return [0 if item in seen and not own else found[item] for item in range(1, ITEMS + 1)]


LOG: Users = [
    [(0, [(1, 1), (2, 1)])],
    [(10, [(1, 1), (3, 1), (4, 1)])],
    [(20, [(5, 1), (4, 0)])],
]


def test_sessions_that_share_items_speak_for_what_else_is_in_them() -> None:
    asked = examples_of([[(30, [(1, 1)])]], [(0, 1, 40)])
    found = dense(SessionKnn(Postings(known_sessions(LOG)), is_vector=False).cells(asked))[0]
    one, other = 1 / math.sqrt(2), 1 / math.sqrt(3)
    assert found.tolist() == pytest.approx([one + other, one, other, other, 0, 0])
    found = dense(SessionKnn(Postings(known_sessions(LOG)), is_vector=False, own=False).cells(asked))[0]
    assert found.tolist() == pytest.approx([0, one, other, other, 0, 0])


def test_v_sknn_weighs_place_rarity_and_age() -> None:
    asked = examples_of([[(25, [(1, 1)]), (30, [(5, 1)])]], [(0, 2, 40)])
    floor = SessionKnn(Postings(known_sessions(LOG)), is_vector=True, query_sessions=2, half_life_s=10)
    found = dense(floor.cells(asked))[0]
    # Of three sessions two have item 1, one session ago; one has item 5, of the newest session. Ends: 1, 12 and 20 s.
    first = 0.5 * math.log2(1 + 3 / 2) / math.sqrt(2) * 2 ** (-19 / 10)
    second = 0.5 * math.log2(1 + 3 / 2) / math.sqrt(3) * 2 ** (-8 / 10)
    third = math.log2(1 + 3 / 1)
    assert found.tolist() == pytest.approx([first + second, first, second, second, third, 0])


def test_a_session_is_a_neighbour_when_its_last_positive_is_before_the_question() -> None:
    # The second session acts until 12 s: at 12 it is not known, and then neither is that anybody acted on item 3.
    user: Users = [[(5, [(1, 1)])]]
    floor = SessionKnn(Postings(known_sessions(LOG)), is_vector=True)
    found = dense(floor.cells(examples_of(user, [(0, 1, 12), (0, 1, 13)])))
    assert found[0, 2] == 0
    assert found[1, 2] > 0


def test_the_newest_sample_is_compared_and_the_nearest_speak() -> None:
    log: Users = [[(at, [(1, 1), (at // 10 + 2, 1)])] for at in (0, 10, 20, 30)]
    asked = examples_of([[(50, [(1, 1), (2, 1)])]], [(0, 1, 60)])

    def speaking(**more: int) -> list[int]:
        found = dense(SessionKnn(Postings(known_sessions(log)), is_vector=False, own=False, **more).cells(asked))
        return [item for item in range(1, ITEMS + 1) if found[0, item - 1] > 0]

    assert speaking() == [3, 4, 5]
    assert speaking(sample=2) == [4, 5]
    # The oldest shares both items, so of two neighbours it is one; of the others, all alike, the newest is taken.
    assert speaking(neighbours=2) == [5]


parameters = st.fixed_dictionaries(
    {
        "is_vector": st.booleans(),
        "query_sessions": st.integers(1, 3),
        "sample": st.integers(1, 6),
        "neighbours": st.integers(1, 6),
        "half_life_s": st.sampled_from([None, 7.0, 1000.0]),
        "own": st.booleans(),
    }
)


@given(drawn_users(), drawn_users(), parameters, st.sampled_from([1, 4, 1000]))
def test_evidence_equals_loops(log: Users, users: Users, settings: dict[str, float], chunk: int) -> None:
    # Ends a second apart and more, so that no two sessions are equally new: of these either may be taken.
    log = [[(at + 100 * place, visit) for at, visit in user] for place, user in enumerate(log)]
    questions = all_questions(users) + all_questions(users, 217)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_knn, "_CHUNK_POSTINGS", chunk)
        floor = SessionKnn(Postings(known_sessions(log)), **settings)  # type: ignore[arg-type]
        found = dense(floor.cells(examples_of(users, questions)))
    for row, (user, before, time) in zip(found, questions, strict=True):
        history = [positives(visit) for visit in users[user][:before] if positives(visit)]
        expected = slow_evidence(log, history, time, **settings)  # type: ignore[arg-type]
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-4, atol=1e-6)


@given(drawn_users(), drawn_users(), drawn_users(), st.integers(0, 60), parameters)
def test_no_session_at_or_after_the_question_changes_anything(
    log: Users, later: Users, users: Users, time: int, settings: dict[str, float]
) -> None:
    moved: Users = [[(at + time, visit) for at, visit in user] for user in later]
    asked = examples_of(users, all_questions(users, time))
    before, after = (
        dense(SessionKnn(Postings(known_sessions(some)), **settings).cells(asked))  # type: ignore[arg-type]
        for some in (log, log + moved)
    )
    assert torch.equal(before, after)


def test_a_session_just_before_the_question_does_change_something() -> None:
    asked = examples_of([[(0, [(1, 1)])]], [(0, 1, 50)])
    more: Users = [*LOG, [(48, [(1, 1), (6, 1)])]]
    before, after = (
        dense(SessionKnn(Postings(known_sessions(log)), is_vector=True).cells(asked)) for log in (LOG, more)
    )
    assert before[0, 5] == 0 < after[0, 5]


def test_ages_that_would_underflow_keep_their_order() -> None:
    year = 365 * 86_400
    asked = examples_of([[(0, [(1, 1)])]], [(0, 1, year)])
    found = dense(SessionKnn(Postings(known_sessions(LOG)), is_vector=True, half_life_s=10).cells(asked))[0]
    assert found[2] > found[1] > 0


@pytest.mark.parametrize("log", [[], LOG])
def test_without_a_history_or_a_log_there_is_no_evidence(log: Users) -> None:
    questions: list[Question] = [(0, 0, 50), (0, 1, 50), (1, 0, 50), (2, 1, 50)]
    users: Users = [[(0, [(1, 0)])], [], [(0, [(7, 1), (0, 1)])]]
    assert not dense(
        SessionKnn(Postings(known_sessions(log)), is_vector=True).cells(examples_of(users, questions))
    ).any()
    assert SessionKnn(Postings(known_sessions(log)), is_vector=True).cells(examples_of([], [])).num_questions == 0


def test_wrong_parameters_are_refused() -> None:
    postings = Postings(known_sessions(LOG))
    for name in ("query_sessions", "sample", "neighbours"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
            SessionKnn(postings, is_vector=False, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`half_life_s` must be above 0"):
        SessionKnn(postings, is_vector=True, half_life_s=0)


def test_sessions_stand_in_the_order_of_their_ends() -> None:
    sessions = known_sessions([[(5, [(2, 1), (2, 1), (1, 1)])], [(0, [(3, 1), (4, 0)]), (9, [(1, 0)])]])
    assert sessions.end_ms_S.tolist() == [0, 7 * S]
    assert sessions.user_S.tolist() == [1, 0]
    assert np.split(sessions.column_E, sessions.offsets[1:-1])[1].tolist() == [0, 1]
