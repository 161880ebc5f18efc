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
from tests.helpers import T0, Id, Plain, Row, histories_of, log_of, plain_cap, plain_histories, row_lists

Seen = list[tuple[Id, list[list[Any]], list[Any]]]
"""Per row: user, input sessions as lists of events, questions (positions before, time, positives, negatives)."""


def split(rows: list[Row], clock: tuple[int, int] | None = None) -> tuple[Histories, list[Id]]:
    histories, found = assemble(log_of(rows).events.collect(), NativeRule(), ())
    part_S = assign(histories, clock)
    parted = replace(histories, part_S=part_S).keep_sessions(part_S != DROPPED)
    timely = parted.keep_events(~late_events(parted, clock))
    return timely.keep_sessions(np.diff(timely.session_offsets) > 0), found.items.to_list()


def unfold(window: Window, items: list[Id]) -> Seen:
    seen: Seen = []
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
        seen.append((user, [events for *_, events in visits], questions))
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
    return plain_cap(some, view.truncation.max_events_per_session, is_positive)


def expected(view: View, plain: Plain) -> Seen:
    part = ["train", "validation", "test"].index(view.part)
    caps = view.truncation
    seen: Seen = []
    for user, visits in plain:
        known = [visit for visit in visits if visit[0] <= part]
        targets = [n for n, (of, _, events) in enumerate(known) if of == part and any(map(is_positive, events))]
        if view.unit == "event" and part == 0:
            rows = [_next_events(view, known)]
        elif part == 0 or (caps.max_sessions is None and caps.max_positives is None):
            rows = [_next_sessions(view, known, targets)]
        else:
            rows = [_next_sessions(view, known, [target]) for target in targets]
        seen += [(user, inputs, questions) for inputs, questions in rows if questions]
    return seen


def _next_sessions(view: View, known: list[Any], targets: list[int]) -> tuple[list[Any], list[Any]]:
    last = max(targets, default=0)
    # Only sessions that have something to show count towards the caps.
    showing = [n for n in range(last) if view.events == "all" or any(map(is_positive, known[n][2]))]
    cut = newest([known[n] for n in showing], view.truncation)
    first = showing[-cut] if cut else last
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
    known = [visit for visit in known if view.events == "all" or any(map(is_positive, visit[2]))]
    kept = known[len(known) - newest(known, view.truncation) :]
    flat = [event for *_, events in kept for event in shown(view, events)]
    targets = [n for n, event in enumerate(flat) if is_positive(event)]
    asks_first = view.ask_first and len(kept) == len(known)
    questions: list[Any] = []
    for n in targets:
        count = n
        while view.ask_from == "moment" and count and flat[count - 1][2] == flat[n][2]:
            count -= 1
        if count or asks_first:
            questions.append((count, flat[n][2], [flat[n][0]], []))
    return [[event] for event in flat[: max((question[0] for question in questions), default=0)]], questions


views = st.builds(
    View,
    part=st.sampled_from(["train", "validation", "test"]),
    unit=st.sampled_from(["session", "event"]),
    events=st.sampled_from(["all", "positives"]),
    ask_first=st.booleans(),
    ask_from=st.sampled_from(["event", "moment"]),
    truncation=st.builds(
        Truncation,
        max_positives=st.none() | st.integers(1, 5),
        max_sessions=st.none() | st.integers(1, 3),
        max_events_per_session=st.none() | st.integers(1, 3),
    ),
)


clocks = st.none() | st.tuples(st.integers(0, 13), st.integers(0, 13)).filter(lambda pair: pair[0] < pair[1]).map(
    lambda pair: (T0 + pair[0] * 1000, T0 + pair[1] * 1000)
)


@given(row_lists(), views, clocks)
def test_a_view_is_what_loops_over_the_sessions_see(rows: list[Row], view: View, clock: tuple[int, int] | None) -> None:
    histories, items = split(rows, clock)
    window = look(view, histories, np.arange(100, 100 + histories.num_users))
    plain = plain_histories(histories, items)
    want = expected(view, plain)
    assert unfold(window, items) == want
    names = [user for user, _ in plain]
    assert window.user_index_U.tolist() == [100 + names.index(user) for user, *_ in want]
    assert np.all(np.diff(window.inputs.session_offsets) > 0)
    assert np.all(np.diff(window.positive_offsets) > 0)
    if view.unit == "event":
        assert np.all(np.diff(window.inputs.session_offsets) == 1)


@given(row_lists(), views, clocks, st.sampled_from(["validation", "test"]))
def test_caps_change_no_held_out_question(
    rows: list[Row], view: View, clock: tuple[int, int] | None, part: Literal["validation", "test"]
) -> None:
    histories, items = split(rows, clock)
    capped = view.model_copy(update={"part": part})
    whole = capped.model_copy(update={"truncation": Truncation()})
    questions = []
    for one in (capped, whole):
        window = look(one, histories, np.arange(histories.num_users))
        asked = [(user, question[1:]) for user, _, some in unfold(window, items) for question in some]
        questions.append(asked)
    assert questions[0] == questions[1]


