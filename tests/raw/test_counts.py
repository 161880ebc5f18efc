"""Counts of the committed data configs against a slow count that shares no code with the package.

The slow count reads the raw files with pyarrow and follows the definitions with dictionaries and loops.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import load_data_config, prepare

RAW = Path(os.environ.get("SESSIONREC_RAW", ""))
CONFIGS = Path(__file__).parents[2] / "experiments" / "data"
pytestmark = pytest.mark.raw


@dataclass
class Row:
    user: Hashable
    item: Hashable
    time_ms: int
    session: Hashable
    positive: bool


@dataclass
class Sizes:
    users: int
    items: int
    sessions: int
    events: int
    positives: int


def slow_events(
    rows: Iterable[Row], gap_ms: int | None, repeats_ignore_session: bool = False
) -> tuple[int, dict[Any, bool]]:
    """Exact repeats dropped, sessions cut, repeats in a session merged: (number of rows left, events)."""
    first: dict[tuple[Hashable, ...], Row] = {}
    for row in rows:
        session = None if repeats_ignore_session or gap_ms is not None else row.session
        known = first.setdefault((row.user, session, row.item, row.time_ms), row)
        known.positive |= row.positive
    by_user: dict[Hashable, list[Row]] = defaultdict(list)
    for row in first.values():
        by_user[row.user].append(row)
    events: dict[Any, bool] = {}
    for user, own in by_user.items():
        own.sort(key=lambda row: row.time_ms)
        number, last = 0, None
        for row in own:
            if gap_ms is not None:
                number += last is not None and row.time_ms - last > gap_ms
                last = row.time_ms
            key = (user, row.session if gap_ms is None else number, row.item)
            events[key] = events.get(key, False) or row.positive
    return len(first), events


def sizes(events: dict[Any, bool]) -> Sizes:
    return Sizes(
        users=len({user for user, _, _ in events}),
        items=len({item for _, _, item in events}),
        sessions=len({(user, session) for user, session, _ in events}),
        events=len(events),
        positives=sum(events.values()),
    )


def slow_filter(events: dict[Any, bool]) -> dict[Any, bool]:
    """Drop one condition's offenders at a time until none is left."""
    while True:
        size = len(events)
        items = Counter(item for _, _, item in events)
        events = {key: yes for key, yes in events.items() if items[key[2]] >= 5}
        users = Counter(user for user, _, _ in events)
        events = {key: yes for key, yes in events.items() if users[key[0]] >= 5}
        acted = {(user, session) for (user, session, _), yes in events.items() if yes}
        events = {key: yes for key, yes in events.items() if key[:2] in acted}
        sessions = Counter(user for user, _ in {key[:2] for key in events})
        events = {key: yes for key, yes in events.items() if sessions[key[0]] >= 3}
        if len(events) == size:
            return events


def columns(file: Path, *names: str) -> Iterator[tuple[Any, ...]]:
    table = pq.read_table(file, columns=list(names))
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)


def kuairand() -> Iterator[Row]:
    for name in ("test", "val"):
        file = RAW / "kuairand_pure" / f"{name}.parquet"
        for user, item, time_ms, date, click in columns(file, "user_id", "video_id", "time_ms", "date", "is_click"):
            yield Row(user, item, time_ms, date, click == 1)


def ebnerd() -> Iterator[Row]:
    names = ("user_id", "impression_time", "session_id", "article_ids_inview", "article_ids_clicked")
    for week in ("train", "validation"):
        for user, time, session, shown, clicked in columns(RAW / "ebnerd_demo" / week / "behaviors.parquet", *names):
            assert set(clicked) <= set(shown)
            for item in shown:
                yield Row(user, item, int(time.timestamp() * 1000), (week, session), item in clicked)


def globo() -> Iterator[Row]:
    names = ("user_id", "session_id", "click_article_id", "click_timestamp")
    for user, session, item, time_ms in columns(RAW / "globo_news" / "clicks.parquet", *names):
        yield Row(user, item, time_ms, session, True)


def made(name: str, folder: str, tmp_path: Path) -> Dataset:
    config = load_data_config(CONFIGS / f"{name}.toml", [f"log.path={RAW / folder}"])
    return prepare(config, tmp_path / name)


def check(
    dataset: Dataset, rows: Iterable[Row], gap_ms: int | None = None, repeats_ignore_session: bool = False
) -> tuple[int, Sizes]:
    """Compare before and after the filters; gives (rows after exact repeats, sizes before the filters)."""
    left, events = slow_events(rows, gap_ms, repeats_ignore_session)
    summary = dataset.summary
    assert summary.rows_read - summary.exact_repeats == left
    assert vars(sizes(events)) == as_dict(summary.passes[0])
    assert vars(sizes(slow_filter(events))) == as_dict(summary.passes[-1])
    assert summary.kept.events == summary.passes[-1].events - summary.late_events
    return left, sizes(events)


def as_dict(counts: Any) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("users", "items", "sessions", "events", "positives")}


def test_kuairand_by_calendar_day_equals_a_slow_count(tmp_path: Path) -> None:
    # The repeated rows of one event carry dates of their own, so the date must not keep them apart.
    left, before = check(made("kuairand_day", "kuairand_pure", tmp_path), kuairand(), repeats_ignore_session=True)
    assert left == 222_444  # as the publisher of this subset counts after dropping exact repeats
    assert before.sessions == 120_471


def test_kuairand_with_a_gap_of_eight_hours_equals_a_slow_count(tmp_path: Path) -> None:
    left, _ = check(made("kuairand_8h", "kuairand_pure", tmp_path), kuairand(), gap_ms=8 * 3_600_000)
    assert left == 222_444


def test_ebnerd_equals_a_slow_count(tmp_path: Path) -> None:
    dataset = made("ebnerd", "ebnerd_demo", tmp_path)
    assert dataset.summary.rows_read == 583_054
    _, before = check(dataset, ebnerd())
    assert before.sessions == 25_929


def test_globo_equals_a_slow_count(tmp_path: Path) -> None:
    dataset = made("globo", "globo_news", tmp_path)
    assert dataset.summary.rows_read == 1_486_165
    _, before = check(dataset, globo())
    assert before.sessions == 522_588
