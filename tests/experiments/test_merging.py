"""Results of two machines come together, and never in silence where they disagree."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sessionrec.artifacts import read_manifest
from sessionrec.errors import ArtifactError
from sessionrec.experiments import code
from sessionrec.experiments.merging import Merged, merge
from sessionrec.experiments.page import write_collected
from sessionrec.experiments.places import Places, locked
from sessionrec.experiments.result import FORMAT, KIND, Result
from sessionrec.experiments.results import Cell, Entry, add_to_index, collect, read_index
from tests.experiments import fabricate
from tests.experiments.fabricate import result
from tests.experiments.lab import do, lab
from tests.experiments.test_cli import call

CELLS: list[Cell] = [("toy", "01-hstu", seed) for seed in (1, 2, 3)]
KEYS = {cell: f"{place:016x}" for place, cell in enumerate(CELLS)}
OTHER = "f" * 16


def entry(key: str, time: str = "2026-01-01", **more: Any) -> Entry:
    return Entry(**{"key": key, "asked": "a", "fields": (), "code": "c", "time": time} | more)


def put(
    out: Path,
    cell: Cell,
    key: str = "",
    *,
    quality: float = 1.0,
    version: str = "",
    table: str = "toy",
    fields: tuple[str, ...] = (),
    **more: Any,
) -> Result:
    """A result, and what the index says of it."""
    key = key or KEYS[cell]
    made = result(quality, seed=cell[2], users=20, key=key, code_version=version or code.version())
    made = replace(made, **more)
    made.save(Places(out).result(key))
    add_to_index(out, table, {cell: entry(key, fields=fields)})
    return made


def at(out: Path, cell: Cell, table: str = "toy") -> Result:
    return Result.load(Places(out).result(read_index(out, table)[cell].key))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def numbers(done: Merged) -> tuple[int, int, int, int]:
    return done.taken, done.there, done.left_out, len(done.notes)


def test_seeds_of_two_machines_make_one_table(tmp_path: Path, here: Path, there: Path) -> None:
    """Real runs of one row, a seed in each folder: one table, and a runner has nothing left to do."""
    table = "seeds = [1, 2]".join(lab(tmp_path).folder.joinpath("table.toml").read_text().split("seeds = [1]"))
    experiment = lab(tmp_path, table=table)
    fields = ["model.width=4", "training.epochs=1"]
    for out, seed in ((here, 1), (there, 2)):
        do(experiment, out, rows=["02-gru"], fields=fields, seeds=[seed])
    assert numbers(merge([there], here)) == (1, 0, 0, 0)
    both = collect(experiment, here)
    assert [cell[2] for cell in both.results] == [1, 2]
    assert len(both.data["toy"]) == 1
    theirs = collect(experiment, there).results["toy", "02-gru", 2]
    assert both.results["toy", "02-gru", 2].users.equals(theirs.users)
    again = do(experiment, here, rows=["02-gru"], fields=fields)
    assert (again.done, again.skipped) == (0, 2)
    assert numbers(merge([there], here)) == (0, 1, 0, 0)


def test_a_copy_keeps_its_date(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    file = Places(there).result(KEYS[CELLS[0]]) / "manifest.json"
    tree = json.loads(file.read_text(encoding="utf-8")) | {"created": "2020-02-02T00:00:00+00:00"}
    file.write_text(json.dumps(tree), encoding="utf-8")
    merge([there], here)
    copy = read_manifest(Places(here).result(KEYS[CELLS[0]]), kind=KIND, format=FORMAT)
    assert copy.created == tree["created"]
    assert copy.body == tree["body"]


def test_what_is_here_stays(here: Path, there: Path) -> None:
    put(here, CELLS[0], quality=1.0)
    put(there, CELLS[0], quality=2.0)
    done = merge([there], here)
    assert numbers(done) == (0, 1, 0, 1)
    assert "the same code came to 14 other figures there, such as last_item in_session_auc" in done.notes[0]
    assert at(here, CELLS[0]).metrics == result(1.0, seed=1, users=20).metrics


def test_what_is_equal_is_not_told(here: Path, there: Path) -> None:
    """NaN beside NaN too."""
    for out in (here, there):
        put(out, CELLS[0], metrics={"session": {"ndcg@10": 0.5, "in_session_auc": math.nan}})
    assert numbers(merge([there], here)) == (0, 1, 0, 0)


@pytest.mark.parametrize("theirs", [{"ndcg@10": math.nan}, {}, {"ndcg@10": 0.5, "mrr": 0.1}])
def test_any_other_figure_is_told(here: Path, there: Path, theirs: dict[str, float]) -> None:
    put(here, CELLS[0], metrics={"session": {"ndcg@10": 0.5}})
    put(there, CELLS[0], metrics={"session": theirs})
    assert "came to 1 other figures there" in merge([there], here).notes[0]


@pytest.mark.parametrize(("mine", "theirs", "taken"), [("old", "", 1), ("", "old", 0), ("old", "older", 0)])
def test_the_present_code_wins(here: Path, there: Path, mine: str, theirs: str, taken: int) -> None:
    put(here, CELLS[0], quality=1.0, version=mine)
    put(there, CELLS[0], quality=2.0, version=theirs)
    done = merge([there], here)
    assert numbers(done) == (taken, 1 - taken, 0, 1 - taken)
    assert at(here, CELLS[0]).code == ((theirs if taken else mine) or code.version())


def test_results_of_other_code_are_taken_and_counted(here: Path, there: Path) -> None:
    put(there, CELLS[0], version="old")
    done = merge([there], here)
    assert (done.taken, done.other_code) == (1, 1)


def test_what_was_asked_otherwise_lies_beside(here: Path, there: Path) -> None:
    """Copied, so that a run that asks for it has it at once, but the table shows ours."""
    put(here, CELLS[0])
    put(there, CELLS[0], OTHER)
    put(there, CELLS[1])
    done = merge([there], here)
    assert numbers(done) == (2, 0, 0, 1)
    assert f"theirs lies in results/{OTHER} and is not shown: asked otherwise here ({KEYS[CELLS[0]]})" in done.notes[0]
    assert read_index(here, "toy")[CELLS[0]].key == KEYS[CELLS[0]]
    assert Result.load(Places(here).result(OTHER)).key == OTHER


def test_a_question_that_waits_here_is_not_overwritten(here: Path, there: Path) -> None:
    add_to_index(here, "toy", {CELLS[0]: entry(KEYS[CELLS[0]])})
    put(there, CELLS[0], OTHER)
    done = merge([there], here)
    assert "and not run yet" in done.notes[0]
    assert read_index(here, "toy")[CELLS[0]].key == KEYS[CELLS[0]]


def test_ours_of_other_code_gives_way_to_another_question_of_the_present(here: Path, there: Path) -> None:
    """As with floors, whose code is in their key."""
    put(here, CELLS[0], version="old")
    put(there, CELLS[0], OTHER)
    assert numbers(merge([there], here)) == (1, 0, 0, 0)
    assert read_index(here, "toy")[CELLS[0]].key == OTHER


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"data": "0ther"}, "asked of other data (0ther) than toy, 01-hstu, seed 1 (d16e57)"),
        ({"config": {"width": 8, "seed": 2}}, "other settings (width) than toy, 01-hstu, seed 1"),
        ({"fields": ("training.epochs=3",)}, "other fields on the command line (training.epochs=3) than toy"),
    ],
)
def test_seeds_of_other_data_or_settings_do_not_join_a_row(
    here: Path, there: Path, more: dict[str, Any], told: str
) -> None:
    """Users of other data would be paired by their place, and be other people."""
    put(here, CELLS[0], config={"width": 4, "seed": 1})
    put(there, CELLS[1], **{"config": {"width": 4, "seed": 2}} | more)
    done = merge([there], here)
    assert numbers(done) == (1, 0, 0, 1)
    assert told in done.notes[0]
    assert list(read_index(here, "toy")) == CELLS[:1]


def test_the_later_of_two_equal_questions_says_how_it_was_asked(here: Path, there: Path) -> None:
    for out in (here, there):
        put(out, CELLS[0])
    add_to_index(there, "toy", {CELLS[0]: entry(KEYS[CELLS[0]], "2026-02-01", asked="b")})
    merge([there], here)
    assert read_index(here, "toy")[CELLS[0]].asked == "b"
    add_to_index(there, "toy", {CELLS[0]: entry(KEYS[CELLS[0]], "2025-01-01", asked="c")})
    merge([there], here)
    assert read_index(here, "toy")[CELLS[0]].asked == "b"


def test_tables_that_share_a_result_share_it_here(here: Path, there: Path) -> None:
    for table in ("toy", "other"):
        put(there, CELLS[0], table=table)
    assert numbers(merge([there], here)) == (1, 0, 0, 0)
    assert at(here, CELLS[0], "toy").key == at(here, CELLS[0], "other").key


def _unlink(path: Path) -> None:
    next(path.glob("files-*/users.parquet")).unlink()


def _garble(path: Path) -> None:
    file = next(path.glob("files-*/users.parquet"))
    file.write_bytes(b"x" * file.stat().st_size)


def _other_body(path: Path) -> None:
    tree = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    tree["body"]["metrics"] = None
    (path / "manifest.json").write_text(json.dumps(tree), encoding="utf-8")


def _more(path: Path) -> None:
    tree = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    tree["body"]["of_a_later_version"] = 1
    (path / "manifest.json").write_text(json.dumps(tree), encoding="utf-8")


@pytest.mark.parametrize("damage", [_unlink, _garble, _other_body, _more])
def test_a_damaged_result_is_left_out_and_one_here_is_mended(
    here: Path, there: Path, damage: Callable[[Path], None]
) -> None:
    for out in (here, there):
        put(out, CELLS[0])
        put(out, CELLS[1])
    damage(Places(here).result(KEYS[CELLS[0]]))
    damage(Places(there).result(KEYS[CELLS[1]]))
    done = merge([there], here)
    assert numbers(done) == (1, 0, 1, 1)
    assert "seed 2" in done.notes[0]
    assert "left out" in done.notes[0]
    assert [at(here, cell).seed for cell in CELLS[:2]] == [1, 2]


def test_a_result_in_the_wrong_folder_is_left_out(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    Places(there).result(KEYS[CELLS[0]]).rename(Places(there).result(OTHER))
    add_to_index(there, "toy", {CELLS[0]: entry(OTHER)})
    done = merge([there], here)
    assert f"holds the result {KEYS[CELLS[0]]}" in done.notes[0]
    assert not Places(here).result(OTHER).exists()


def test_runs_that_have_not_ended_are_not_named(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    add_to_index(there, "toy", {CELLS[1]: entry(KEYS[CELLS[1]])})
    assert merge([there], here).unfinished == 1
    assert list(read_index(here, "toy")) == CELLS[:1]


def test_a_run_that_goes_on_here_is_left_alone(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    with locked(Places(here).lock(KEYS[CELLS[0]]), wait=False):
        done = merge([there], here)
    assert numbers(done) == (0, 0, 1, 1)
    assert "a run of it goes on here" in done.notes[0]
    assert numbers(merge([there], here)) == (1, 0, 0, 0)


def test_no_index_leads_outside(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    file = Places(there).index("toy")
    file.write_text(file.read_text(encoding="utf-8").replace(KEYS[CELLS[0]], "../../elsewhere"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"'\.\./\.\./elsewhere' is no key of a result; copy it again"):
        merge([there], here)


@pytest.mark.parametrize("name", ["users.parquet", "../users.parquet"])
def test_no_result_leads_outside(tmp_path: Path, here: Path, there: Path, name: str) -> None:
    put(there, CELLS[0])
    secret = Places(there).result(KEYS[CELLS[0]]) / "users.parquet"
    users = next(Places(there).result(KEYS[CELLS[0]]).glob("files-*/users.parquet"))
    secret.write_bytes(users.read_bytes())
    if name == "users.parquet":
        users.unlink()
        users.symlink_to(secret)
    else:
        file = secret.with_name("manifest.json")
        text = file.read_text(encoding="utf-8").replace('"users.parquet":', f'"users.parquet": 0, "{name}":', 1)
        file.write_text(text.replace('"users.parquet": 0', f'"users.parquet": {secret.stat().st_size}'))
    done = merge([there], here)
    assert numbers(done) == (0, 0, 1, 1)
    assert "is a link" in done.notes[0]
    assert not (here / "results" / KEYS[CELLS[0]] / "manifest.json").exists()
    assert not list((here / "results").rglob("users.parquet"))


def test_what_lies_about_in_a_folder_stays_there(here: Path, there: Path) -> None:
    put(there, CELLS[0])
    (Places(there).result(KEYS[CELLS[0]]) / ".DS_Store").write_text("junk")
    Places(there).index("._toy").write_text("junk")
    merge([there], here)
    assert not list(here.rglob(".DS_Store"))
    assert at(here, CELLS[0]).seed == 1


@pytest.mark.parametrize(("content", "said"), [(None, "no results of experiments here"), ("{", "cannot be read as an")])
def test_nothing_is_taken_if_a_folder_is_no_folder_of_experiments(
    tmp_path: Path, here: Path, there: Path, content: str | None, said: str
) -> None:
    put(tmp_path / "good", CELLS[0])
    if content is not None:
        (there / "tables").mkdir(parents=True)
        (there / "tables" / "toy.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match=said):
        merge([tmp_path / "good", there], here)
    assert not here.exists()


def test_a_folder_is_not_merged_into_itself(tmp_path: Path) -> None:
    put(tmp_path, CELLS[0])
    with pytest.raises(ArtifactError, match="is the folder to merge into"):
        merge([tmp_path], tmp_path)


def test_a_file_is_no_folder_to_merge_into(tmp_path: Path, there: Path) -> None:
    put(there, CELLS[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="file: cannot be written"):
        merge([there], tmp_path / "file")


def test_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "a", CELLS[0])
    put(tmp_path / "b", CELLS[1], version="old")
    _garble(Places(tmp_path / "b").result(put(tmp_path / "b", CELLS[2]).key))
    words = (tmp_path / "a", tmp_path / "b", "--out", tmp_path / "all")
    status, told = call(monkeypatch, capsys, *words, verb="merge")
    told = " ".join(told.split())
    assert status == 1
    assert f"2 results taken into {tmp_path / 'all'}, 0 are there already, 1 left out" in told
    assert "1 of those taken are of other code than this" in told
    assert "note: " in told
    assert call(monkeypatch, capsys, tmp_path / "a", "--out", tmp_path / "all", verb="merge")[0] == 0
    status, told = call(monkeypatch, capsys, tmp_path / "none", "--out", tmp_path / "all", verb="merge")
    assert status == 2
    assert "no results of experiments here" in " ".join(told.split())


def test_a_report_says_that_times_are_of_several_machines(tmp_path: Path) -> None:
    rows = [fabricate.row("00-floors", floors=("popularity",)), fabricate.row("01-a", "A")]
    asked = fabricate.experiment(rows, ours="A", seeds=(1, 2))
    found = fabricate.results_of(asked, {"00-floors:popularity": 0.5, "01-a": 1.0}, users=60)
    # Models may have run on a GPU, which floors never do.
    floor = found["toy", "00-floors:popularity", None]
    found["toy", "00-floors:popularity", None] = replace(floor, machine={"device": "its processor", "cores": 2})

    def said() -> str:
        report = fabricate.collected(asked, found)
        return " ".join(write_collected(report, Path("experiments/toy-table"), tmp_path, tmp_path / "report").warnings)

    assert "several machines" not in said()
    found["toy", "01-a", 2] = replace(found["toy", "01-a", 2], machine={"device": "another", "cores": 2})
    assert "Results of several machines stand beside each other" in said()


def test_every_run_has_its_lines(tmp_path: Path) -> None:
    """`runs.csv` has what results have, to the last digit, and means of it are those of `table.csv`."""
    asked = fabricate.experiment(
        [fabricate.row("00-floors", floors=("popularity",)), fabricate.row("01-a", "A")], ours="A", seeds=(1, 2)
    )
    found = fabricate.results_of(asked, {"00-floors:popularity": 0.5, "01-a": 1.0}, users=60)
    write_collected(fabricate.collected(asked, found), Path("experiments/toy-table"), tmp_path, tmp_path / "report")
    lines = {
        (line["slug"], line["targets"], line["metric"], line["seed"]): line
        for line in csv.DictReader((tmp_path / "report" / "runs.csv").read_text(encoding="utf-8").splitlines())
    }
    one = found["toy", "01-a", 2]
    for metric, value in one.metrics["session"].items():
        assert float(lines["01-a", "session", metric, "2"]["value"]) == value
    assert int(lines["01-a", "", "peak_bytes", "2"]["value"]) == one.peak_bytes
    assert float(lines["01-a", "session", "users", "2"]["value"]) == one.counts["session"]["users"]
    assert lines["01-a", "session", "ndcg@10", "2"]["key"] == one.key
    assert ("00-floors:popularity", "session", "ndcg@10", "") in lines
    assert ("00-floors:popularity", "", "parameters", "") not in lines
    assert ("00-floors:popularity", "", "peak_bytes", "") not in lines
    for line in csv.DictReader((tmp_path / "report" / "table.csv").read_text(encoding="utf-8").splitlines()):
        if line["targets"] and line["slug"] == "01-a":
            each = [float(lines["01-a", line["targets"], line["metric"], seed]["value"]) for seed in ("1", "2")]
            assert float(line["mean"]) == pytest.approx(sum(each) / 2, rel=1e-5)
