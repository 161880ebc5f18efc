"""What is retrieved, evaluated: ranks are those of the answers, and what was not found is nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec import index as indexes
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.errors import ArtifactError
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.evaluate.evaluator import seen_items
from sessionrec.index import Answer, Index
from sessionrec.index.exact import ExactConfig
from sessionrec.index.hnsw import HnswConfig
from sessionrec.jagged import Jagged
from sessionrec.pipeline import EvaluationConfig, IndexingConfig, evaluate, evaluation, index
from sessionrec.pipeline.prior import model_ranker, ranker_for
from sessionrec.pipeline.training import questions
from sessionrec.prior import PriorRanker
from sessionrec.recommend import artifact
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, dense_vectors
from sessionrec.recommend.retrieved import Retrieved, RetrievedScorer, search_of
from sessionrec.schema import NO_ITEM
from sessionrec.scoring import list_scores, search, top_k

SHORT = EvalProtocol(ks=(2, 4), list_length=3)


@pytest.fixture(scope="module")
def asked(shop: tuple[Dataset, Path], prior_run: Path) -> Examples:
    view = evaluation_view(artifact.load(prior_run).asked_view, "test", "session")
    return next(iter(Loader(shop[0], view, questions(), seed=0)))


@pytest.fixture(scope="module", params=[True, False], ids=["prior", "alone"])
def system(
    request: pytest.FixtureRequest, shop: tuple[Dataset, Path], prior_run: Path
) -> tuple[ModelRanker, PriorRanker | None]:
    """A model, and it with its prior."""
    dataset, trained = shop[0], artifact.load(prior_run)
    model = model_ranker(trained, dataset, view=trained.shown)
    ranker = ranker_for(trained, dataset, "test", alone=model)
    assert isinstance(ranker, PriorRanker)
    return model, ranker if request.param else None


def retrieved(
    system: tuple[ModelRanker, PriorRanker | None],
    k: int,
    *,
    is_filtered: bool = False,
    far: int = 1,
    wrong: bool = False,
) -> Retrieved:
    """By lists of the given lengths; `wrong`: the index holds the opposite of every vector."""
    model, ranker = system
    vectors_VD = dense_vectors(model, ranker) * (-1 if wrong else 1)
    built = ExactConfig().build(np.arange(1, len(vectors_VD) + 1), vectors_VD)
    reach = Reach(near=far, fresh=far, neighbours=far, whole=0)
    return Retrieved(search_of(model, ranker, built, reach), k, is_filtered=is_filtered)


def test_with_room_for_all_ranks_are_those_of_the_whole_catalogue(system: Any, asked: Examples) -> None:
    model, ranker = system
    exact, _ = search((ranker or model).scorer(asked), asked.targets.positives, 0)
    found, _ = search(retrieved(system, 18, far=18).scorer(asked), asked.targets.positives, 0)
    assert torch.equal(found, exact)
    assert len(torch.unique(exact)) > 1


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("k", [1, 2])
def test_a_rank_is_the_place_in_the_answer_and_else_the_last(system: Any, asked: Examples, k: int, wrong: bool) -> None:
    """By hand: the answer's own order, question by question."""
    ranker = retrieved(system, k, wrong=wrong)
    whole, answer = ranker._search(asked, k, None)
    found, best = search(RetrievedScorer(whole, answer), asked.targets.positives, k)
    expected = []
    for question in range(asked.targets.num_questions):
        items = [item for item in answer.items_QC[question].tolist() if item != NO_ITEM]
        for target in asked.targets.positives.row(question).tolist():
            expected.append(items.index(target) + 1 if target in items else whole.num_candidates)
    assert found.tolist() == expected
    assert whole.num_candidates in expected
    assert np.array_equal(best.items_QC.numpy(), answer.items_QC)


def test_single_scores_are_those_of_the_block(system: Any, asked: Examples) -> None:
    scorer = retrieved(system, 4).scorer(asked)
    size_q, size_v = scorer.num_questions, scorer.num_candidates
    everything = top_k(scorer, size_v)
    question_P = torch.arange(size_q).repeat_interleave(size_v)
    item_P = torch.arange(1, size_v + 1).repeat(size_q)
    scores_QV = scorer.pairs(question_P, item_P).view(size_q, size_v)
    assert torch.equal(torch.sort(scores_QV, descending=True).values, everything.scores_QC)
    assert torch.equal(scores_QV.gather(1, everything.items_QC - 1), everything.scores_QC)


def test_nothing_found_is_nowhere(system: Any, asked: Examples) -> None:
    whole = (system[1] or system[0]).scorer(asked)
    size = asked.targets.num_questions
    empty = Answer(items_QC=np.full((size, 3), NO_ITEM), scores_QC=np.full((size, 3), -np.inf, np.float32))
    scorer = RetrievedScorer(whole, empty)
    found, _ = search(scorer, asked.targets.positives, 0)
    assert (found == whole.num_candidates).all()
    assert len(torch.unique(scorer.pairs(torch.tensor([0, 1]), torch.tensor([1, 18])))) == 1


def test_a_list_that_is_given_is_ordered_as_without_a_search(system: Any, asked: Examples) -> None:
    question_P, item_P = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 18, 7, 7])
    scorer = retrieved(system, 1, wrong=True).scorer(asked)
    whole = (system[1] or system[0]).scorer(asked)
    assert torch.equal(list_scores(scorer, question_P, item_P), list_scores(whole, question_P, item_P))


