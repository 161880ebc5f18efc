from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.prepare import Preparation
from sessionrec.sessions.rule import EventRule, NativeRule, Rule
from sessionrec.sessions.split import DROPPED, GlobalTime, assign, borders, find_leak, late_events
from tests.helpers import (
    T0,
    Plain,
    Row,
    histories_of,
    log_of,
    plain_expected,
    plain_histories,
    plain_split,
    plain_users,
    row_lists,
)


def sessions(user: int, *starts: int, positive: str = "") -> list[tuple[int, int, int, list[tuple[int, int, int]]]]:
    """One event a session; `positive` says of each whether it is (all, if empty)."""
    flags = positive or "1" * len(starts)
    return [(user, 0, at, [(0, int(flag), at)]) for at, flag in zip(starts, flags, strict=True)]


def parts(histories: Histories, time_borders: tuple[int, int] | None = None) -> list[int]:
    return [int(part) for part in assign(histories, time_borders)]


def test_the_last_session_is_the_test_and_the_one_before_the_validation() -> None:
    users = [*sessions(1, 10), *sessions(2, 10, 20), *sessions(3, 10, 20, 30), *sessions(4, 1, 2, 3, 4, 5)]
    assert parts(histories_of(users)) == [2, 1, 2, 0, 1, 2, 0, 0, 0, 1, 2]


def test_a_session_without_positives_takes_the_part_of_the_next_target() -> None:
    # Targets at 20, 40, 50, 70; what stands before one of them is known just before it; 80 helps nobody.
    users = sessions(1, 10, 20, 30, 40, 50, 60, 70, 80, positive="01011010")
    assert parts(histories_of(users)) == [0, 0, 0, 0, 1, 2, 2, DROPPED]


def test_inputs_are_not_lent_to_another_user() -> None:
    assert parts(histories_of([*sessions(1, 10, 20, positive="10"), *sessions(2, 10)])) == [2, DROPPED, 2]
    assert parts(histories_of(sessions(1, 10, 20, positive="00"))) == [DROPPED, DROPPED]


def test_a_border_belongs_to_the_later_part_and_a_session_across_it_is_dropped() -> None:
    users = [
        (1, 0, 90, [(0, 1, 90), (1, 1, 99)]),
        (1, 0, 95, [(0, 1, 95), (1, 1, 100)]),
        (1, 0, 100, [(0, 1, 100), (1, 1, 199)]),
        (1, 0, 150, [(0, 1, 150), (1, 1, 200)]),
        (1, 0, 200, [(0, 1, 200)]),
    ]
    assert parts(histories_of(users), (100, 200)) == [0, DROPPED, 1, DROPPED, 2]


def test_with_one_clock_an_input_is_lent_to_a_later_part() -> None:
    users = sessions(1, 10, 20, 110, 120, 210, positive="10011")
    assert parts(histories_of(users), (100, 200)) == [0, 1, 1, 1, 2]
    parted = replace(histories_of(users), part_S=assign(histories_of(users), (100, 200)))
    # An early input seen by a later target is history, not a leak.
    assert find_leak(parted, (100, 200)) is None


def test_borders_come_from_the_config_or_from_shares_of_the_sessions() -> None:
    given_times = GlobalTime(validation_from="2024-01-01", test_from="2024-01-02T01:00:00+01:00")
    assert borders(given_times, np.zeros(0, np.int64)) == (T0, T0 + 86_400_000)
    # 0..99: .8 of 99 = 79.2 and .9 of 99 = 89.1, both rounded up to a session that exists.
    assert borders(GlobalTime(), np.arange(100)) == (80, 90)
    with pytest.raises(ConfigError, match="too many sessions begin at once"):
        borders(GlobalTime(), np.zeros(10, np.int64))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"validation_from": "2024-01-02"}, "give both"),
        ({"validation_from": "2024-01-02", "test_from": "2024-01-02"}, "must be before"),
        ({"validation_from": "spring", "test_from": "2024-01-02"}, "spring"),
        ({"validation_share": 0.5, "test_share": 0.5}, "must leave something"),
        ({"test_share": 1.0}, "less than 1"),
    ],
)
def test_a_split_that_cannot_be_is_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(Preparation, {"split": {"kind": "global_time", **keys}}, "here")


