from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from sessionrec.data.view import View, Window, look
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import DROPPED, assign, late_events
from sessionrec.sessions.truncation import Truncation
from tests.helpers import Id, Plain, Row, histories_of, log_of, plain_histories, row_lists

Seen = dict[Id, tuple[list[list[Any]], list[Any]]]
"""User -> input sessions as lists of events, and questions (positions before, time, positives, negatives)."""


def split(rows: list[Row]) -> tuple[Histories, list[Id]]:
    histories, found = assemble(log_of(rows).events.collect(), NativeRule(), ())
    part_S = assign(histories, None)
    parted = replace(histories, part_S=part_S).keep_sessions(part_S != DROPPED)
    timely = parted.keep_events(~late_events(parted))
    return timely.keep_sessions(np.diff(timely.session_offsets) > 0), found.items.to_list()


def unfold(window: Window, items: list[Id]) -> Seen:
    seen: Seen = {}
    plain = plain_histories(window.inputs, items)
    for place, (user, visits) in enumerate(plain):
        questions = []
        for q in range(int(window.question_offsets[place]), int(window.question_offsets[place + 1])):
            positives = window.positive_items[window.positive_offsets[q] : window.positive_offsets[q + 1]]
            negatives = window.negative_items[window.negative_offsets[q] : window.negative_offsets[q + 1]]
            questions.append(
                (
                    int(window.num_before_Q[q]),
                    int(window.time_ms_Q[q]),
                    [items[int(item)] for item in positives],
                    [items[int(item)] for item in negatives],
                )
            )
        seen[user] = ([events for *_, events in visits], questions)
    assert window.question_offsets[-1] == len(window.num_before_Q)
    return seen


def is_positive(event: Any) -> bool:
    return bool(event[1] & 1)


def newest(visits: list[Any], caps: Truncation) -> int:
    """How many of the newest sessions the caps keep."""
    kept = positives = 0
    for *_, events in reversed(visits):
        if caps.max_sessions is not None and kept >= caps.max_sessions:
            break
        if caps.max_positives is not None and positives >= caps.max_positives:
            break
        kept, positives = kept + 1, positives + sum(map(is_positive, events))
    return kept


def shown(view: View, events: list[Any]) -> list[Any]:
    some = [event for event in events if view.events == "all" or is_positive(event)]
    cap = view.truncation.max_events_per_session
    return some if cap is None else some[-cap:]


def expected(view: View, plain: Plain) -> Seen:
    part = ["train", "validation", "test"].index(view.part)
    seen: Seen = {}
    for user, visits in plain:
        known = [visit for visit in visits if visit[0] <= part]
        item_training = view.unit == "event" and part == 0
        inputs, questions = _next_events(view, known) if item_training else _next_sessions(view, known, part)
        if questions:
            seen[user] = (inputs, questions)
    return seen


def _next_sessions(view: View, known: list[Any], part: int) -> tuple[list[Any], list[Any]]:
    targets = [n for n, (of, _, events) in enumerate(known) if of == part and any(map(is_positive, events))]
    last = max(targets, default=0)
    first = last - newest(known[:last], view.truncation)
    positions = {n: shown(view, known[n][2]) for n in range(first, last)}
    questions: list[Any] = []
    for n in targets:
        before = [positions[m] for m in range(first, n) if positions[m]]
        count = len(before) if view.unit == "session" else sum(map(len, before))
        if count or (view.ask_first and n == 0):
            events = known[n][2]
            positive = [event[0] for event in events if is_positive(event)]
            questions.append((count, known[n][1], positive, [e[0] for e in events if not is_positive(e)]))
    inputs = [events for events in positions.values() if events]
    return (inputs if view.unit == "session" else [[event] for events in inputs for event in events]), questions


def _next_events(view: View, known: list[Any]) -> tuple[list[Any], list[Any]]:
    kept = known[len(known) - newest(known, view.truncation) :]
    flat = [event for *_, events in kept for event in shown(view, events)]
    targets = [n for n, event in enumerate(flat) if is_positive(event)]
    questions: list[Any] = [(n, flat[n][2], [flat[n][0]], []) for n in targets if n or view.ask_first]
    return [[event] for event in flat[: max(targets, default=0)]], questions


views = st.builds(
    View,
    part=st.sampled_from(["train", "validation", "test"]),
    unit=st.sampled_from(["session", "event"]),
    events=st.sampled_from(["all", "positives"]),
    ask_first=st.booleans(),
    truncation=st.builds(
        Truncation,
        max_positives=st.none() | st.integers(1, 5),
        max_sessions=st.none() | st.integers(1, 3),
        max_events_per_session=st.none() | st.integers(1, 3),
    ),
)


@given(row_lists(), views)
def test_a_view_is_what_loops_over_the_sessions_see(rows: list[Row], view: View) -> None:
    histories, items = split(rows)
    window = look(view, histories, np.arange(100, 100 + histories.num_users))
    plain = plain_histories(histories, items)
    want = expected(view, plain)
    assert unfold(window, items) == want
    names = [user for user, _ in plain]
    assert window.user_index_U.tolist() == [100 + names.index(user) for user in want]
    assert np.all(np.diff(window.inputs.session_offsets) > 0)
    assert np.all(np.diff(window.positive_offsets) > 0)
    if view.unit == "event":
        assert np.all(np.diff(window.inputs.session_offsets) == 1)