def test_each_held_out_question_is_capped_from_itself_on_and_training_from_its_last() -> None:
    # Sessions at 0, 10, .. 50 s; T1 = 20, T2 = 60 s: validation asks for those at 20 to 50.
    rows = [Row(user=1, item=n, time_ms=T0 + n * 10_000, session=n) for n in range(6)]
    histories, items = split(rows, (T0 + 20_000, T0 + 60_000))
    two = Truncation(max_sessions=2)

    def rows_of(**view: Any) -> list[Any]:
        seen = unfold(look(View(**view), histories, np.arange(1)), items)
        return [([event[0] for some in inputs for event in some], [q[:1] for q in asked]) for _, inputs, asked in seen]

    assert rows_of(part="validation") == [([0, 1, 2, 3, 4], [(2,), (3,), (4,), (5,)])]
    assert rows_of(part="validation", truncation=two) == [
        ([0, 1], [(2,)]),
        ([1, 2], [(2,)]),
        ([2, 3], [(2,)]),
        ([3, 4], [(2,)]),
    ]
    training, items = split(rows)
    seen = unfold(look(View(truncation=two), training, np.arange(1)), items)
    assert [(len(inputs), [q[0] for q in asked]) for _, inputs, asked in seen] == [(2, [1, 2])]


def test_a_click_of_a_page_is_asked_for_before_the_page() -> None:
    # Two pages of three articles at one time each; the test's session is the third.
    rows = [Row(user=1, item=n, time_ms=T0 + n // 3 * 1000, session=n // 3, action=n % 2) for n in range(9)]
    rows += [Row(user=1, item=n, time_ms=T0 + 5000 + n, session=5 + n) for n in range(2)]
    histories, items = split(rows)

    def asked(how: Literal["event", "moment"]) -> list[Any]:
        view = View(unit="event", events="all", ask_from=how, max_positions=4)
        (row,) = unfold(look(view, histories, np.arange(1)), items)
        _, inputs, questions = row
        return [[event[0] for some in inputs for event in some], [(q[0], q[2]) for q in questions]]

    # Clicks are 1, 3, 5 and 7; the newest four positions before the last question stay.
    assert asked("event") == [[3, 4, 5, 6], [(2, [5]), (4, [7])]]
    assert asked("moment") == [[2, 3, 4, 5], [(1, [3]), (1, [5]), (4, [7])]]


def test_of_positives_only_a_session_without_one_takes_no_place_under_a_cap() -> None:
    # What is just before the target shows nothing to act on; the newest session that has something to show is item 1's.
    rows = [
        Row(user=1, item=1, time_ms=T0, session=0),
        Row(user=1, item=2, time_ms=T0 + 1000, session=1, action=0),
        Row(user=1, item=3, time_ms=T0 + 2000, session=2),
    ]
    histories, items = split(rows)
    view = View(part="test", events="positives", truncation=Truncation(max_sessions=1))
    assert unfold(look(view, histories, np.arange(1)), items) == [
        (1, [[(1, 1, T0, None)]], [(1, T0 + 2000, [3], [])]),
    ]


def test_the_first_event_is_not_asked_for_where_the_history_was_cut() -> None:
    rows = [Row(user=1, item=n, time_ms=T0 + n * 1000, session=n) for n in range(6)]
    histories, items = split(rows)  # sessions 0..3 train

    def asked(cap: int | None) -> list[Any]:
        view = View(unit="event", ask_first=True, truncation=Truncation(max_sessions=cap))
        return [question[0] for _, _, some in unfold(look(view, histories, np.arange(1)), items) for question in some]

    assert asked(None) == asked(4) == [0, 1, 2, 3]
    assert asked(3) == [1, 2]


@given(row_lists(), st.sampled_from(["session", "event"]))
def test_the_history_of_the_test_is_everything_before_it(rows: list[Row], unit: Literal["session", "event"]) -> None:
    histories, items = split(rows)
    window = look(View(part="test", unit=unit), histories, np.arange(histories.num_users))
    seen = {user: (inputs, questions) for user, inputs, questions in unfold(window, items)}
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


@given(row_lists(), views, clocks)
def test_nothing_seen_before_a_question_is_from_its_session_or_later(
    rows: list[Row], view: View, clock: tuple[int, int] | None
) -> None:
    histories, _ = split(rows, clock)
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
    histories = histories_of(listed)
    items: list[Id] = list(range(9))

    def questions(**view: Any) -> list[Any]:
        return unfold(look(View(**view), histories, np.arange(1)), items)[0][2]

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
