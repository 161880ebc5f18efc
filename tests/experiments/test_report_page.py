"""The report as files: every kind of experiment, whatever is missing or in the names, and the same each time."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from sessionrec.experiments import code, parts
from sessionrec.experiments.config import Experiment, load_experiment
from sessionrec.experiments.page import Written, write_collected
from sessionrec.experiments.places import Places
from sessionrec.experiments.plan import asked as digest_of
from sessionrec.experiments.report import write_report
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Cell, Entry, add_to_index
from tests.experiments.fabricate import collected, experiment, item_level, result, results_of, row
from tests.report.outline import outline_of

EVIL = "<script>alert('x')</script> & | $x$ 50 %_"
ROWS = [
    row("00-floors", floors=("popularity", "repeat")),
    item_level("01-sasrec", f"SASRec {EVIL}", group="item-level"),
    item_level("02-hstu", "HSTU+", group="item-level", paper={"kuaisar": {"session": {"ndcg@10": 0.0934}}}),
    row("03-ours", "Ours", paper={"kuaisar": {"session": {"ndcg@10": 0.095}}}),
]
KEY = "0123456789abcdef"
QUALITIES = {"00-floors:repeat": 0.4, "01-sasrec": 0.8, "02-hstu": 1.0, "03-ours": 1.6}


def table(**settings: Any) -> Experiment:
    tree: dict[str, Any] = {
        "ours": "Ours", "seeds": (1, 2), "metrics": ("ndcg@10", "recall@100"), "titles": {"toy": f"Toy {EVIL}"},
    }  # fmt: skip
    return experiment(ROWS, **tree | settings)


def write(asked: Experiment, results: dict[Cell, Result], to: Path, **more: Any) -> Written:
    return write_collected(collected(asked, results, **more), Path("experiments/toy-table"), to / "none", to)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("report")
    asked = table()
    write(asked, results_of(asked, QUALITIES, users=120), to)
    return to


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return (written / "report.html").read_text(encoding="utf-8")


def test_the_page_is_one_file_and_fetches_nothing(page: str) -> None:
    outline = outline_of(page)
    assert [link for link in outline.links if not link.startswith("#")] == []
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    assert len(outline.ids) == len(set(outline.ids))


def test_memory_is_that_of_models(written: Path) -> None:
    """All floors share a process, so each was given what those before it took."""
    with (written / "table.csv").open(encoding="utf-8", newline="") as lines:
        costs = {(line["slug"], line["metric"]) for line in csv.DictReader(lines) if line["mean"]}
    assert ("03-ours", "peak_bytes") in costs
    assert ("00-floors:repeat", "evaluation_seconds") in costs
    assert ("00-floors:repeat", "peak_bytes") not in costs
    tables = (written / "table.md").read_text(encoding="utf-8").partition("Peak memory")[2].splitlines()
    (floor,) = [line.split("|") for line in tables if line.startswith("| repeat ")]
    assert floor[6].strip() == "\N{EN DASH}"


def test_names_are_words_and_no_markup(page: str, written: Path) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert r"\<script\>" in (written / "table.md").read_text(encoding="utf-8")
    assert r"\textless{}script\textgreater{}" in (written / "table.tex").read_text(encoding="utf-8")


def test_the_head_says_how_it_was_made(page: str) -> None:
    words = " ".join(outline_of(page).words)
    for said in (
        "sessionrec experiment report experiments/toy-table",
        "digest d16e57",
        "00000000000000aa",
        "device a CPU",
        "all positives of the session to predict (leave-one-session-out)",
        "the last positive of the session to predict (leave-one-item-out)",
        "7 of 8",
    ):
        assert said in words, said


def test_no_cell_is_blank_and_what_is_missing_is_listed(page: str) -> None:
    assert not re.search(r"<td[^>]*>\s*</td>(?!</tr>)", page)
    assert page.count("not run") > 4
    assert "popularity: not run yet" in page


def test_files_are_there(written: Path) -> None:
    figures = sorted(file.name for file in (written / "figures").iterdir())
    assert {name.rpartition(".")[2] for name in figures} == {"svg", "png"}
    assert "toy-table-toy-session-ndcg-10.svg" in figures
    assert (written / "table.csv").read_text(encoding="utf-8").startswith("dataset,row,slug,")


def test_the_same_results_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    asked = table()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "toy-table-gone.svg").write_text("an earlier one")
    (tmp_path / "figures" / "mine.svg").write_text("a stranger's")
    first = {file.relative_to(written): file.read_bytes() for file in written.rglob("*") if file.is_file()}
    write(asked, results_of(asked, QUALITIES, users=120), written)
    again = {file.relative_to(written): file.read_bytes() for file in written.rglob("*") if file.is_file()}
    assert again == first
    write(asked, results_of(asked, QUALITIES, users=120), tmp_path)
    assert not (tmp_path / "figures" / "toy-table-gone.svg").exists()
    assert (tmp_path / "figures" / "mine.svg").exists()


def test_mixed_code_is_warned_of_and_marked(tmp_path: Path) -> None:
    asked = table(metrics=("ndcg@10",), targets=("session",))
    results = results_of(asked, QUALITIES, users=60)
    for seed in (1, 2):
        old = results["toy", "02-hstu", seed]
        results["toy", "02-hstu", seed] = dataclasses.replace(old, code="00000000000000bb")
    found = write(asked, results, tmp_path)
    assert "2 versions of the code" in found.warnings[0]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="note warning">Results of 2 versions of the code' in page
    page = page.partition("as published</h2>")[0]
    marked = re.findall(r'<tr class="model[^"]*"><th scope="row">HSTU\+.*?</tr>', page, re.DOTALL)
    assert marked
    assert all('class="dagger"' in line for line in marked)
    ours = re.findall(r'<tr class="own[^"]*"><th scope="row">Ours.*?</tr>', page, re.DOTALL)
    assert not any('class="dagger"' in line for line in ours)
    assert "†" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_one_version_of_the_code_is_not_warned_of(tmp_path: Path) -> None:
    asked = table(metrics=("ndcg@10",), targets=("session",))
    assert write(asked, results_of(asked, QUALITIES, users=60), tmp_path).warnings == ()
    assert 'dagger"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_fields_of_the_command_line_are_warned_of(tmp_path: Path) -> None:
    asked = table(metrics=("ndcg@10",), targets=("session",))
    found = write(asked, results_of(asked, QUALITIES, users=60), tmp_path, overrides=frozenset({"training.epochs=3"}))
    assert "training.epochs=3" in found.warnings[0]


def test_logs_that_are_not_at_hand_are_shown_as_published(tmp_path: Path) -> None:
    asked = table(titles={"toy": "Toy", "k": "KuaiSAR-S"}, papers={"k": "kuaisar"}, targets=("session",))
    results = {cell: one for cell, one in results_of(asked, QUALITIES, users=60).items() if cell[0] == "toy"}
    write(asked, results, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>KuaiSAR-S, as published</h2>" in page
    assert "Nothing was run on KuaiSAR-S." in page
    assert "<u>.0934</u>" in page
    assert "<strong>.0950</strong>" in page


def test_an_experiment_without_a_result_is_a_report_too(tmp_path: Path) -> None:
    for kind in ("table", "cost"):
        write(table(kind=kind), {}, tmp_path / kind)
        assert "Nothing was run on Toy" in (tmp_path / kind / "report.html").read_text(encoding="utf-8")


def test_a_pair_is_joined_with_the_ratio_of_its_times(tmp_path: Path) -> None:
    rows = [item_level("1", "HSTU+", group="HSTU"), row("2", "SessionRec-HSTU", group="HSTU")]
    asked = experiment(rows, kind="cost", seeds=(1,), targets=("session",), metrics=("ndcg@100", "recall@500"))
    results = results_of(asked, {"1": 1.0, "2": 1.5}, seconds={"1": 60.0, "2": 25.0}, users=80)
    write(asked, results, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # 60 / 25
    assert "SessionRec-HSTU trains 2.4\N{MULTIPLICATION SIGN} faster than HSTU+ (25 s an epoch instead of 60 s)" in page
    assert page.count("2.4\N{MULTIPLICATION SIGN} faster") >= 4
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 2


def test_a_sweep_is_compared_with_its_least_value(tmp_path: Path) -> None:
    rows = [row(f"{place}", f"alpha {x:g}", x=x) for place, x in enumerate((0.0, 0.2, 2.0))]
    metrics = ("ndcg@10", "in_session_auc")
    asked = experiment(rows, kind="sweep", seeds=(1,), x_label="alpha", metrics=metrics)
    write(asked, results_of(asked, {"0": 1.0, "1": 1.2, "2": 0.2}, users=80), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Leave one session out, alpha = 0.2 beside 0: N@10 +" in page
    assert "alpha = 2 beside 0" in page
    assert len(list((tmp_path / "figures").glob("*in-session-auc.svg"))) == 1


def test_growth_is_drawn_and_told(tmp_path: Path) -> None:
    rows = [row(f"{place}", f"{2**place} %", x=2.0**place) for place in range(5)]
    asked = experiment(rows, kind="scaling", seeds=(1,), targets=("session",), x_label="share of users")
    qualities = {one.slug: 0.3 * place for place, one in enumerate(rows)}
    events = {one.slug: 1e5 * 2**place for place, one in enumerate(rows)}
    write(asked, results_of(asked, qualities, events=events, users=80), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Foretold from the smaller points alone" in page
    assert "R@500 by training events" in page


def test_counts_of_data_sets_stand_beside_the_papers(tmp_path: Path) -> None:
    asked = experiment([], kind="statistics", titles={"k": "KuaiSAR-S"}, papers={"k": "kuaisar"})
    write(asked, {}, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "not prepared" in page
    for printed in ("9,460", "109,575", "758,560", "80.19", "15.44", "28,257", "1,482,117", "810.28", "404.11"):
        assert f"<td>{printed}</td>" in page, printed


def test_what_was_not_run_has_lines_without_numbers(tmp_path: Path) -> None:
    asked = table()
    *_, last = parts.parts(asked, {}, frozenset(), tmp_path)
    assert last.grids == ()
    assert {record.mean for record in last.records} == {None}


def folder_of(where: Path) -> Path:
    folder = where / "experiments" / "small"
    folder.mkdir(parents=True)
    (folder / "table.toml").write_text('title = "Small"\ndatasets = ["toy"]\nours = "Ours"\nseeds = [1]\n')
    (folder / "1-ours.toml").write_text('name = "Ours"\n')
    (where / "experiments" / "datasets.toml").write_text('[datasets.toy]\ntitle = "Toy"\nconfig = "toy.toml"\n')
    return folder


def test_results_are_found_where_runs_left_them(tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "out"
    asked = load_experiment(folder)
    one = dataclasses.replace(result(1.0, users=60, key=KEY), code=code.version())
    one.save(Places(out).result(KEY))
    told = digest_of(asked, "toy", asked.rows[0], "1-ours", 1, ())
    add_to_index(out, "small", {("toy", "1-ours", 1): Entry(key=KEY, asked=told, fields=(), code=one.code)})
    found = write_report(folder, out)
    assert found.folder == out / "report" / "small"
    assert (found.num_results, found.num_missing) == (1, 0)
    page = (found.folder / "report.html").read_text(encoding="utf-8")
    assert "Newest result 20" in page
    before = page
    write_report(folder, out)
    assert (found.folder / "report.html").read_text(encoding="utf-8") == before
    # Older code does not count, unless it is asked for.
    dataclasses.replace(one, code="0" * 16).save(Places(out).result(KEY))
    assert write_report(folder, out).num_missing == 1
    assert write_report(folder, out, keep_old_code=True).num_results == 1
