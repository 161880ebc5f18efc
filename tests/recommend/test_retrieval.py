"""A model with a prior: what its artifact keeps, what it answers, and what is found without scoring everything."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.errors import ArtifactError, ConfigError, HistoryError
from sessionrec.index.exact import ExactConfig
from sessionrec.index.holdings import Filter
from sessionrec.jagged import Jagged
from sessionrec.pipeline import EvaluationConfig, IndexingConfig, evaluate, fit, index
from sessionrec.pipeline.prior import fit_prior, prior_ranker, ranker_for
from sessionrec.pipeline.training import load_fit_config, questions
from sessionrec.prior import PriorConfig, store
from sessionrec.recommend import SessionRec, artifact
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.face import item_codes
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, Retriever, dense_vectors, quality
from sessionrec.scoring import top_k
from tests.shop import SMALL, day, sku

PRIOR = ("prior.has_neighbours=true", "prior.uniform=12", "prior.recent=8", "prior.best=4")
ALL = Reach(near=18, fresh=18, whole=0)


@pytest.fixture(scope="module")
def run(shop: tuple[Dataset, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's run with a prior: the model that is there is not trained again."""
    folder = Path(tmp_path_factory.mktemp("prior") / "run")
    shutil.copytree(shop[1], folder)
    before = artifact.load(folder)
    fields = json.loads((folder / "model" / "manifest.json").read_text())["body"]["config"]["training"]["epochs"]
    trained = fit(shop[0], folder, load_fit_config(None, None, [*SMALL, f"training.epochs={fields}", *PRIOR]))
    after = artifact.load(folder)
    assert trained.epochs == before.body["selection"]["epochs"]
    for name, weights in before.recommender.state_dict().items():
        assert torch.equal(weights, after.recommender.state_dict()[name])
    assert before.fingerprint != after.fingerprint
    return folder


@pytest.fixture(scope="module")
def asked(shop: tuple[Dataset, Path], run: Path) -> Examples:
    view = evaluation_view(artifact.load(run).view, "test", "session")
    return next(iter(Loader(shop[0], view, questions(), seed=0)))


