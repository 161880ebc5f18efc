"""The floors on a small data set, from the log to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessionrec.baselines import Choice, Popularity, PositiveEvents, RecencyPopularity, Repeat, choose
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate
from sessionrec.scoring import Ranker, top_k
from sessionrec.sessions.filters import Filters
from sessionrec.sessions.prepare import Preparation, prepare
from sessionrec.sessions.rule import NativeRule
from tests.helpers import T0, Row, log_of

DAY_MS = 86_400_000
USERS, SESSIONS = 30, 8


def item_of(user: int, session: int) -> int:
    """Even users buy the same for ever; odd users what all odd users buy that day."""
    return user if user % 2 == 0 else 1000 + session


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every day each user has a session: one item bought, item 7777 shown; user n comes n seconds after midnight."""
    rows = [
        Row(user=user, item=item, time_ms=T0 + session * DAY_MS + user * 1000 + place, action=action, session=session)
        for user in range(USERS)
        for session in range(SESSIONS)
        for place, (item, action) in enumerate([(item_of(user, session), 1), (7777, 0)])
    ]
    path = tmp_path_factory.mktemp("dataset")
    loose = Filters(min_item_events=1, min_user_events=1, min_user_sessions=1)
    with prepare(log_of(rows), Preparation(session=NativeRule(), filter=loose)) as prepared:
        write_dataset(path, prepared, Storage(events_per_row_group=50), {})
    return Dataset(path)


def report(dataset: Dataset, floor: Ranker, part: str = "test", batch_users: int = 7) -> EvalReport:
    facts = ItemFacts(
        num_candidates=dataset.num_candidates, train_positives_I=dataset.items["train_positives"].to_numpy()
    )
    view = View.model_validate({"part": part})
    loader = Loader(dataset, view, Loading(shuffle=False, batch_users=batch_users, prefetch=0), seed=0)
    return evaluate(floor, loader, facts, EvalProtocol(ks=(1, 5)), name="floor")


def test_repeat_knows_who_buys_the_same(dataset: Dataset) -> None:
    found = report(dataset, Repeat.fit(dataset, decay=0.9))
    # Even users are half of all; what odd users buy on the last two days was never in training.
    assert found.metrics["recall@1"] == 1 / 2
    assert found.target_coverage == 1 / 2
    # Even users' item stands above the one only shown; an item that is no candidate stands below it.
    assert found.metrics["in_session_auc"] == 1 / 2


def test_popularity_is_the_same_for_all(dataset: Dataset) -> None:
    floor = Popularity.fit(dataset)
    examples = next(iter(Loader(dataset, View(part="test"), Loading(shuffle=False), seed=0)))
    lists = top_k(floor.scorer(examples), 5).items_QC
    assert (lists == lists[0]).all()
    # Of each day's item of the odd users 15 are sold, of each even user's item 6: six days lead, all equal.
    popular = dataset.items["item"].to_list()
    assert {popular[index - 1] for index in lists[0].tolist()} <= {1000, 1001, 1002, 1003, 1004, 1005}


def test_events_are_the_positives_of_earlier_parts(dataset: Dataset) -> None:
    items = dataset.items["item"].to_list()
    for before, days in (("validation", SESSIONS - 2), ("test", SESSIONS - 1)):
        events = PositiveEvents.collect(dataset, before=before)  # type: ignore[arg-type]
        assert events.num_candidates == dataset.num_candidates
        sold = dict(zip(items, np.diff(events.offsets).tolist(), strict=False))
        assert sold[2] == days
        assert sold[1000] == USERS // 2
        # The odd users' item of the validation day is no candidate, whoever asks.
        assert sold.get(1006, 0) == 0
        assert sold[7777] == 0
        assert events.time_ms_N.max() < T0 + days * DAY_MS


def test_recency_finds_what_is_sold_now_and_is_chosen_on_validation(dataset: Dataset) -> None:
    events = PositiveEvents.collect(dataset, before="validation")

    def quality(floor: Ranker) -> float:
        return report(dataset, floor, "validation").metrics["ndcg@5"]

    found = choose([3600.0, 86_400.0 * 365], lambda s: RecencyPopularity(events, half_life_s=s), quality)
    assert set(found.quality) == {3600.0, 86_400.0 * 365}
    assert found.value == max(found.quality, key=lambda value: found.quality[value])


def test_batches_change_no_floor(dataset: Dataset) -> None:
    events = PositiveEvents.collect(dataset)
    floors: list[Ranker] = [
        Popularity.fit(dataset),
        Repeat.fit(dataset, decay=0.5),
        RecencyPopularity(events, half_life_s=3600),
    ]
    for floor in floors:
        assert report(dataset, floor, batch_users=1).users.equals(report(dataset, floor, batch_users=100).users)


def test_the_first_of_equal_values_is_chosen(dataset: Dataset) -> None:
    floor = Popularity.fit(dataset)
    assert choose([2.0, 1.0], lambda _: floor, lambda _: 0.5) == Choice(value=2.0, quality={2.0: 0.5, 1.0: 0.5})
    with pytest.raises(ValueError, match="empty"):
        choose([], lambda _: floor, lambda _: 0.5)


def test_a_floors_report_is_saved_and_read(dataset: Dataset, tmp_path: Path) -> None:
    found = report(dataset, Popularity.fit(dataset))
    found.save(tmp_path / "floor.json")
    assert EvalReport.load(tmp_path / "floor.json").metrics == found.metrics
