from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from sessionrec.hashing import hash_ids
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.filters import Counts, Filters, Kept, run_filters
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.vocabulary import unite
from tests.helpers import T0, Id, Row, Users, log_of, plain_filter, plain_users, row_lists, slow_hash

EventKey = tuple[Id, int, Id]


def filtered(rows: list[Row], filters: Filters, num_partitions: int = 1) -> tuple[set[EventKey], Kept]:
    """Events that are left, as (user, start of the session's first event, item)."""
    frame = log_of(rows).events.collect()
    shift = np.uint64(64 - (num_partitions.bit_length() - 1))
    part = hash_ids(frame["user"]) >> shift if num_partitions > 1 else np.zeros(len(frame), np.uint64)
    pairs = [assemble(frame.filter(pl.Series(part == number)), NativeRule(), ()) for number in range(num_partitions)]
    histories = [pair[0] for pair in pairs]
    items = [pair[1].items for pair in pairs]
    union = unite(items)
    kept = run_filters(filters, histories.__getitem__, union.maps, len(union), map)
    left = {
        key
        for number in range(num_partitions)
        for key in keys_of(histories[number], items[number], kept.events[number])
    }
    assert {item for *_, item in left} == set(union.values.filter(pl.Series(kept.items)).to_list())
    return left, kept


def keys_of(histories: Histories, items: pl.Series, alive_E: np.ndarray) -> list[EventKey]:
    user_S = np.repeat(np.arange(histories.num_users), np.diff(histories.user_offsets))
    session_E = np.repeat(np.arange(histories.num_sessions), np.diff(histories.session_offsets))
    return [
        (histories.user_U[int(user_S[session_E[n]])], int(session_E[n]), items[int(histories.item_E[n])])
        for n in np.flatnonzero(alive_E)
    ]


settings: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    min_item_events=st.integers(1, 4),
    min_user_events=st.integers(1, 6),
    min_user_sessions=st.integers(1, 3),
)


def sizes(users: Users) -> Counts:
    visits = [visit for some in users.values() for visit in some]
    events = [event for visit in visits for event in visit.events]
    return Counts(
        users=len(users),
        items=len({event.item for event in events}),
        sessions=len(visits),
        events=len(events),
        positives=sum(event.action & 1 for event in events),
    )


def naive_keys(users: Users, kept: Users) -> set[EventKey]:
    """As `keys_of` names them: sessions are numbered over all users, in the order of the hash."""
    number, keys = 0, set()
    for user, visits in users.items():
        left = {id(visit.events[0]): visit for visit in kept.get(user, ())}
        alive = {id(event) for visit in left.values() for event in visit.events}
        for visit in visits:
            keys |= {(user, number, event.item) for event in visit.events if id(event) in alive}
            number += 1
    return keys


@given(row_lists(), settings, st.booleans(), st.booleans())
def test_what_is_left_is_what_a_loop_leaves(rows: list[Row], limits: dict[str, Any], drop: bool, once: bool) -> None:
    filters = Filters(
        **limits,
        sessions_without_positives="drop" if drop else "input",
        passes="one" if once else "until_stable",
    )
    users, _, _ = plain_users(rows, "native")
    kept = plain_filter(users, **limits, drop=drop, once=once)
    left, result = filtered(rows, filters)
    assert left == naive_keys(users, kept)
    assert result.passes[0] == sizes(users)
    assert result.passes[-1] == sizes(kept)
    assert len(result.passes) == 2 or not once


@given(row_lists(max_size=80), settings)
def test_the_number_of_partitions_changes_nothing(rows: list[Row], limits: dict[str, Any]) -> None:
    filters = Filters(**limits)
    _, whole = filtered(rows, filters)
    for num_partitions in (2, 8):
        _, cut = filtered(rows, filters, num_partitions)
        assert cut.passes == whole.passes
        assert np.concatenate(cut.events).tolist() == np.concatenate(whole.events).tolist()
        assert cut.items.tolist() == whole.items.tolist()


