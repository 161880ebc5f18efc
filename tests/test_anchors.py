"""Data of the published anchors: item-level logs, where every interaction is a session, from raw files to figures.

The raw files are of exactly the shape of MovieLens-1M, -20M and Amazon Beauty; what must come out is counted in plain
Python from their lines.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import View
from sessionrec.logs.synthetic.rating_files import write_beauty, write_movielens_1m, write_movielens_20m
from sessionrec.logs.synthetic.ratings import RatingsConfig
from sessionrec.pipeline import evaluate, fit, load_data_config, load_fit_config, prepare
from sessionrec.pipeline.evaluation import EvaluationConfig
from sessionrec.pipeline.training import questions

CONFIGS = Path(__file__).parents[1] / "experiments" / "data"
# Few ratings on many items: many items have fewer than five.
SPARSE = RatingsConfig(num_users=120, num_items=400, events=1_100, min_user_events=3, seed=2)
DENSE = RatingsConfig(num_users=300, num_items=160, events=9_000, min_user_events=20)

Rated = list[tuple[str, str, int]]
"""User, item, time of each line of a file; times that a file does not have are the place among the user's lines."""


def movielens_1m(folder: Path, config: RatingsConfig) -> Rated:
    file, _ = write_movielens_1m(config, folder)
    lines = [line.split("::") for line in file.read_text(encoding="utf-8").splitlines()]
    return [(user, item, int(time)) for user, item, _, time in lines]


def movielens_20m(folder: Path, config: RatingsConfig) -> Rated:
    file, _ = write_movielens_20m(config, folder)
    lines = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
    return [(user, item, int(time)) for user, item, _, time in lines]


def amazon_beauty(folder: Path, config: RatingsConfig) -> Rated:
    (file,) = write_beauty(config, folder)
    seen: Counter[str] = Counter()
    rated: Rated = []
    for line in file.read_text(encoding="utf-8").splitlines():
        user, item = line.split(" ")
        rated.append((user, item, seen[user]))
        seen[user] += 1
    return rated


ANCHORS = {"movielens_1m": movielens_1m, "movielens_20m": movielens_20m, "amazon_beauty": amazon_beauty}


def made(name: str, folder: Path, *overrides: str) -> Dataset:
    config = load_data_config(CONFIGS / f"{name}.toml", [f"log.path={folder}", *overrides])
    return prepare(config, folder / "data")


def naive(rated: Rated, min_item_events: int) -> Rated:
    """Users and items with too few ratings go, one kind at a time, until nobody goes any more."""
    while True:
        size = len(rated)
        items = Counter(item for _, item, _ in rated)
        rated = [row for row in rated if items[row[1]] >= min_item_events]
        users = Counter(user for user, _, _ in rated)
        rated = [row for row in rated if users[row[0]] >= 5]
        if len(rated) == size:
            return rated


def ordered(rated: Rated) -> dict[str, list[str]]:
    """Items of each user by time, then line."""
    users: dict[str, list[tuple[int, int, str]]] = {}
    for line, (user, item, time) in enumerate(rated):
        users.setdefault(user, []).append((time, line, item))
    return {user: [item for _, _, item in sorted(own)] for user, own in users.items()}


def items_of_users(dataset: Dataset) -> dict[str, list[tuple[str, int]]]:
    """What the data set holds: (item, part) of each user's sessions, in its order."""
    ids = [None, *dataset.items["item"].to_list()]
    users = {}
    for histories in dataset.histories():
        assert np.array_equal(histories.session_offsets, np.arange(histories.num_events + 1))
        for place, user in enumerate(histories.user_U.to_list()):
            own = range(int(histories.user_offsets[place]), int(histories.user_offsets[place + 1]))
            users[str(user)] = [(str(ids[histories.item_E[one]]), int(histories.part_S[one])) for one in own]
    return users


