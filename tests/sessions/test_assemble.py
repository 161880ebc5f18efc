from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from sessionrec.hashing import hash_ids
from sessionrec.logs.base import Log
from sessionrec.sessions import assemble as assemble_module
from sessionrec.sessions.assemble import Found, assemble, sort_order
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import EqualTimeRule, EventRule, GapRule, NativeRule, Rule
from tests.helpers import CONTEXT, T0, Row, log_of, plain_expected, plain_histories, plain_users, row_lists, slow_hash

RULES: dict[str, Rule] = {
    "native": NativeRule(),
    "equal_time": EqualTimeRule(),
    "gap": GapRule(gap_s=2),
    "event": EventRule(),
}


def assembled(log: Log, rule: Rule) -> tuple[Histories, Found]:
    return assemble(log.events.collect(), rule, log.context_features, log.repeats_ignore_session)


def codes_of(values: pl.Series, codes: np.ndarray) -> list[object]:
    return [None if code < 0 else values[int(code)] for code in codes]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ignore", [False, True])
@given(rows=row_lists())
def test_histories_are_those_that_loops_over_the_rows_make(rule: str, ignore: bool, rows: list[Row]) -> None:
    log = log_of(rows, context=CONTEXT, has_weight=True, repeats_ignore_session=ignore)
    histories, found = assembled(log, RULES[rule])
    users, repeats, merged = plain_users(rows, rule, gap_ms=2000, repeats_ignore_session=ignore)
    assert plain_histories(histories, found.items.to_list()) == plain_expected(users, has_weight=True)
    assert (found.exact_repeats, found.merged) == (repeats, merged)
    events = [event for visits in users.values() for visit in visits for event in visit.events]
    assert codes_of(found.categories["device"], histories.features["device"]) == [event.device for event in events]
    prices = [None if np.isnan(price) else float(price) for price in histories.features["price"]]
    assert prices == [event.price for event in events]
    assert histories.part_S.tolist() == [0] * histories.num_sessions


@given(
    st.integers(1, 6).flatmap(
        lambda users: st.lists(st.tuples(st.integers(0, users - 1), st.integers(-3, 3)), max_size=40)
    ),
    st.sampled_from([1, 1000, 2**40, 2**61]),
)
def test_the_order_is_that_of_a_stable_sort_by_user_and_time(keys: list[tuple[int, int]], scale: int) -> None:
    # With 2**61 the packed key would not fit and the plain sort takes over.
    user_E = np.array([user for user, _ in keys], np.int32)
    time_E = np.array([time * scale for _, time in keys], np.int64)
    assert sort_order(user_E, time_E).tolist() == np.lexsort((time_E, user_E)).tolist()


def test_the_order_of_a_long_log_with_ties_is_that_of_a_stable_sort() -> None:
    rng = np.random.default_rng(0)
    user_E = rng.integers(0, 50, 100_000).astype(np.int32)
    time_E = T0 + rng.integers(0, 300, 100_000) * 1000
    assert np.array_equal(sort_order(user_E, time_E), np.lexsort((time_E, user_E)))


def test_a_session_that_comes_back_is_one_session_where_it_began() -> None:
    # Session a: 0, 2, 5 s; session b: 1, 3 s. They take turns, a began first.
    rows = [Row(user=1, item=n, time_ms=T0 + n * 1000, session="ab"[n in (1, 3)]) for n in (0, 1, 2, 3, 5)]
    histories, found = assembled(log_of(rows), NativeRule())
    assert histories.session_offsets.tolist() == [0, 3, 5]
    assert [found.items[int(code)] for code in histories.item_E] == [0, 2, 5, 1, 3]
    assert histories.session_time_ms_S.tolist() == [T0, T0 + 1000]