@given(row_lists(), st.sampled_from(["session", "event"]))
def test_the_history_of_the_test_is_everything_before_it(rows: list[Row], unit: Literal["session", "event"]) -> None:
    histories, items = split(rows)
    seen = unfold(look(View(part="test", unit=unit), histories, np.arange(histories.num_users)), items)
    for user, visits in plain_histories(histories, items):
        if not visits:
            assert user not in seen
            continue
        *before, (part, start, events) = visits
        if part != 2 or not before:
            assert user not in seen
            continue
        inputs, questions = seen[user]
        count = len(before) if unit == "session" else sum(len(some) for *_, some in before)
        assert [event for some in inputs for event in some] == [event for *_, some in before for event in some]
        positives = [event[0] for event in events if is_positive(event)]
        assert questions == [(count, start, positives, [e[0] for e in events if not is_positive(e)])]


@given(row_lists(), views)
def test_nothing_seen_before_a_question_is_from_its_session_or_later(rows: list[Row], view: View) -> None:
    # Sessions that can be targets only: for the others see the next test.
    histories, _ = split([replace(row, action=row.action | 1) for row in rows])
    window = look(view, histories, np.arange(histories.num_users))
    for user in range(window.inputs.num_users):
        first = int(window.inputs.user_offsets[user])
        for q in range(int(window.question_offsets[user]), int(window.question_offsets[user + 1])):
            stop = first + int(window.num_before_Q[q])
            assert stop <= int(window.inputs.user_offsets[user + 1])
            starts = window.inputs.session_time_ms_S[first:stop]
            assert np.all(starts <= window.time_ms_Q[q])
            if view.part != "train":
                events = window.inputs.time_ms_E[: window.inputs.session_offsets[stop]]
                assert np.all(events[window.inputs.session_offsets[first] :] < window.time_ms_Q[q])


@pytest.mark.xfail(reason="events of an input-only session are not cut where the target it is lent to begins")
def test_an_input_only_session_shows_nothing_from_after_the_target_began() -> None:
    # Two devices take turns: session 0 is only shown items, at 0 s and again at 3 s; the target, session 1, is at 2 s.
    rows = [
        Row(user=1, item=1, time_ms=0, action=0, session=0),
        Row(user=1, item=2, time_ms=2000, action=1, session=1),
        Row(user=1, item=3, time_ms=3000, action=0, session=0),
    ]
    histories, _ = split(rows)
    window = look(View(part="test"), histories, np.arange(1))
    assert window.time_ms_Q.tolist() == [2000]
    assert window.inputs.time_ms_E.max() < 2000


def one_event_sessions(actions: list[list[int]]) -> Histories:
    listed = []
    for user, some in enumerate(actions):
        listed += [(user, 0, n * 10, [(n % 5 + 1, action, n * 10)]) for n, action in enumerate(some)]
    histories = histories_of(listed)
    part_S = assign(histories, None)
    return replace(histories, part_S=part_S).keep_sessions(part_S != DROPPED)


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9), min_size=1, max_size=4),
    st.sampled_from(["train", "validation", "test"]),
    st.sampled_from(["all", "positives"]),
)
def test_with_one_event_a_session_the_item_level_view_is_the_session_view(
    actions: list[list[int]], part: Any, events: Any
) -> None:
    histories = one_event_sessions(actions)
    items: list[Id] = list(range(10))
    users = np.arange(histories.num_users)
    by_session, by_event = (
        unfold(look(View(part=part, unit=unit, events=events), histories, users), items)
        for unit in ("session", "event")
    )
    assert by_session == by_event


def test_item_level_training_asks_for_each_positive_after_the_first_event() -> None:
    # Sessions [1+ 2 3+] [4 5+] train, then two held out. Events in a row: 1+ 2 3+ 4 5+.
    listed = [
        (1, 0, 0, [(1, 1, 0), (2, 0, 1), (3, 1, 2)]),
        (1, 0, 10, [(4, 0, 10), (5, 1, 11)]),
        (1, 1, 20, [(6, 1, 20)]),
        (1, 2, 30, [(7, 1, 30), (8, 0, 31)]),
    ]
    histories, items = histories_of(listed), list(range(9))

    def questions(**view: Any) -> list[Any]:
        return unfold(look(View(**view), histories, np.arange(1)), items)[1][1]  # type: ignore[arg-type]

    assert questions(unit="event") == [(2, 2, [3], []), (4, 11, [5], [])]
    assert questions(unit="event", events="positives") == [(1, 2, [3], []), (2, 11, [5], [])]
    assert questions(unit="event", ask_first=True)[0] == (0, 0, [1], [])
    assert questions() == [(1, 10, [5], [4])]
    assert questions(part="validation", unit="event") == [(5, 20, [6], [])]
    assert questions(part="test", unit="event") == [(6, 30, [7], [8])]
    assert questions(part="test", unit="event", events="positives") == [(4, 30, [7], [8])]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("unit", ["session", "event"])
def test_nobody_to_see_is_legal(part: Any, unit: Any) -> None:
    window = look(View(part=part, unit=unit), histories_of([]), np.zeros(0, np.int64))
    assert window.inputs.num_users == 0
    assert window.question_offsets.tolist() == [0]


def test_questions_stand_in_the_order_of_time() -> None:
    histories, _ = split([Row(user=1, item=n, time_ms=n, session=n // 2) for n in range(20)])
    window = look(View(), histories, np.arange(1))
    assert all(a <= b for a, b in pairwise(window.time_ms_Q.tolist()))
