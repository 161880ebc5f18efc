"""The page of a run: one file, the numbers of the reports, and never a word of the log as markup."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sessionrec.errors import ArtifactError, MissingExtraError
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.report import write_run_report
from sessionrec.report.numbers import score, span
from tests.report.fabricate import (
    MODEL,
    World,
    dataset_facts,
    examples_of,
    reports_of,
    write_evaluation,
    write_index,
    write_metrics,
    write_model,
)
from tests.report.outline import outline_of

EVIL = "<script>alert('x')</script>"
PROTOCOL = EvalProtocol(ks=(10, 100), list_length=5)


@pytest.fixture(scope="module")
def world() -> World:
    return World(150, 160)


@pytest.fixture(scope="module")
def reports(world: World) -> list[EvalReport]:
    return reports_of(world, PROTOCOL)


@pytest.fixture(scope="module")
def run(world: World, reports: list[EvalReport], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "a run"
    run.mkdir()
    write_model(run, dataset=dataset_facts(f"Evening {EVIL}"), machine={"device": EVIL, "threads": None})
    write_metrics(run)
    write_evaluation(run, reports, examples_of(world, [f"Title {n} {EVIL}" for n in range(30)], 2))
    write_index(run)
    return run


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("out") / "new" / "report.html"
    write_run_report(run, path)
    return path.read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return " ".join(" ".join(outline_of(page).words).split())


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page: str) -> None:
    outline = outline_of(page)
    assert page.startswith("<!doctype html>")
    # Three dot plots, four curves, two breakdowns, two of the session.
    assert outline.tags.count("svg") == outline.tags.count("figure") == 11
    assert not re.findall(r"https?:|//[a-z]", page)
    assert "@import" not in page
    assert {"script", "link", "img", "iframe", "object", "base"} & set(outline.tags) == set()
    assert all(link.startswith("#") for link in outline.links)
    assert len(outline.ids) == len(set(outline.ids))
    wanted = {link[1:] for link in outline.links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted <= set(outline.ids)
    used = set(re.findall(r"var\((--[a-z-]+)\)", page))
    assert used <= set(re.findall(r"(--[a-z-]+):", page))
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert not re.findall(r"(?:fill|stroke): ?#(?!none)[0-9a-f]{3,6}", svg)


def test_the_numbers_are_those_of_the_reports(page: str, reports: list[EvalReport]) -> None:
    words = words_of(page)
    row = {report.system: words[words.index(f"{report.system} ", words.index("Recall@100")) :] for report in reports}
    for report in reports:
        at = 0
        for metric in ("ndcg@10", "ndcg@100", "recall@10", "recall@100"):
            interval = report.interval(metric, seed=0)
            for text in (score(report.metrics[metric]), span(interval.low, interval.high)):
                at = row[report.system].index(text, at)
        assert at < 250
    for report in reports:
        for row_ in report.by_popularity:
            assert f"{float(row_['found@100']) * 100:.1f}".removesuffix(".0") + " %" in words
        assert score(report.metrics["in_session_auc"]) in words
        assert f"{report.lists['novelty@5']:.2f} bits" in words
    gap = reports[3].compare(reports[0], "ndcg@10", seed=0)
    assert span(gap.low, gap.high) in words


def test_the_headline_says_who_wins(page: str, reports: list[EvalReport]) -> None:
    interval = reports[0].interval("ndcg@10", seed=0)
    assert reports[3].compare(reports[0], "ndcg@10", seed=0).low > 0
    words = words_of(page)
    assert (
        f"{MODEL} on Evening {EVIL}: NDCG@10 {score(interval.mean, 3)} {span(interval.low, interval.high, 3)}" in words
    )
    assert f"repeat {score(reports[3].metrics['ndcg@10'], 3)} is better" in words


def test_every_section_is_there_in_order(page: str) -> None:
    found = [text.strip() for text in re.findall(r"<h2>(.*?)</h2>", page)]
    assert found == [
        "Metrics",
        "At a glance",
        "Training",
        "Who and what is served well",
        "Ranking inside the session",
        "2 users to read",
        "Retrieval",
        "The data",
        "To do it again",
    ]
    words = words_of(page)
    for text in (
        "all positives of the session to predict (leave-one-session-out)",
        "the model is that of epoch 18, the best on validation (NDCG@100 .1472)",
        "index finds 98.7 % of the 100 best items",
        "a pause of more than 30 min ends it",
        "half-life 1 h",
        '[model.backbone] kind = "hstu"',
        "no candidate",
    ):
        assert text in words
    assert "sessionrec fit 'runs/evening news' --config run.toml --out" in words
    assert "a run'" in words


def test_no_text_of_the_log_becomes_markup(page: str) -> None:
    assert "<script" not in page
    words = "".join(outline_of(page).words)
    assert f"Title 3 {EVIL}" in words
    assert f"Evening {EVIL}" in words


def test_the_same_folder_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    for name in ("a.html", "b.html"):
        write_run_report(str(run), tmp_path / name, lambda *news: told.append(news))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]
    assert told[-1][0] == "intervals"
    assert told[-1][1] == told[-1][2]


def test_what_was_not_made_yet_is_named_with_its_command(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_run_report(tmp_path, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    words = words_of(page)
    assert "paper on Evening News, not evaluated yet" in words
    assert f"sessionrec evaluate {tmp_path}" in words
    assert f"sessionrec index {tmp_path}" in words
    assert "so there are no curves" in words
    assert "svg" not in outline_of(page).tags


def test_a_run_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no finished model here"):
        write_run_report(tmp_path, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_model_alone_one_list_length_and_no_negatives(tmp_path: Path, world: World) -> None:
    protocol = EvalProtocol(ks=(5,), in_session=False, list_length=0)
    write_model(tmp_path)
    write_evaluation(tmp_path, reports_of(world, protocol, {f"{MODEL} $x$": 1.0}), [], seconds={}, choices={})
    write_run_report(tmp_path, tmp_path / "report.html")
    words = words_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "NDCG@5" in words
    assert "no floor was evaluated beside it" in words
    assert "there is nothing to rank" in words
    assert "$x$" in words


def test_what_belongs_to_another_model_is_said(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path, fingerprint="other")
    write_metrics(tmp_path)
    write_evaluation(tmp_path, reports, [], dataset=dataset_facts() | {"digest": "else"})
    write_index(tmp_path, quality=None)
    write_run_report(tmp_path, tmp_path / "report.html")
    words = words_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "The evaluation is of another model (0123456789abcdef) than the one in this folder (other)" in words
    assert "The evaluation was made on another data set than the training." in words
    assert "The index is of another model" in words
    assert "carries no figures of its quality" in words


def test_systems_that_could_not_find_the_same_targets_are_named(tmp_path: Path, reports: list[EvalReport]) -> None:
    # Seen items taken out: a model of positives alone was shown fewer of them than a floor, and loses fewer targets.
    write_model(tmp_path)
    write_metrics(tmp_path, epochs=1)
    unequal = [replace(reports[0], target_coverage=0.968), *(replace(r, target_coverage=0.897) for r in reports[1:])]
    write_evaluation(tmp_path, unequal, [])
    write_run_report(tmp_path, tmp_path / "report.html")
    words = words_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "could not find the same targets (SessionRec-HSTU 96.8 %, popularity 89.7 %" in words
    assert "Every epoch" in words
    assert "Retrieval loss" not in words


def test_the_report_of_a_run_needs_no_torch(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from sessionrec.report import write_run_report; "
        f"write_run_report({str(run)!r}, {str(tmp_path / 'page.html')!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_the_error_names_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sessionrec.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("sessionrec.report.run_page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'jinja2.*pip install "sessionrec\[report\]"'):
        write_run_report(run, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
