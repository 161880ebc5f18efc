"""The commands on models, as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from sessionrec.cli import main, screen
from sessionrec.pipeline import load_fit_config
from sessionrec.pipeline.runs import RunFolder
from tests.shop import SMALL, write_shop

COMMAND = [sys.executable, "-m", "sessionrec.cli"]


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["sessionrec", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared, fitted, evaluated, indexed: by the commands alone."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    try:
        assert run("prepare", "shop.toml", "--out", "data", monkeypatch=patch) == 0
        assert run("fit", "data", "--out", "run", *SMALL, "training.epochs=12", monkeypatch=patch) == 0
        assert run("evaluate", "run", monkeypatch=patch) == 0
        assert run("index", "run", "index.kind=exact", "k=5", monkeypatch=patch) == 0
    finally:
        patch.undo()
    return folder


@pytest.fixture
def there(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


def test_a_table_of_systems_is_printed(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", "run", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    for word in ("N@10", "SessionRec-HSTU", "popularity", "recency popularity: half-life", "60 users, 120 targets"):
        assert word in printed


def test_recommendations_of_a_user_of_the_log(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("recommend", "run", "--user", "u7", "-k", "4", monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "user u7" in printed
    assert printed.count("Item ") == 4


def test_without_a_user_three_are_shown(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("recommend", "run", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.count("user u") == 3


def test_histories_from_a_file_and_answers_to_a_file(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = pl.DataFrame({"user": [5, 5, 9], "item": ["s00", "s01", "new"], "time": ["2024-03-20T10:00:00"] * 3})
    events.write_csv(tmp_path / "today.csv")
    words = ["recommend", "run", "--file", str(tmp_path / "today.csv"), "--now", "2024-03-22", "-k", "2"]
    assert run(*words, "--out", str(tmp_path / "a.csv"), monkeypatch=monkeypatch) == 0
    assert "4 rows" in capsys.readouterr().out
    answers = pl.read_csv(tmp_path / "a.csv")
    assert answers["user"].to_list() == [5, 5, 9, 9]
    assert answers["rank"].to_list() == [1, 2, 1, 2]
    assert run(*words, "--out", str(tmp_path / "a.parquet"), monkeypatch=monkeypatch) == 0
    assert pl.read_parquet(tmp_path / "a.parquet")["item"].to_list() == answers["item"].to_list()


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (
            "a.csv",
            ["user,item,time", "x,s00,2024-03-20T10:00", "x,s01,yesterday"],
            "a.csv: row 2: column `time` holds no readable time, got 'yesterday'; write it as 2024-03-01T09:00:00",
        ),
        ("a.csv", ["user,item,time", "x,s00,"], "a.csv: row 1: column `time` holds no readable time, found none"),
        ("a.csv", ["user,item,time"], "a.csv: there are no rows, only the names of columns"),
        (
            "a.csv",
            ["user,item,time", "x,s00,2024-03-20", '"",s00,2024-03-20'],
            "a.csv: row 2: column `user` must hold a value, got ''",
        ),
        ("a.csv", ["user,item,time_ms", "x,s00,5"], "a.csv: row 1: expected a time from 1980 to 2100, got 5 ms"),
        (
            "a.csv",
            ["user,item,time,positive", "x,s00,2024-03-20,yes"],
            "a.csv: column `positive` must be true or false",
        ),
        ("a.xlsx", ["user,item,time"], "a.xlsx: expected a name that ends in .csv, .tsv, .ndjson, .parquet or .arrow"),
        ("a.ndjson", ["user,item,time"], "a.ndjson: cannot be read as a table"),
    ],
)
@pytest.mark.parametrize("command", [["recommend"], ["rank", "--candidates", "s00"]])
def test_what_is_wrong_with_a_file_is_told_with_its_name_and_row(
    command: list[str],
    name: str,
    lines: list[str],
    message: str,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_text("\n".join([*lines, ""]))
    assert run(command[0], "run", *command[1:], "--file", str(tmp_path / name), monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert message in told and str(tmp_path) in told and told.count("\n") == 1


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "ndjson", "jsonl", "parquet", "pq", "arrow"])
def test_a_file_is_read_by_its_ending(
    suffix: str, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = pl.DataFrame({"user": ["5", "9"], "item": ["s00", "s10"], "time": ["2024-03-20 10:00", "2024-03-20"]})
    file = tmp_path / f"today.{suffix}"
    if suffix.startswith("csv"):
        events.write_csv(file, compression="gzip" if suffix.endswith("gz") else "uncompressed")
    elif suffix == "tsv":
        events.write_csv(file, separator="\t")
    elif suffix in ("ndjson", "jsonl"):
        events.write_ndjson(file)
    else:
        typed = events.with_columns(time=pl.datetime(2024, 3, 20))
        typed.write_ipc(file) if suffix == "arrow" else typed.write_parquet(file)
    assert run("recommend", "run", "--file", str(file), "-k", "2", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.count("Item ") == 4


def test_given_items_are_ranked(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rank", "run", "--user", "u3", "--candidates", "s00, s10,nope", monkeypatch=monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("Item " in line for line in lines) == 2
    assert lines[-1].split()[1] == "nope"


def test_a_run_s_report_is_one_file(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", "run", "--out", str(tmp_path / "r.html"), monkeypatch=monkeypatch) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "SessionRec-HSTU" in page and "recency popularity" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "nowhere", "--out", "x"], "nowhere: no finished dataset here"),
        (["fit", "data", "--out", "x", "--preset", "best"], "there is no preset 'best'; there are bert4rec, "),
        (["fit", "data", "--out", "x", "model.wide=3"], "model.wide: unknown key"),
        (["fit", "data", "--out", "run", *SMALL, "model.width=4"], "the checkpoint is of another run"),
        (["evaluate", "nowhere"], "no finished model here"),
        (["evaluate", "run", "floor_metric=auc"], "floor_metric: `metric` must be recall@K"),
        (["evaluate", "run", "protocol.targets=all"], "protocol.targets"),
        (["evaluate", "run", "--data", "run"], "no finished dataset here"),
        (["index", "run", "index.kind=tree"], "expected one of 'exact', 'hnsw', 'ivf'"),
        (["recommend", "run", "--user", "nobody"], "there is no user 'nobody' in this data set"),
        (["recommend", "run", "--file", "nothing.csv"], "nothing.csv: there is no such file"),
        (["recommend", "run", "--file", "items.csv"], "items.csv: column `user` is missing; there are sku"),
        (["recommend", "run", "--user", "u1", "--file", "log.csv"], "give --user or --file, not both"),
        (["recommend", "run", "--user", "u1", "--now", "soon"], "expected a time such as 2024-03-01T09:00"),
        (["recommend", "run", "--items", "items.csv"], "items.csv: this model has no prior and never answers with"),
        (["recommend", "run", "--events", "log.csv"], "log.csv: this model has no prior and keeps no counts"),
        (["recommend", "run", "--events", "nothing.csv"], "nothing.csv: there is no such file"),
        (["rank", "run", "--user", "u1", "--candidates", "[1, 2"], "--candidates: not a JSON list"),
        (["report", "nowhere"], "no finished dataset here"),
    ],
)
def test_mistakes_are_one_line_that_says_what_to_do(
    words: list[str], message: str, there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (there / "x").exists()


@pytest.mark.parametrize(
    "words", [["evaluate"], ["index"], ["recommend"], ["rank", "--user", "u1", "--candidates", "s00"], ["report"]]
)
def test_a_run_that_was_killed_is_said_to_go_on(
    words: list[str], there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(there / "run" / "last", tmp_path / "cut" / "last")
    assert run(words[0], str(tmp_path / "cut"), *words[1:], monkeypatch=monkeypatch) == 2
    wanted = f"error: {tmp_path / 'cut'}: training has not ended there; run the same `sessionrec fit` again to go on\n"
    assert capsys.readouterr().err == wanted


def test_two_runs_in_one_folder_and_fewer_epochs_are_refused(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(Path("run")).held():
        assert run("fit", "data", "--out", "run", *SMALL, "training.epochs=12", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.startswith("error: run: another `sessionrec fit` trains here")
    assert run("fit", "data", "--out", "run", *SMALL, "training.epochs=2", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.startswith("error: training.epochs: run has been trained for ")


def test_an_empty_list_of_candidates_is_answered_by_an_empty_table(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rank", "run", "--user", "u3", "--candidates", "", monkeypatch=monkeypatch) == 0
    assert "user u3" in capsys.readouterr().out


def test_a_moved_data_set_is_asked_for_and_found(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop)
    (shop / "data").rename(tmp_path / "moved")
    try:
        assert run("evaluate", "run", monkeypatch=monkeypatch) == 2
        assert "is not there any more; say where it is (`--data`)" in capsys.readouterr().err.replace("\n", " ")
        assert run("evaluate", "run", "--data", str(tmp_path / "moved"), monkeypatch=monkeypatch) == 0
    finally:
        (tmp_path / "moved").rename(shop / "data")


def test_ctrl_c_leaves_a_checkpoint_and_the_same_command_goes_on(there: Path, tmp_path: Path) -> None:
    words = ["fit", "data", "--out", str(tmp_path / "run"), *SMALL, "training.epochs=400", "training.patience=400"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.is_file() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "The same command goes on from there" in out
    done = len(metrics.read_text(encoding="utf-8").splitlines())
    last = json.loads((tmp_path / "run" / "last" / "manifest.json").read_text(encoding="utf-8"))
    assert last["kind"] == "checkpoint"
    shorter = [*words[:-2], f"training.epochs={done + 2}"]
    again = subprocess.run([*COMMAND, *shorter], capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert again.returncode == 0, again.stderr
    epochs = [json.loads(line)["epoch"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    assert epochs == list(range(1, done + 3))


def test_a_line_an_epoch_is_told(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "data", "--out", str(tmp_path / "run"), *SMALL, "training.epochs=2"]
    assert run(*words, monkeypatch=monkeypatch) == 0
    told = capsys.readouterr()
    assert [line.split()[:2] for line in told.err.splitlines()] == [["epoch", "1"], ["epoch", "2"]]
    assert "Best epoch: " in told.out
    assert screen.errors.is_terminal is False


@pytest.mark.parametrize("kind", ["hstu", "transformer", "gru"])
def test_the_printed_settings_of_a_run_are_valid_and_the_defaults(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("config", "fit", "--kind", f"model.backbone={kind}", monkeypatch=monkeypatch) == 0
    (tmp_path / "fit.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    printed = load_fit_config(None, tmp_path / "fit.toml")
    assert printed == load_fit_config(None, None, [f"model.backbone.kind={kind}"])


def test_a_kind_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "fit", "--kind", "gru", monkeypatch=monkeypatch) == 2
    assert "expected KEY=KIND" in capsys.readouterr().err
    assert run("config", "fit", "--kind", "model.backbone=lstm", monkeypatch=monkeypatch) == 2
    assert "there is no kind 'lstm'" in capsys.readouterr().err