def test_events_at_or_after_the_start_of_a_later_held_out_session_are_late() -> None:
    # Two devices take turns: session 0 (train) runs into session 1 (validation) and session 2 (test).
    users = [
        (1, 0, 10, [(0, 1, 10), (1, 1, 19), (2, 1, 20), (3, 1, 45)]),
        (1, 1, 20, [(4, 1, 20), (5, 1, 39), (6, 1, 40)]),
        (1, 2, 40, [(7, 1, 40), (8, 1, 99)]),
        (2, 0, 10, [(9, 1, 99)]),
    ]
    late = late_events(histories_of(users))
    assert late.tolist() == [False, False, True, True, False, False, True, False, False, False]
    assert late_events(histories_of([])).tolist() == []


def test_training_sessions_may_overlap_each_other_but_no_held_out_target() -> None:
    users = [
        (1, 0, 10, [(0, 1, 10), (1, 1, 25), (2, 1, 35), (3, 1, 45)]),  # runs into all that follow
        (1, 0, 20, [(4, 1, 20)]),
        (1, 1, 30, [(5, 0, 30), (6, 0, 41)]),  # only shown items: input, and no limit for the first
        (1, 1, 40, [(7, 1, 40)]),
    ]
    late = late_events(histories_of(users)).tolist()
    assert late == [False, False, False, True, False, False, True, False]


def test_an_input_of_the_same_part_is_cut_where_its_target_begins() -> None:
    for part in (1, 2):
        users = [(1, part, 5, [(0, 0, 5), (1, 0, 10), (2, 0, 25)]), (1, part, 10, [(3, 1, 10)])]
        assert late_events(histories_of(users)).tolist() == [False, True, True, False]
    training = [(1, 0, 5, [(0, 0, 5), (1, 0, 10), (2, 0, 25)]), (1, 0, 10, [(3, 1, 10)])]
    assert late_events(histories_of(training)).tolist() == [False] * 4


def test_of_two_sessions_that_begin_at_once_the_earlier_one_shows_nothing() -> None:
    users = [(1, 1, 10, [(0, 1, 10), (1, 1, 12)]), (1, 2, 10, [(2, 1, 10)])]
    assert late_events(histories_of(users)).tolist() == [True, True, False]


def test_where_rows_tell_the_order_the_earlier_row_of_one_time_is_known() -> None:
    # Five ratings of one second: the last is the test, the four before it are its history.
    users = sessions(1, 10, 10, 10, 10, 10)
    parted = replace(histories_of(users), part_S=assign(histories_of(users), None))
    assert parted.part_S.tolist() == [0, 0, 0, 1, 2]
    assert late_events(parted, has_row_order=True).tolist() == [False] * 5
    assert find_leak(parted, None, has_row_order=True) is None
    # Without an order of rows, what happens at the time of the test is not before it.
    assert late_events(parted).tolist() == [True, True, True, True, False]
    assert "not before the start" in str(find_leak(parted, None))


def test_where_rows_tell_the_order_what_is_after_the_target_is_late_all_the_same() -> None:
    users = [(1, 0, 10, [(0, 1, 10), (1, 1, 21)]), (1, 2, 20, [(2, 1, 20)])]
    assert late_events(histories_of(users), has_row_order=True).tolist() == [False, True, False]
    assert "not before the start" in str(find_leak(histories_of(users), None, has_row_order=True))
    # A border of the clock is a border for every rule: at T2 begins the test.
    early = [(1, 0, 5, [(0, 0, 5), (1, 0, 30)]), (1, 1, 25, [(2, 1, 25)])]
    assert late_events(histories_of(early), (20, 30), has_row_order=True).tolist() == [False, True, False]


