"""`sessionrec experiment run` and `report`, as they are typed."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from sessionrec import cli
from sessionrec.experiments import code
from sessionrec.experiments.places import Places
from sessionrec.experiments.results import collect
from tests.experiments.lab import BAD, DATASETS, ROWS, TABLE, do, lab, write_lab


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object, verb: str = "run"
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["sessionrec", "experiment", verb, *map(str, words)])
    status = 0
    try:
        cli.main()
    except SystemExit as end:
        status = int(end.code or 0)
    told = capsys.readouterr()
    return status, told.out + told.err


def test_the_plan_is_listed_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_lab(tmp_path, table=TABLE.replace('["toy"]', '["toy", "far"]'))
    status, told = call(monkeypatch, capsys, folder, "--out", tmp_path / "out", "--list", "--seeds", "1,2")
    assert status == 0
    lines = [line.split() for line in told.splitlines()]
    assert ["toy", "00-floors", "popularity", "data", "not", "prepared"] in lines
    assert ["toy", "02-gru", "GRU", "2", "data", "not", "prepared"] in lines
    assert ["far", "01-hstu", "Ours", "1", "left", "out"] in lines
    assert "LEFT OUT: far: no --raw was given" in told
    assert "12 results, 6 to be made" in told
    assert not (tmp_path / "out").exists()


def test_the_list_says_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = lab(tmp_path)
    do(experiment, tmp_path / "out", rows=["00-floors"])
    words = (experiment.folder, "--out", tmp_path / "out", "--list")
    told = call(monkeypatch, capsys, *words)[1]
    assert [line.split()[-2] for line in told.splitlines()[1:5]] == ["done", "done", "do", "do"]
    assert "4 results, 2 to be made" in told
    made_by = code.version()
    monkeypatch.setattr(code, "version", lambda: "newer")
    assert f"again, made by other code {made_by}" in call(monkeypatch, capsys, *words)[1]
    assert f"done by other code {made_by}" in call(monkeypatch, capsys, *words, "--keep-old-code")[1]


@pytest.mark.slow
def test_the_summary_names_failures_and_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = TABLE.replace('["toy"]', '["toy", "far"]')
    folder = write_lab(tmp_path, table=table, rows={"00-bad": BAD, "02-gru": ROWS["02-gru"]})
    words = (folder, "--raw", tmp_path / "logs", "--out", tmp_path / "out", "--memory", 8, "model.width=4")
    status, told = call(monkeypatch, capsys, *words)
    assert status == 1
    assert "1 runs done, 0 were done before, 1 failed" in told
    assert f"LEFT OUT: the data set far: there is no folder {tmp_path / 'logs' / 'shop'}" in told
    assert "FAILED: toy, Too fast, seed 1: the end of" in told
    assert "lower `optimizer.learning_rate`" in told
    assert "done: toy, GRU, seed 1  ndcg@10" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "1", "2"], "expected FIELD=VALUE, got '2'; several seeds, rows or data sets are written"),
        (["--seeds", "one"], "--seeds: expected whole numbers"),
        (["--data", "far"], "the data set far cannot be made"),
        (["--rows", "gru"], "there is no 'gru' among the rows"),
        (["model.widht=2"], "error: command line: model.widht: unknown key"),
        (["--seeds", "-1"], "error: command line: --seeds: expected whole numbers from 0 on, got -1"),
        (["seed=5"], "error: command line: seed=5: a seed is no field"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    folder = write_lab(tmp_path, table=TABLE.replace('["toy"]', '["toy", "far"]'))
    status, said = call(monkeypatch, capsys, folder, "--out", tmp_path / "out", *words)
    assert status == 2
    assert told in " ".join(said.split())


def test_an_experiment_of_counts_only_prepares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_lab(tmp_path, table=f'kind = "statistics"\n{TABLE}', rows={})
    status, told = call(monkeypatch, capsys, folder, "--out", tmp_path / "out")
    assert status == 0
    assert "toy: preparing, for the first time" in told
    assert (Places(tmp_path / "out").data("toy") / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--data", "tyo"], "no 'tyo' among the data sets of the experiment; did you mean 'toy'?"),
        (["--list", "--data", "tyo"], "no 'tyo' among the data sets"),
        (["--rows", "nope", "--list"], "--rows: expected no rows, seeds or fields"),
        (["--seeds", "x"], "--seeds: expected whole numbers"),
        (["training.epoks=3"], "training.epoks=3: expected no rows, seeds or fields"),
    ],
)
def test_mistakes_are_told_where_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    folder = write_lab(tmp_path, table=f'kind = "statistics"\n{TABLE}', rows={})
    status, said = call(monkeypatch, capsys, folder, "--out", tmp_path / "out", *words)
    assert status == 2
    assert told in " ".join(said.split())


def test_a_list_of_counts_names_the_data_sets_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = f'kind = "statistics"\n{TABLE}'.replace('["toy"]', '["toy", "other"]')
    folder = write_lab(tmp_path, table=table, rows={})
    status, told = call(monkeypatch, capsys, folder, "--out", tmp_path / "out", "--list", "--data", "other")
    assert (status, told) == (0, "No runs: this experiment shows its data sets: other\n")


def test_counts_are_those_of_the_data_set_that_was_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A planted log has what its config says."""
    datasets = DATASETS.replace('paper = "toy"', 'paper = "kuaisar"')
    table = f'kind = "statistics"\n{TABLE}'.replace('["toy"]', '["toy", "other"]')
    folder, out = write_lab(tmp_path, table=table, rows={}, datasets=datasets), tmp_path / "out"
    assert call(monkeypatch, capsys, folder, "--out", out, "--data", "toy")[0] == 0
    status, told = call(monkeypatch, capsys, folder, "--out", out, verb="report")
    assert status == 0
    assert "table.md" in told
    with (out / "report" / "toy" / "table.csv").open(encoding="utf-8", newline="") as lines:
        cells = {(line["dataset"], line["metric"]): line for line in csv.DictReader(lines)}
    # Sixty users, six sessions each, in each the three items of a group and two that were only shown.
    assert float(cells["toy", "users"]["mean"]) == 60
    assert float(cells["toy", "sessions"]["mean"]) == 60 * 6
    assert float(cells["toy", "events"]["mean"]) == 60 * 6 * 5
    assert float(cells["toy", "positives"]["mean"]) == 60 * 6 * 3
    assert float(cells["toy", "users"]["paper"]) == 9_460
    assert cells["other", "users"]["mean"] == ""
    page = (out / "report" / "toy" / "report.html").read_text(encoding="utf-8")
    assert "Toy differs from the paper&#39;s counts, most in" in page
    assert "Not prepared: Other toy." in page


