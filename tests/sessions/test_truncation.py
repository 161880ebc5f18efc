from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.truncation import Truncation, newest_sessions, truncate
from tests.helpers import (
    Row,
    histories_of,
    log_of,
    plain_expected,
    plain_histories,
    plain_newest,
    plain_users,
    row_lists,
)


def user_with(*positives: int, exposures: int = 1) -> Histories:
    """One user; sessions with so many positives each, and exposures beside them."""
    listed = []
    for place, count in enumerate(positives):
        events = [(n, int(n < count), place * 100 + n) for n in range(count + exposures)]
        listed.append((1, 0, place * 100, events))
    return histories_of(listed)


def kept(histories: Histories, **caps: int) -> list[bool]:
    return [bool(keep) for keep in newest_sessions(histories, Truncation(**caps))]


def test_the_session_that_reaches_the_cap_is_kept_whole() -> None:
    # Counted from the newest: 2, 2 + 3 = 5, 5 + 4 = 9. A cap of 5 is reached by the second, a cap of 6 by the third.
    histories = user_with(1, 4, 3, 2)
    assert kept(histories, max_positives=2) == [False, False, False, True]
    assert kept(histories, max_positives=3) == [False, False, True, True]
    assert kept(histories, max_positives=5) == [False, False, True, True]
    assert kept(histories, max_positives=6) == [False, True, True, True]
    assert kept(histories, max_positives=9) == [False, True, True, True]
    assert kept(histories, max_positives=10) == [True, True, True, True]


def test_exposures_ride_along_with_a_kept_session() -> None:
    cut = truncate(user_with(3, 2, exposures=7), Truncation(max_positives=1))
    assert cut.num_sessions == 1
    assert cut.num_events == 2 + 7


def test_the_newest_session_is_kept_whatever_the_cap() -> None:
    assert kept(user_with(5, 50), max_positives=1) == [False, True]
    assert kept(user_with(5, 50), max_sessions=1) == [False, True]


def test_sessions_without_positives_between_cost_nothing() -> None:
    assert kept(user_with(1, 0, 0, 1), max_positives=2) == [True, True, True, True]
    assert kept(user_with(1, 0, 0, 1), max_positives=1) == [False, False, False, True]


def test_the_newest_events_of_each_session_are_kept() -> None:
    cut = truncate(user_with(4, 2, exposures=0), Truncation(max_events_per_session=3))
    assert cut.item_E.tolist() == [1, 2, 3, 0, 1]
    assert cut.session_offsets.tolist() == [0, 3, 5]
    assert cut.session_time_ms_S.tolist() == [0, 100]


def test_no_caps_cut_nothing() -> None:
    histories = user_with(4, 2)
    assert Truncation().is_none
    assert truncate(histories, Truncation()) is histories


@given(row_lists(), st.none() | st.integers(1, 8), st.none() | st.integers(1, 4), st.none() | st.integers(1, 3))
def test_caps_are_a_walk_back_from_the_newest_session(
    rows: list[Row], max_positives: int | None, max_sessions: int | None, max_events: int | None
) -> None:
    histories, found = assemble(log_of(rows).events.collect(), NativeRule(), ())
    truncation = Truncation(max_positives=max_positives, max_sessions=max_sessions, max_events_per_session=max_events)
    users, _, _ = plain_users(rows, "native")
    for user, visits in users.items():
        newest = plain_newest(visits, max_positives, max_sessions)
        newest_events = [visit.events[-max_events:] if max_events else visit.events for visit in newest]
        users[user] = [
            type(visit)(time_ms=visit.time_ms, events=events)
            for visit, events in zip(newest, newest_events, strict=True)
        ]
    assert plain_histories(truncate(histories, truncation), found.items.to_list()) == plain_expected(users)
