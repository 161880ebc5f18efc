"""Two logs that differ only from the held-out part on give the same of everything that is made before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sessionrec.baselines import fit_floors
from sessionrec.batch import Targets
from sessionrec.data.dataset import Dataset
from sessionrec.data.view import EvalTargets, View, evaluation_view
from sessionrec.dynamics.events import ItemEvents
from sessionrec.evaluate import EvalProtocol, quality_of
from sessionrec.losses.objective import Draw, Objective
from sessionrec.pipeline import fit
from sessionrec.pipeline.training import facts_of, presets
from sessionrec.recommend import artifact
from sessionrec.recommend.artifact import train_events
from sessionrec.schema import TRAIN_EVENTS
from sessionrec.sessions.split import Part
from sessionrec.train import checkpoint
from tests.leaks.logs import (
    ITEMS,
    NEW_ITEMS,
    USERS,
    HeldOut,
    Split,
    all_scores,
    asked,
    made,
    past,
    settings,
    with_other_future,
)

SPLITS: list[Split] = ["leave_last_session", "global_time"]
HELD_OUT: list[HeldOut] = ["validation", "test"]
COLUMNS = ("user_offsets", "session_offsets", "session_time_ms_S", "part_S", "item_E", "action_E", "time_ms_E")
NEGATIVES = {
    "few": "negatives.number=4",
    "many": "negatives.number=20",
    "all": "negatives.number=1000",
    "popular": "negatives={kind='popular',number=20,beta=0.0}",
    "full": "kind=full",
}
"""Of few, many and all candidates each is drawn in its own way. Where popularity does not count, nor does that of items
that have none."""
MORE_NEW_ITEMS = 9
"""Of the other future: whatever takes all items for known has another length there."""
VIEWS = {
    "sessions": View(),
    "positives": View(events="positives"),
    "items": View(unit="event", events="positives", max_positions=5),
}


@dataclass(frozen=True)
class Pair:
    """Two data sets that differ only from the held-out part on."""

    one: Dataset
    other: Dataset
    part: HeldOut
    same_size: Dataset
    """`other` again, with as many new items as `one`: the size of the table decides how its weights are drawn."""


@pytest.fixture(scope="module", params=[(split, part) for split in SPLITS for part in HELD_OUT], ids="-".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    split, part = request.param
    folder, rows = tmp_path_factory.mktemp("leaks"), past()

    def dataset(variant: int, num_new: int) -> Dataset:
        future = with_other_future(rows, part, split, variant, num_new=num_new)
        return made(folder / f"{variant}-{num_new}", future, split, variant, num_new=num_new)

    return Pair(dataset(1, NEW_ITEMS), dataset(2, MORE_NEW_ITEMS), part, dataset(2, NEW_ITEMS))


def what_is_shown(dataset: Dataset, view: View) -> list[Any]:
    """Of every question: who asks, when, and all that the inputs show; not what is to be found."""
    shown: list[Any] = []
    for inputs, targets in asked(dataset, view):
        fields = {name: getattr(inputs, name) for name in inputs.__dataclass_fields__} | dict(inputs.features)
        shown.append({name: value.tolist() for name, value in fields.items() if isinstance(value, torch.Tensor)})
        shown.append([targets.user_Q.tolist(), targets.num_before_Q.tolist(), targets.time_ms_Q.tolist()])
    return shown


def what_is_to_be_found(dataset: Dataset, view: View) -> list[Any]:
    return [targets.positives.values.tolist() for _, targets in asked(dataset, view)]


def earlier(part: HeldOut) -> list[Part]:
    return [one for one in Part if one < Part[part.upper()]]


def test_the_futures_have_nothing_in_common(pair: Pair) -> None:
    # What the other tests of this page rest on.
    one, other = (dataset.summary.parts[pair.part] for dataset in (pair.one, pair.other))
    assert one.sessions == other.sessions > 0
    has_clock = pair.one.summary.time_borders is not None
    assert min(dataset.summary.straddling_sessions for dataset in (pair.one, pair.other)) >= has_clock
    assert one.events != other.events
    view = View(part=pair.part)
    assert what_is_to_be_found(pair.one, view) != what_is_to_be_found(pair.other, view)
    datasets = (pair.one, pair.other, pair.same_size)
    new_items = [dataset.num_items - dataset.num_candidates for dataset in datasets]
    assert new_items == [NEW_ITEMS, MORE_NEW_ITEMS, NEW_ITEMS]
    assert len({dataset.digest for dataset in datasets}) == 3


def test_the_sessions_before_are_the_same(pair: Pair) -> None:
    for one, other in zip(pair.one.histories(), pair.other.histories(), strict=True):
        early, same = (
            histories.keep_sessions(histories.part_S < Part[pair.part.upper()]) for histories in (one, other)
        )
        assert early.num_events > 0
        assert early.user_U.to_list() == same.user_U.to_list()
        for name in COLUMNS:
            assert np.array_equal(getattr(early, name), getattr(same, name)), name
        assert all(np.array_equal(values, same.features[name]) for name, values in early.features.items())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("targets", ["session", "last_item"])
def test_a_held_out_question_shows_the_same_history(pair: Pair, view: str, targets: EvalTargets) -> None:
    asks = evaluation_view(VIEWS[view], pair.part, targets)
    one, other = (first_questions(dataset, asks) for dataset in (pair.one, pair.other))
    assert one == other
    assert len(one) > USERS // 2


def first_questions(dataset: Dataset, view: View) -> dict[int, Any]:
    """What each user's first question shows: with one clock the later ones may see earlier held-out sessions."""
    shown: dict[int, Any] = {}
    for inputs, targets in asked(dataset, view):
        for question in range(targets.num_questions):
            row = int(targets.user_Q[question])
            first = int(inputs.user_offsets[row])
            stop = first + int(targets.num_before_Q[question])
            cuts = inputs.session_offsets
            events = slice(int(cuts[first]), int(cuts[stop]))
            told = [
                int(targets.time_ms_Q[question]),
                inputs.session_time_ms_S[first:stop].tolist(),
                (cuts[first : stop + 1] - cuts[first]).tolist(),
                *(values[events].tolist() for values in (inputs.item_E, inputs.action_E, inputs.time_ms_E)),
                *(values[events].tolist() for values in inputs.features.values()),
            ]
            shown.setdefault(int(inputs.user_index_B[row]), told)
    return shown