def test_a_report_says_what_is_there_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, out, to = lab(tmp_path), tmp_path / "out", tmp_path / "paper"
    do(experiment, out, rows=["00-floors"])
    status, told = call(monkeypatch, capsys, experiment.folder, "--out", out, "--to", to, verb="report")
    assert status == 0
    told = " ".join(told.split())
    assert "2 results, 2 are not there" in told
    assert f"Report: {to / 'report.html'}" in told.replace(" /", "/").replace("Report:/", "Report: /")
    assert {"report.html", "table.md", "table.tex", "table.csv", "figures"} <= {file.name for file in to.iterdir()}
    # Of another code they are shown only where that is asked for.
    monkeypatch.setattr(code, "version", lambda: "newer")
    assert "4 are not there" in call(monkeypatch, capsys, experiment.folder, "--out", out, verb="report")[1]
    told = call(monkeypatch, capsys, experiment.folder, "--out", out, "--keep-old-code", verb="report")[1]
    assert "2 results, 2 are not there" in told


def test_a_report_without_an_experiment_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = call(monkeypatch, capsys, tmp_path / "nothing", verb="report")
    assert status == 2
    assert str(tmp_path / "nothing") in told
    assert "Traceback" not in told


def test_a_damaged_result_is_missing_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = lab(tmp_path)
    do(experiment, tmp_path / "out", rows=["00-floors"])
    found = collect(experiment, tmp_path / "out").results["toy", "00-floors:repeat", None]
    folder = Places(tmp_path / "out").result(found.key)
    users = next(folder.rglob("users.parquet"))
    users.write_bytes(bytes(users.stat().st_size))
    words = (experiment.folder, "--out", tmp_path / "out")
    assert (
        "1 results, 3 are not there, 1 of them damaged: run them again"
        in call(monkeypatch, capsys, *words, verb="report")[1]
    )
    assert "again, damaged" in call(monkeypatch, capsys, *words, "--list")[1]
    users.write_bytes(b"")
    missing = {one.slug: one.reason for one in collect(experiment, tmp_path / "out").missing}
    assert missing["00-floors:repeat"] == "damaged; run it again"
    shutil.rmtree(folder)
    missing = {one.slug: one.reason for one in collect(experiment, tmp_path / "out").missing}
    assert missing["00-floors:repeat"] == "not run yet"