@given(row_lists(), settings)
def test_what_is_left_meets_every_condition_and_filtering_again_changes_nothing(
    rows: list[Row], limits: dict[str, Any]
) -> None:
    left, kept = filtered(rows, Filters(**limits))
    frame = log_of(rows).events.collect()
    histories, found = assemble(frame, NativeRule(), ())
    positive = dict(
        zip(keys_of(histories, found.items, np.ones(histories.num_events)), histories.action_E & 1, strict=True)
    )
    items, users = Counter(key[2] for key in left), Counter(key[0] for key in left)
    assert all(count >= limits["min_item_events"] for count in items.values())
    assert all(count >= limits["min_user_events"] for count in users.values())
    targets = {(user, session) for user, session, item in left if positive[user, session, item]}
    assert {(user, session) for user, session, _ in left} == targets
    assert all(count >= limits["min_user_sessions"] for count in Counter(user for user, _ in targets).values())
    assert kept.passes[-1] == kept.passes[-2]


def little_log(*baskets: tuple[int, str]) -> list[Row]:
    """(user, items of one session as letters); all positive, one session a second."""
    return [
        Row(user=user, item=ord(letter) - ord("a"), time_ms=T0 + n * 1000, session=n)
        for n, (user, letters) in enumerate(baskets)
        for letter in letters
    ]


def test_a_chain_of_consequences_is_followed_to_its_end() -> None:
    # Item c has one event, so it goes; user 2 is left with one event and goes; then b has one event, and so on.
    rows = little_log((1, "ab"), (1, "a"), (2, "c"), (2, "b"))
    limits: dict[str, Any] = {"min_item_events": 2, "min_user_events": 2, "min_user_sessions": 1}
    left, kept = filtered(rows, Filters(**limits))
    assert {(user, item) for user, _, item in left} == {(1, 0)}
    assert [counts.events for counts in kept.passes] == [5, 3, 2, 2]
    _, once = filtered(rows, Filters(**limits, passes="one"))
    assert [counts.events for counts in once.passes] == [5, 3]


def test_a_session_of_exposures_is_dropped_or_kept_as_input_but_never_counts_as_a_session() -> None:
    shown = [Row(user=1, item=n, time_ms=T0 + n * 1000, action=n % 2, session=n) for n in range(4)]
    limits: dict[str, Any] = {"min_item_events": 1, "min_user_events": 1}
    dropped, _ = filtered(shown, Filters(**limits, min_user_sessions=2))
    assert {item for *_, item in dropped} == {1, 3}
    lent, _ = filtered(shown, Filters(**limits, min_user_sessions=2, sessions_without_positives="input"))
    assert {item for *_, item in lent} == {0, 1, 2, 3}
    none, _ = filtered(shown, Filters(**limits, min_user_sessions=3, sessions_without_positives="input"))
    assert none == set()


@pytest.mark.parametrize("num_partitions", [1, 4])
def test_a_sample_keeps_the_users_of_the_smallest_hash_and_filters_again(num_partitions: int) -> None:
    rows = [Row(user=user, item=item, time_ms=T0, session=0) for user in range(40) for item in (0, user % 4 + 1)]
    limits: dict[str, Any] = {"min_item_events": 3, "min_user_events": 2, "min_user_sessions": 1}
    left, kept = filtered(rows, Filters(**limits, sample_users=8), num_partitions)
    chosen = sorted(range(40), key=slow_hash)[:8]
    counts = Counter(user % 4 + 1 for user in chosen)
    assert {user for user, *_ in left} == {user for user in chosen if counts[user % 4 + 1] >= 3}
    assert kept.passes[-1].users == sum(count for count in counts.values() if count >= 3)
    assert 0 < kept.passes[-1].users < 8, "the second round of the filters must have something to take"


def test_a_sample_larger_than_the_log_keeps_everyone() -> None:
    rows = [Row(user=user, item=0, time_ms=T0) for user in range(5)]
    limits: dict[str, Any] = {"min_item_events": 1, "min_user_events": 1, "min_user_sessions": 1}
    _, kept = filtered(rows, Filters(**limits, sample_users=5))
    assert kept.passes[-1].users == 5