def test_with_one_clock_an_input_is_late_after_the_period_of_its_target() -> None:
    # The input-only session 5..25 is lent to the training target at 10; what it shows from T1 = 20 on is not history.
    users = [(1, 0, 5, [(0, 0, 5), (1, 0, 15), (2, 0, 25)]), (1, 0, 10, [(3, 1, 10)])]
    assert late_events(histories_of(users), (20, 30)).tolist() == [False, False, True, False]
    assert late_events(histories_of(users)).tolist() == [False] * 4


def test_each_planted_leak_is_found() -> None:
    fine = [
        (1, 0, 10, [(0, 1, 10)]),
        (1, 0, 20, [(0, 1, 20)]),
        (1, 1, 30, [(0, 1, 30)]),
        (1, 2, 40, [(0, 1, 40)]),
        (2, 0, 5, [(0, 1, 5)]),
        (2, 2, 45, [(0, 1, 45)]),
    ]
    clock = (25, 35)
    assert find_leak(histories_of(fine), None) is None
    assert find_leak(histories_of(fine), clock) is None

    def planted(place: int, session: tuple[int, int, int, list[tuple[int, int, int]]]) -> Histories:
        return histories_of([*fine[:place], session, *fine[place + 1 :]])

    backwards = planted(1, (1, 2, 20, [(0, 1, 20)]))
    assert "before one of an earlier part" in str(find_leak(backwards, None))
    disorder = planted(0, (1, 0, 21, [(0, 1, 21)]))
    assert "not in the order of time" in str(find_leak(disorder, None))
    for time in (30, 31):
        late = planted(1, (1, 0, 20, [(0, 1, 20), (1, 1, time)]))
        assert "not before the start of a later held-out session" in str(find_leak(late, None))
    beside = planted(2, (1, 1, 30, [(0, 1, 30), (1, 0, 40)]))
    assert "not before the start of a later held-out session" in str(find_leak(beside, None))
    overlap = planted(0, (1, 0, 10, [(0, 1, 10), (1, 1, 21)]))
    assert find_leak(overlap, None) is None  # of training sessions
    too_late = planted(4, (2, 0, 5, [(0, 1, 5), (1, 0, 25)]))
    assert find_leak(too_late, None) is None
    assert "outside the period" in str(find_leak(too_late, clock))
    too_early = planted(5, (2, 2, 34, [(0, 1, 34), (1, 1, 45)]))
    assert "outside the period" in str(find_leak(too_early, clock))


@pytest.mark.parametrize("rule", [NativeRule(), EventRule()], ids=["native", "event"])
@given(rows=row_lists(), clock=st.none() | st.tuples(st.integers(0, 13), st.integers(0, 13)))
def test_no_random_log_leaks_after_the_split_and_late_events_are_gone(
    rule: Rule, rows: list[Row], clock: tuple[int, int] | None
) -> None:
    assume(clock is None or clock[0] < clock[1])
    time_borders = None if clock is None else (T0 + clock[0] * 1000, T0 + clock[1] * 1000)
    is_by_row = rule.has_row_order
    histories, found = assemble(log_of(rows).events.collect(), rule, ())
    part_S = assign(histories, time_borders)
    parted = replace(histories, part_S=part_S).keep_sessions(part_S != DROPPED)
    timely = parted.keep_events(~late_events(parted, time_borders, has_row_order=is_by_row))
    final = timely.keep_sessions(np.diff(timely.session_offsets) > 0)
    assert find_leak(final, time_borders, has_row_order=is_by_row) is None
    users, _, _ = plain_users(rows, "event" if is_by_row else "native")
    expected = {user: plain_split(visits, time_borders, has_row_order=is_by_row) for user, visits in users.items()}
    assert without_users(plain_histories(final, found.items.to_list())) == without_users(plain_expected(expected))


def without_users(plain: Plain) -> Plain:
    """Users that have no session left do not matter here."""
    return [(user, visits) for user, visits in plain if visits]
