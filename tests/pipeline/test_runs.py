"""The folder of a run: who may train in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError, ConfigError
from sessionrec.pipeline import fit, load_fit_config, prepare
from sessionrec.pipeline.data import DataConfig
from sessionrec.pipeline.runs import RunFolder
from tests.helpers import tree_of
from tests.shop import SMALL, write_shop

REFUSED = "another `sessionrec fit` trains here"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("shop")
    return prepare(load(DataConfig, write_shop(folder)), folder / "data")


class Intruder:
    """Begins the same run after every epoch, as someone in another window would."""

    def __init__(self, data: Dataset, run: Path) -> None:
        self._data, self._run, self.told = data, run, list[str]()

    def step(self, step: object) -> None:
        """Waits."""

    def epoch(self, line: Mapping[str, Any]) -> None:
        assert line["epoch"] == len(self.told) + 1
        with pytest.raises(ArtifactError) as refused:
            fit(self._data, self._run, load_fit_config(None, None, [*SMALL, "training.epochs=3"]))
        self.told.append(str(refused.value))


def test_a_second_fit_in_the_folder_is_refused_at_once_and_the_first_is_not_disturbed(
    data: Dataset, tmp_path: Path
) -> None:
    intruder = Intruder(data, tmp_path / "run")
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=3"])
    trained = fit(data, tmp_path / "run", settings, monitors=(intruder,))
    assert trained.epochs == 3
    assert intruder.told == [f"{tmp_path / 'run'}: {REFUSED}; wait for it or name another folder"] * 3
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best", "last", "metrics.jsonl", "model"]


def test_a_folder_is_free_again_whatever_ended_the_run(data: Dataset, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyError), run.held():
        raise KeyError
    # It was made for the run, and nothing came of it.
    assert tree_of(tmp_path) == []
    with pytest.raises(ConfigError, match="heads"):
        fit(data, run.path, load_fit_config(None, None, [*SMALL, "model.backbone.heads=3"]))
    assert tree_of(tmp_path) == []
    with run.held(), pytest.raises(ArtifactError, match=REFUSED), run.held():
        raise AssertionError("let in")
    with run.held():
        assert tree_of(tmp_path) == ["run", "run/.fit.lock"]


def test_a_killed_process_does_not_keep_the_folder(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from sessionrec.pipeline.runs import RunFolder
with RunFolder(Path(sys.argv[1])).held():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = tmp_path / "run"
    assert subprocess.run([sys.executable, "-c", code, str(run)], check=False).returncode == -signal.SIGKILL
    assert tree_of(tmp_path) == ["run", "run/.fit.lock"]
    with RunFolder(run).held():
        pass
    assert tree_of(tmp_path) == ["run"]


def test_what_stands_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    with RunFolder(tmp_path).held():
        pass
    assert tree_of(tmp_path) == ["notes.md"]
