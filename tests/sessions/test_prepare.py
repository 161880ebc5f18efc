"""The whole preparation against plain loops over the raw rows, in memory and through partitions on disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from sessionrec.errors import EmptyDatasetError, LogError
from sessionrec.logs.base import Feature, Log
from sessionrec.sessions import tally
from sessionrec.sessions.catalogue import Catalogue
from sessionrec.sessions.filters import Filters
from sessionrec.sessions.polars_engine import PolarsEngine
from sessionrec.sessions.prepare import Preparation, Summary, prepare
from sessionrec.sessions.rule import EqualTimeRule, EventRule, NativeRule, SessionRule
from sessionrec.sessions.split import GlobalTime, LeaveLastSession
from sessionrec.sessions.truncation import Truncation
from tests.helpers import (
    CONTEXT,
    T0,
    Plain,
    Row,
    Users,
    log_of,
    plain_expected,
    plain_filter,
    plain_histories,
    plain_items,
    plain_newest,
    plain_split,
    plain_users,
    row_lists,
    train_counts,
)

LOOSE = Filters(min_item_events=1, min_user_events=1, min_user_sessions=1)
RULES: dict[str, SessionRule] = {"native": NativeRule(), "equal_time": EqualTimeRule(), "event": EventRule()}
ON_DISK = PolarsEngine(rows_in_memory=1, num_partitions=4, threads=2)


def iso(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms')}"


def made(log: Log, how: Preparation) -> tuple[Plain, dict[str, list[int]], Catalogue, Summary, dict[str, Any]]:
    """Histories in ids, codes of the context features, catalogue, summary, feature tables."""
    with prepare(log, how) as prepared:
        items = [None, *prepared.catalogue.frame["item"].to_list()]
        plain: Plain = []
        features: dict[str, list[int]] = {table.name: [] for table in prepared.features}
        for histories in prepared.histories():
            plain += plain_histories(histories, items)
            for name in features:
                features[name] += histories.features[name].tolist()
        return plain, features, prepared.catalogue, prepared.summary, {table.name: table for table in prepared.features}


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    clock = draw(st.none() | st.tuples(st.integers(1, 11), st.integers(1, 11)).filter(lambda pair: pair[0] < pair[1]))
    return {
        "limits": {
            "min_item_events": draw(st.integers(1, 2)),
            "min_user_events": draw(st.integers(1, 3)),
            "min_user_sessions": draw(st.integers(1, 3)),
        },
        "drop": draw(st.booleans()),
        "rule": draw(st.sampled_from(list(RULES))),
        "clock": None if clock is None else (T0 + clock[0] * 1000, T0 + clock[1] * 1000),
        "max_positives": draw(st.none() | st.integers(1, 6)),
        "ignore": draw(st.booleans()),
    }


def preparation(chosen: dict[str, Any], engine: PolarsEngine) -> Preparation:
    clock = chosen["clock"]
    return Preparation(
        session=RULES[chosen["rule"]],
        filter=Filters(**chosen["limits"], sessions_without_positives="drop" if chosen["drop"] else "input"),
        split=GlobalTime(validation_from=iso(clock[0]), test_from=iso(clock[1])) if clock else LeaveLastSession(),
        truncation=Truncation(max_positives=chosen["max_positives"]),
        engine=engine,
        num_bins=3,
    )


def expected_users(rows: list[Row], chosen: dict[str, Any]) -> Users:
    users, _, _ = plain_users(rows, chosen["rule"], repeats_ignore_session=chosen["ignore"])
    users = plain_filter(users, **chosen["limits"], drop=chosen["drop"])
    users = {
        user: plain_split(
            plain_newest(visits, chosen["max_positives"]), chosen["clock"], has_row_order=chosen["rule"] == "event"
        )
        for user, visits in users.items()
    }
    return {user: visits for user, visits in users.items() if visits}


@pytest.mark.parametrize("engine", [PolarsEngine(), ON_DISK], ids=["memory", "disk"])
@given(rows=row_lists(max_size=70), chosen=settings())
def test_a_data_set_is_what_loops_over_the_rows_make(
    engine: PolarsEngine, rows: list[Row], chosen: dict[str, Any]
) -> None:
    log = log_of(rows, context=CONTEXT, has_weight=True, repeats_ignore_session=chosen["ignore"])
    users = expected_users(rows, chosen)
    if not users:
        with pytest.raises(EmptyDatasetError):
            made(log, preparation(chosen, engine))
        return
    plain, features, catalogue, summary, _ = made(log, preparation(chosen, engine))
    assert plain == plain_expected(users, has_weight=True)
    items, trained = plain_items(users), train_counts(users)
    visits = [visit for some in users.values() for visit in some]
    events = [(visit.part, event) for visit in visits for event in visit.events]

    assert catalogue.frame["item"].to_list() == items
    assert catalogue.frame["index"].to_list() == list(range(1, len(items) + 1))
    assert catalogue.frame["train_events"].to_list() == [trained[item] for item in items]
    assert catalogue.num_candidates == sum(trained[item] > 0 for item in items)
    positives = Counter(event.item for part, event in events if part == 0 and event.action & 1)
    assert catalogue.frame["train_positives"].to_list() == [positives[item] for item in items]
    first = {
        item: min((e.time_ms for part, e in events if part == 0 and e.item == item), default=None) for item in items
    }
    assert catalogue.frame["first_seen_ms"].to_list() == [first[item] for item in items]

    devices = Counter(event.device for part, event in events if part == 0 and event.device is not None)
    order = sorted(devices, key=lambda device: (-devices[device], device))
    assert features["device"] == [order.index(e.device) + 1 if e.device in devices else 0 for _, e in events]  # type: ignore[arg-type]

    assert summary.rows_read == len(rows)
    assert summary.positives_read == sum(row.action & 1 for row in rows)
    assert asdict(summary.kept) == {
        "users": len(users),
        "items": len(items),
        "sessions": len(visits),
        "events": len(events),
        "positives": sum(event.action & 1 for _, event in events),
    }
    for number, name in enumerate(("train", "validation", "test")):
        of_part = [event for part, event in events if part == number]
        assert asdict(summary.parts[name]) == {
            "users": sum(any(visit.part == number for visit in some) for some in users.values()),
            "sessions": sum(visit.part == number for visit in visits),
            "events": len(of_part),
            "positives": sum(event.action & 1 for event in of_part),
            "cold_positives": sum(event.action & 1 for event in of_part if trained[event.item] == 0),
            "without_history": sum(some[0].part == number and some[0].positives > 0 for some in users.values()),
        }
    asked = [any(visit.part == 0 and visit.positives for visit in some[1:]) for some in users.values()]
    assert summary.users_without_training == asked.count(False)
    assert (summary.exact_repeats, summary.merged) == plain_users(
        rows, chosen["rule"], repeats_ignore_session=chosen["ignore"]
    )[1:]


def test_counts_of_what_was_dropped_add_up() -> None:
    rows = [
        Row(user=u, item=(u * 7 + n * n) % 9, time_ms=T0 + n * 1000, action=n % 3, session=n // 3)
        for u in range(9)
        for n in range(20)
    ]
    rows += rows[:5]
    how = Preparation(session=NativeRule(), filter=LOOSE, truncation=Truncation(max_sessions=4))
    _, _, _, summary, _ = made(log_of(rows), how)
    assert summary.exact_repeats == 5
    before = summary.passes[0].events
    assert before == summary.rows_read - summary.exact_repeats - summary.merged
    assert summary.passes[-1].events == summary.truncated_events + summary.kept.events


def some_log(extra: list[Row] = [], **kwargs: Any) -> Log:  # noqa: B006 - only read
    rows = [
        Row(user=u, item=n % 4, time_ms=T0 + n * 1000, session=n, device="abc"[n % 3], price=float(u + n))
        for u in range(8)
        for n in range(6)
    ]
    return log_of([*rows, *extra], context=CONTEXT, **kwargs)


def test_a_changed_test_event_changes_no_bin_and_no_vocabulary() -> None:
    how = Preparation(session=NativeRule(), filter=LOOSE, num_bins=4)
    # A further, newest session for everyone: then it is the test, and what was the test is the validation.
    one, other = (
        some_log([Row(user=u, item=9, time_ms=T0 + 10**6, session=99, device=device, price=price) for u in range(8)])
        for device, price in (("a", 0.0), ("new", 1e6))
    )
    _, features, _, _, tables = made(one, how)
    _, changed, _, _, others = made(other, how)
    assert tables["price"].edges == others["price"].edges
    assert tables["device"].vocabulary.values.to_list() == others["device"].vocabulary.values.to_list()
    # Seven events a user; the last one, in test, is of a device unseen in training, and its price is off the scale.
    assert changed["device"][6::7] == [0] * 8
    assert changed["price"][6::7] == [len(tables["price"].edges) + 1] * 8
    for name in ("device", "price"):
        assert [code for n, code in enumerate(changed[name]) if n % 7 < 6] == [
            code for n, code in enumerate(features[name]) if n % 7 < 6
        ]


def test_what_the_log_says_of_its_items_is_joined_and_numbered_by_training() -> None:
    items = pl.DataFrame(
        {
            "item": [3, 0, 1, 77],
            "title": ["three", None, "one", "never seen"],
            "brand": ["x", "y", "x", "z"],
            "cost": [4.0, 2.0, None, 1e9],
            "fresh": [True, False, None, True],
        }
    )
    log = some_log(
        items=items,
        item_features=(
            Feature(name="brand", kind="category"),
            Feature(name="cost", kind="number"),
            Feature(name="fresh", kind="category"),
        ),
    )
    # Sessions 0..3 of each user train: items 0..3 once each; 4, 5 are items 0, 1 again, held out.
    _, _, catalogue, _, _ = made(log, Preparation(session=NativeRule(), filter=LOOSE, num_bins=2))
    frame = catalogue.frame
    assert frame.columns == [
        "index",
        "item",
        "title",
        "train_events",
        "train_positives",
        "first_seen_ms",
        "brand",
        "cost",
        "fresh",
    ]
    assert frame["item"].to_list() == [0, 1, 2, 3]
    assert frame["title"].to_list() == [None, "one", None, "three"]
    # x has 16 training events, y 8; items without a brand are unknown; z has none and no row.
    assert frame["brand"].to_list() == [2, 1, 0, 1]
    # The median of the trained items' costs 2 and 4 is 3.
    assert frame["cost"].to_list() == [1, 0, 0, 2]
    assert frame["fresh"].to_list() == [1, 0, 0, 2]
    assert {table.name: table.size for table in catalogue.features} == {"brand": 3, "cost": 3, "fresh": 3}
    assert catalogue.num_candidates == 4


def test_of_an_item_named_twice_in_the_item_table_the_first_row_counts() -> None:
    items = pl.DataFrame({"item": [1, 0, None, 1, 0], "title": ["one", None, "nobody", "uno", "zero"]})
    _, _, catalogue, _, _ = made(some_log(items=items), Preparation(session=NativeRule(), filter=LOOSE))
    assert catalogue.frame["item"].to_list() == [0, 1, 2, 3]
    assert catalogue.frame["title"].to_list() == [None, "one", None, None]


def test_the_native_rule_without_ids_and_a_log_without_rows_or_positives_say_what_to_do() -> None:
    row = Row(user=1, item=1, time_ms=T0)
    with pytest.raises(LogError, match="`native` needs session ids"):
        made(log_of([row], has_session=False), Preparation(session=NativeRule()))
    with pytest.raises(EmptyDatasetError, match="the log has no rows"):
        made(log_of([]), Preparation())
    with pytest.raises(EmptyDatasetError, match="none of its 1 events is positive"):
        made(log_of([replace(row, action=2)]), Preparation())
    with pytest.raises(EmptyDatasetError, match=r"nothing is left after the filters.*1 users, 1 items, 1 sessions"):
        made(log_of([row]), Preparation())


def test_a_split_that_leaves_no_session_says_so() -> None:
    # One session from 0 to 100 s; both borders lie within it.
    rows = [Row(user=1, item=n, time_ms=T0 + n * 1000) for n in range(101)]
    split = GlobalTime(validation_from=iso(T0 + 30_000), test_from=iso(T0 + 60_000))
    with pytest.raises(EmptyDatasetError, match="the split leaves no session"):
        made(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE, split=split))


@pytest.mark.parametrize("num_partitions", [1, 2, 64])
@pytest.mark.parametrize("as_text", [True, False])
def test_the_engine_sizes_change_nothing(num_partitions: int, as_text: bool) -> None:
    rng = np.random.default_rng(3)
    name: Any = (lambda n: f"n{n}\u00f8") if as_text else (lambda n: n)
    rows = [
        Row(
            user=name(int(u)),
            item=name(int(i)),
            time_ms=T0 + int(t) * 1000,
            action=int(t) % 4,
            session=name(int(t) // 50),
            device=["a", "b", None][int(i) % 3],
            price=float(t),
        )
        for u, i, t in zip(*(rng.integers(0, high, 3000) for high in (60, 40, 400)), strict=True)
    ]
    log = log_of(rows, context=CONTEXT, has_weight=True)
    base = Preparation(session=NativeRule(), num_bins=5)
    want = made(log, base)
    for threads in (1, 2):
        engine = PolarsEngine(rows_in_memory=10, num_partitions=num_partitions, threads=threads)
        got = made(log, base.model_copy(update={"engine": engine}))
        assert got[0] == want[0]
        assert got[1] == want[1]
        assert got[2].frame.equals(want[2].frame)
        assert got[3] == want[3]


def test_edges_of_a_sample_do_not_depend_on_the_engine_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Bound by the name in `tally`, where the sample is drawn: about 500 of 3000 values decide.
    rng = np.random.default_rng(4)
    drawn = zip(*(rng.integers(0, high, 3000).tolist() for high in (100, 10, 400)), strict=True)
    rows = [Row(user=u, item=i, time_ms=T0 + t * 1000, session=t // 50, price=t / 3 + u) for u, i, t in drawn]
    log, base = log_of(rows, context=CONTEXT), Preparation(session=NativeRule(), num_bins=5)
    edges_of_all = made(log, base)[4]["price"].edges
    monkeypatch.setattr(tally, "MAX_SAMPLE", 500)
    sampled = made(log, base)[4]["price"].edges
    assert len(sampled) == 4
    assert sampled != edges_of_all
    on_disk = base.model_copy(update={"engine": PolarsEngine(rows_in_memory=10, num_partitions=16, threads=2)})
    assert made(log, on_disk)[4]["price"].edges == sampled


def test_who_is_not_asked_for_and_who_is_not_learnt_from_is_counted() -> None:
    # User n has n sessions: 1 has only a test; 2 a validation before it; 3 one training session, which is its first.
    rows = [Row(user=u, item=n, time_ms=T0 + n * 1000, session=n) for u in (1, 2, 3, 4) for n in range(u)]
    _, _, _, summary, _ = made(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE))
    assert {name: part.without_history for name, part in summary.parts.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    assert {name: part.sessions for name, part in summary.parts.items()} == {"train": 3, "validation": 3, "test": 4}
    assert summary.users_without_training == 3
    # An input-only session before the first target is history enough.
    before = [Row(user=u, item=9, time_ms=T0 - 1000, session=99, action=0) for u in (1, 2, 3, 4)]
    how = Preparation(session=NativeRule(), filter=LOOSE.model_copy(update={"sessions_without_positives": "input"}))
    _, _, _, summary, _ = made(log_of([*before, *rows]), how)
    assert all(part.without_history == 0 for part in summary.parts.values())
    assert summary.users_without_training == 2


@pytest.mark.parametrize("engine", [PolarsEngine(), ON_DISK], ids=["memory", "disk"])
def test_ratings_of_one_second_keep_the_order_of_their_rows(engine: PolarsEngine) -> None:
    # 40 users rate 30 items in 6 seconds, 5 a second, later seconds first in the log; ids say nothing of the order.
    order = np.random.default_rng(2).permuted(np.tile(np.arange(30), (40, 1)), axis=1)
    rows = [
        Row(user=user, item=int(order[user, 5 * second + place]), time_ms=T0 + second * 1000)
        for second in reversed(range(6))
        for place in range(5)
        for user in range(40)
    ]
    how = Preparation(session=EventRule(), engine=engine)
    plain, _, _, summary, _ = made(log_of(rows, has_session=False), how)
    assert {user: [events[0][0] for *_, events in visits] for user, visits in plain} == dict(enumerate(order.tolist()))
    assert all([part for part, *_ in visits] == [0] * 28 + [1, 2] for _, visits in plain)
    assert (summary.late_events, summary.merged, summary.exact_repeats) == (0, 0, 0)


def test_overlapping_native_sessions_lose_what_came_after_the_next_part_began() -> None:
    # Session 1 (validation) acts at 10 s and again at 25 s, when session 2 (test, from 20 s) has begun.
    rows = [
        Row(user=1, item=1, time_ms=T0, session=0),
        Row(user=1, item=2, time_ms=T0 + 10_000, session=1),
        Row(user=1, item=3, time_ms=T0 + 20_000, session=2),
        Row(user=1, item=4, time_ms=T0 + 25_000, session=1),
    ]
    plain, _, _, summary, _ = made(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE))
    assert [[event[0] for event in events] for *_, events in plain[0][1]] == [[1], [2], [3]]
    assert [part for part, *_ in plain[0][1]] == [0, 1, 2]
    assert summary.late_events == 1
