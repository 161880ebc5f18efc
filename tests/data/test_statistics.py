"""Statistics against loops over the log itself: dicts and lists, no offsets, no tables of counts."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.data.distribution import Concentration, Distribution, Tally, round_down
from sessionrec.data.statistics import Statistics, comes_again, measure
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.logs.base import Log
from sessionrec.sessions.prepare import Preparation, prepare
from tests.helpers import T0, Row, log_of

DAY_MS = 86_400_000
FILTER: dict[str, Any] = {"min_item_events": 1, "min_user_events": 1, "min_user_sessions": 1}
KEEP_ALL: dict[str, Any] = {"session": {"kind": "native"}, "filter": FILTER}


def random_rows(num_users: int = 40, seed: int = 5) -> list[Row]:
    """Sessions in turn, each with a positive, no item twice in a session; ragged lengths, days and actions."""
    draw = random.Random(seed)
    rows = []
    for user in range(num_users):
        time_ms = T0 + draw.randrange(20 * DAY_MS)
        for session in range(draw.randint(3, 9)):
            items = draw.sample(range(30), k=draw.randint(1, 7))
            positive = draw.randrange(len(items))
            for place, item in enumerate(items):
                is_positive = place == positive or draw.random() < 0.3
                action = is_positive * 1 + (draw.random() < 0.4) * 2 + (draw.random() < 0.1) * 4
                rows.append(Row(user=user, item=item, time_ms=time_ms, action=action, session=session))
                time_ms += draw.choice([0, 400, 7_000, 90_000])
            time_ms += draw.choice([1_000, 3_600_000, 2 * DAY_MS])
    return rows


def dataset_of(log: Log, path: Path, **how: Any) -> Dataset:
    """A data set with many small row groups."""
    with prepare(log, parse(Preparation, KEEP_ALL | how, "test")) as prepared:
        write_dataset(path, prepared, Storage(events_per_row_group=50), {"session": {"kind": "native"}})
    return Dataset(path)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return random_rows()


@pytest.fixture(scope="module")
def measured(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    dataset = dataset_of(log_of(rows), tmp_path_factory.mktemp("data"))
    assert len(dataset.row_groups) > 5
    return measure(dataset)


def visits_of(rows: list[Row]) -> dict[int, list[list[Row]]]:
    """User -> sessions, in order."""
    visits: dict[Any, dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        visits[row.user][row.session].append(row)
    return {user: list(sessions.values()) for user, sessions in visits.items()}


def assert_same(found: Distribution, values: list[int]) -> None:
    ordered = sorted(values)
    assert found.num == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.max == ordered[-1]
    for share in (0.1, 0.5, 0.9, 1.0):
        enough = [value for value in ordered if sum(other <= value for other in ordered) >= share * len(ordered) - 1e-9]
        assert found.quantile(share) == enough[0]


def test_lengths_are_those_of_the_log(rows: list[Row], measured: Statistics) -> None:
    users = visits_of(rows)
    sessions = [session for visits in users.values() for session in visits]
    assert_same(measured.sessions_per_user, [len(visits) for visits in users.values()])
    assert_same(measured.events_per_user, [sum(map(len, visits)) for visits in users.values()])
    assert_same(
        measured.positives_per_user, [sum(row.action & 1 for session in v for row in session) for v in users.values()]
    )
    assert_same(measured.events_per_session, [len(session) for session in sessions])
    assert_same(measured.positives_per_session, [sum(row.action & 1 for row in session) for session in sessions])
    shares = [sum(row.action & 1 for row in session) / len(session) for session in sessions]
    assert measured.positive_share.mean == pytest.approx(sum(shares) / len(shares))
    assert measured.positive_share.median == pytest.approx(sorted(shares)[(len(shares) - 1) // 2], abs=0.0005)


def test_the_sizes_are_those_of_table_1(rows: list[Row], measured: Statistics) -> None:
    assert measured.num_users == len({row.user for row in rows})
    assert measured.num_items == len({row.item for row in rows})
    assert measured.num_events == len(rows)
    assert measured.num_positives == sum(row.action & 1 for row in rows)
    assert measured.num_sessions == sum(map(len, visits_of(rows).values()))
    assert measured.events_per_user.mean == pytest.approx(len(rows) / measured.num_users)


def test_gaps_and_spans_are_seconds_between_events(rows: list[Row], measured: Statistics) -> None:
    users = visits_of(rows).values()
    spans = [(session[-1].time_ms - session[0].time_ms) // 1000 for visits in users for session in visits]
    gaps = [(after[0].time_ms - before[-1].time_ms) // 1000 for visits in users for before, after in pairwise(visits)]
    assert measured.span_s.mean == pytest.approx(sum(spans) / len(spans))
    assert measured.span_s.max == max(spans)
    assert measured.gap_s.num == len(gaps)
    assert measured.gap_s.mean == pytest.approx(sum(gaps) / len(gaps))
    assert measured.gap_s.median == pytest.approx(sorted(gaps)[(len(gaps) - 1) // 2], rel=0.002)


def test_items_days_and_actions_are_counted(rows: list[Row], measured: Statistics) -> None:
    per_item: dict[Any, int] = defaultdict(int)
    positives: dict[Any, int] = defaultdict(int)
    per_day: dict[tuple[int, int], int] = defaultdict(int)
    for row in rows:
        per_item[row.item] += 1
        positives[row.item] += row.action & 1
        per_day[row.time_ms // DAY_MS, row.action & 1] += 1
    assert measured.item_events.counts.tolist() == sorted(per_item.values(), reverse=True)
    assert measured.item_positives.counts.tolist() == sorted(positives.values(), reverse=True)
    assert measured.actions == {
        "liked": sum(row.action >> 1 & 1 for row in rows),
        "bought": sum(row.action >> 2 & 1 for row in rows),
    }
    counts = measured.days.counts_DPK.sum(axis=1)
    first = min(day for day, _ in per_day)
    assert measured.days.first_day == first
    assert len(counts) == max(day for day, _ in per_day) - first + 1
    for day, row in enumerate(counts.tolist(), start=first):
        assert row == [per_day[day, 0], per_day[day, 1]]


def test_parts_of_the_days_are_the_last_two_sessions(rows: list[Row], measured: Statistics) -> None:
    users = visits_of(rows).values()
    expected = [
        sum(len(session) for visits in users for session in visits[:-2]),
        sum(len(visits[-2]) for visits in users),
        sum(len(visits[-1]) for visits in users),
    ]
    # A session that begins at the instant another ends loses nothing here: pauses are at least a second.
    assert measured.days.counts_DPK.sum(axis=(0, 2)).tolist() == expected


def test_repeats_and_targets_look_at_earlier_sessions_only(rows: list[Row], measured: Statistics) -> None:
    users = visits_of(rows).values()
    trained = {row.item for visits in users for session in visits[:-2] for row in session}
    repeats = 0
    targets = {"validation": [0, 0, 0, 0], "test": [0, 0, 0, 0]}
    for visits in users:
        seen: set[Any] = set()
        acted: set[Any] = set()
        for place, session in enumerate(visits):
            name = {1: "test", 2: "validation"}.get(len(visits) - place)
            for row in session:
                if row.action & 1:
                    repeats += row.item in acted
                    if name:
                        found = (1, row.item in seen, row.item in acted, row.item not in trained)
                        targets[name] = [a + b for a, b in zip(targets[name], found, strict=True)]
            seen |= {row.item for row in session}
            acted |= {row.item for row in session if row.action & 1}
    assert measured.repeat_positives == repeats
    assert measured.repeat_share == pytest.approx(repeats / measured.num_positives)
    for name, (positives, in_history, acted_before, cold) in targets.items():
        part = measured.targets[name]
        assert (part.positives, part.in_history, part.acted_before, part.cold) == (
            positives,
            in_history,
            acted_before,
            cold,
        )
        assert part.share(part.in_history) == pytest.approx(in_history / positives)


def test_cold_targets_agree_with_the_summary(tmp_path: Path) -> None:
    rows = [Row(user=u, item=s * 10 + u, time_ms=T0 + s * DAY_MS, session=s) for u in range(3) for s in range(4)]
    dataset = dataset_of(log_of(rows), tmp_path)
    statistics = measure(dataset)
    assert statistics.targets["test"].cold == dataset.summary.parts["test"].cold_positives == 3
    assert statistics.repeat_share == 0


def test_sessions_without_positives_count_as_nothing_positive(tmp_path: Path) -> None:
    rows = [
        Row(user=1, item=i, time_ms=T0 + s * DAY_MS, session=s, action=int(s != 1)) for s in range(5) for i in (1, 2)
    ]
    keep = FILTER | {"sessions_without_positives": "input"}
    statistics = measure(dataset_of(log_of(rows), tmp_path, filter=keep))
    assert statistics.positives_per_session.values.tolist() == [0, 2]
    assert statistics.positives_per_session.counts.tolist() == [1, 4]
    assert statistics.positive_share.mean == pytest.approx(4 / 5)
    # Of 8 positives the first two are new; a session only shown is no positive repeat, but it is history.
    assert statistics.repeat_positives == 6


def test_progress_ends_at_all_events(rows: list[Row], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    measure(dataset_of(log_of(rows), tmp_path), lambda *call: calls.append(call))
    assert {stage for stage, _, _ in calls} == {"measure"}
    assert calls[-1][1] == calls[-1][2] == len(rows)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_something_comes_again_only_in_a_later_session() -> None:
    key = np.array([7, 7, 8, 7, 9, 8])
    session = np.array([0, 0, 0, 1, 1, 2])
    assert comes_again(key, session).tolist() == [False, False, False, True, False, True]


def test_quantiles_are_numpys_inverted_cdf() -> None:
    draw = np.random.default_rng(3)
    values = draw.geometric(0.1, 999)
    tally = Tally()
    for part in np.array_split(values, 7):
        tally.add(part)
    found = tally.distribution()
    for share in np.linspace(0.01, 1, 100):
        assert found.quantile(share) == np.quantile(values, share, method="inverted_cdf"), share
    assert found.mean == pytest.approx(values.mean())
    assert (found.max, found.num) == (values.max(), 999)


def test_durations_lose_less_than_a_five_hundredth() -> None:
    values = np.concatenate([np.arange(5000), np.geomspace(1, 4e9, 500).astype(np.int64)])
    rounded = round_down(values)
    assert (rounded <= values).all()
    assert (values - rounded <= values / 500).all()
    assert (rounded[:1024] == values[:1024]).all()


def test_nothing_counted_is_all_zero() -> None:
    nothing = Tally().distribution()
    assert (nothing.num, nothing.mean, nothing.max, nothing.median, nothing.share_at_most(9)) == (0, 0, 0, 0, 0)
    assert nothing.bars() == []


@pytest.mark.parametrize("values", [[0, 0, 1, 3, 900], [4, 5, 5, 9], [0], [1, 2, 4, 8, 16, 32, 64], [25, 700_000]])
def test_bars_hold_every_value_once(values: list[int]) -> None:
    tally = Tally()
    tally.add(np.array(values))
    bars = tally.distribution().bars()
    for bar in bars:
        assert bar.num == sum(bar.low <= value <= bar.high for value in values)
    assert sum(bar.num for bar in bars) == len(values)
    assert all(after.low == before.high + 1 for before, after in pairwise(bars))
    assert bars[0].high >= min(values)
    assert bars[-1].low <= max(values)


def test_concentration_by_hand() -> None:
    has = Concentration(counts=np.array([6, 3, 1, 0]))
    # Mean absolute difference over twice the mean: pairs 3 5 6 2 3 1 = 20, over 16 / 2 pairs, mean 2.5.
    assert has.gini == pytest.approx(2 * 20 / 16 / (2 * 2.5))
    assert has.top_share(0.25) == 0.6
    assert has.top_share(0.01) == 0.6
    assert has.top_share(0.5) == 0.9
    assert (has.items_for(0.6), has.items_for(0.61), has.items_for(1)) == (1, 2, 3)
    assert Concentration(counts=np.array([5, 5, 5])).gini == pytest.approx(0)
    assert Concentration(counts=np.zeros(3, np.int64)).gini == 0
