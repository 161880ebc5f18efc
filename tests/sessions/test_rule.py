from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from sessionrec.config import Config, parse
from sessionrec.errors import ConfigError
from sessionrec.sessions.prepare import Preparation
from sessionrec.sessions.rule import EqualTimeRule, Event, EventRule, GapRule, NativeRule, Rule, SessionKey, WindowRule
from tests.helpers import T0

RULES: list[Rule] = [
    NativeRule(),
    EqualTimeRule(),
    GapRule(gap_s=2),
    GapRule(gap_s=0.0015),
    WindowRule(),
    WindowRule(length_s=3, zone="Asia/Shanghai"),
    WindowRule(length_s=28_800, zone="Europe/Copenhagen"),
    WindowRule(length_s=3600, zone="Australia/Lord_Howe"),
    WindowRule(length_s=86_400, zone="America/St_Johns"),
    EventRule(),
]


def around(*moments: datetime) -> st.SearchStrategy[int]:
    """Times within two days of some moments, often within seconds."""
    centre = st.sampled_from([round(moment.timestamp() * 1000) for moment in moments])
    near = st.one_of(
        st.integers(-5000, 5000), st.integers(-48, 48).map(lambda h: h * 3_600_000), st.integers(-(10**8), 10**8)
    )
    return st.builds(lambda a, b: a + b, centre, near)


# Spring and autumn of Copenhagen 2024, of Lord Howe (half an hour), and the ends of the legal range.
times = around(
    datetime(2024, 3, 31, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 1, tzinfo=UTC),
    datetime(2024, 4, 6, 15, tzinfo=UTC),
    datetime(1980, 4, 6, 1, tzinfo=UTC),
    datetime(2036, 10, 26, 1, tzinfo=UTC),
)
ids: list[st.SearchStrategy[SessionKey]] = [st.integers(0, 3), st.sampled_from(["", "a", "b\u00f8", "0"])]


@st.composite
def event_lists(draw: st.DrawFn) -> list[tuple[int, int, SessionKey]]:
    """(user, time, session id) of a few users, sorted by user and time as both forms expect."""
    session = draw(st.sampled_from(ids))
    time = draw(st.sampled_from([times, st.integers(0, 9).map(lambda n: T0 + n * 1000), st.integers(T0, T0 + 8)]))
    rows = draw(st.lists(st.tuples(st.integers(0, 2), time, session), max_size=25))
    return sorted(rows, key=lambda row: row[:2])


def by_step(rule: Rule, rows: list[tuple[int, int, SessionKey]]) -> list[bool]:
    states: dict[int, object] = {}
    starts = []
    for user, time_ms, session in rows:
        states[user], is_start = rule.step(states.get(user), Event(time_ms, session))
        starts.append(is_start)
    return starts


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(rows=event_lists())
def test_the_rule_for_one_event_and_for_a_table_decide_alike(
    rule: Rule, rows: list[tuple[int, int, SessionKey]]
) -> None:
    text = any(isinstance(session, str) for *_, session in rows)
    schema = {"user": pl.Int64, "time_ms": pl.Int64, "session": pl.String if text else pl.Int64}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    assert table.select(starts=rule.starts())["starts"].to_list() == by_step(rule, rows)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_state_may_be_stored_as_json_between_two_events(rule: Rule) -> None:
    # A store keeps plain data; JSON makes lists of tuples.
    events = [Event(T0 + n * 700, n % 3) for n in range(12)]
    kept: object = None
    stored: object = None
    for event in events:
        kept, expected = rule.step(kept, event)
        stored, is_start = rule.step(stored, event)
        stored = json.loads(json.dumps(stored))
        assert is_start == expected


def starts(rule: Rule, *times_ms: int) -> list[bool]:
    return by_step(rule, [(0, time_ms, None) for time_ms in times_ms])


def test_a_gap_begins_after_more_than_its_length() -> None:
    # Pauses of 1.999, 2.000 and 2.001 s against 2 s.
    assert starts(GapRule(gap_s=2), 0, 1999, 3999, 6000) == [True, False, False, True]