def test_an_item_of_one_session_is_merged_into_its_first_row() -> None:
    # Item 7 at 0 s (shown), 0 s (exact repeat, clicked), 4 s (bought) and 4 s again: one event, the union 0 | 1 | 4.
    # Weight: 2 + 0 (repeat) + 8 + 0 (repeat) = 10. Device stays that of the first row.
    # Session 1 shows the item at 0 s too: another session, so another event, as a batch of requests may well have it.
    rows = [
        Row(user=1, item=7, time_ms=T0, action=0, weight=2, device="phone"),
        Row(user=1, item=7, time_ms=T0, action=1, weight=4, device="desk"),
        Row(user=1, item=7, time_ms=T0 + 4000, action=4, weight=8, device="desk"),
        Row(user=1, item=7, time_ms=T0 + 4000, action=0, weight=16),
        Row(user=1, item=7, time_ms=T0, action=1, session=1),
        Row(user=1, item=7, time_ms=T0 + 5000, action=1, session=1),
    ]
    histories, found = assembled(log_of(rows, context=CONTEXT, has_weight=True), NativeRule())
    assert plain_histories(histories, [7]) == [(1, [(0, T0, [(7, 5, T0, 10.0)]), (0, T0, [(7, 1, T0, 2.0)])])]
    assert codes_of(found.categories["device"], histories.features["device"]) == ["phone", None]
    assert (found.exact_repeats, found.merged) == (2, 2)


def test_where_every_event_is_a_session_an_event_logged_twice_is_still_one() -> None:
    # Item 7 twice at 0 s: one event, the union of the actions. At 1 s once more: another event.
    rows = [
        Row(user=1, item=7, time_ms=T0, action=0, weight=2),
        Row(user=1, item=8, time_ms=T0, action=1),
        Row(user=1, item=7, time_ms=T0, action=1, weight=4),
        Row(user=1, item=7, time_ms=T0 + 1000, action=1),
    ]
    histories, found = assembled(log_of(rows, has_weight=True), EventRule())
    assert plain_histories(histories, found.items.to_list()) == [
        (
            1,
            [
                (0, T0, [(7, 1, T0, 2.0)]),
                (0, T0, [(8, 1, T0, 1.0)]),
                (0, T0 + 1000, [(7, 1, T0 + 1000, 1.0)]),
            ],
        )
    ]
    assert (found.exact_repeats, found.merged) == (1, 0)


def test_a_log_may_say_that_a_repeat_names_another_session() -> None:
    # The first row at 0 s stays, in its own session, with the union of the actions; nothing is left of session 1 there.
    rows = [
        Row(user=1, item=7, time_ms=T0, action=0, weight=2, session=0),
        Row(user=1, item=7, time_ms=T0, action=1, weight=4, session=1),
        Row(user=1, item=8, time_ms=T0 + 1000, action=1, session=1),
    ]
    one, found = assembled(log_of(rows, has_weight=True), NativeRule())
    assert plain_histories(one, found.items.to_list()) == [
        (1, [(0, T0, [(7, 0, T0, 2.0)]), (0, T0, [(7, 1, T0, 4.0), (8, 1, T0 + 1000, 1.0)])])
    ]
    assert (found.exact_repeats, found.merged) == (0, 0)
    other, found = assembled(log_of(rows, has_weight=True, repeats_ignore_session=True), NativeRule())
    assert plain_histories(other, found.items.to_list()) == [
        (1, [(0, T0, [(7, 1, T0, 2.0)]), (0, T0 + 1000, [(8, 1, T0 + 1000, 1.0)])])
    ]
    assert (found.exact_repeats, found.merged) == (1, 0)


def test_each_user_is_hashed_once_however_many_events_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def recording(ids: pl.Series, seed: int = 0) -> Any:
        hashed.extend(ids.to_list())
        return hash_ids(ids, seed)

    monkeypatch.setattr(assemble_module, "hash_ids", recording)
    rows = [Row(user=f"user {n % 3}", item="i", time_ms=n) for n in range(50)]
    histories, _ = assembled(log_of(rows), GapRule(gap_s=1))
    assert sorted(hashed) == ["user 0", "user 1", "user 2"]
    assert histories.user_U.to_list() == sorted(hashed, key=slow_hash)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_no_events_make_no_histories(rule: Rule) -> None:
    histories, found = assembled(log_of([], context=CONTEXT, has_weight=True), rule)
    assert (histories.num_users, histories.num_sessions, histories.num_events) == (0, 0, 0)
    assert histories.user_offsets.tolist() == [0]
    assert histories.session_offsets.tolist() == [0]
    assert len(found.items) == 0