@pytest.mark.parametrize("min_item_events", [1, 5])
@pytest.mark.parametrize("name", ANCHORS)
def test_counts_and_order_are_those_of_the_lines(name: str, min_item_events: int, tmp_path: Path) -> None:
    rated = ANCHORS[name](tmp_path, SPARSE)
    # The committed configs leave items alone; the 5-core of both sides is one override away.
    dataset = made(name, tmp_path, *([f"filter.min_item_events={min_item_events}"] if min_item_events > 1 else []))
    left = naive(rated, min_item_events)
    assert 0 < len(left) < len(rated)
    kept = dataset.summary.kept
    assert (dataset.summary.rows_read, dataset.summary.positives_read) == (1_100, 1_100)
    assert (kept.users, kept.items) == (len({row[0] for row in left}), len({row[1] for row in left}))
    assert kept.sessions == kept.events == kept.positives == len(left)
    lost = (dataset.summary.late_events, dataset.summary.merged, dataset.summary.straddling_sessions)
    assert lost == (0, 0, 0)
    expected = {
        user: list(zip(items, [0] * (len(items) - 2) + [1, 2], strict=True)) for user, items in ordered(left).items()
    }
    assert items_of_users(dataset) == expected


def test_many_histories_end_within_the_second_of_their_target(tmp_path: Path) -> None:
    # Otherwise the test above would not tell an order by rows from an order by time.
    rated = movielens_1m(tmp_path, SPARSE)
    dataset = made("movielens_1m", tmp_path)
    assert len({row[0] for row in rated}) == 120
    ties = 0
    for histories in dataset.histories():
        last = histories.event_offsets[1:] - 1
        ties += int(np.count_nonzero(histories.time_ms_E[last] == histories.time_ms_E[last - 1]))
    assert ties > 0.4 * dataset.num_users


def test_a_question_shows_the_ratings_before_the_target_in_order_up_to_the_cap(tmp_path: Path) -> None:
    rated = movielens_1m(tmp_path, SPARSE)
    dataset = made("movielens_1m", tmp_path)
    expected = ordered(naive(rated, 1))
    ids = [None, *map(str, dataset.items["item"].to_list())]
    names = [str(user) for histories in dataset.histories() for user in histories.user_U.to_list()]
    for part, held_out in (("validation", 2), ("test", 1)):
        view = View(part=part, unit="event", events="positives", max_positions=6)  # type: ignore[arg-type]
        asked = 0
        for inputs, targets in Loader(dataset, view, questions(), seed=0):
            for question in range(targets.num_questions):
                row = int(targets.user_Q[question])
                items = expected[names[int(inputs.user_index_B[row])]]
                first = int(inputs.user_offsets[row])
                shown = inputs.item_E[first : first + int(targets.num_before_Q[question])]
                assert [ids[int(item)] for item in shown] == items[:-held_out][-6:]
                assert [ids[int(item)] for item in targets.positives.row(question)] == [items[-held_out]]
                asked += 1
        assert asked == dataset.num_users


def test_an_anchor_runs_from_raw_files_to_figures_and_beats_the_floors(tmp_path: Path) -> None:
    movielens_1m(tmp_path, DENSE)
    dataset = made("movielens_1m", tmp_path)
    settings = load_fit_config(
        "hstu",
        None,
        [
            "model.width=32",
            "model.backbone.layers=1",
            "model.backbone.heads=1",
            "model.max_sessions=50",
            "model.dropout=0.0",
            "model.has_features=false",
            "optimizer.learning_rate=0.01",
            "loading.batch_users=32",
            "training.metric=ndcg@10",
            "training.epochs=5",
            "threads=1",
        ],
    )
    fit(dataset, tmp_path / "run", settings)
    words = ["protocol.targets=last_item", "protocol.seen=filtered", "protocol.ks=[1, 10]", "num_examples=0"]
    evaluation = evaluate(tmp_path / "run", dataset, load(EvaluationConfig, None, words))
    assert evaluation.model.system == "HSTU"
    reports = {report.system: report for report in evaluation.reports}
    for report in reports.values():
        assert (report.num_questions, report.num_targets, report.target_coverage) == (300, 300, 1.0)
        # One target a question: recall is the hit rate, and the discount of rank 1 is 1.
        assert report.metrics["recall@10"] == report.metrics["hit_rate@10"] >= report.metrics["ndcg@10"]
        assert report.metrics["ndcg@1"] == report.metrics["hit_rate@1"] <= report.metrics["ndcg@10"]
    # Three of four ratings follow from the one before; the fourth is a beginning that nobody foretells.
    assert reports["HSTU"].metrics["hit_rate@10"] > 0.7
    assert reports["HSTU"].metrics["ndcg@10"] > 2.5 * reports["popularity"].metrics["ndcg@10"]
    # Nobody rates twice, and what was rated is taken out: to repeat is then to name the popular.
    assert reports["repeat"].metrics == reports["popularity"].metrics