def test_equal_times_are_one_session_even_at_time_zero() -> None:
    assert starts(EqualTimeRule(), 0, 0, 1, 1, 2) == [True, False, True, False, True]


def test_every_event_is_a_session_whatever_its_time() -> None:
    assert starts(EventRule(), 0, 0, 0, 1, 5) == [True] * 5
    assert by_step(EventRule(), [(0, 7, "a"), (0, 7, "a"), (1, 7, "a")]) == [True] * 3


def test_native_ids_that_take_turns_begin_once_each() -> None:
    rows: list[tuple[int, int, SessionKey]] = [(0, n, key) for n, key in enumerate("abab")]
    assert by_step(NativeRule(), rows) == [True, True, False, False]


def test_a_native_id_is_the_users_own() -> None:
    assert by_step(NativeRule(), [(0, 0, "a"), (1, 0, "a")]) == [True, True]


def local(zone: str, *parts: int) -> int:
    return round(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


def test_a_day_of_a_zone_with_summer_time_begins_at_its_own_midnight() -> None:
    # Copenhagen 2024-03-31 has 23 hours, 2024-10-27 has 25; both begin at local midnight, 23:00 and 22:00 UTC.
    rule = WindowRule(length_s=86_400, zone="Europe/Copenhagen")
    for year_month_day in ((2024, 3, 31), (2024, 4, 1), (2024, 10, 27), (2024, 10, 28)):
        midnight = local("Europe/Copenhagen", *year_month_day)
        assert starts(rule, midnight - 1, midnight, midnight + 22 * 3_600_000) == [True, True, False]
    assert local("Europe/Copenhagen", 2024, 4, 1) - local("Europe/Copenhagen", 2024, 3, 31) == 23 * 3_600_000


def test_windows_are_counted_from_local_midnight() -> None:
    # 8-hour windows in Shanghai (UTC+8) begin at 0, 8 and 16 o'clock there: 16, 0 and 8 o'clock UTC.
    hour = 3_600_000
    rule = WindowRule(length_s=8 * 3600, zone="Asia/Shanghai")
    assert starts(rule, T0 - 1, T0, T0 + 8 * hour - 1, T0 + 8 * hour, T0 + 16 * hour) == [True, True, False, True, True]


def test_only_the_native_rule_needs_ids_of_the_log() -> None:
    assert [rule.needs_session for rule in RULES] == [True] + [False] * (len(RULES) - 1)


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(rows=event_lists())
def test_only_a_rule_that_says_so_cuts_between_events_of_one_time_and_one_id(
    rule: Rule, rows: list[tuple[int, int, SessionKey]]
) -> None:
    # The split relies on it: what such a rule cuts apart at one time stands in the order of the rows.
    same: list[tuple[int, int, SessionKey]] = [(user, time_ms, "x") for user, time_ms, _ in rows]
    starts = by_step(rule, same)
    repeated = [number for number in range(1, len(same)) if same[number] == same[number - 1]]
    assert all(starts[number] == rule.has_row_order for number in repeated)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"kind": "gap", "gap_s": 0}, "greater than 0"),
        ({"kind": "gap", "gap_s": "30m"}, "number"),
        ({"kind": "window", "zone": "Mars/Olympus"}, "IANA time zone"),
        ({"kind": "window", "length_s": 0}, "greater than 0"),
        ({"kind": "daily"}, "'native', 'equal_time', 'gap', 'window', 'event'"),
        ({"kind": "equal_time", "gap_s": 3}, "unknown key"),
    ],
)
def test_a_rule_out_of_range_is_refused_with_what_is_allowed(tree: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match="here: session") as caught:
        parse(Preparation, {"session": tree}, "here")
    assert words in str(caught.value)


def test_a_rule_is_a_config() -> None:
    assert all(isinstance(rule, Config) for rule in RULES)
    assert np.unique([rule.digest() for rule in RULES if isinstance(rule, Config)]).size == len(RULES)
