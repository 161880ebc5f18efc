"""The sizes of the paper's Table 1, on files of KuaiSAR's and RecFlow's shapes, against a count in plain Python.

Users, items, events, positives, and the last two a user, after filters that are repeated until nothing changes. The
count reads the raw files by itself and shares no code with the package.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.feather as feather
import pytest
from rich.console import Console

from sessionrec.data.dataset import Dataset
from sessionrec.data.statistics import measure
from sessionrec.describe import summarise
from sessionrec.logs.synthetic import kuaisar_files, recflow_files
from sessionrec.logs.synthetic.world import WorldConfig
from sessionrec.pipeline import load_data_config, prepare
from tests.raw_fixtures.kuaishou import kuaisar_recommendation, write_kuaisar, write_recflow

CONFIGS = Path(__file__).parents[1] / "experiments" / "data"
WORLD = WorldConfig(num_users=60, num_items=900, num_days=5, events=6_000, seed=11)

Event = tuple[int, int, int]
"""User, session, item."""


@dataclass(frozen=True)
class Limits:
    items: int = 5
    users: int = 5
    sessions: int = 3

    @property
    def overrides(self) -> list[str]:
        names = {"min_item_events": self.items, "min_user_events": self.users, "min_user_sessions": self.sessions}
        return [f"filter.{name}={value}" for name, value in names.items()]


def kuaisar_rows(folder: Path) -> list[tuple[Event, bool]]:
    """What is sent to a user at one time is one request."""
    (file,) = folder.rglob("rec_inter.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            ((int(row["user_id"]), int(float(row["timestamp"])), int(row["item_id"])), row["click"] == "1")
            for row in csv.DictReader(lines)
        ]


def recflow_rows(folder: Path) -> list[tuple[Event, bool]]:
    rows = []
    for file in sorted(folder.glob("realshow/*.feather")):
        table = feather.read_table(file, columns=["user_id", "request_id", "video_id", "effective_view"])
        rows += [
            ((row["user_id"], row["request_id"], row["video_id"]), row["effective_view"] == 1)
            for row in table.to_pylist()
        ]
    return rows


def counted(rows: list[tuple[Event, bool]], limits: Limits) -> dict[Event, bool]:
    """An item once a session, positive if any of its rows is; then everything with too little goes, over and over."""
    events: dict[Event, bool] = {}
    for event, is_positive in rows:
        events[event] = events.get(event, False) or is_positive
    while True:
        items: Counter[int] = Counter()
        users: Counter[int] = Counter()
        for user, _, item in events:
            items[item] += 1
            users[user] += 1
        acted = {(user, session) for (user, session, _), is_positive in events.items() if is_positive}
        sessions = Counter(user for user, _ in acted)
        left = {}
        for (user, session, item), is_positive in events.items():
            is_enough = items[item] >= limits.items and users[user] >= limits.users
            if is_enough and (user, session) in acted and sessions[user] >= limits.sessions:
                left[user, session, item] = is_positive
        if len(left) == len(events):
            return left
        events = left


def check(dataset: Dataset, rows: list[tuple[Event, bool]], limits: Limits) -> None:
    left = counted(rows, limits)
    users = {user for user, _, _ in left}
    positives = sum(left.values())
    assert 0 < len(left) < len({event for event, _ in rows}), "the filters must leave something and take something"

    kept, summary = dataset.summary.kept, dataset.summary
    assert summary.rows_read == len(rows)
    assert (summary.late_events, summary.straddling_sessions, summary.truncated_events) == (0, 0, 0)
    assert kept.users == len(users)
    assert kept.items == len({item for *_, item in left})
    assert kept.sessions == len({(user, session) for user, session, _ in left})
    assert (kept.events, kept.positives) == (len(left), positives)

    found = measure(dataset)
    assert (found.num_users, found.num_items) == (kept.users, kept.items)
    assert (found.num_events, found.num_positives) == (kept.events, kept.positives)
    assert found.events_per_user.mean == pytest.approx(len(left) / len(users), rel=1e-12)
    assert found.positives_per_user.mean == pytest.approx(positives / len(users), rel=1e-12)
    per_user = Counter(Counter(user for user, _, _ in left).values())
    assert dict(zip(found.events_per_user.values, found.events_per_user.counts, strict=True)) == per_user
    acted = Counter(user for (user, _, _), is_positive in left.items() if is_positive)
    assert dict(zip(found.positives_per_user.values, found.positives_per_user.counts, strict=True)) == Counter(
        acted[user] for user in users
    )

    console = Console(width=120)
    with console.capture() as printed:
        console.print(summarise(dataset))
    row = f"{kept.users:,} {kept.items:,} {len(left):,} {len(left) / len(users):.2f} {positives / len(users):.2f}"
    assert row in " ".join(printed.get().split())


def longer_kuaisar(folder: Path) -> None:
    """The fixture with more rows, so that one user of three is too poor."""
    write_kuaisar(folder)
    (file,) = folder.rglob("rec_inter.csv")
    kuaisar_recommendation(45).write_csv(file)


Writer = Callable[[Path], object]
CASES: dict[str, tuple[str, Writer, Callable[[Path], list[tuple[Event, bool]]], Limits]] = {
    # The fixtures have some dozen rows, so their limits are their own; the worlds are filtered as the paper does it.
    "kuaisar, fixture": ("kuaisar", longer_kuaisar, kuaisar_rows, Limits(items=4, users=15, sessions=5)),
    "recflow, fixture": ("recflow", write_recflow, recflow_rows, Limits(items=2, users=7, sessions=3)),
    "kuaisar, world": (
        "kuaisar",
        lambda folder: kuaisar_files.write_kuaisar(WORLD, folder),
        kuaisar_rows,
        Limits(),
    ),
    "recflow, world": (
        "recflow",
        lambda folder: recflow_files.write_recflow(WORLD, folder),
        recflow_rows,
        Limits(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sizes_of_table_1_equal_a_count_in_plain_python(case: str, tmp_path: Path) -> None:
    name, write, rows_of, limits = CASES[case]
    raw = tmp_path / "raw"
    raw.mkdir()
    write(raw)
    # The committed config, whose filters are the paper's unless a fixture is too short for them.
    overrides = [] if limits == Limits() else limits.overrides
    dataset = prepare(load_data_config(CONFIGS / f"{name}.toml", [f"log.path={raw}", *overrides]), tmp_path / "data")
    check(dataset, rows_of(raw), limits)


def test_the_filters_of_a_world_take_more_than_one_pass(tmp_path: Path) -> None:
    # Otherwise "until nothing changes" would not be tested above.
    recflow_files.write_recflow(WORLD, tmp_path)
    dataset = prepare(load_data_config(CONFIGS / "recflow.toml", [f"log.path={tmp_path}"]), tmp_path / "data")
    assert len(dataset.summary.passes) > 3
