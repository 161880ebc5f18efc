"""The floors on a small data set, from the log to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from sessionrec.baselines import (
    ALL,
    DECAYS,
    HALF_LIVES_S,
    Ahead,
    Evidence,
    Floor,
    FloorName,
    ItemKnn,
    ItemSimilarity,
    KnownSessions,
    Popularity,
    Postings,
    RecencyPopularity,
    Repeat,
    SessionKnn,
    fit_floors,
    tune,
)
from sessionrec.baselines import floors as floors_module
from sessionrec.baselines.history import Past
from sessionrec.baselines.recipes import RECIPES
from sessionrec.baselines.tune import most_tries
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.dynamics import ItemEvents
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate, quality_of
from sessionrec.logs.synthetic.planted import PlantedConfig
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


def prepared_in(path: Path, split: Any = None, item: Callable[[int, int], int] = item_of) -> Dataset:
    """Every day each user has a session: one item bought, item 7777 shown; user n comes n seconds after midnight."""
    rows = [
        Row(user=user, item=code, time_ms=T0 + session * DAY_MS + user * 1000 + place, action=action, session=session)
        for user in range(USERS)
        for session in range(SESSIONS)
        for place, (code, action) in enumerate([(item(user, session), 1), (7777, 0)])
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
        events = ItemEvents.collect(dataset, before=before)  # type: ignore[arg-type]
        assert events.num_candidates == dataset.num_candidates
        sold = dict(zip(items, np.diff(events.offsets).tolist(), strict=False))
        assert sold[2] == days
        assert sold[1000] == USERS // 2
        # The odd users' item of the validation day is no candidate, whoever asks.
        assert sold.get(1006, 0) == 0
        assert sold[7777] == 0
        assert events.time_ms_N.max() < T0 + days * DAY_MS


def test_recency_finds_what_is_sold_now_and_is_chosen_on_validation(dataset: Dataset) -> None:
    events = ItemEvents.collect(dataset, before="validation")

    def quality(floor: Ranker) -> float:
        return report(dataset, floor, "validation").metrics["ndcg@5"]

    grid = {"half_life_s": (3600.0, 86_400.0 * 365)}
    found = tune(grid, lambda settings: RecencyPopularity(events, **settings), quality)
    assert set(found.quality) == {(3600.0,), (86_400.0 * 365,)}
    assert tuple(found.choice.values()) == max(found.quality, key=lambda values: found.quality[values])


def test_batches_change_no_floor(dataset: Dataset) -> None:
    events = ItemEvents.collect(dataset)
    floors: list[Ranker] = [
        Popularity.fit(dataset),
        Repeat.fit(dataset, decay=0.5),
        RecencyPopularity(events, half_life_s=3600),
    ]
    for floor in floors:
        assert report(dataset, floor, batch_users=1).users.equals(report(dataset, floor, batch_users=100).users)


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
    assert set(recency.quality) == {(half_life,) for half_life in HALF_LIVES_S}
    best = max(recency.quality, key=lambda values: recency.quality[values])
    assert recency.choice == {"half_life_s": best[0]}
    # All that an even user ever buys is one item, so every decay is as good: the first.
    assert repeat.choice == {"decay": DECAYS[0]}
    assert len(set(repeat.quality.values())) == 1
    assert "recency popularity: chose half_life_s = " in caplog.text
    assert "repeat: chose decay = 0.3 of 8 tried" in caplog.text
    events = ItemEvents.collect(dataset, before="test")
    same = RecencyPopularity(events, half_life_s=recency.choice["half_life_s"])
    assert report(dataset, recency.ranker).users.equals(report(dataset, same).users)
    assert report(dataset, popularity.ranker).users.equals(report(dataset, Popularity(events.count_V)).users)


def test_the_choice_does_not_depend_on_the_part_that_is_evaluated_nor_know_it(dataset: Dataset) -> None:
    test, validation = floors(dataset), floors(dataset, "validation")
    assert [floor.choice for floor in test] == [floor.choice for floor in validation]
    assert [floor.quality for floor in test] == [floor.quality for floor in validation]
    before = ItemEvents.collect(dataset, before="validation")
    assert report(dataset, validation[0].ranker).users.equals(report(dataset, Popularity(before.count_V)).users)


def test_parameters_are_chosen_by_floors_of_training_events_alone(dataset: Dataset) -> None:
    """On the validation day user 2 buys first; who asks later that day must not see it while parameters are chosen."""
    bought = torch.tensor([dataset.items["item"].to_list().index(2) + 1])
    ages = []

    def quality(floor: Ranker, sample: Iterable[Examples]) -> float:
        if isinstance(floor, RecencyPopularity) and floor.half_life_s == HALF_LIVES_S[0]:
            for examples in sample:
                last = examples.targets.time_ms_Q.argmax().reshape(1)
                ages.append(-floor.scorer(examples).pairs(last, bought).item() * HALF_LIVES_S[0])
        return 0

    (made,) = fit_floors(dataset, View(part="test"), quality, names=["recency popularity"])
    assert min(ages) > 86_000
    assert isinstance(made.ranker, RecencyPopularity)
    before_test = made.ranker.at(np.array([T0 + (SESSIONS - 1) * DAY_MS]), bought.numpy()).item()
    assert before_test == pytest.approx(-(86_400 - 2) / HALF_LIVES_S[0], rel=1e-3)


@pytest.mark.parametrize(("enough", "users"), [(2, 30), (0.8, 24), (0.5, 16), (0.1, 8)])
def test_the_sample_ends_with_questions_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: float, users: int
) -> None:
    """Thirty users with two questions each, eight users a batch."""
    monkeypatch.setattr(floors_module, "_QUESTIONS_A_USER", enough)
    monkeypatch.setattr(floors_module, "_BATCH_USERS", 8)
    dataset = prepared_in(tmp_path, GlobalTime(validation_from="2024-01-05", test_from="2024-01-07"))
    asked = []

    def quality(floor: Ranker, sample: Iterable[Examples]) -> float:
        asked.append(sum(examples.inputs.num_users for examples in sample))
        return 0

    fit_floors(
        dataset, evaluation_view(View(), "test", "session"), quality, names=["recency popularity"], sample_users=50
    )
    assert set(asked) == {users}


def test_floors_answer_last_items_after_a_partial_session_too(dataset: Dataset) -> None:
    protocol = EvalProtocol(ks=(1, 5), targets="last_item_partial")
    view = evaluation_view(View(), "test", protocol.targets)
    quality = quality_of(facts_of(dataset), protocol, "recall@5")
    for floor in fit_floors(dataset, view, quality, names=ALL, sample_users=1):
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
    quality = quality_of(facts_of(dataset), protocol, "recall@1")
    for floor in fit_floors(dataset, view, quality, names=ALL, sample_users=20):
        loader = Loader(dataset, view, Loading(shuffle=False, batch_users=7), seed=0)
        found = evaluate(floor.ranker, loader, facts_of(dataset), protocol, name=floor.name)
        assert (found.num_users, found.num_questions) == (USERS, 2 * USERS)
        assert found.target_coverage == 1 / 2
        if floor.name == "repeat":
            assert found.metrics["recall@1"] == 1 / 2


def test_all_floors_are_made_in_the_order_they_are_named(dataset: Dataset) -> None:
    steps: list[tuple[str, int, int | None]] = []
    found = floors(dataset, names=ALL[::-1], progress=lambda *step: steps.append(step))
    assert tuple(floor.name for floor in found) == ALL[::-1]
    # What is announced is the most that can be tried; what a floor did without counts where it ends.
    assert steps[-1][1] == steps[-1][2] == sum(most_tries(RECIPES[floor.name].grid) for floor in found)
    assert [step[1] for step in steps] == sorted(step[1] for step in steps)
    assert len(steps) == sum(len(floor.quality) + bool(floor.quality) for floor in found)
    for floor in found:
        grid = RECIPES[floor.name].grid
        assert len(floor.quality) <= most_tries(grid)
        assert tuple(floor.choice)[len(floor.choice) - len(grid) :] == tuple(grid)
        assert all(len(values) == len(grid) for values in floor.quality)
        best = max(floor.quality.values(), default=0)
        if grid:
            assert floor.quality[tuple(floor.choice[name] for name in grid)] == best


def test_what_was_chosen_before_is_not_chosen_again(dataset: Dataset) -> None:
    steps: list[tuple[str, int, int | None]] = []
    once = {floor.name: floor for floor in floors(dataset, names=ALL)}
    chosen = {name: floor.choice for name, floor in once.items()}
    again = floors(dataset, names=ALL, chosen=chosen, progress=lambda *step: steps.append(step))
    assert steps == []
    for floor in again:
        assert (floor.choice, floor.quality) == (once[floor.name].choice, {})
        assert report(dataset, floor.ranker).users.equals(report(dataset, once[floor.name].ranker).users)
    # One after the other, as a runner makes them, is the same as all at once.
    known: dict[FloorName, dict[str, float]] = {}
    for name in ALL:
        (floor,) = floors(dataset, names=(name,), chosen=known)
        assert floor.choice == once[name].choice
        known[name] = floor.choice


def test_a_floor_that_begins_where_another_ended_is_no_worse_there(dataset: Dataset) -> None:
    found = {floor.name: floor for floor in floors(dataset, names=ALL)}
    for name, recipe in RECIPES.items():
        if recipe.after is not None:
            first = next(iter(found[name].quality))
            shared = {key: found[recipe.after].choice[key] for key in RECIPES[recipe.after].grid}
            assert dict(zip(recipe.grid, first, strict=True)).items() >= shared.items()
    assert max(found["V-SKNN"].quality.values()) > 0


def test_a_product_is_never_worse_than_recency_where_it_was_chosen(dataset: Dataset) -> None:
    found = {floor.name: floor for floor in floors(dataset, names=ALL)}
    recency = max(found["recency popularity"].quality.values())
    for name in ("item-kNN x recency", "V-SKNN x recency"):
        assert max(found[name].quality.values()) >= recency
        assert found[name].choice["half_life_s"] == found["recency popularity"].choice["half_life_s"]


def test_a_floor_does_not_depend_on_which_others_are_asked_for(dataset: Dataset) -> None:
    together = {floor.name: floor for floor in floors(dataset, names=ALL)}
    some: tuple[FloorName, ...] = ("V-SKNN x recency", "item-kNN", "ALS")
    for name in some:
        (alone,) = floors(dataset, names=[name])
        assert (alone.choice, alone.quality) == (together[name].choice, together[name].quality)
        assert report(dataset, alone.ranker).users.equals(report(dataset, together[name].ranker).users)


def test_a_wrong_name_says_what_there_is(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"no floor 'item-knn'; did you mean 'item-kNN'.*V-SKNN x recency, ALS"):
        floors(dataset, names=["item-knn"])
    with pytest.raises(ValueError, match="a floor twice: ALS, ALS"):
        floors(dataset, names=["ALS", "ALS"])
    assert floors(dataset, names=[]) == []


def test_what_is_held_out_changes_no_floor(tmp_path: Path) -> None:
    """The same log once with other test sessions: no choice, no quality and no answer is another."""

    def other(user: int, session: int) -> int:
        return 1000 if session == SESSIONS - 1 else item_of(user, session)

    found = []
    for item in (item_of, other):
        dataset = prepared_in(tmp_path / item.__name__, item=item)
        made = floors(dataset, names=ALL)
        examples = next(iter(Loader(dataset, View(part="test"), Loading(shuffle=False), seed=0)))
        lists = [top_k(floor.ranker.scorer(examples), 5).items_QC for floor in made]
        names = [dataset.items["item"][index - 1] for answers in lists for index in answers.flatten().tolist()]
        found.append(([floor.choice for floor in made], [floor.quality for floor in made], names))
    assert found[0] == found[1]


def test_sessions_are_those_of_earlier_parts(dataset: Dataset) -> None:
    items = dataset.items["item"].to_list()
    for before, days in (("validation", SESSIONS - 2), ("test", SESSIONS - 1)):
        sessions = KnownSessions.collect(dataset, before=before)  # type: ignore[arg-type]
        # What odd users buy on the validation day is no candidate, so these sessions are empty.
        assert sessions.num_sessions == USERS // 2 * days + USERS // 2 * (SESSIONS - 2)
        assert sessions.end_ms_S.max() < T0 + days * DAY_MS
        sold = np.bincount(sessions.column_E, minlength=dataset.num_candidates)
        assert {items[place]: count for place, count in enumerate(sold.tolist())}[2] == days
        assert sorted(set(sessions.user_S.tolist())) == list(range(USERS))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    config = Preparation(session=NativeRule(), filter=Filters(min_item_events=1, min_user_events=1))
    path = tmp_path_factory.mktemp("planted")
    made = PlantedConfig(num_users=60, num_groups=6, group_size=3, exposures_per_session=2).open()
    with prepare(made, config) as prepared:
        write_dataset(path, prepared, Storage(), {})
    return Dataset(path)


def test_on_planted_groups_neighbours_find_what_they_can(planted: Dataset) -> None:
    """Items of a group come together in sessions, so the newest session finds its own group again; that another follows
    is for models of order to find."""
    sessions = KnownSessions.collect(planted)
    similarity = ItemSimilarity(sessions, by="session", shrink=0)
    assert np.diff(similarity.matrix.indptr).tolist() == [2] * 18
    assert similarity.matrix.data.tolist() == pytest.approx([1] * 36)
    examples = next(iter(Loader(planted, View(part="test"), Loading(shuffle=False), seed=0)))
    both: tuple[Evidence, ...] = (
        ItemKnn(similarity, decay=0.5, own=1),
        SessionKnn(Postings(sessions), is_vector=True, query_sessions=1),
    )
    recency = RecencyPopularity(ItemEvents.collect(planted), half_life_s=3600)
    newest = Past.of(examples, planted.num_candidates, newest=1).column_Y.reshape(-1, 3)
    for evidence in both:
        best = top_k(Ahead(evidence, recency).scorer(examples), 3).items_QC.numpy() - 1
        assert (np.sort(best, 1) == np.sort(newest, 1)).all()
