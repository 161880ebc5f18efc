"""Results of two machines come together, and never in silence where they disagree."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from sessionrec.errors import ArtifactError
from sessionrec.experiments import code
from sessionrec.experiments.merging import merge
from sessionrec.experiments.places import Places
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Cell, Entry, add_to_index, collect, read_index
from tests.experiments.fabricate import result
from tests.experiments.lab import do, lab
from tests.experiments.test_cli import call

CELLS: list[Cell] = [("toy", "01-hstu", seed) for seed in (1, 2, 3)]
KEYS = {cell: f"{place:016x}" for place, cell in enumerate(CELLS)}


def put(out: Path, cell: Cell, key: str = "", *, quality: float = 1.0, version: str = "") -> Result:
    """A result, and what the index says of it."""
    key = key or KEYS[cell]
    made = result(quality, seed=cell[2], users=20, key=key, code_version=version or code.version())
    made.save(Places(out).result(key))
    add_to_index(out, "toy", {cell: Entry(key=key, asked="a", fields=(), code=made.code)})
    return made


def at(out: Path, cell: Cell) -> Result:
    return Result.load(Places(out).result(read_index(out, "toy")[cell].key))


def test_seeds_of_two_machines_make_one_table(tmp_path: Path) -> None:
    """Real runs: what one folder lacks it takes, and a runner has nothing left to do."""
    experiment = lab(tmp_path)
    do(experiment, tmp_path / "here", rows=["00-floors"])
    do(experiment, tmp_path / "there", rows=["02-gru"], fields=["model.width=4", "training.epochs=1"])
    assert len(collect(experiment, tmp_path / "here").results) == 2
    done = merge([tmp_path / "there"], tmp_path / "here")
    assert (done.taken, done.there, done.notes) == (1, 0, [])
    both = collect(experiment, tmp_path / "here")
    assert [cell[1] for cell in both.results] == ["00-floors:popularity", "00-floors:repeat", "02-gru"]
    theirs = collect(experiment, tmp_path / "there").results["toy", "02-gru", 1]
    assert both.results["toy", "02-gru", 1].users.equals(theirs.users)
    fields = ["model.width=4", "training.epochs=1"]
    again = do(experiment, tmp_path / "here", rows=["00-floors", "02-gru"], fields=fields)
    assert (again.done, again.skipped) == (0, 2)
    assert (merge([tmp_path / "there"], tmp_path / "here")).there == 1


def test_what_is_here_stays(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, CELLS[0], quality=1.0)
    put(there, CELLS[0], quality=2.0)
    done = merge([there], here)
    assert (done.taken, done.there) == (0, 1)
    assert "the same code came to other figures there, by up to" in done.notes[0]
    assert at(here, CELLS[0]).metrics == result(1.0, seed=1, users=20).metrics


@pytest.mark.parametrize(("mine", "theirs", "taken"), [("old", "", 1), ("", "old", 0), ("old", "older", 0)])
def test_the_present_code_wins(tmp_path: Path, mine: str, theirs: str, taken: int) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, CELLS[0], quality=1.0, version=mine)
    put(there, CELLS[0], quality=2.0, version=theirs)
    done = merge([there], here)
    assert done.taken == taken
    assert at(here, CELLS[0]).code == ((theirs if taken else mine) or code.version())
    assert bool(done.notes) != bool(taken)
    assert not list((here / "results").glob("*.new*"))


def test_what_was_asked_otherwise_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, CELLS[0])
    put(there, CELLS[0], "f" * 16)
    put(there, CELLS[1])
    done = merge([there], here)
    assert done.taken == 1
    assert f"toy, 01-hstu, seed 1: asked of other data or with other settings there ({'f' * 16}" in done.notes[0]
    assert read_index(here, "toy")[CELLS[0]].key == KEYS[CELLS[0]]


def test_a_damaged_result_is_left_out_and_one_here_is_mended(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for out in (here, there):
        put(out, CELLS[0])
        put(out, CELLS[1])
    next(Places(here).result(KEYS[CELLS[0]]).glob("files-*/users.parquet")).unlink()
    next(Places(there).result(KEYS[CELLS[1]]).glob("files-*/users.parquet")).unlink()
    done = merge([there], here)
    assert (done.taken, done.there) == (1, 0)
    assert "seed 2: left out, damaged" in done.notes[0]
    assert [at(here, cell).seed for cell in CELLS[:2]] == [1, 2]


def test_runs_that_have_not_ended_are_not_named(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(there, CELLS[0])
    add_to_index(there, "toy", {CELLS[1]: Entry(key=KEYS[CELLS[1]], asked="a", fields=(), code="c")})
    merge([there], here)
    assert list(read_index(here, "toy")) == CELLS[:1]


def test_no_index_leads_outside(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(there, CELLS[0])
    file = Places(there).index("toy")
    file.write_text(file.read_text(encoding="utf-8").replace(KEYS[CELLS[0]], "../../elsewhere"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"'\.\./\.\./elsewhere' is no key of a result"):
        merge([there], here)
    assert not list(tmp_path.rglob("elsewhere*"))


@pytest.mark.parametrize(("content", "said"), [(None, "no results of experiments here"), ("{", "cannot be read as an")])
def test_what_is_no_folder_of_experiments_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "there" / "tables").mkdir(parents=True)
        (tmp_path / "there" / "tables" / "toy.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=said):
        merge([tmp_path / "there"], tmp_path / "here")


def test_a_folder_is_not_merged_into_itself(tmp_path: Path) -> None:
    put(tmp_path, CELLS[0])
    with pytest.raises(ArtifactError, match="is the folder to merge into"):
        merge([tmp_path], tmp_path)


def test_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "a", CELLS[0])
    put(tmp_path / "b", CELLS[1])
    words = (tmp_path / "a", tmp_path / "b", "--out", tmp_path / "all")
    status, told = call(monkeypatch, capsys, *words, verb="merge")
    assert status == 0
    assert "2 results taken, 0 were there before" in " ".join(told.split())
    status, told = call(monkeypatch, capsys, tmp_path / "none", "--out", tmp_path / "all", verb="merge")
    assert status == 2
    assert "no results of experiments here" in " ".join(told.split())


def test_every_run_has_its_lines(tmp_path: Path) -> None:
    """`runs.csv` has what results have, and means of it are those of `table.csv`."""
    from sessionrec.experiments.page import write_collected
    from tests.experiments import fabricate

    asked = fabricate.experiment([fabricate.row("01-a", "A")], ours="A", seeds=(1, 2))
    found = fabricate.results_of(asked, {"01-a": 1.0}, users=60)
    found["toy", "01-a", 2] = replace(found["toy", "01-a", 2], peak_bytes=123)
    write_collected(fabricate.collected(asked, found), Path("experiments/toy-table"), tmp_path, tmp_path / "report")
    lines = {
        (line["targets"], line["metric"], line["seed"]): line
        for line in csv.DictReader((tmp_path / "report" / "runs.csv").read_text(encoding="utf-8").splitlines())
    }
    assert lines["", "peak_bytes", "2"]["value"] == "123"
    assert float(lines["", "best_epoch", "1"]["value"]) == 12
    assert lines["session", "ndcg@10", "1"]["key"] == found["toy", "01-a", 1].key
    for line in csv.DictReader((tmp_path / "report" / "table.csv").read_text(encoding="utf-8").splitlines()):
        if line["targets"]:
            each = [float(lines[line["targets"], line["metric"], seed]["value"]) for seed in ("1", "2")]
            assert float(line["mean"]) == pytest.approx(sum(each) / 2, rel=1e-5)