def retriever_of(run: Path, dataset: Dataset, reach: Reach) -> tuple[Any, Retriever]:
    trained = artifact.load(run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    assert trained.prior is not None
    ranker = prior_ranker(dataset, trained.prior.fitted, trained.prior.scheme, model=model)
    rows = np.arange(1, trained.num_candidates + 1)
    built = ExactConfig().build(rows, dense_vectors(model, ranker), features=item_codes(trained))
    return ranker, Retriever(ranker, model, built, reach)


def test_a_stored_prior_answers_as_the_fitted_one(shop: tuple[Dataset, Path], run: Path, asked: Examples) -> None:
    """After the last event, what the artifact knows of items is what the whole data set says."""
    dataset, trained = shop[0], artifact.load(run)
    assert trained.prior is not None
    model = ModelRanker(trained.recommender, trained.num_candidates)
    live = live_ranker(trained, model)
    last = max(int(histories.time_ms_E.max()) for histories in dataset.histories())
    later = Examples(asked.inputs, replace(asked.targets, time_ms_Q=torch.full_like(asked.targets.time_ms_Q, last + 1)))
    found = top_k(live.scorer(later), 18)
    # The same from everything anew: all parts are before a time after all of them.
    stored = trained.prior
    assert set(stored.fitted.prior.weights) == set(prior_ranker_names(dataset, stored))
    counts = np.array([state.time_ms_V.max() for state in (stored.live.acted, stored.live.shown) if state is not None])
    assert counts.max() == last
    assert torch.isfinite(found.scores_QC).all()
    again = live_ranker(artifact.load(run), model)
    assert torch.equal(top_k(again.scorer(later), 18).scores_QC, found.scores_QC)


def prior_ranker_names(dataset: Dataset, stored: Any) -> tuple[str, ...]:
    from sessionrec.prior.features import names_of

    ranker = prior_ranker(dataset, stored.fitted, stored.scheme)
    return names_of(ranker._items, ranker._own)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("limit", [None, Filter(where={"brand": (1,)})])
def test_with_room_for_all_nothing_is_missed(
    shop: tuple[Dataset, Path], run: Path, asked: Examples, exclude_seen: bool, limit: Filter | None
) -> None:
    dataset = shop[0]
    ranker, retriever = retriever_of(run, dataset, ALL)
    size = asked.targets.num_questions
    exclude = None
    if exclude_seen:
        exclude = Jagged(values=np.tile([1, 2, 3], size), offsets=np.arange(size + 1) * 3)
    found = retriever.search(asked, 5, exclude=exclude, allow=limit)
    scores_QV = np.full((size, dataset.num_candidates), -np.inf, np.float32)
    question, item = np.indices(scores_QV.shape).reshape(2, -1)
    pairs = ranker.scorer(asked).pairs(torch.from_numpy(question), torch.from_numpy(item + 1))
    scores_QV[:] = pairs.numpy().reshape(scores_QV.shape)
    if exclude_seen:
        scores_QV[:, :3] = -np.inf
    if limit is not None:
        brand_V = item_codes(artifact.load(run))["brand"]
        scores_QV[:, brand_V != 1] = -np.inf
    order = np.argsort(-scores_QV, axis=1, kind="stable")[:, :5]
    assert np.array_equal(found.items_QC, order + 1)
    np.testing.assert_allclose(found.scores_QC, np.take_along_axis(scores_QV, order, 1), rtol=1e-6)


def test_a_small_catalogue_is_scored_whole(shop: tuple[Dataset, Path], run: Path, asked: Examples) -> None:
    ranker, whole = retriever_of(run, shop[0], Reach(near=1, fresh=1))
    assert quality(whole, ranker, asked, 5) == 1.0
    found = whole.search(asked, 5)
    exact = top_k(ranker.scorer(asked), 5)
    assert np.array_equal(found.items_QC, exact.items_QC.numpy())


def test_what_is_missed_is_measured(shop: tuple[Dataset, Path], run: Path, asked: Examples) -> None:
    """An index of the wrong items, a short reach, and nothing known but one session."""
    dataset, trained = shop[0], artifact.load(run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    fitted, scheme = fit_prior(dataset, trained.view, PriorConfig(hidden=0), model=model)
    ranker = prior_ranker(dataset, fitted, scheme, model=model)
    wrong = ExactConfig().build(np.arange(1, 19), -dense_vectors(model, ranker))
    first = replace(asked.targets, num_before_Q=torch.ones_like(asked.targets.num_before_Q))
    short = Retriever(ranker, model, wrong, Reach(near=1, fresh=1, whole=0))
    assert 0 < quality(short, ranker, Examples(asked.inputs, first), 2) < 0.9


def test_answers_are_those_of_the_model_with_its_prior(run: Path, shop: tuple[Dataset, Path]) -> None:
    model = SessionRec.load(run)
    users = shop[0].read(shop[0].row_groups[0]).user_U[:4].to_list()
    intake = model.users(users, shop[0])
    answers = model.recommend(intake, 18)
    places, examples = model._questions(intake)
    assert examples is not None and model._beside is not None
    exact = top_k(model._beside.scorer(examples), 18)
    ids = model.model.items["item"].to_list()
    for row, place in enumerate(places.tolist()):
        assert answers[place].source == "model"
        assert answers[place].items == [ids[code - 1] for code in exact.items_QC[row].tolist()]
        (ranked,) = model.rank(model.users([users[place]], shop[0]), [answers[place].items[::-1]])
        assert ranked.items == answers[place].items
        np.testing.assert_allclose(ranked.scores, answers[place].scores, rtol=1e-5, atol=1e-6)
        (listed,) = model.rank(model.users([users[place]], shop[0]), [ids], as_shown=True)
        code = ids.index(listed.items[0]) + 1
        wanted = model._beside.scorer(examples).in_list(torch.full((18,), row), torch.arange(1, 19))
        assert listed.scores[0] == pytest.approx(float(wanted.max()), rel=1e-5)
        assert code == int(wanted.argmax()) + 1


def test_an_event_changes_what_strangers_are_told(run: Path) -> None:
    model = SessionRec.load(run)
    now = day(14) + timedelta(hours=1)
    (before,) = model.recommend([[]], 18, now=now)
    assert before.source == "prior"
    for second in range(40):
        model.add(before.items[4], now - timedelta(seconds=60 + second))
    (again,) = model.recommend([[]], 18, now=now)
    assert again.items == before.items, "the list of what is fresh is used for a minute"
    (after,) = model.recommend([[]], 18, now=now + timedelta(minutes=2))
    (ranked,) = model.rank([[]], [model.model.items["item"].to_list()], now=now + timedelta(minutes=2))
    assert after.items.index(before.items[4]) != 4
    assert ranked.source == "prior"
    assert ranked.items == after.items
    np.testing.assert_allclose(ranked.scores, after.scores, rtol=1e-5)
    with pytest.raises(HistoryError, match="'nope' is no candidate"):
        model.add("nope", now)


def test_a_model_without_a_prior_keeps_no_counts(model: SessionRec) -> None:
    with pytest.raises(HistoryError, match="no prior and keeps no counts; fit one with the preset `sessionrec`"):
        model.add(sku(0, 0), day(1))
    with pytest.raises(ValueError, match="the model has no prior"):
        live_ranker(model.model, None)


def test_an_index_of_the_model_alone_is_refused(run: Path, shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(shop[1], folder)
    index(folder, shop[0], IndexingConfig(index=ExactConfig()))
    shutil.copytree(run / "model", folder / "model", dirs_exist_ok=True)
    with pytest.raises(ArtifactError, match="index"):
        SessionRec.load(folder)
    index(folder, shop[0], IndexingConfig(index=ExactConfig()))
    assert SessionRec.load(folder).recommend([[["s00"]]], 2)[0].items


def test_evaluation_shows_the_model_with_and_without(run: Path, shop: tuple[Dataset, Path]) -> None:
    config = EvaluationConfig(floors=("popularity",), num_examples=1)
    evaluation = evaluate(run, shop[0], config)
    names = [report.system for report in evaluation.reports]
    assert names == ["SessionRec-HSTU with prior", "SessionRec-HSTU", "popularity"]
    plain = evaluate(shop[1], shop[0], config)
    assert evaluation.reports[1].metrics == plain.reports[0].metrics
    trained = artifact.load(run)
    assert type(ranker_for(trained, shop[0], "test")).__name__ == "PriorRanker"


def test_a_prior_that_is_gone_is_told(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (file,) = folder.glob("model/files-*/prior.safetensors")
    file.unlink()
    with pytest.raises(ArtifactError, match=r"prior.safetensors: missing"):
        artifact.load(folder)


def test_a_prior_of_another_catalogue_is_told(run: Path) -> None:
    (file,) = run.glob("model/files-*/prior.safetensors")
    values = json.loads((run / "model" / "manifest.json").read_text())["body"]["prior"]
    assert store.read(values, file, 18).live.acted.num_candidates == 18
    for wrong, num_candidates, told in (
        (values, 17, "counts of 17 items"),
        (values | {"span_s": 10.0}, 18, "counts of 18 items at 3 half-lives"),
    ):
        with pytest.raises(ArtifactError, match=rf"{told}.*fit the model again"):
            store.read(wrong, file, num_candidates)
    with pytest.raises(ConfigError, match="rate"):
        store.read(values | {"rate": "often"}, file, 18)
