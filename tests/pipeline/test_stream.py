"""As a live system is asked: every event before a question is known, and items that training never saw are answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec import pipeline
from sessionrec.baselines import FloorName, fit_floors
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import View
from sessionrec.evaluate import EvalProtocol, quality_of
from sessionrec.evaluate import evaluate as ask_all
from sessionrec.index.exact import ExactConfig
from sessionrec.index.hnsw import HnswConfig
from sessionrec.index.holdings import Filter
from sessionrec.jagged import IntArray, Jagged
from sessionrec.pipeline import EvaluationConfig, fit, load_fit_config
from sessionrec.pipeline.prior import fit_prior, model_ranker, ranker_for
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.prior import PriorConfig
from sessionrec.recommend import SessionRec, artifact
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.features import item_codes
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, Retriever, dense_vectors
from sessionrec.scoring import Ranker, list_scores, top_k
from tests.newsstand import newsstand
from tests.shop import SMALL

STREAM = EvalProtocol(known="stream", ks=(2, 10))
FLOORS: tuple[FloorName, ...] = (
    "popularity",
    "recency popularity",
    "repeat",
    "item-kNN",
    "session-kNN",
    "V-SKNN x recency",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("news")
    dataset = newsstand(folder)
    fit(dataset, folder / "run", load_fit_config("sessionrec", None, [*SMALL, "training.epochs=3", "prior.hidden=4"]))
    return folder / "run"


@pytest.fixture(scope="module")
def trained(run: Path) -> TrainedModel:
    return artifact.load(run)


@pytest.fixture(scope="module")
def dataset(trained: TrainedModel) -> Dataset:
    return trained.open_dataset()


@pytest.fixture(scope="module")
def batches(dataset: Dataset) -> list[Examples]:
    return list(Loader(dataset, View(part="test"), questions(16), seed=0))


def test_most_targets_are_items_that_training_never_saw(dataset: Dataset, batches: list[Examples]) -> None:
    item_T = np.concatenate([examples.targets.positives.values.numpy() for examples in batches])
    assert dataset.num_candidates < dataset.num_items
    assert (item_T > dataset.num_candidates).mean() > 0.9


def quality(dataset: Dataset, ranker: Ranker, batches: list[Examples], protocol: EvalProtocol = STREAM) -> Any:
    return ask_all(ranker, batches, facts_of(dataset, protocol), protocol, name="any")


def test_they_are_found_by_their_section_and_their_first_hours(
    dataset: Dataset, trained: TrainedModel, batches: list[Examples]
) -> None:
    found = quality(dataset, ranker_for(trained, dataset, "test", is_stream=True), batches)
    assert found.target_coverage == 1
    assert found.num_candidates == dataset.num_items
    assert found.metrics["recall@10"] > 0.9
    alone = quality(dataset, model_ranker(trained, dataset, view=None, is_stream=True), batches)
    assert found.metrics["recall@2"] > alone.metrics["recall@2"] + 0.2
    # Before the stream is known nobody can find them.
    parts = EvalProtocol(ks=(2, 10))
    before = quality(dataset, ranker_for(trained, dataset, "test"), batches, parts)
    assert before.num_candidates == dataset.num_candidates
    assert before.metrics["recall@10"] < 0.1
    # By popularity, items without a training event are a group of their own, candidates or not.
    for report in (found, before):
        (cold,) = [row for row in report.by_popularity if row["items"] == "no training event"]
        assert cold["num_items"] == dataset.num_items - dataset.num_candidates


def answers(ranker: Ranker, batches: list[Examples]) -> torch.Tensor:
    """[Q, V] all scores, and those of the lists that were shown behind them."""
    rows = []
    for examples in batches:
        scorer, targets = ranker.scorer(examples), examples.targets
        size_q, size_v = scorer.num_questions, scorer.num_candidates
        question, item = torch.arange(size_q).repeat_interleave(size_v), torch.arange(1, size_v + 1).repeat(size_q)
        rows.append(torch.cat([scorer.pairs(question, item), list_scores(scorer, question, item)]).view(2, size_q, -1))
        assert len(targets.time_ms_Q) == size_q
    return torch.cat(rows, dim=1).transpose(0, 1)


def changed_from(time_ms: int) -> Callable[[Dataset, Any], Any]:
    """`Dataset.read`, but from a time on other items are shown, and acted on otherwise."""
    read = Dataset.read

    def other(self: Dataset, group: Any) -> Any:
        histories = read(self, group)
        is_late_E = histories.time_ms_E >= time_ms
        item_E = np.where(is_late_E, 1 + (histories.item_E + 5) % self.num_items, histories.item_E)
        action_E = np.where(is_late_E, histories.action_E ^ 1, histories.action_E)
        return replace(
            histories,
            item_E=item_E.astype(histories.item_E.dtype),
            action_E=action_E.astype(histories.action_E.dtype),
        )

    return other


def test_a_question_knows_the_stream_before_it_and_nothing_later(
    dataset: Dataset, trained: TrainedModel, batches: list[Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    time_ms_Q: IntArray = np.concatenate([examples.targets.time_ms_Q.numpy() for examples in batches])
    border = int(np.median(time_ms_Q))
    protocol_quality = quality_of(facts_of(dataset, STREAM), STREAM, "ndcg@10")

    def all_answers() -> dict[str, torch.Tensor]:
        floors = fit_floors(dataset, View(part="test"), protocol_quality, is_stream=True, names=FLOORS)
        found: dict[str, torch.Tensor] = {floor.name: answers(floor.ranker, batches) for floor in floors}
        found["prior"] = answers(ranker_for(trained, dataset, "test", is_stream=True), batches)
        return found

    wanted = all_answers()
    monkeypatch.setattr(Dataset, "read", changed_from(border))
    found = all_answers()
    until = torch.from_numpy(time_ms_Q <= border)
    assert until.any()
    assert not until.all()
    for name, scores in wanted.items():
        assert torch.equal(found[name][until], scores[until]), name
    # Who knows no time knows the parts before alone.
    for name, scores in wanted.items():
        is_same = torch.equal(found[name][~until], scores[~until])
        assert is_same == (name in ("popularity", "repeat")), name
    for name in ("recency popularity", "prior"):
        assert not torch.equal(found[name][~until], wanted[name][~until]), name


def test_what_is_asked_later_has_no_say_in_weights_and_parameters(
    dataset: Dataset, trained: TrainedModel, batches: list[Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    border = min(int(examples.targets.time_ms_Q.min()) for examples in batches)
    by_ndcg = quality_of(facts_of(dataset, STREAM), STREAM, "ndcg@10")
    model = model_ranker(trained, dataset, view=trained.view, is_stream=True)

    def chosen() -> Any:
        floors = fit_floors(dataset, View(part="test"), by_ndcg, is_stream=True, names=FLOORS)
        config = PriorConfig(has_neighbours=True, hidden=4)
        fitted, scheme = fit_prior(dataset, trained.view, config, model=model)
        return [(floor.choice, floor.quality) for floor in floors], fitted.prior.weights, fitted.order, scheme

    wanted = chosen()
    monkeypatch.setattr(Dataset, "read", changed_from(border))
    assert chosen() == wanted


def test_the_command_asks_so_and_keeps_it_apart(run: Path) -> None:
    asked = EvaluationConfig(protocol=STREAM, threads=1)
    evaluation = pipeline.evaluate(run, None, asked)
    assert [report.num_candidates for report in evaluation.reports] == [artifact.load(run).num_candidates] * 5
    assert (run / "evaluation-test-session-kept-stream").is_dir()
    assert not (run / "evaluation").exists()
    words = evaluation.model.protocol.words()
    assert "those without a training event too" in words["candidates"]
    assert "also of the part that is asked" in words["known of all users"]


def test_a_loaded_model_recommends_them(run: Path, dataset: Dataset) -> None:
    model = SessionRec.load(run)
    cold = set(dataset.items["item"].to_list()[dataset.num_candidates :])
    history = [[["a70", "a72"], ["a74", "a76"]]]
    now = datetime.fromtimestamp(1_709_280_000 + 90 * 3600, UTC)
    (answer,) = model.recommend(history, k=5, now=now)
    assert set(answer.items) <= cold
    # Nobody looked at it for hours; then everybody does.
    oldest = sorted(cold)[0]
    before = model.rank(history, [[oldest]], now=now)[0].scores[0]
    for _ in range(20):
        model.add(oldest, now)
    assert model.rank(history, [[oldest]], now=now)[0].scores[0] > before


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_retriever_finds_them_as_scoring_everything_does(run: Path, batches: list[Examples], kind: str) -> None:
    trained = artifact.load(run)
    model = ModelRanker(trained.recommender, trained.num_candidates, view=trained.shown)
    ranker, rows = live_ranker(trained, model), np.arange(1, trained.num_candidates + 1)
    config = ExactConfig() if kind == "exact" else HnswConfig()
    built = config.build(rows, dense_vectors(model, ranker), features=item_codes(trained))
    retriever = Retriever(ranker, model, built, Reach(near=30, fresh=30, neighbours=30, whole=0))
    examples, first_cold = batches[0], trained.num_trained + 1
    wanted = top_k(ranker.scorer(examples), 5).items_QC.numpy()
    found = retriever.search(examples, 5).items_QC
    assert np.mean([np.isin(one, other).mean() for one, other in zip(wanted, found, strict=True)]) > 0.99
    assert (found >= first_cold).mean() > 0.5
    hidden = Jagged(values=found[:, 0], offsets=np.arange(len(found) + 1))
    others = retriever.search(examples, 5, exclude=hidden).items_QC
    assert not (others == found[:, :1]).any()
    of_section = retriever.search(examples, 5, allow=Filter(where={"section": (1,)})).items_QC
    sections = trained.items["section"].to_numpy()
    assert (sections[of_section[of_section > 0] - 1] == 1).all()


def test_items_of_the_same_features_that_training_never_saw_have_one_vector(
    dataset: Dataset, trained: TrainedModel
) -> None:
    """Their id rows are still as they were drawn, and must not tell them apart."""
    vectors_VD = model_ranker(trained, dataset, view=None, is_stream=True).items_VD[dataset.num_candidates :]
    sections = dataset.items["section"].to_numpy()[dataset.num_candidates :]
    for section in set(sections.tolist()):
        of_it = vectors_VD[torch.from_numpy(sections == section)]
        assert torch.equal(of_it, of_it[:1].expand_as(of_it))
    assert len(torch.unique(vectors_VD, dim=0)) == len(set(sections.tolist())) == 2
    # Those that were trained are as they are without the others.
    known_VD = model_ranker(trained, dataset, view=None).items_VD
    assert torch.equal(
        model_ranker(trained, dataset, view=None, is_stream=True).items_VD[: dataset.num_candidates], known_VD
    )
