"""What the terminal shows: the right numbers, within 80 columns, and nothing that steers the terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console, RenderableType

from sessionrec.config import parse
from sessionrec.data import wording
from sessionrec.data.dataset import Dataset
from sessionrec.data.people import examples, printable
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.describe import describe, sparkline, summarise
from sessionrec.logs.base import Feature, Log
from sessionrec.sessions.prepare import Preparation, prepare
from tests.helpers import T0, Row, log_of

DAY_MS = 86_400_000
FILTERS = {"min_item_events": 2, "min_user_events": 1, "min_user_sessions": 3}
LONG = "A title that goes on and on, far beyond what anybody would want to read in a terminal"


def log() -> Log:
    """Twenty users with four sessions and one without enough; a title with an escape sequence, a very long one."""
    rows = [
        Row(
            user=user,
            item=(user + session + place) % 7,
            time_ms=T0 + session * DAY_MS + user,
            session=session,
            action=action,
        )
        for user in range(20)
        for session in range(4)
        for place, action in enumerate((0, 3, 1))
    ]
    rows.append(Row(user=99, item=50, time_ms=T0, session=0))
    rows += rows[:3]
    titles = ["\x1b[31mred\x1b[0m [bold]not bold[/bold]", LONG, None, "three", "four", "five", "six"]
    items = pl.DataFrame({"item": range(7), "title": titles, "kind": ["a"] * 7})
    made = log_of(rows, items=items, item_features=(Feature(name="kind", kind="category"),))
    return replace(made, name="Little [red]log", notes="This log is simulated.", actions=("liked",))


def dataset_of(path: Path, **how: Any) -> Dataset:
    config = {"session": {"kind": "native"}, "filter": FILTERS} | how
    with prepare(log(), parse(Preparation, config, "test")) as prepared:
        write_dataset(path, prepared, Storage(), config)
    return Dataset(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("data"))


def shown(what: RenderableType, width: int = 80, *, is_terminal: bool = False) -> str:
    stream = io.StringIO()
    Console(
        file=stream, width=width, force_terminal=is_terminal, color_system="truecolor" if is_terminal else None
    ).print(what)
    return stream.getvalue()


def row(text: str, name: str) -> list[str]:
    """The words after the name of a row."""
    return next(line for line in text.splitlines() if line.strip().startswith(name)).strip()[len(name) :].split()


def test_the_summary_follows_the_rows_from_the_log_to_the_data_set(dataset: Dataset) -> None:
    text = shown(summarise(dataset))
    # 20 users x 4 sessions x 3 items, the stranger, and three rows a second time; two of three events are positive.
    assert row(text, "rows read") == ["244", "163"]
    assert row(text, "exact repeats") == ["-3"]
    assert row(text, "before the filters") == ["21", "8", "81", "241", "161"]
    assert row(text, "data set") == ["20", "7", "80", "240", "160"]
    assert row(text, "train") == ["20", "40", "120", "80"]
    assert row(text, "test") == ["20", "20", "60", "40", "0", "%"]
    assert row(text, "users  items  interactions") == ["avg.", "length", "avg.", "positive", "length"]
    assert row(text, "20  ") == ["7", "240", "12.00", "8.00"]
    # 80 sessions of 20 users: 4 each; 240 events and 160 positives in them.
    assert row(text, "sessions  a user has") == ["events", "in", "one", "positives", "in", "one"]
    assert row(text, "80  ") == ["4.00", "3.00", "2.00"]
    assert "simulated" in text


def test_steps_that_took_nothing_are_not_listed(dataset: Dataset) -> None:
    text = shown(summarise(dataset))
    assert "merged" not in text
    assert "late events" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_everything_fits_and_is_plain_when_piped(dataset: Dataset, width: int) -> None:
    text = shown(describe(dataset), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    # A cell that did not fit would end in dots; so does a title that is cut on purpose, and may be wrapped then.
    table = text[: text.index("Two users")]
    assert "\N{HORIZONTAL ELLIPSIS}" not in table


def test_the_description_has_lengths_habits_and_actions(dataset: Dataset) -> None:
    text = shown(describe(dataset))
    assert row(text, "sessions a user")[:4] == ["4", "4.00", "4", "4"]
    assert row(text, "events a session")[:4] == ["3", "3.00", "3", "3"]
    assert row(text, "liked") == ["80", "33.3", "%"]
    assert row(text[text.index("Actions") :], "positive") == ["160", "66.7", "%"]
    assert row(text, "kind")[:3] == ["item", "category", "2"]
    assert "Gini" in text


def test_titles_cannot_steer_the_terminal_nor_its_markup(dataset: Dataset) -> None:
    text = shown(describe(dataset), width=200, is_terminal=True)
    assert "\x1b[31mred" not in text
    plain = shown(describe(dataset), width=200)
    assert "Little [red]log" in plain
    names = {item.name for user in examples(dataset, 20) for visit in user.visits for item in visit.items}
    assert "[31mred [0m [bold]not bold[/bold]" in names
    assert printable(LONG) in names
    assert "2" in names, "an item without a title goes by its id"
    assert max(map(len, names)) <= 60


def test_examples_are_whole_users_and_the_seed_decides(dataset: Dataset) -> None:
    first = examples(dataset, 3, seed=1)
    assert first == examples(dataset, 3, seed=1)
    assert any(first != examples(dataset, 3, seed=seed) for seed in (2, 3))
    assert len({user.user for user in first}) == 3
    for user in first:
        assert [visit.part for visit in user.visits] == ["train", "train", "validation", "test"]
        assert [visit.time[:10] for visit in user.visits] == [f"2024-01-0{day}" for day in (1, 2, 3, 4)]
        assert (user.num_events, user.num_positives) == (12, 8)
        for visit in user.visits:
            assert [(item.is_positive, item.actions) for item in visit.items] == [
                (False, ()),
                (True, ("liked",)),
                (True, ()),
            ]


def test_examples_have_a_medium_history(tmp_path: Path) -> None:
    rows = [
        Row(user=user, item=session % 3, time_ms=T0 + session * DAY_MS + user, session=session)
        for user in range(1, 51)
        for session in range(user)
    ]
    with prepare(
        log_of(rows), parse(Preparation, {"session": {"kind": "native"}, "filter": FILTERS}, "test")
    ) as prepared:
        write_dataset(tmp_path, prepared, Storage(), {})
    lengths = [len(user.visits) for user in examples(Dataset(tmp_path), 9)]
    # Users with 3 to 50 sessions: the 40th percentile is 22, the 60th 31.
    assert len(lengths) == 9
    assert all(21 <= length <= 32 for length in lengths)


def test_examples_look_into_as_many_row_groups_as_they_need(tmp_path: Path) -> None:
    config = {"session": {"kind": "native"}, "filter": FILTERS}
    with prepare(log(), parse(Preparation, config, "test")) as prepared:
        write_dataset(tmp_path, prepared, Storage(events_per_row_group=24), config)
    assert len({user.user for user in examples(Dataset(tmp_path), 20)}) == 20
    assert len(examples(Dataset(tmp_path), 500)) == 20


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "gap", "gap_s": 28800.0}, "a pause of more than 8 h ends it"),
        ({"kind": "equal_time"}, "events of a user at the same instant"),
        (
            {"kind": "window", "length_s": 86400, "zone": "Asia/Shanghai"},
            "one calendar day, by the clock of Asia/Shanghai",
        ),
    ],
)
def test_the_session_rule_is_said_in_words(tmp_path: Path, rule: dict[str, Any], words: str) -> None:
    assert words in shown(summarise(dataset_of(tmp_path, session=rule)))


def test_a_sparkline_is_as_high_as_its_counts() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 1, 4, 8]) == " \u2581\u2584\u2588"
    assert sparkline([1, 10_000]) == "\u2581\u2588", "a little is not nothing"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (wording.count(1234567), "1,234,567"),
        (wording.average(80.19), "80.19"),
        (wording.average(22896.181), "22,896"),
        (wording.compact(1500), "1.5k"),
        (wording.compact(2_000_000), "2M"),
        (wording.percent(0.345), "34.5 %"),
        (wording.percent(0), "0 %"),
        (wording.percent(1), "100 %"),
        (wording.percent(1e-6), "< 0.1 %"),
        (wording.percent(0.99999), "> 99.9 %"),
        (wording.duration(0), "0 s"),
        (wording.duration(59), "59 s"),
        (wording.duration(90), "1.5 min"),
        (wording.duration(3600), "1 h"),
        (wording.duration(200_000), "2.3 d"),
        (wording.size(14_557_425), "14.6 MB"),
        (wording.size(12), "12 bytes"),
        (wording.many(1, "session"), "1 session"),
        (wording.many(1000, "session"), "1,000 sessions"),
        (wording.bar_label(5, 5), "5"),
        (wording.bar_label(9, 16), "9\N{EN DASH}16"),
        (wording.bar_label(513, 1024), "0.5\N{EN DASH}1k"),
        (wording.bar_label(2049, 4096), "2\N{EN DASH}4k"),
    ],
)
def test_numbers_in_words(found: str, expected: str) -> None:
    assert found == expected
