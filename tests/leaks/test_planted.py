"""Items that a user meets in the future alone are found by nobody, or no better than by chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sessionrec.baselines import fit_floors
from sessionrec.data.dataset import Dataset
from sessionrec.data.view import View, evaluation_view
from sessionrec.evaluate import EvalProtocol, quality_of
from sessionrec.pipeline import fit
from sessionrec.pipeline.training import facts_of
from sessionrec.recommend import artifact
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.scoring import MISS, Ranker, search
from tests.leaks.logs import USERS, all_scores, asked, made, past, settings

PLANTED = "i05"
"""Every second user's test session is full of it; before, everybody meets it alike."""


@dataclass(frozen=True)
class Planted:
    dataset: Dataset
    run: Path
    marked: set[str]


@pytest.fixture(scope="module", params=["paper", "hstu"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder, rows = tmp_path_factory.mktemp("planted"), past()
    last = {row.user: row.session for row in rows}
    marked = {f"u{user}" for user in range(4, USERS) if user % 12 < 6}
    changed = []
    for row in rows:
        if row.user in marked and row.session == last[row.user]:
            # One item that nobody has in training, and one that everybody may have.
            changed.append(replace(row, item=PLANTED if row.time % 2 else "new-1-0", event="buy"))
        else:
            changed.append(row)
    dataset = made(folder / "log", sorted(changed, key=lambda row: row.time), "leave_last_session", 1)
    fit(dataset, folder / "run", settings(request.param, "training.epochs=15", "optimizer.learning_rate=0.01"))
    return Planted(dataset, folder / "run", marked)


def systems(planted: Planted) -> dict[str, tuple[Ranker, View]]:
    model = artifact.load(planted.run)
    view = evaluation_view(model.view, "test", "session")
    whole = evaluation_view(View(), "test", "session")
    quality = quality_of(facts_of(planted.dataset), EvalProtocol(), "ndcg@10")
    floors = fit_floors(planted.dataset, whole, quality, part="test")
    ranker = ModelRanker(model.recommender, model.num_candidates)
    return {"model": (ranker, view)} | {floor.name: (floor.ranker, whole) for floor in floors}


def test_an_item_of_the_future_alone_is_no_candidate_and_never_found(planted: Planted) -> None:
    index = planted.dataset.items.filter(pl.col("item") == "new-1-0")["index"].item()
    assert index > planted.dataset.num_candidates
    for name, (ranker, view) in systems(planted).items():
        for examples in asked(planted.dataset, view):
            rank_T, best = search(ranker.scorer(examples), examples.targets.positives, 10)
            is_new_T = examples.targets.positives.values == index
            assert is_new_T.any()
            assert (rank_T[is_new_T] >= MISS).all(), name
            assert (best.items_QC <= planted.dataset.num_candidates).all(), name


def test_an_item_that_only_the_future_brings_together_with_a_user_is_not_lifted(planted: Planted) -> None:
    index = planted.dataset.items.filter(pl.col("item") == PLANTED)["index"].item()
    assert index <= planted.dataset.num_candidates
    names = [user for histories in planted.dataset.histories() for user in histories.user_U.to_list()]
    for name, (ranker, view) in systems(planted).items():
        above = {True: [], False: []}  # type: dict[bool, list[float]]
        for examples in asked(planted.dataset, view):
            scores = all_scores(ranker, examples)
            share = (scores > scores[:, index - 1 : index]).double().mean(dim=1)
            users = [names[int(user)] for user in examples.inputs.user_index_B[examples.targets.user_Q]]
            for user, value in zip(users, share.tolist(), strict=True):
                if int(user[1:]) >= 4:
                    above[user in planted.marked].append(value)
        # Marked are users of all groups alike, so what is above the item must be so as well: 18 users against 18.
        assert len(above[True]) == len(above[False]) == 18
        assert abs(np.mean(above[True]) - np.mean(above[False])) < 0.12, name
