"""Held-out sessions asked for their last positive, after what lies before it in the session itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pydantic import ValidationError

from sessionrec.data.view import EvalTargets, View, evaluation_view, look
from sessionrec.evaluate import EvalProtocol
from sessionrec.sessions.truncation import Truncation
from tests.data.test_view import Seen, clocks, is_positive, newest, shown, split, unfold
from tests.helpers import T0, Id, Plain, Row, histories_of, plain_histories, row_lists

views = st.builds(
    View,
    part=st.sampled_from(["validation", "test"]),
    unit=st.sampled_from(["session", "event"]),
    events=st.sampled_from(["all", "positives"]),
    ask_first=st.booleans(),
    partial_session=st.just(True),
    truncation=st.builds(
        Truncation,
        max_positives=st.none() | st.integers(1, 5),
        max_sessions=st.none() | st.integers(1, 3),
        max_events_per_session=st.none() | st.integers(1, 3),
    ),
)


def expected(view: View, plain: Plain) -> Seen:
    part = ["train", "validation", "test"].index(view.part)
    seen: Seen = []
    for user, visits in plain:
        known = [visit for visit in visits if visit[0] <= part]
        for place, (of, _, events) in enumerate(known):
            if of != part or not any(map(is_positive, events)):
                continue
            last = max(n for n, event in enumerate(events) if is_positive(event))
            before = [some for *_, some in known[:place] if view.events == "all" or any(map(is_positive, some))]
            if not before and not (view.ask_first and place == 0):
                continue
            own = [event for event in events[:last] if view.events == "all" or is_positive(event)]
            history: list[Any] = [("", "", some) for some in [*before, own] if some]
            history = history[len(history) - newest(history, view.truncation) :]
            inputs = [shown(view, some) for *_, some in history]
            if view.unit == "event":
                inputs = [[event] for some in inputs for event in some]
            item, _, time, _ = events[last]
            seen.append((user, inputs, [(len(inputs), time, [item], [event[0] for event in events[last + 1 :]])]))
    return seen


@given(row_lists(), views, clocks)
def test_it_is_what_loops_over_the_events_see(rows: list[Row], view: View, clock: tuple[int, int] | None) -> None:
    histories, items = split(rows, clock)
    window = look(view, histories, np.arange(100, 100 + histories.num_users))
    plain = plain_histories(histories, items)
    want = expected(view, plain)
    assert unfold(window, items) == want
    names = [user for user, _ in plain]
    assert window.user_index_U.tolist() == [100 + names.index(user) for user, *_ in want]
    assert np.all(np.diff(window.inputs.session_offsets) > 0)


@given(row_lists(), views, clocks)
def test_the_questions_are_those_of_whole_sessions(rows: list[Row], view: View, clock: Any) -> None:
    histories, items = split(rows, clock)
    asked = []
    for one in (view, view.model_copy(update={"partial_session": False})):
        seen = unfold(look(one, histories, np.arange(histories.num_users)), items)
        asked.append([(user, question[2][-1]) for user, _, questions in seen for question in questions])
    assert asked[0] == asked[1]


@given(row_lists(), views, st.integers(0, 4))
def test_nothing_at_or_after_the_target_is_seen(rows: list[Row], view: View, other: int) -> None:
    """Change every event from the target on, in item, time and features: the inputs stay bit for bit."""
    histories, items = split(rows)
    view = view.model_copy(update={"part": "test"})
    ends = histories.session_offsets[1:]
    positive_E = histories.is_positive_E()
    changed_E = np.zeros(histories.num_events, np.bool_)
    for start, end, part in zip(histories.session_offsets[:-1], ends, histories.part_S, strict=True):
        if part == 2 and positive_E[start:end].any():
            changed_E[start + np.flatnonzero(positive_E[start:end])[-1] : end] = True
    altered = replace(
        histories,
        item_E=np.where(changed_E, other % len(items), histories.item_E).astype(np.int32),
        time_ms_E=np.where(changed_E, histories.time_ms_E + 5000, histories.time_ms_E),
        action_E=np.where(changed_E, histories.action_E | 6, histories.action_E).astype(np.uint16),
    )
    users = np.arange(histories.num_users)
    before, after = (look(view, some, users) for some in (histories, altered))
    assert plain_histories(before.inputs, items) == plain_histories(after.inputs, items)
    assert np.array_equal(before.num_before_Q, after.num_before_Q)
    assert np.array_equal(before.time_ms_Q + 5000, after.time_ms_Q)
    # Nothing is younger than the request, which a clock would see as a negative age.
    stop_Q = before.inputs.user_offsets[:-1] + before.num_before_Q
    for start, stop, time in zip(before.inputs.user_offsets[:-1], stop_Q, before.time_ms_Q, strict=True):
        events = slice(*before.inputs.session_offsets[[start, stop]])
        assert np.all(before.inputs.time_ms_E[events] <= time)
        assert np.all(before.inputs.session_time_ms_S[start:stop] <= time)


def one_user() -> Any:
    # Sessions [1+ 2] [3+], then held out [4 5+ 6 7+ 8] from 20 s on.
    listed = [
        (1, 0, 0, [(1, 1, 0), (2, 0, 1)]),
        (1, 1, 10, [(3, 1, 10)]),
        (1, 2, 20, [(4, 0, 20), (5, 1, 21), (6, 0, 22), (7, 1, 23), (8, 0, 24)]),
    ]
    return histories_of(listed)


def look_at(**changed: Any) -> Any:
    items: list[Id] = list(range(9))
    seen = unfold(look(View(part="test", partial_session=True, **changed), one_user(), np.arange(1)), items)
    ((_, inputs, questions),) = seen
    return [[event[0] for event in some] for some in inputs], questions


def test_the_earlier_events_of_the_session_are_one_more_session() -> None:
    assert look_at() == ([[1, 2], [3], [4, 5, 6]], [(3, 23, [7], [8])])
    assert look_at(events="positives") == ([[1], [3], [5]], [(3, 23, [7], [8])])
    assert look_at(unit="event") == ([[1], [2], [3], [4], [5], [6]], [(6, 23, [7], [8])])


def test_the_partial_session_counts_towards_the_caps() -> None:
    def capped(**caps: int) -> Any:
        return look_at(truncation=Truncation(**caps))[0]

    assert capped(max_sessions=1) == [[4, 5, 6]]
    assert capped(max_sessions=2) == [[3], [4, 5, 6]]
    assert capped(max_positives=1) == [[4, 5, 6]]
    assert capped(max_positives=2) == [[3], [4, 5, 6]]
    assert capped(max_events_per_session=1) == [[1], [3], [5]]


def test_a_session_that_begins_with_its_last_positive_has_no_part_to_show() -> None:
    rows = [Row(user=1, item=n, time_ms=T0 + n * 1000, session=n) for n in range(4)]
    histories, items = split(rows)
    assert unfold(look(View(part="test", partial_session=True), histories, np.arange(1)), items)[0][2] == [
        (3, T0 + 3000, [3], [])
    ]


def test_training_has_no_partial_sessions() -> None:
    with pytest.raises(ValidationError, match="`partial_session` is for held-out parts"):
        View(partial_session=True)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_the_view_of_a_protocol_is_the_models_own_asked_otherwise(part: Literal["validation", "test"]) -> None:
    trained = View(unit="event", events="positives", truncation=Truncation(max_sessions=3))
    for targets in get_args(EvalTargets):
        view = evaluation_view(trained, part, targets)
        assert view.part == part
        assert (
            view.partial_session
            == (targets == "last_item_partial")
            == EvalProtocol(targets=targets).has_partial_session
        )
        assert view.model_copy(update={"part": "train", "partial_session": False}) == trained
    assert get_args(EvalTargets) == get_args(EvalProtocol.model_fields["targets"].annotation)


@pytest.mark.parametrize("unit", ["session", "event"])
def test_nobody_to_see_is_legal(unit: Any) -> None:
    window = look(View(part="test", unit=unit, partial_session=True), histories_of([]), np.zeros(0, np.int64))
    assert window.inputs.num_users == 0
    assert window.question_offsets.tolist() == [0]
