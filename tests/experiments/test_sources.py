"""Data sets of experiments: made once, made again when something changed, and missed aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.errors import ArtifactError, ConfigError
from sessionrec.experiments import code
from sessionrec.experiments.plan import draft
from sessionrec.experiments.ready import prepare
from tests.experiments.lab import DATASETS, TABLE, lab
from tests.shop import write_shop

BOTH = TABLE.replace('["toy"]', '["toy", "far"]')


def test_a_data_set_whose_raw_files_are_not_there_is_left_out_aloud(tmp_path: Path) -> None:
    said: list[str] = []
    experiment = lab(tmp_path, table=BOTH)
    found = prepare(experiment, draft(experiment), tmp_path / "logs", tmp_path / "out", say=said.append)
    assert [one.name for one in found.absent] == ["far"]
    assert {job.dataset for job in found.jobs} == {"toy"}
    assert f"LEFT OUT: far: there is no folder {tmp_path / 'logs' / 'shop'}" in said


def test_a_data_set_that_is_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    experiment = lab(tmp_path, table=BOTH)
    with pytest.raises(ArtifactError, match=r"the data set far cannot be made: no --raw was given, .*shop/"):
        prepare(experiment, draft(experiment, data=["far"]), None, tmp_path / "out", named=["far"])


def test_with_no_data_set_at_all_there_is_nothing_to_run(tmp_path: Path) -> None:
    experiment = lab(tmp_path, table=TABLE.replace('["toy"]', '["far"]'))
    with pytest.raises(ArtifactError, match="none of the data sets"):
        prepare(experiment, draft(experiment), None, tmp_path / "out")


def test_a_folder_without_its_files_is_missing_too(tmp_path: Path) -> None:
    (tmp_path / "logs" / "shop").mkdir(parents=True)
    experiment = lab(tmp_path, table=BOTH)
    found = prepare(experiment, draft(experiment), tmp_path / "logs", tmp_path / "out")
    assert found.absent[0].reason.endswith(
        "expected files in this folder, found nothing; set `path` to the folder of the raw log"
    )


def test_a_data_set_is_made_once_and_again_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def make(datasets: str = DATASETS) -> str:
        experiment = lab(tmp_path, datasets=datasets)
        found = prepare(experiment, draft(experiment), None, tmp_path / "out", say=said.append)
        return found.datasets["toy"].content

    first = make()
    assert said == ["toy: preparing, for the first time"]
    assert make() == first
    assert len(said) == 1
    monkeypatch.setattr(code, "of_preparation", lambda: "other code")
    assert make() == first
    assert said[1:] == [
        "toy: preparing, since the code that prepares it has changed",
        "toy: prepared anew: the same data set came out",
    ]
    assert make(DATASETS.replace("num_users=60", "num_users=70")) != first
    assert said[3:] == [
        "toy: preparing, since its settings have changed",
        "toy: prepared anew: it is another one",
    ]


def test_changed_raw_files_are_noticed_and_a_moved_folder_is_not(tmp_path: Path) -> None:
    raw = tmp_path / "logs" / "shop"
    raw.mkdir(parents=True)
    write_shop(raw)
    datasets = DATASETS.replace(
        'raw = "shop"', 'raw = "shop"\nprepare = ["log.positive=event = \'buy\'", "split.kind=leave_last_session"]'
    )
    said: list[str] = []

    def make(folder: str = "logs") -> None:
        experiment = lab(tmp_path, table=TABLE.replace('["toy"]', '["far"]'), datasets=datasets)
        prepare(experiment, draft(experiment), tmp_path / folder, tmp_path / "out", say=said.append)

    (raw / "items.csv").unlink()
    (raw / "shop.toml").unlink()
    make()
    (tmp_path / "logs").rename(tmp_path / "moved")
    make("moved")
    assert said == ["far: preparing, for the first time"]
    log = tmp_path / "moved" / "shop" / "log.csv"
    log.write_text("\n".join(log.read_text(encoding="utf-8").splitlines()[:-3]) + "\n", encoding="utf-8")
    make("moved")
    assert said[1:] == ["far: preparing, since its raw files have changed", "far: prepared anew: it is another one"]


SHAPED = """
[datasets.shaped]
title = "Generated"
config = "data/recflow.toml"
[datasets.shaped.shape]
kind = "recflow"
events = 4_000
users = 80
items = 150
days = 8
"""


def test_generated_raw_files_are_written_once(tmp_path: Path) -> None:
    said: list[str] = []
    for seed in (0, 0, 1):
        experiment = lab(tmp_path, table=TABLE.replace('["toy"]', '["shaped"]'), datasets=f"{SHAPED}seed = {seed}\n")
        (tmp_path / "data" / "recflow.toml").write_text('[log]\nkind = "recflow"\n[session]\nkind = "native"\n')
        prepare(experiment, draft(experiment), None, tmp_path / "out", say=said.append)
    generating = "shaped: generating raw files, 4,000 events of 80 users"
    assert said == [
        generating,
        "shaped: preparing, for the first time",
        generating,
        "shaped: preparing, since its raw files have changed",
        "shaped: prepared anew: it is another one",
    ]


def test_an_unknown_shape_is_told(tmp_path: Path) -> None:
    experiment = lab(
        tmp_path,
        table=TABLE.replace('["toy"]', '["shaped"]'),
        datasets=SHAPED.replace('"recflow"\nevents', '"reclow"\nevents'),
    )
    with pytest.raises(ConfigError, match=r"shape\.kind: expected one of beauty, kuaisar, ml-1m"):
        prepare(experiment, draft(experiment), None, tmp_path / "out")
