"""`sessionrec experiment run`, as it is typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sessionrec import cli
from sessionrec.experiments import code
from sessionrec.experiments.places import Places
from sessionrec.experiments.results import collect
from tests.experiments.lab import BAD, ROWS, TABLE, do, lab, write_lab


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["sessionrec", "experiment", "run", *map(str, words)])
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
        (["model.widht=2"], "unknown key"),
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


def test_a_damaged_result_is_missing_and_said_to_be(tmp_path: Path) -> None:
    experiment = lab(tmp_path)
    do(experiment, tmp_path / "out", rows=["00-floors"])
    found = collect(experiment, tmp_path / "out").results["toy", "00-floors:repeat", None]
    folder = Places(tmp_path / "out").result(found.key)
    next(folder.rglob("users.parquet")).write_bytes(b"")
    missing = {one.slug: one.reason for one in collect(experiment, tmp_path / "out").missing}
    assert missing["00-floors:repeat"] == "damaged; run it again"
    shutil.rmtree(folder)
    missing = {one.slug: one.reason for one in collect(experiment, tmp_path / "out").missing}
    assert missing["00-floors:repeat"] == "not run yet"
