"""The model answering through its retriever: a row like others and a sentence of its own, never a floor."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.report.numbers import score, signed, span
from sessionrec.report.run_files import LIVE, Evaluation, read_run
from sessionrec.report.run_plots import color_variables
from tests.report.fabricate import (
    FINGERPRINT,
    MODEL,
    RETRIEVED,
    SYSTEMS,
    WITH_PRIOR,
    World,
    reports_of,
    with_retrieved,
    write_evaluation,
    write_model,
)
from tests.report.outline import page_of, words_of

PROTOCOL = EvalProtocol(ks=(10, 100, 150), list_length=5)


@pytest.fixture(scope="module")
def world() -> World:
    return World(150, 160)


@pytest.fixture(scope="module")
def alone(world: World) -> list[EvalReport]:
    """Without a prior; the retriever loses much."""
    return reports_of(world, PROTOCOL, with_retrieved(SYSTEMS, 0.05))


@pytest.fixture(scope="module")
def prior(world: World) -> list[EvalReport]:
    return reports_of(world, PROTOCOL, with_retrieved(WITH_PRIOR, 0.05))


def written(run: Path, reports: list[EvalReport], folder: str = "evaluation") -> str:
    write_model(run)
    write_evaluation(run, reports, [], folder=folder)
    return page_of(run)


def title(page: str) -> str:
    return words_of(page[page.index("<h1") :].split("</h1>")[0] + "</h1>")


def verdicts(page: str) -> list[str]:
    listed = page.split('<ul class="verdicts">')[1].split("</ul>")[0]
    return [words_of(item).lstrip("▲▼ ") for item in re.findall(r"<li>.*?</li>", listed)]


def read(run: Path) -> Evaluation:
    evaluation = read_run(run).evaluation
    assert evaluation is not None
    return evaluation


def same_as_whole(reports: list[EvalReport]) -> list[EvalReport]:
    """The retriever finds all."""
    whole = reports[0]
    about = {"model": FINGERPRINT, "retrieval": "exact"}
    return [
        replace(whole, system=f"{whole.system}{RETRIEVED}", about=about) if RETRIEVED in r.system else r
        for r in reports
    ]


@pytest.mark.parametrize(("own", "has_prior"), [(SYSTEMS, False), (WITH_PRIOR, True)])
def test_what_each_system_is(own: dict[str, float], has_prior: bool, world: World, tmp_path: Path) -> None:
    write_model(tmp_path)
    reports = reports_of(world, EvalProtocol(ks=(10,)), with_retrieved(own, 0.5))
    write_evaluation(tmp_path, reports, [])
    evaluation = read(tmp_path)
    names = [system.name for system in evaluation.systems]
    assert names.index(f"{names[0]}{RETRIEVED}") == 1 + has_prior
    assert evaluation.has_prior == has_prior
    assert [system.name for system in evaluation.systems if system.is_retrieved] == [f"{names[0]}{RETRIEVED}"]
    assert [system.name for system in evaluation.systems if system.is_floor] == [*SYSTEMS][1:]
    assert evaluation.judged(names) == [*own]
    write_evaluation(tmp_path, [r for r in reports if r.system in names[:1] or RETRIEVED in r.system], [])
    assert not read(tmp_path).has_prior


def test_without_a_prior_it_is_no_floor(tmp_path: Path, alone: list[EvalReport]) -> None:
    # Every floor that is left is worse, and so is the retriever: it must not be counted with them.
    page = written(tmp_path, [report for report in alone if report.system != "repeat"])
    _, found, popularity, recency = alone[:4]
    assert found.system == f"{MODEL}{RETRIEVED}"
    assert found.metrics["ndcg@10"] > popularity.metrics["ndcg@10"]
    value = score(recency.metrics["ndcg@10"], 3)
    assert title(page).endswith(f"; every floor is worse, the best of them recency popularity {value}")
    assert RETRIEVED not in title(page)
    words = words_of(page)
    assert "prior" not in words.replace(str(tmp_path), "")
    assert f"{MODEL}{RETRIEVED} hnsw {score(found.metrics['ndcg@10'])}" in words
    told = verdicts(page)
    assert [text.split()[0] for text in told] == ["Through", "Recency", "Popularity"]
    assert sum(RETRIEVED in text or "retriever" in text for text in told) == 1
    assert "System less model" in words
    assert "Floor less model" not in words


def test_one_floor_beside_it_is_one_floor(tmp_path: Path, alone: list[EvalReport]) -> None:
    page = written(tmp_path, alone[:3])
    assert title(page).endswith(f"; better than popularity {score(alone[2].metrics['ndcg@10'], 3)}")


def test_without_floors_there_is_none(tmp_path: Path, alone: list[EvalReport]) -> None:
    page = written(tmp_path, alone[:2])
    assert title(page).endswith("; no floor was evaluated beside it")
    assert [text.split()[0] for text in verdicts(page)] == ["Through"]


def test_its_sentence_gives_the_differences_to_the_whole_answer(tmp_path: Path, alone: list[EvalReport]) -> None:
    told = verdicts(written(tmp_path, alone))[0]
    gaps = [alone[1].compare(alone[0], metric, seed=0) for metric in ("ndcg@10", "recall@100")]
    assert max(gap.high for gap in gaps) < 0
    values = [score(alone[1].metrics[metric]) for metric in ("ndcg@10", "recall@100")]
    first, second = (f"is worse by {score(-gap.mean)} {span(-gap.high, -gap.low)}" for gap in gaps)
    assert told == (
        "Through the retriever (hnsw), beside scoring every candidate: "
        f"NDCG@10 {values[0]} {first}; Recall@100 {values[1]} {second}"
    )


def test_one_that_finds_all_cannot_be_told_from_the_whole_answer(tmp_path: Path, alone: list[EvalReport]) -> None:
    page = written(tmp_path, same_as_whole(alone))
    same = "cannot be told from it: difference +.0000 [.0000, .0000]"
    values = [score(alone[0].metrics[metric]) for metric in ("ndcg@10", "recall@100")]
    assert verdicts(page)[0] == (
        "Through the retriever (exact), beside scoring every candidate: "
        f"NDCG@10 {values[0]} {same}; Recall@100 {values[1]} {same}"
    )
    assert "no floor is clearly better, but SessionRec-HSTU, retrieved" not in words_of(page)


def test_with_a_prior_it_stands_after_the_model_without(tmp_path: Path, prior: list[EvalReport]) -> None:
    page = written(tmp_path, prior)
    model, without, found, *floors = prior
    assert [text.split()[:2] for text in verdicts(page)][:2] == [["The", "model"], ["Through", "the"]]
    assert len(verdicts(page)) == 2 + len(floors)
    gap = found.compare(model, "ndcg@10", seed=0)
    # The difference is to what answers, the model with its prior.
    assert f"is worse by {score(-gap.mean)} {span(-gap.high, -gap.low)}" in verdicts(page)[1]
    assert f", {score(without.metrics['ndcg@10'], 3)} without the prior; " in title(page)
    assert RETRIEVED not in title(page)
    added = words_of(page.split("<h3>With the prior and without</h3>")[1].split("</table>")[0] + "</table></div>")
    assert RETRIEVED not in added
    best = max(floors, key=lambda floor: floor.metrics["recall@100"])
    lead = model.compare(best, "recall@100", seed=0)
    assert f"{score(best.metrics['recall@100'])} {best.system} {signed(lead.mean)} {span(lead.low, lead.high)}" in added


def test_a_retriever_is_never_the_best_floor(tmp_path: Path, world: World) -> None:
    # With a prior and no floor there is nothing that the model could lead.
    page = written(tmp_path, reports_of(world, PROTOCOL, with_retrieved(WITH_PRIOR, 0.9))[:3])
    words = words_of(page)
    assert "without the prior; no floor was evaluated beside it" in words
    assert "The prior adds" in words
    assert "Best floor" not in words


def test_inside_the_session_it_is_not_told_again(tmp_path: Path, prior: list[EvalReport]) -> None:
    page = written(tmp_path, prior)
    told = words_of(page[page.index("<h2>Ranking inside the session</h2>") :].split("</section>")[0])
    assert told.count("The model without prior ") == 1
    assert f" {prior[0].system}{RETRIEVED} {score(prior[2].metrics['in_session_auc'])} is" not in told
    sentences = told[told.rindex(" has an AUC of ") :]
    assert "etrieve" not in sentences


def test_live_answers_have_it_too(tmp_path: Path, world: World) -> None:
    stream = PROTOCOL.model_copy(update={"known": "stream"})
    page = written(tmp_path, reports_of(world, stream, with_retrieved(SYSTEMS, 0.05)), LIVE)
    assert [text.split()[0] for text in verdicts(page)] == ["Through", "Repeat", "Recency", "Popularity"]
    assert RETRIEVED not in title(page)
    assert "protocol.known=stream retrieval=lists" in words_of(page)


def test_the_commands_make_it_again_by_the_run_s_own_index(tmp_path: Path, alone: list[EvalReport]) -> None:
    page = words_of(written(tmp_path, alone))
    run, plain = f"sessionrec index {tmp_path}", f"sessionrec evaluate {tmp_path}"
    assert f"{run} {plain} retrieval=lists" in page
    without = words_of(written(tmp_path, [report for report in alone if RETRIEVED not in report.system]))
    assert f"{run} {plain} sessionrec report" in without


def test_what_reads_the_same_is_bold_alike(tmp_path: Path, alone: list[EvalReport]) -> None:
    almost = same_as_whole(alone)[:2]
    users = almost[1].users.with_columns(almost[1].users["ndcg@10"] * (1 - 1e-9))
    page = written(tmp_path, [almost[0], replace(almost[1], users=users)])
    table = page[page.index("<h2>Metrics</h2>") :].split("</table>")[0]
    assert table.count("<strong>") == 2 * 6


def test_every_system_of_a_usual_evaluation_has_a_colour_of_its_own(prior: list[EvalReport]) -> None:
    assert len(prior) == 6
    assert len(set(color_variables([report.system for report in prior]))) == 6
