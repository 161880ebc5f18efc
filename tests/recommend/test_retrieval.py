"""A model with a prior: what its artifact keeps, what it answers, and what is found without scoring everything."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.dynamics import ItemState
from sessionrec.errors import ArtifactError, ConfigError, HistoryError
from sessionrec.index.exact import ExactConfig
from sessionrec.index.holdings import Filter
from sessionrec.jagged import Jagged
from sessionrec.pipeline import EvaluationConfig, IndexingConfig, evaluate, index
from sessionrec.pipeline.prior import fit_prior, prior_ranker, ranker_for
from sessionrec.pipeline.training import questions
from sessionrec.prior import ItemScheme, LiveItems, PriorConfig, PriorRanker, store
from sessionrec.recommend import SessionRec, artifact, retrieval
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.features import item_codes
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, Retriever, dense_vectors, quality
from sessionrec.scoring import top_k
from tests.shop import day, sku

ALL = Reach(near=18, fresh=18, whole=0)


@pytest.fixture(scope="module")
def asked(shop: tuple[Dataset, Path], prior_run: Path) -> Examples:
    view = evaluation_view(artifact.load(prior_run).view, "test", "session")
    return next(iter(Loader(shop[0], view, questions(), seed=0)))


def retriever_of(prior_run: Path, dataset: Dataset, reach: Reach) -> tuple[Any, Retriever]:
    trained = artifact.load(prior_run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    assert trained.prior is not None
    ranker = prior_ranker(dataset, trained.prior.fitted, trained.prior.scheme, model=model)
    rows = np.arange(1, trained.num_candidates + 1)
    built = ExactConfig().build(rows, dense_vectors(model, ranker), features=item_codes(trained))
    return ranker, Retriever(ranker, model, built, reach)


def test_a_stored_prior_answers_as_the_fitted_one(shop: tuple[Dataset, Path], prior_run: Path, asked: Examples) -> None:
    """After the last event, what the artifact knows of items is what the whole data set says."""
    dataset, trained = shop[0], artifact.load(prior_run)
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
    again = live_ranker(artifact.load(prior_run), model)
    assert torch.equal(top_k(again.scorer(later), 18).scores_QC, found.scores_QC)


def prior_ranker_names(dataset: Dataset, stored: Any) -> tuple[str, ...]:
    from sessionrec.prior.features import names_of

    ranker = prior_ranker(dataset, stored.fitted, stored.scheme)
    return names_of(ranker._items, ranker._own)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("limit", [None, Filter(where={"brand": (1,)})])
def test_with_room_for_all_nothing_is_missed(
    shop: tuple[Dataset, Path], prior_run: Path, asked: Examples, exclude_seen: bool, limit: Filter | None
) -> None:
    dataset = shop[0]
    ranker, retriever = retriever_of(prior_run, dataset, ALL)
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
        brand_V = item_codes(artifact.load(prior_run))["brand"]
        scores_QV[:, brand_V != 1] = -np.inf
    order = np.argsort(-scores_QV, axis=1, kind="stable")[:, :5]
    assert np.array_equal(found.items_QC, order + 1)
    np.testing.assert_allclose(found.scores_QC, np.take_along_axis(scores_QV, order, 1), rtol=1e-6)


def test_a_small_catalogue_is_scored_whole(shop: tuple[Dataset, Path], prior_run: Path, asked: Examples) -> None:
    ranker, whole = retriever_of(prior_run, shop[0], Reach(near=1, fresh=1))
    assert quality(whole, ranker, asked, 5).recall == 1.0
    found = whole.search(asked, 5)
    exact = top_k(ranker.scorer(asked), 5)
    assert np.array_equal(found.items_QC, exact.items_QC.numpy())


def short_of_near(ranker: Any, model: ModelRanker, fresh: int) -> Retriever:
    """An index of the wrong items, so that almost all is found on the list of what is fresh."""
    wrong = ExactConfig().build(np.arange(1, 19), -dense_vectors(model, ranker))
    return Retriever(ranker, model, wrong, Reach(near=1, fresh=fresh, whole=0))


def test_items_that_are_no_candidates_hide_nothing(
    shop: tuple[Dataset, Path], prior_run: Path, asked: Examples
) -> None:
    """A history may have items that first came in validation, and unknown ones."""
    ranker, _ = retriever_of(prior_run, shop[0], ALL)
    retriever = short_of_near(ranker, ModelRanker(artifact.load(prior_run).recommender, 18), 18)
    wanted = retriever.search(asked, 1).items_QC
    size = asked.targets.num_questions
    # Of each question the unknown item, and one that counts on to the best of the question after it.
    odd = np.stack([np.zeros(size, np.int64), 18 + np.roll(wanted[:, 0], -1)], axis=1).ravel()
    found = retriever.search(asked, 1, exclude=Jagged(values=odd, offsets=np.arange(size + 1) * 2))
    assert np.array_equal(found.items_QC, wanted)


def test_what_is_excluded_takes_no_place_on_the_fresh_list(prior_run: Path) -> None:
    trained = artifact.load(prior_run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    ranker = live_ranker(trained, model)
    retriever = short_of_near(ranker, model, 2)
    asker = SessionRec(trained)
    _, examples = asker._questions(asker.read([[["never seen"]], [["never seen"]]], now=day(14)))
    assert examples is not None
    time_ms = int(examples.targets.time_ms_Q[0])
    fresh = np.argsort(-retriever.for_strangers(time_ms), kind="stable")
    exclude = Jagged(values=fresh[:6] + 1, offsets=np.array([0, 6, 6]))
    found = retriever.search(examples, 1, exclude=exclude)
    assert not np.isin(found.items_QC[0], fresh[:6] + 1).any()
    next_fresh = ranker.scorer(examples).pairs(torch.tensor([0]), torch.tensor([int(fresh[6]) + 1]))
    assert found.scores_QC[0, 0] >= float(next_fresh)


def test_the_catalogue_is_not_sorted_for_every_search(prior_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = artifact.load(prior_run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    ranker = live_ranker(trained, model)
    retriever = short_of_near(ranker, model, 4)
    asker = SessionRec(trained)
    _, examples = asker._questions(asker.read([[["s00"]]], now=day(14)))
    assert examples is not None
    wanted = retriever.search(examples, 2)
    times = examples.targets.time_ms_Q.numpy()
    by_time = retriever.popular(times, 3)

    def never(*_: Any) -> None:
        raise AssertionError("found anew")

    monkeypatch.setattr(PriorRanker, "stranger", never)
    monkeypatch.setattr(retrieval, "_greatest", never)
    assert np.array_equal(retriever.search(examples, 2).items_QC, wanted.items_QC)
    assert np.array_equal(retriever.popular(times, 3).items_QC, by_time.items_QC)


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 14))
def test_the_greatest_are_those_of_a_stable_sort(scores: list[int], number: int) -> None:
    score_R = np.array(scores, np.float32)
    wanted = np.argsort(-score_R, kind="stable")[:number]
    assert np.array_equal(retrieval._greatest(score_R, number), wanted)


def test_events_of_several_threads_all_count() -> None:
    scheme = ItemScheme(config=PriorConfig(acted_half_lives_s=(1e9,)), span_s=1e10, rate=1.0, has_shown=False)
    live = LiveItems(scheme, ItemState.empty(1, scheme.counted_s[0]), None)
    together = threading.Barrier(4)

    def adding() -> None:
        together.wait()
        for _ in range(3000):
            live.add(1, 1_700_000_000_000, is_acted=True)

    threads = [threading.Thread(target=adding) for _ in range(4)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert 2.0 ** live.acted.after_VH[0, 0] == pytest.approx(12_000, rel=1e-3)


def test_a_stored_state_counts_on_however_much_it_has(prior_run: Path, tmp_path: Path) -> None:
    stored = artifact.load(prior_run).prior
    assert stored is not None
    state = stored.live.acted
    item, now = 1, int(state.time_ms_V.max()) + 1
    state.add(item, now)
    state.after_VH[0] = 21.0
    store.write_arrays(stored, tmp_path / "prior.safetensors")
    again = store.read(store.values_of(stored), tmp_path / "prior.safetensors", 18).live
    for _ in range(1000):
        again.add(item, now, is_acted=True)
    np.testing.assert_allclose(2.0 ** again.acted.after_VH[0], 2.0**21 + 1000, rtol=1e-6)
    found = again.acted.at(now)
    assert found.dtype == np.float32
    np.testing.assert_allclose(2.0 ** found[0].astype(float), 2.0**21 + 1000, rtol=1e-5)


def test_a_prior_without_counts_of_items_stands_too() -> None:
    config = PriorConfig(acted_half_lives_s=(), shown_half_lives_s=(), rate_half_lives_s=())
    scheme = ItemScheme(config=config, span_s=1e6, rate=1.0, has_shown=True)
    live = LiveItems(scheme, ItemState.empty(2, ()), ItemState.empty(2, ()))
    live.add(2, 1_700_000_000_000, is_acted=True)
    found = live.at(np.full(2, 1_700_000_060_000), np.array([1, 2]))
    assert scheme.names == ("age",)
    np.testing.assert_allclose(found, [[0], [1]])


def test_what_is_missed_is_measured(shop: tuple[Dataset, Path], prior_run: Path, asked: Examples) -> None:
    """An index of the wrong items, a short reach, and nothing known but one session."""
    dataset, trained = shop[0], artifact.load(prior_run)
    model = ModelRanker(trained.recommender, trained.num_candidates)
    fitted, scheme = fit_prior(dataset, trained.view, PriorConfig(hidden=0), model=model)
    ranker = prior_ranker(dataset, fitted, scheme, model=model)
    wrong = ExactConfig().build(np.arange(1, 19), -dense_vectors(model, ranker))
    first = replace(asked.targets, num_before_Q=torch.ones_like(asked.targets.num_before_Q))
    short = Retriever(ranker, model, wrong, Reach(near=1, fresh=1, whole=0))
    assert 0 < quality(short, ranker, Examples(asked.inputs, first), 2).recall < 0.9


def test_answers_are_those_of_the_model_with_its_prior(prior_run: Path, shop: tuple[Dataset, Path]) -> None:
    model = SessionRec.load(prior_run)
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


def test_an_event_changes_what_strangers_are_told(prior_run: Path) -> None:
    model = SessionRec.load(prior_run)
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
    with pytest.raises(HistoryError, match="does not know item 'nope', so nothing can be counted"):
        model.add("nope", now)


def test_what_comes_late_is_seen_though_all_questions_mean_one_time(
    prior_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after the newest event a question is answered as of some time after it, always the same one."""
    clock = [1000.0]
    monkeypatch.setattr("sessionrec.recommend.retrieval.time.monotonic", lambda: clock[0])
    model, later = SessionRec.load(prior_run), day(300)
    (before,) = model.recommend([[]], 18, now=later)
    for second in range(40):
        model.add(before.items[-1], day(12) + timedelta(seconds=second))
    assert model.recommend([[]], 18, now=later)[0] == before, "the list of what is fresh is used for a minute"
    clock[0] += 61
    (after,) = model.recommend([[]], 18, now=later)
    fresh = SessionRec.load(prior_run)
    for second in range(40):
        fresh.add(before.items[-1], day(12) + timedelta(seconds=second))
    assert after == fresh.recommend([[]], 18, now=later)[0] != before


