"""The floors on a small data set, from the log to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from sessionrec.baselines import (
    DECAYS,
    HALF_LIVES_S,
    Choice,
    Floor,
    Popularity,
    PositiveEvents,
    RecencyPopularity,
    Repeat,
    choose,
    fit_floors,
)
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate, quality_of
from sessionrec.scoring import Ranker, top_k
from sessionrec.sessions.filters import Filters
from sessionrec.sessions.prepare import Preparation, prepare
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import GlobalTime
from sessionrec.sessions.truncation import Truncation
from tests.helpers import T0, Row, log_of

DAY_MS = 86_400_000
USERS, SESSIONS = 30, 8


def item_of(user: int, session: int) -> int:
    """Even users buy the same for ever; odd users what all odd users buy that day."""
    return user if user % 2 == 0 else 1000 + session


def prepared_in(path: Path, split: Any = None) -> Dataset:
    """Every day each user has a session: one item bought, item 7777 shown; user n comes n seconds after midnight."""
    rows = [
        Row(user=user, item=item, time_ms=T0 + session * DAY_MS + user * 1000 + place, action=action, session=session)
        for user in range(USERS)
        for session in range(SESSIONS)
        for place, (item, action) in enumerate([(item_of(user, session), 1), (7777, 0)])
    ]
    loose = Filters(min_item_events=1, min_user_events=1, min_user_sessions=1)
    config = Preparation(session=NativeRule(), filter=loose)
    if split is not None:
        config = config.model_copy(update={"split": split})
    with prepare(log_of(rows), config) as prepared:
        write_dataset(path, prepared, Storage(events_per_row_group=50), {})
    return Dataset(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared_in(tmp_path_factory.mktemp("dataset"))


def facts_of(dataset: Dataset) -> ItemFacts:
    return ItemFacts(
        num_candidates=dataset.num_candidates, train_positives_I=dataset.items["train_positives"].to_numpy()
    )


def report(dataset: Dataset, floor: Ranker, part: str = "test", batch_users: int = 7) -> EvalReport:
    view = View.model_validate({"part": part})
    loader = Loader(dataset, view, Loading(shuffle=False, batch_users=batch_users, prefetch=0), seed=0)
    return evaluate(floor, loader, facts_of(dataset), EvalProtocol(ks=(1, 5)), name="floor")


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


def floors(dataset: Dataset, part: Literal["validation", "test"] = "test", **more: Any) -> list[Floor]:
    quality = quality_of(facts_of(dataset), EvalProtocol(), "ndcg@5")
    return fit_floors(dataset, View(part=part), quality, part=part, sample_users=10, **more)


def test_floors_are_chosen_on_validation_and_made_of_all_before_the_part(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[tuple[str, int, int | None]] = []
    with caplog.at_level("INFO", "sessionrec.baselines"):
        found = floors(dataset, progress=lambda *step: steps.append(step))
    assert [floor.name for floor in found] == ["popularity", "recency popularity", "repeat"]
    assert steps[-1] == ("choose floors", 21, 21)
    popularity, recency, repeat = found
    assert popularity.choice == {}
    assert set(recency.quality) == set(HALF_LIVES_S)
    assert recency.choice == {"half_life_s": max(recency.quality, key=lambda value: recency.quality[value])}
    # All that an even user ever buys is one item, so every decay is as good: the first.
    assert repeat.choice == {"decay": DECAYS[0]}
    assert len(set(repeat.quality.values())) == 1
    assert "half-life, s" in caplog.text
    assert "decay = 0.3" in caplog.text
    events = PositiveEvents.collect(dataset, before="test")
    same = RecencyPopularity(events, half_life_s=recency.choice["half_life_s"])
    assert report(dataset, recency.ranker).users.equals(report(dataset, same).users)
    assert report(dataset, popularity.ranker).users.equals(report(dataset, Popularity(events.count_V)).users)


def test_the_choice_does_not_depend_on_the_part_that_is_evaluated_nor_know_it(dataset: Dataset) -> None:
    test, validation = floors(dataset), floors(dataset, "validation")
    assert [floor.choice for floor in test] == [floor.choice for floor in validation]
    assert [floor.quality for floor in test] == [floor.quality for floor in validation]
    before = PositiveEvents.collect(dataset, before="validation")
    assert report(dataset, validation[0].ranker).users.equals(report(dataset, Popularity(before.count_V)).users)


def test_floors_answer_last_items_after_a_partial_session_too(dataset: Dataset) -> None:
    protocol = EvalProtocol(ks=(1, 5), targets="last_item_partial")
    view = evaluation_view(View(), "test", protocol.targets)
    quality = quality_of(facts_of(dataset), protocol, "recall@5")
    for floor in fit_floors(dataset, view, quality, sample_users=1):
        loader = Loader(dataset, view, Loading(shuffle=False), seed=0)
        found = evaluate(floor.ranker, loader, facts_of(dataset), protocol, name=floor.name)
        assert found.num_targets == found.num_questions == USERS
    with pytest.raises(ValueError, match="has part of the target's own session"):
        evaluate(floor.ranker, loader, facts_of(dataset), EvalProtocol(), name="wrong")


@pytest.mark.parametrize("targets", ["session", "last_item_partial"])
@pytest.mark.parametrize("cap", [None, 2])
def test_under_one_clock_a_user_has_several_questions(
    tmp_path: Path, targets: Literal["session", "last_item_partial"], cap: int | None
) -> None:
    """Days 0 to 3 train, 4 and 5 validate, 6 and 7 test; with caps or partial sessions each question has a row."""
    split = GlobalTime(validation_from="2024-01-05", test_from="2024-01-07")
    dataset, protocol = prepared_in(tmp_path, split), EvalProtocol(ks=(1,), targets=targets)
    view = evaluation_view(View(truncation=Truncation(max_sessions=cap)), "test", targets)
    for floor in fit_floors(dataset, view, quality_of(facts_of(dataset), protocol, "recall@1"), sample_users=20):
        loader = Loader(dataset, view, Loading(shuffle=False, batch_users=7), seed=0)
        found = evaluate(floor.ranker, loader, facts_of(dataset), protocol, name=floor.name)
        assert (found.num_users, found.num_questions) == (USERS, 2 * USERS)
        assert found.target_coverage == 1 / 2
        if floor.name == "repeat":
            assert found.metrics["recall@1"] == 1 / 2
