from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.truncation import Truncation, first_visible, truncate
from tests.helpers import (
    Row,
    histories_of,
    log_of,
    plain_cap,
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
    """Of one user's sessions, which stay before a target that comes after them all."""
    positives_S = np.add.reduceat(histories.is_positive_E().astype(np.int64), histories.session_offsets[:-1])
    end = histories.num_sessions
    first = int(first_visible(Truncation(**caps), positives_S, np.array([0]), np.array([end]))[0])
    assert truncate(histories, Truncation(**caps)).num_sessions == end - first
    return [place >= first for place in range(end)]


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


def test_a_target_sees_the_sessions_before_it_and_of_its_own_user_only() -> None:
    # Users 0..3 and 4..6. Positives before target 3: 2, 1 + 2 = 3; the other user's do not count for target 5.
    positives_S = np.array([4, 1, 2, 9, 7, 3, 8])

    def begin(first: int, target: int, **caps: int) -> int:
        return int(first_visible(Truncation(**caps), positives_S, np.array([first]), np.array([target]))[0])

    assert [begin(0, 3, max_positives=cap) for cap in (1, 2, 3, 4, 9)] == [2, 2, 1, 0, 0]
    assert [begin(4, 5, max_positives=cap) for cap in (1, 7, 8)] == [4, 4, 4]
    assert [begin(0, 3, max_sessions=cap) for cap in (1, 2, 9)] == [2, 1, 0]
    assert begin(4, 4, max_sessions=1) == begin(4, 4, max_positives=1) == begin(4, 4) == 4
    assert begin(0, 3, max_sessions=2, max_positives=1) == 2


def test_all_positives_of_a_session_stay_and_the_newest_exposures_that_fit_beside_them() -> None:
    # Positives 0 and 3, exposures 1, 2, 4.
    listed = [(1, 0, 0, [(n, int(n in (0, 3)), n) for n in range(5)]), (1, 0, 100, [(9, 0, 100), (8, 0, 101)])]
    kept = {
        cap: truncate(histories_of(listed), Truncation(max_events_per_session=cap)).item_E.tolist()
        for cap in (1, 2, 3, 4, 5)
    }
    assert kept == {1: [0, 3, 8], 2: [0, 3, 9, 8], 3: [0, 3, 4, 9, 8], 4: [0, 2, 3, 4, 9, 8], 5: [0, 1, 2, 3, 4, 9, 8]}
    cut = truncate(histories_of(listed), Truncation(max_events_per_session=1))
    assert cut.session_offsets.tolist() == [0, 2, 3]
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
        newest_events = [plain_cap(visit.events, max_events, lambda row: row.action & 1 == 1) for visit in newest]
        users[user] = [
            type(visit)(time_ms=visit.time_ms, events=events)
            for visit, events in zip(newest, newest_events, strict=True)
        ]
    assert plain_histories(truncate(histories, truncation), found.items.to_list()) == plain_expected(users)