def test_seen_items_leave_their_places_to_others(system: Any, asked: Examples) -> None:
    seen = seen_items(asked.inputs, asked.targets)
    _, best = search(retrieved(system, 3, is_filtered=True, far=18).scorer(asked), None, 3, exclude=seen)
    _, exact = search((system[1] or system[0]).scorer(asked), None, 3, exclude=seen)
    assert torch.equal(best.items_QC, exact.items_QC)
    hidden = Jagged(values=seen.values.numpy(), offsets=seen.offsets.numpy())
    assert not any(set(row) & set(hidden.row(number).tolist()) for number, row in enumerate(best.items_QC.tolist()))


def same(left: EvalReport, right: EvalReport) -> bool:
    return left.metrics == right.metrics


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `evaluate` makes of its settings: where is searched, how far, and whether seen items are left out."""
    found: list[dict[str, Any]] = []

    def search(model: ModelRanker, ranker: PriorRanker | None, built: Index, reach: Reach) -> Any:
        found.append({"index": built, "reach": reach, "has_prior": ranker is not None})
        return search_of(model, ranker, built, reach)

    def made(search: Any, k: int, *, is_filtered: bool) -> Retrieved:
        found[-1] |= {"k": k, "is_filtered": is_filtered}
        return Retrieved(search, k, is_filtered=is_filtered)

    monkeypatch.setattr(evaluation, "search_of", search)
    monkeypatch.setattr(evaluation, "Retrieved", made)
    return found


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("seen", ["kept", "filtered"])
@pytest.mark.parametrize("mode", ["served", "lists"])
def test_what_is_asked_is_what_is_searched(
    shop: tuple[Dataset, Path],
    prior_run: Path,
    tmp_path: Path,
    asked_for: list[dict[str, Any]],
    mode: Any,
    seen: Any,
    part: Any,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(prior_run, folder)
    protocol = EvalProtocol(ks=(2, 4), list_length=3, seen=seen)
    config = EvaluationConfig(floors=(), num_examples=0, protocol=protocol, retrieval=mode, part=part)
    first = evaluate(folder, shop[0], config).reports
    index(folder, shop[0], IndexingConfig(index=HnswConfig(exact_below=0), num_queries=4))
    again = evaluate(folder, shop[0], config).reports
    exact, stored = asked_for
    assert exact["index"].config.kind == "exact"
    assert stored["index"].config == HnswConfig(exact_below=0)
    for one in (exact, stored):
        assert one["reach"] == (Reach() if mode == "served" else Reach(whole=0))
        assert one["k"] == 4
        assert one["is_filtered"] == (seen == "filtered")
        assert one["has_prior"]
    for reports, kind in ((first, "exact"), (again, "hnsw")):
        assert reports[2].about["retrieval"] == ("scored whole" if mode == "served" else kind)
        assert reports[2].about["retrieval_mode"] == mode
        assert same(reports[2], reports[0])


def test_an_index_of_other_items_is_made_anew(
    shop: tuple[Dataset, Path], prior_run: Path, tmp_path: Path, asked_for: list[dict[str, Any]]
) -> None:
    folder, trained = tmp_path / "run", artifact.load(prior_run)
    shutil.copytree(prior_run, folder)
    model = model_ranker(trained, shop[0], view=trained.shown)
    few = HnswConfig().build(np.arange(1, 6), dense_vectors(model, None)[:5])
    indexes.save(few, folder / "index", model=trained.fingerprint)
    config = EvaluationConfig(floors=(), num_examples=0, protocol=SHORT, retrieval="lists")
    reports = evaluate(folder, shop[0], config).reports
    assert asked_for[0]["index"].holdings.num_items == 18
    assert asked_for[0]["index"].config == HnswConfig()
    assert same(reports[2], reports[0])


def test_evaluation_shows_what_is_retrieved(shop: tuple[Dataset, Path], prior_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(prior_run, folder)
    config = EvaluationConfig(floors=("popularity",), num_examples=0, protocol=SHORT)
    names = ["SessionRec-HSTU with prior", "SessionRec-HSTU", "SessionRec-HSTU with prior, retrieved", "popularity"]
    lists = evaluate(folder, shop[0], config.model_copy(update={"retrieval": "lists"})).reports
    assert [report.system for report in lists] == names
    assert lists[2].about["retrieval"] == "exact"
    assert "model" in lists[2].about and "model" not in lists[3].about
    served = evaluate(folder, shop[0], config.model_copy(update={"retrieval": "served"})).reports
    # A shop of 18 items is scored whole.
    assert same(served[2], served[0])
    index(folder, shop[0], IndexingConfig(index=HnswConfig(), num_queries=4))
    stored = evaluate(folder, shop[0], config.model_copy(update={"retrieval": "lists"})).reports
    assert stored[2].about["retrieval"] == "hnsw"
    assert same(stored[2], lists[2])


def test_a_model_without_a_prior_is_retrieved_by_its_index(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(shop[1], folder)
    config = EvaluationConfig(floors=(), num_examples=0, protocol=SHORT, retrieval="served")
    reports = evaluate(folder, shop[0], config).reports
    assert [report.system for report in reports] == ["SessionRec-HSTU", "SessionRec-HSTU, retrieved"]
    assert same(*reports)


def test_an_index_of_another_model_is_refused(shop: tuple[Dataset, Path], prior_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(shop[1], folder)
    index(folder, shop[0], IndexingConfig(index=ExactConfig(), num_queries=4))
    shutil.rmtree(folder / "model")
    shutil.copytree(prior_run / "model", folder / "model")
    config = EvaluationConfig(floors=(), num_examples=0, retrieval="served")
    with pytest.raises(ArtifactError, match="make the index again"):
        evaluate(folder, shop[0], config)
