"""What a run's page says of a prior: what it adds, what it looks at, how well it fits; nothing where there is none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sessionrec.artifacts import read_manifest
from sessionrec.cli.runs import metrics_table
from sessionrec.cli.screen import console
from sessionrec.errors import ArtifactError
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.pipeline.evaluation import EvaluationConfig, evaluate
from sessionrec.prior import calibrate, store
from sessionrec.prior.problem import MODEL as MODEL_COLUMNS
from sessionrec.report import run_facts
from sessionrec.report.numbers import score, signed, span
from sessionrec.report.run_facts import PriorFacts, PriorWeights
from sessionrec.report.run_files import read_run
from sessionrec.report.run_plots import prior_plots
from sessionrec.report.run_prior import looks
from tests.report.fabricate import (
    MODEL,
    WITH_PRIOR,
    World,
    examples_of,
    prior_facts,
    reports_of,
    write_evaluation,
    write_metrics,
    write_model,
)
from tests.report.outline import outline_of, page_of, words_of
from tests.shop import train_shop

PROTOCOL = EvalProtocol(ks=(10, 100), list_length=5)
SECTION = "What the prior looks at"
FIND = prior_facts()["find"]


@pytest.fixture(scope="module")
def world() -> World:
    return World(150, 160)


@pytest.fixture(scope="module")
def reports(world: World) -> list[EvalReport]:
    return reports_of(world, PROTOCOL, WITH_PRIOR)


@pytest.fixture(scope="module")
def page(world: World, reports: list[EvalReport], tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("run")
    write_model(run, prior=prior_facts(), prior_seconds=14.4)
    write_metrics(run)
    write_evaluation(run, reports, examples_of(world, [f"Title {n}" for n in range(30)], 1))
    return page_of(run)


def section(page: str) -> str:
    return page[page.index(f"<h2>{SECTION}</h2>") :].split("</section>")[0]


def test_what_is_read_is_what_the_model_keeps() -> None:
    assert set(PriorFacts.model_fields) <= set(store._Values.model_fields)
    assert set(PriorWeights.model_fields) <= set(store._Weights.model_fields)
    names = (run_facts.MODEL, run_facts.BY_EXPERIENCE)
    assert len(names) == MODEL_COLUMNS
    source = Path(calibrate.__code__.co_filename).read_text(encoding="utf-8")
    assert all(f'"{name}"' in source for name in names)


def test_the_model_without_its_prior_is_no_floor(page: str, reports: list[EvalReport]) -> None:
    words = words_of(page)
    values = [score(report.metrics["ndcg@10"], 3) for report in reports]
    interval = reports[0].interval("ndcg@10", seed=0)
    assert (
        f"{MODEL} with prior on Evening News: NDCG@10 {values[0]} {span(interval.low, interval.high, 3)}, "
        f"{values[1]} without the prior; no floor is clearly better, but repeat {values[4]} cannot be told from it"
    ) in words
    gap = reports[0].compare(reports[1], "ndcg@10", seed=0)
    assert gap.low > 0
    first, second = (text.strip() for text in re.findall(r"<li>.*?</span>(.*?)</li>", page)[:2])
    worse = f"The model without prior {score(reports[1].metrics['ndcg@10'])} is worse by {score(gap.mean)} "
    assert first.replace("\N{NO-BREAK SPACE}", " ") == worse + span(gap.low, gap.high)
    assert second.startswith("Repeat ")
    assert "clearly more or less than the model with prior, by" in words
    assert "Differences to the model with prior" in words
    assert "System less model with prior" in words
    assert "Floor less model" not in words
    assert 'aria-label="clearly less than the model with prior"' in page
    assert 'than the model"' not in page


def test_a_table_says_what_the_prior_adds_and_who_is_the_best_floor(page: str, reports: list[EvalReport]) -> None:
    table = words_of(page.split("<h3>With the prior and without</h3>")[1].split("</table>")[0] + "</table></div>")
    rows = {"ndcg@10": "NDCG@10", "recall@10": "Recall@10", "recall@100": "Recall@100", "in_session_auc": "Session AUC"}
    model, alone, *floors = reports
    for metric, name in rows.items():
        best = max(floors, key=lambda floor: floor.metrics[metric])
        texts = [f" {name} {score(model.metrics[metric])} {score(alone.metrics[metric])}"]
        for other in (alone, best):
            gap = model.compare(other, metric, seed=0)
            texts.append(f"{signed(gap.mean)} {span(gap.low, gap.high)}")
        assert f"{texts[0]} {texts[1]} {score(best.metrics[metric])} {best.system} {texts[2]}" in table


def test_bars_are_the_contributions_by_kind_what_adds_most_first(page: str) -> None:
    found = looks(PriorWeights.model_validate(prior_facts()["find"]))
    assert [look.title for look in found] == ["What all users do", "What the user did", "Neighbours", "The model"]
    assert [[bar.name for bar in look.bars] for look in found] == [
        ["click rate 1 d", "acted 1 h", "shown 1 d", "age"],
        ["own acted 7 d", "own brand <b>"],
        ["neighbours"],
        ["model", "model by experience"],
    ]
    facts = prior_facts()["find"]
    bars = {bar.name: bar for look in found for bar in look.bars}
    assert {name: bar.moves for name, bar in bars.items()} == facts["contribution"]
    assert bars["model"].weight == facts["scale"]
    drawn = section(page).split("<h3>What orders a given list</h3>")[0]
    svgs = re.findall(r"<svg.*?</svg>", drawn, re.DOTALL)
    assert len(svgs) == len(found)
    for svg, look in zip(svgs, found, strict=True):
        texts = [text.strip() for text in outline_of(svg).words if text.strip()]
        assert all(bar.name in texts for bar in look.bars)
        written_there = [text for text in texts if text in {signed(bar.moves, 2) for bar in look.bars}]
        assert [signed(bar.moves, 2) for bar in look.bars] == written_there
    words = words_of(drawn)
    assert "A usual difference of click rate 1 d moves a score by +1.00." in words
    assert "Neighbours neighbours +.7500 +1.5000" in words
    assert "age \N{MINUS SIGN}.5000 \N{MINUS SIGN}1.0000" in words
    assert "<b>" not in drawn


def test_bars_have_the_length_of_their_number_on_one_scale() -> None:
    found = looks(PriorWeights.model_validate(prior_facts()["find"]))
    lengths = {}
    for plot, look in zip(prior_plots(found, "find"), found, strict=True):
        paths = re.findall(r'<path d="M (\S+) \S+ \nL (\S+) \S+ \n[^"]*z[^"]*" clip', plot.svg)
        assert len(paths) == len(look.bars)
        for bar, (start, end) in zip(look.bars, paths, strict=True):
            lengths[bar.name] = (float(end) - float(start), bar.moves)
    scale = lengths["model"][0] / lengths["model"][1]
    assert scale > 0
    for length, moves in lengths.values():
        assert length == pytest.approx(scale * moves, abs=1e-3)


def test_weights_that_order_a_list_have_pictures_of_their_own(page: str, tmp_path: Path) -> None:
    listed = section(page).split("<h3>What orders a given list</h3>")[1].split("<h3>How well it fits")[0]
    svgs = re.findall(r"<svg.*?</svg>", listed, re.DOTALL)
    assert len(svgs) == 4
    texts = [text.strip() for text in outline_of(svgs[0]).words if text.strip()]
    assert signed(prior_facts()["order"]["contribution"]["age"], 2) in texts
    write_model(tmp_path, prior=prior_facts(order=None))
    assert "What orders a given list" not in page_of(tmp_path)


def test_the_losses_are_there_and_a_hidden_layer_is_told(page: str) -> None:
    words = words_of(section(page))
    assert "Model alone, at its best scale 5.2500 With the linear prior 3.1250 With a hidden layer 3.0625" in words
    assert "among sampled candidates; less is better." in words
    assert "On the 1,234 validation questions that the weights were fitted to, in 14 s." in words
    assert "A hidden layer comes on top, which no bar shows." in words
    assert "beside the hidden layer of 16 units" in words


@pytest.mark.parametrize(
    ("hidden", "told"),
    [(16, "A hidden layer of 16 units was tried and left out"), (0, "No hidden layer was asked for")],
)
def test_without_a_hidden_layer_that_is_told(hidden: int, told: str, tmp_path: Path) -> None:
    write_model(tmp_path, prior=prior_facts(config={"hidden": hidden}, loss=3.125, has_hidden=False))
    words = words_of(section(page_of(tmp_path)))
    assert told in words
    assert "comes on top" not in words
    assert "With a hidden layer" not in words
    assert "among sampled candidates; less is better." in words


def test_a_prior_that_says_nothing_is_drawn(tmp_path: Path) -> None:
    names = ("age", "model", "model by experience")
    find = {"weights": {"age": 0.0}, "scale": 0.0, "trust": 0.0, "contribution": dict.fromkeys(names, 0.0)}
    facts = prior_facts(find=find, order=None)
    write_model(tmp_path, prior=facts)
    page = page_of(tmp_path)
    assert "not evaluated yet" in page
    assert words_of(section(page)).count("Nothing here moves a score.") == 2


def test_a_run_without_a_prior_has_nothing_of_it(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, reports[1:], [])
    words = words_of(page_of(tmp_path))
    assert SECTION not in words
    assert "prior" not in words.replace(str(tmp_path), "")
    assert "clearly more or less than the model, by" in words
    assert "Floor less model" in words


def test_without_floors_the_prior_is_still_compared(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path, prior=prior_facts())
    write_evaluation(tmp_path, reports[:2], [])
    words = words_of(page_of(tmp_path))
    assert "without the prior; no floor was evaluated beside it" in words
    assert "The prior adds" in words
    assert "Best floor" not in words


def test_a_prior_that_cannot_be_told_from_none_is_not_praised(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path, prior=prior_facts())
    same = replace(reports[1], system=f"{MODEL} with prior")
    write_evaluation(tmp_path, [same, *reports[1:]], [])
    words = words_of(page_of(tmp_path))
    assert "The model without prior" in words
    assert "cannot be told from the model with prior: difference +.0000 [.0000, .0000]" in words


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": "low"}, "prior.loss: input should be a valid number"),
        ({"loss_without": float("nan")}, "prior.loss_without: input should be a finite number"),
        ({"num_questions": -1}, "prior.num_questions: input should be greater than or equal to 0"),
        ({"config": {}}, "prior.config.hidden: field required"),
        (
            {"find": FIND | {"contribution": {"age": None}}},
            "prior.find.contribution.age: input should be a valid number",
        ),
        (
            {"order": FIND | {"weights": {"age": 1.0}}},
            "prior.order: contribution and weights are not of the same features: only one has 'acted ",
        ),
    ],
)
def test_a_damaged_prior_is_named_with_its_file(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_model(tmp_path, prior=prior_facts(**changed))
    with pytest.raises(ArtifactError, match=re.escape(f"{tmp_path / 'model' / 'manifest.json'}: {message}")) as error:
        read_run(tmp_path)
    assert str(error.value).endswith("; train the model again")


def test_a_trained_model_with_a_prior(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the raw log to the page."""
    fields = ("training.epochs=2", "prior.uniform=10", "prior.recent=10", "prior.best=4")
    _, run = train_shop(tmp_path, *fields)
    evaluation = evaluate(run, config=EvaluationConfig(threads=1))
    kept = read_manifest(run / "model", kind="model", format=1).body["prior"]
    page = page_of(run)
    words = words_of(page)
    model, alone, *_ = evaluation.reports
    assert f"{model.system} on " in words and model.system == f"{alone.system} with prior"
    assert f"{score(alone.metrics['ndcg@10'], 3)} without the prior" in words
    told = words_of(section(page))
    assert f"at its best scale {kept['loss_without']:.4f} With the linear prior {kept['loss_linear']:.4f}" in told
    for purpose in ("find", "order"):
        for name, moves in kept[purpose]["contribution"].items():
            assert name in told
            assert signed(moves) in told
    assert 2 * len(kept["find"]["contribution"]) == section(page).count('<td class="text">')
    console.print(metrics_table(evaluation))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == [alone.system, "with", "prior"]
    assert lines[2].split()[:2] == [alone.system, f"{alone.metrics['ndcg@10']:.4f}"]