def test_a_clock_that_is_ahead_counts_as_now(prior_run: Path) -> None:
    model, now = SessionRec.load(prior_run), datetime.now(UTC)
    model.add(sku(0, 0), now + timedelta(minutes=50))
    model.add_all(pl.DataFrame({"item": [sku(0, 1)], "time": [now + timedelta(minutes=50)]}))
    assert model.model.prior is not None
    newest = int(model.model.prior.live.acted.time_ms_V.max())
    assert now.timestamp() * 1000 - 1 <= newest <= datetime.now(UTC).timestamp() * 1000 + 1


def test_a_model_without_a_prior_keeps_no_counts(model: SessionRec) -> None:
    with pytest.raises(HistoryError, match="no prior and keeps no counts; fit one with the preset `sessionrec`"):
        model.add(sku(0, 0), day(1))
    with pytest.raises(ValueError, match="the model has no prior"):
        live_ranker(model.model, None)


def test_an_index_of_the_model_alone_is_refused(prior_run: Path, shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(shop[1], folder)
    index(folder, shop[0], IndexingConfig(index=ExactConfig()))
    shutil.copytree(prior_run / "model", folder / "model", dirs_exist_ok=True)
    with pytest.raises(ArtifactError, match="index"):
        SessionRec.load(folder)
    index(folder, shop[0], IndexingConfig(index=ExactConfig()))
    assert SessionRec.load(folder).recommend([[["s00"]]], 2)[0].items


def test_evaluation_shows_the_model_with_and_without(prior_run: Path, shop: tuple[Dataset, Path]) -> None:
    config = EvaluationConfig(floors=("popularity",), num_examples=1)
    evaluation = evaluate(prior_run, shop[0], config)
    names = [report.system for report in evaluation.reports]
    assert names == ["SessionRec-HSTU with prior", "SessionRec-HSTU", "popularity"]
    plain = evaluate(shop[1], shop[0], config)
    assert evaluation.reports[1].metrics == plain.reports[0].metrics
    trained = artifact.load(prior_run)
    assert type(ranker_for(trained, shop[0], "test")).__name__ == "PriorRanker"


def test_a_prior_that_is_gone_is_told(prior_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(prior_run, folder)
    (file,) = folder.glob("model/files-*/prior.safetensors")
    file.unlink()
    with pytest.raises(ArtifactError, match=r"prior.safetensors: missing"):
        artifact.load(folder)


def test_a_prior_of_another_catalogue_is_told(prior_run: Path) -> None:
    (file,) = prior_run.glob("model/files-*/prior.safetensors")
    values = json.loads((prior_run / "model" / "manifest.json").read_text())["body"]["prior"]
    assert store.read(values, file, 18).live.acted.num_candidates == 18
    for wrong, num_candidates, told in (
        (values, 17, "counts of 17 items"),
        (values | {"span_s": 10.0}, 18, "counts of 18 items at 3 half-lives"),
    ):
        with pytest.raises(ArtifactError, match=rf"{told}.*fit the model again"):
            store.read(wrong, file, num_candidates)
    with pytest.raises(ConfigError, match="rate"):
        store.read(values | {"rate": "often"}, file, 18)


def test_the_whole_score_is_measured_where_there_is_a_prior(
    prior_run: Path, shop: tuple[Dataset, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(prior_run, folder)
    built = index(folder, shop[0], IndexingConfig(index=ExactConfig(), k=5))
    assert built.found is not None
    assert (built.found.k, built.found.recall) == (5, 1.0)
    assert built.found.num_questions == 60
    kept = json.loads((folder / "index" / "manifest.json").read_text())["body"]["found"]
    assert kept["recall"] == 1.0 and kept["ms_a_question"] > 0


def test_an_event_of_the_future_is_refused(prior_run: Path) -> None:
    """Counts only fade, so it would outweigh all others until then."""
    model = SessionRec.load(prior_run)
    with pytest.raises(HistoryError, match="expected the time of an event that happened, got 2099"):
        model.add(sku(0, 0), day(14).replace(year=2099))


def test_users_of_other_times_share_the_list_of_what_is_fresh(prior_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the newest event, items stand as just after it: one list does for all."""
    model = SessionRec.load(prior_run)
    made: list[int] = []
    stranger = PriorRanker.stranger

    def counted(self: PriorRanker, time_ms: int) -> torch.Tensor:
        made.append(time_ms)
        return stranger(self, time_ms)

    monkeypatch.setattr(PriorRanker, "stranger", counted)
    for number in range(5):
        model.recommend([[]], 3, now=day(number))
    assert len(made) == 1
    model.recommend([[]], 3, now=day(14))
    assert len(made) == 2


def test_strangers_lists_are_ordered_by_the_weights_for_that(prior_run: Path) -> None:
    model = SessionRec.load(prior_run)
    ids, now = model.model.items["item"].to_list(), day(13)
    (found,), (listed,) = (model.rank([[]], [ids], now=now, as_shown=as_shown) for as_shown in (False, True))
    assert model._beside is not None
    at_ms = int(now.timestamp() * 1000)
    for answer, scores_V in ((found, model._beside.stranger(at_ms)), (listed, model._beside.stranger_in_list(at_ms))):
        order = torch.argsort(-scores_V, stable=True).tolist()
        assert answer.items == [ids[column] for column in order]
    assert found.scores != listed.scores


@pytest.mark.parametrize("most", [1, 2, 100])
def test_only_the_best_neighbours_are_looked_at(
    shop: tuple[Dataset, Path], prior_run: Path, asked: Examples, most: int
) -> None:
    ranker, _ = retriever_of(prior_run, shop[0], ALL)
    scorer = ranker.scorer(asked)
    (cells,) = scorer._features._cells.others
    size, found = ranker.num_candidates, set(scorer.own_keys(most).tolist())
    own = set(scorer._features.key_C.tolist())
    for question in range(0, asked.targets.num_questions, 7):
        pairs = [
            (float(value), -int(key))
            for key, value in zip(cells.key_C, cells.values_CF[:, 0], strict=True)
            if key // size == question
        ]
        best = {-key for _, key in sorted(pairs, reverse=True)[:most]}
        assert {key for key in found if key // size == question} == best | {
            key for key in own if key // size == question
        }
