"""The command line as a user meets it: what is printed where, with which exit status, and how it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from sessionrec import cli
from sessionrec.config import Config, parse, tables
from sessionrec.config_text import commented
from sessionrec.errors import ConfigError
from sessionrec.logs import LogConfig
from sessionrec.pipeline import DataConfig
from sessionrec.sessions.rule import SessionRule
from sessionrec.sessions.split import SplitRule

S0 = 1_704_067_200
COMMAND = [sys.executable, "-m", "sessionrec.cli"]


def write_log(path: Path) -> Path:
    days = [(user, day, n) for user in range(10) for day in range(6) for n in range(2)]
    columns = {
        "user": [user for user, *_ in days],
        "item": [100 + (user + day + n) % 5 for user, day, n in days],
        "time": [S0 + day * 86_400 + user * 60 + n for user, day, n in days],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "log.csv")
    (tmp_path / "log.toml").write_text('[log]\nkind = "table"\npath = "log.csv"\n')
    return tmp_path


def run(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["sessionrec", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def kinds(union: Any) -> list[str]:
    return sorted(tables(union))


REQUIRED = {"path": "somewhere", "num_users": 100, "num_items": 2000, "events": 5000}


def filled(table: type[Config], tree: dict[str, Any]) -> dict[str, Any]:
    """With a value for each key that has no default, and nothing else changed."""
    required = {name for name, field in table.model_fields.items() if field.is_required()}
    assert {name for name in required if tree[name] != ""} == set(), "what is required must be left open"
    return tree | {name: REQUIRED[name] for name in required}


@pytest.mark.parametrize("log", kinds(LogConfig))
@pytest.mark.parametrize("session", kinds(SessionRule))
@pytest.mark.parametrize("split", kinds(SplitRule))
def test_the_printed_config_is_toml_and_valid_once_filled_in(log: str, session: str, split: str) -> None:
    tree = tomllib.loads(commented(DataConfig, {"log": log, "session": session, "split": split}))
    tree["log"] = filled(tables(LogConfig)[log], tree["log"])
    made = parse(DataConfig, tree, "printed")
    assert (made.log.kind, made.session.kind, made.split.kind) == (log, session, split)
    plain = parse(DataConfig, {"log": tree["log"], "session": {"kind": session}, "split": {"kind": split}}, "plain")
    assert made == plain, "a printed default must be the default"


def test_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(
        ConfigError, match=r"log: there is no kind 'tabel'; did you mean 'table'\?; the kinds are amazon"
    ):
        commented(DataConfig, {"log": "tabel"})


def test_every_reader_is_in_the_union_by_its_kind() -> None:
    assert len(kinds(LogConfig)) == len(get_args(get_args(LogConfig)[0]))


@pytest.mark.parametrize("name", ["2024", "it's [b]o[/b]", 'a "b" \\ \u00f8', "1e3", "true"])
def test_raw_is_a_path_whatever_it_looks_like(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_log(folder / name / "log.csv")
    (folder / "log.csv").unlink()
    assert run("prepare", "log.toml", "--raw", name, "--out", "out", monkeypatch=monkeypatch) == 0


def test_paths_are_printed_as_they_are_on_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"o[/b]6 {'long ' * 30}end"
    assert run("prepare", "log.toml", "--out", out, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        f"Data set: {out}",
        f"Next: sessionrec describe '{out}'   or   sessionrec fit '{out}' --out RUN",
    ]


def test_a_report_of_the_folder_one_stands_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prepare", "log.toml", "--out", "data", monkeypatch=monkeypatch) == 0
    monkeypatch.chdir(folder / "data")
    assert run("report", ".", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Report: {folder / 'data-report.html'}"
    assert (folder / "data-report.html").is_file()


def test_a_mistake_is_one_line_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prepare", "log.toml", "--out", "out", "log.item=[1]", monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: log.toml: log.item: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["locked/[b]x.csv", b"locked/[b]x.csv"])
def test_a_file_that_the_system_refuses_is_one_line(
    folder: Path, name: str | bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nobody can lock a folder against root, who may run this.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr("sessionrec.pipeline.prepare", refuse)
    assert run("prepare", "log.toml", "--out", "out", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == "error: locked/[b]x.csv: Permission denied\n"


def test_a_file_in_the_place_of_a_folder_of_experiments_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "afile").touch()
    words = ["--data", "kuaisar-shaped", "--rows", "02-sasrec", "--seeds", "1", "--out", "afile"]
    table = Path(__file__).parents[1] / "experiments" / "table2"
    assert run("experiment", "run", str(table), *words, monkeypatch=monkeypatch) == 2
    assert "error: afile/locks: Not a directory\n" in capsys.readouterr().err


def test_the_handlers_of_signals_are_put_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    run("config", monkeypatch=monkeypatch)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["config"], ["prepare", "log.toml", "--out", "out"]])
def test_a_full_disk_behind_the_output_is_one_line(folder: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words], check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the output cannot be written: No space left on device")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["config"], ["prepare", "log.toml", "--out", "out"]])
def test_a_closed_pipe_is_quiet(folder: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, *words], check=False, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert done.stderr == ""


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_is_one_line_and_leaves_nothing_behind(folder: Path, signum: signal.Signals, status: int) -> None:
    # A world that takes minutes; the folder of the partitions shows that the work has begun.
    scratch = folder / "scratch"
    scratch.mkdir()
    (folder / "world.toml").write_text(
        '[log]\nkind = "synthetic"\nnum_users = 100000\nnum_items = 100000\nevents = 500000000\n'
    )
    words = ["prepare", "world.toml", "--out", "out", f"engine.scratch={scratch}"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not any(scratch.iterdir()):
            assert process.poll() is None, process.communicate()
        time.sleep(0.5)
        process.send_signal(signum)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (status, "stopped; nothing half-made is left\n")
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in folder.iterdir()) == ["log.csv", "log.toml", "scratch", "world.toml"]
