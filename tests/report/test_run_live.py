"""A run's page with the evaluation as a live system is asked: beside the plain one, alone, missing, or not fitting."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sessionrec.data import ledger
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.pipeline.runs import RunFolder
from sessionrec.report import write_run_report
from sessionrec.report.numbers import score, span
from sessionrec.report.run_facts import DatasetFacts
from sessionrec.report.run_files import LIVE, read_run
from sessionrec.report.run_plots import color_variables
from tests.report.fabricate import (
    FINGERPRINT,
    MODEL,
    ONE_CLOCK,
    SYSTEMS,
    WITH_PRIOR,
    World,
    dataset_facts,
    reports_of,
    write_evaluation,
    write_model,
)
from tests.report.outline import page_of, words_of

PLAIN, STREAM = EvalProtocol(ks=(10, 100), list_length=5), EvalProtocol(ks=(10, 100), list_length=5, known="stream")
HEADING = "As a live system is asked"
CLOCK = dataset_facts() | {"split_rule": ONE_CLOCK}
NO_BREAK = "\N{NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def plain() -> list[EvalReport]:
    return reports_of(World(150, 160), PLAIN)


@pytest.fixture(scope="module")
def asked_live() -> list[EvalReport]:
    # Items that training never saw are candidates too.
    return reports_of(World(150, 180, seed=1), STREAM)


@pytest.fixture(scope="module")
def page(plain: list[EvalReport], asked_live: list[EvalReport], tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("runs") / "run"
    write_model(run, dataset=CLOCK)
    write_evaluation(run, plain, [], dataset=CLOCK)
    write_evaluation(run, asked_live, [], folder=LIVE, dataset=CLOCK)
    return page_of(run)


def headings(page: str) -> list[str]:
    return [text.strip() for text in re.findall(r"<h2>(.*?)</h2>", page)]


def section(page: str, heading: str = HEADING) -> str:
    return page[page.index(f"<h2>{heading}</h2>") :].split("</section>")[0]


def rows(part: str) -> list[str]:
    return [words_of(row) for row in re.findall(r"<tr.*?</tr>", part.split("</table>")[0], re.DOTALL)]


def cells(report: EvalReport) -> list[str]:
    found = []
    for metric in ("ndcg@10", "ndcg@100", "recall@10", "recall@100"):
        interval = report.interval(metric, seed=0)
        found += [score(report.metrics[metric]), span(interval.low, interval.high)]
    return found


def verdicts(part: str) -> list[str]:
    return [words_of(item).replace(NO_BREAK, " ").lstrip("▲▼ ") for item in re.findall(r"<li>.*?</li>", part)]


def test_the_folder_is_that_of_the_pipeline() -> None:
    assert RunFolder(Path("run")).evaluation("test", "session", "kept", "stream") == Path("run") / LIVE


def test_one_clock_is_told_by_the_words_of_the_ledger() -> None:
    def has_one_clock(borders: tuple[int, int] | None) -> bool:
        summary = SimpleNamespace(time_borders=borders)
        rule = ledger.split_rule(cast(Dataset, SimpleNamespace(summary=summary)))
        return DatasetFacts.model_validate(dataset_facts() | {"split_rule": rule}).has_one_clock

    assert has_one_clock((1_709_510_400_000, 1_709_683_200_000))
    assert not has_one_clock(None)
    assert not DatasetFacts.model_validate(dataset_facts() | {"split_rule": None}).has_one_clock


def test_the_section_follows_the_main_results(page: str) -> None:
    assert headings(page)[:4] == ["Metrics", "At a glance", HEADING, "Training"]
    told = words_of(section(page))
    for term in ("candidates", "known of all users"):
        assert f"{term[:1].upper()}{term[1:]}: {STREAM.words()[term]}." in told
    # What is no different is not said again.
    assert STREAM.words()["ties"] not in told
    assert "not split by one clock" not in told
    assert "among 180 candidates, test part, evaluated 20" in told
    assert "Intervals, signs and bold as above." in told


def test_the_table_has_the_metrics_of_the_main_one_with_intervals(
    page: str, plain: list[EvalReport], asked_live: list[EvalReport]
) -> None:
    main, live = rows(section(page, "Metrics")), rows(section(page))
    assert main[0] == live[0] == "System NDCG@10 NDCG@100 Recall@10 Recall@100"
    for found, reports in ((main, plain), (live, asked_live)):
        assert len(found) == 1 + len(reports)
        for row, report in zip(found[1:], reports, strict=True):
            assert row.startswith(report.system)
            assert [text for text in cells(report) if text not in row] == []
            assert re.findall(r"(?:1|)\.\d{4}(?= |$)", re.sub(r"\[.*?\]", "", row)) == cells(report)[::2]
    best = max(asked_live, key=lambda report: report.metrics["recall@100"])
    strong = re.findall(r"<strong>(.*?)</strong>", section(page))
    assert score(best.metrics["recall@100"]) in strong
    assert len(strong) == 4


def test_the_verdicts_are_those_of_the_live_answers(
    page: str, plain: list[EvalReport], asked_live: list[EvalReport]
) -> None:
    found = verdicts(section(page))
    best_first = sorted(asked_live[1:], key=lambda report: -report.metrics["ndcg@10"])
    assert len(found) == 3
    for words, floor in zip(found, best_first, strict=True):
        named = f"{floor.system[:1].upper()}{floor.system[1:]}"
        assert words.startswith(f"{named} {score(floor.metrics['ndcg@10'])} ")
        gap = floor.compare(asked_live[0], "ndcg@10", seed=0)
        assert span(gap.low, gap.high) in words or span(-gap.high, -gap.low) in words
    told = words_of(section(page)).replace(NO_BREAK, " ")
    interval = asked_live[0].interval("ndcg@10", seed=0)
    of_live = f"{score(interval.mean, 3)} {span(interval.low, interval.high, 3)}"
    assert f"{MODEL} on Evening News, as a live system is asked: NDCG@10 {of_live}; repeat" in told
    # The page is still called by the plain answers.
    title = words_of(page[page.index("<h1") :].split("</h1>")[0] + "</h1>")
    assert title.startswith(f"{MODEL} on Evening News: NDCG@10 {score(plain[0].metrics['ndcg@10'], 3)}")
    assert score(plain[0].metrics["ndcg@10"]) != score(asked_live[0].metrics["ndcg@10"])


def test_without_it_the_page_has_no_word_of_it(tmp_path: Path, plain: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, plain, [])
    assert read_run(tmp_path).live is None
    page = page_of(tmp_path)
    assert HEADING not in page
    assert "protocol.known" not in page
    assert headings(page)[:3] == ["Metrics", "At a glance", "Training"]


def test_the_command_is_listed_where_it_was_run_and_where_it_says_most(
    tmp_path: Path, plain: list[EvalReport], asked_live: list[EvalReport]
) -> None:
    command = "sessionrec evaluate {} protocol.known=stream sessionrec report"
    for name, is_there, facts, is_listed in (
        ("clock", False, CLOCK, True),
        ("users", False, dataset_facts(), False),
        ("users-live", True, dataset_facts(), True),
    ):
        run = tmp_path / name
        write_model(run, dataset=facts)
        write_evaluation(run, plain, [], dataset=facts)
        if is_there:
            write_evaluation(run, asked_live, [], folder=LIVE, dataset=facts)
        page = page_of(run)
        assert (command.format(run) in words_of(section(page, "To do it again"))) == is_listed
        assert (HEADING in headings(page)) == is_there
        assert ("The data are not split by one clock" in page) == is_there


def test_alone_it_names_the_page(tmp_path: Path, asked_live: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, asked_live, [], folder=LIVE)
    told: list[tuple[str, int, int | None]] = []
    write_run_report(tmp_path, tmp_path / "report.html", lambda *news: told.append(news))
    assert told[-1][1] == told[-1][2]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert headings(page) == ["Metrics", HEADING, "Training", "Retrieval", "The data", "To do it again"]
    words = words_of(page).replace(NO_BREAK, " ")
    assert f"<title>{MODEL} on Evening News - run report</title>" in page
    assert words.count(f"{MODEL} on Evening News, as a live system is asked: NDCG@10") == 1
    assert "not evaluated yet" not in words
    assert f"only one as a live system is asked. Run: sessionrec evaluate {tmp_path} " in words
    assert f"NDCG@10 {score(asked_live[0].metrics['ndcg@10'])} Users asked 150 Candidates 180" in words
    assert "clearly more or less than the model, by" in words
    assert len(rows(section(page))) == 5


def test_progress_counts_both(tmp_path: Path, plain: list[EvalReport], asked_live: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, plain, [])
    write_evaluation(tmp_path, asked_live, [], folder=LIVE)
    told: list[tuple[str, int, int | None]] = []
    write_run_report(tmp_path, tmp_path / "report.html", lambda *news: told.append(news))
    done = [number for _, number, _ in told]
    assert done == sorted(done)
    assert {total for _, _, total in told} == {done[-1]}


@pytest.mark.parametrize("is_alone", [False, True])
def test_another_model_and_other_data_are_said(
    is_alone: bool, tmp_path: Path, plain: list[EvalReport], asked_live: list[EvalReport]
) -> None:
    write_model(tmp_path)
    if not is_alone:
        write_evaluation(tmp_path, plain, [])
    other: dict[str, Any] = {"model": "another", "dataset": dataset_facts() | {"digest": "else"}}
    write_evaluation(tmp_path, asked_live, [], folder=LIVE, **other)
    words = words_of(page_of(tmp_path))
    assert (
        f"The live evaluation is of another model (another) than the one in this folder ({FINGERPRINT}). "
        f"Run: sessionrec evaluate {tmp_path} protocol.known=stream "
    ) in words
    assert "The live evaluation was made on another data set than the training." in words
    assert "The evaluation is of another model" not in words
    assert "The evaluation was made on another" not in words


def test_only_what_does_not_fit_is_said(tmp_path: Path, plain: list[EvalReport], asked_live: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, plain, [], model="another")
    uneven = [replace(asked_live[0], target_coverage=0.5), *asked_live[1:]]
    write_evaluation(tmp_path, uneven, [], folder=LIVE)
    words = words_of(page_of(tmp_path))
    assert f"Run: sessionrec evaluate {tmp_path} In the live evaluation the systems could not find the same" in words
    assert "The live evaluation is of another model" not in words
    assert "In the evaluation the systems" not in words


def test_what_was_asked_otherwise_is_no_live_evaluation(tmp_path: Path, plain: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, plain, [], folder=LIVE)
    with pytest.raises(ArtifactError, match=r"kept-stream: was not asked with `protocol.known=stream`; evaluate again"):
        read_run(tmp_path)


def test_other_settings_are_said_too(tmp_path: Path, plain: list[EvalReport]) -> None:
    capped = STREAM.model_copy(update={"recall": "capped"})
    write_model(tmp_path)
    write_evaluation(tmp_path, plain, [])
    write_evaluation(tmp_path, reports_of(World(60, 70), capped), [], folder=LIVE)
    assert "Recall: hits / min(K, targets)." in words_of(section(page_of(tmp_path)))


def test_other_systems_are_compared_with_their_own_model_and_keep_their_colours(tmp_path: Path) -> None:
    world = World(60, 70)
    write_model(tmp_path)
    write_evaluation(tmp_path, reports_of(world, PLAIN, SYSTEMS), [])
    write_evaluation(tmp_path, reports_of(world, STREAM, WITH_PRIOR), [], folder=LIVE)
    page = page_of(tmp_path)
    told = words_of(section(page))
    assert "Intervals, signs and bold as above." not in told
    assert "clearly more or less than the model with prior, by" in told
    assert verdicts(section(page))[0].startswith("The model without prior ")

    def colors(part: str) -> dict[str, str]:
        keys = re.findall(r'background: var\((--[a-z]+)\)"></span>([^<]*)', part)
        return {name.strip(): color for color, name in keys}

    main, live = colors(section(page, "Metrics").split("</table>")[0]), colors(section(page))
    assert main.items() < live.items()
    assert len(set(live.values())) == len(WITH_PRIOR)
    assert color_variables(["b", "c"], ["a", "b"]) == color_variables(["a", "b", "c"])[1:]