@pytest.mark.parametrize("view", VIEWS)
def test_what_earlier_parts_ask_is_the_same(pair: Pair, view: str) -> None:
    for part in earlier(pair.part):
        asks = VIEWS[view].model_copy(update={"part": part.name.lower()})
        assert what_is_shown(pair.one, asks) == what_is_shown(pair.other, asks)
        assert what_is_to_be_found(pair.one, asks) == what_is_to_be_found(pair.other, asks)


def test_the_catalogue_the_bins_and_the_vocabularies_are_the_same(pair: Pair) -> None:
    one, other = (dataset.items.filter(pl.col(TRAIN_EVENTS) > 0) for dataset in (pair.one, pair.other))
    # Index, id, training events, training positives, first time, codes of the features.
    assert one.equals(other)
    assert pair.one.num_candidates == pair.other.num_candidates == ITEMS
    assert pair.one.vocabularies.filter(pl.col("train_events") > 0).equals(
        pair.other.vocabularies.filter(pl.col("train_events") > 0)
    )
    assert pair.one.body["features"] == pair.other.body["features"]
    edges = [entry["edges"] for entry in pair.one.body["features"] if entry["kind"] == "number"]
    assert len(edges) == 2
    assert all(len(some) > 1 for some in edges)
    # What negatives are drawn by.
    assert torch.equal(train_events(pair.one), train_events(pair.other))


def test_the_floors_give_the_same_scores(pair: Pair) -> None:
    asks = evaluation_view(View(), pair.part, "session")
    examples = next(asked(pair.one, asks))
    scores = []
    for dataset in (pair.one, pair.other):
        if pair.part == "test":
            quality = quality_of(facts_of(dataset), EvalProtocol(), "ndcg@10")
            floors = fit_floors(dataset, asks, quality, part="test")
            rankers = {floor.name: floor.ranker for floor in floors}
            choices: dict[str, Any] = {floor.name: (floor.choice, floor.quality) for floor in floors}
        else:
            # Validation questions choose the parameters, so what can be compared is what the floors are made of.
            events = ItemEvents.collect(dataset, before="validation")
            rankers, choices = {}, {"events": (events.offsets.tolist(), events.time_ms_N.tolist())}
        scores.append((choices, {name: all_scores(ranker, examples).tolist() for name, ranker in rankers.items()}))
    assert scores[0] == scores[1]
    assert pair.part == "validation" or {"popularity", "recency popularity", "repeat"} <= set(scores[0][1])


@pytest.mark.parametrize("pair", [(split, HELD_OUT[-1]) for split in SPLITS], indirect=True, ids="-".join)
@pytest.mark.parametrize("words", NEGATIVES.values(), ids=NEGATIVES)
def test_no_negative_is_an_item_without_a_training_event(
    pair: Pair, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: set[int] = set()
    draw = Objective.draw

    def told(objective: Objective, targets: Targets, num_users: int) -> Draw:
        found = draw(objective, targets, num_users)
        drawn.update(found.items_RC.flatten().tolist())
        return found

    monkeypatch.setattr(Objective, "draw", told)
    fields = [f"objective.retrieval.{word}" for word in words.split()]
    fit(pair.other, tmp_path / "run", settings("paper", "training.epochs=1", "loading.passes=3", *fields))
    known = pair.other.items.filter(pl.col(TRAIN_EVENTS) > 0)["index"].to_list()
    # All of these and no other: so many are drawn that none is missed by chance.
    assert sorted(drawn) == known


USUAL = ("bert4rec", "hstu", "paper")
"""Of both units and both directions: a model that sees both ways learns from what comes after, and must stop there."""


@pytest.mark.parametrize(
    "preset", [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in sorted(presets())]
)
def test_the_weights_are_the_same_bit_for_bit(pair: Pair, preset: str, tmp_path: Path) -> None:
    weights = []
    for name, dataset in (("one", pair.one), ("other", pair.same_size)):
        fit(dataset, tmp_path / name, settings(preset))
        if pair.part == "test":
            weights.append(artifact.load(tmp_path / name).recommender.state_dict())
        else:
            # Validation chooses the epoch, and has no other say: after the last epoch the weights are the same.
            trained = artifact.load(tmp_path / name).recommender
            checkpoint.load_model(tmp_path / name / "last", trained)
            weights.append(trained.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        assert torch.equal(values, weights[1][name]), name
