"""Runs of an experiment, in processes of their own: what is done, what is skipped, what fails, what is cut."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sessionrec.experiments import code, jobfile
from sessionrec.experiments.config import METRICS, Experiment
from sessionrec.experiments.head import head
from sessionrec.experiments.places import Places, locked
from sessionrec.experiments.ready import standing
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import add_to_index, collect, read_index
from sessionrec.experiments.runner import Outcome
from tests.experiments.lab import BAD, ROWS, TABLE, Notes, do, lab, ready
from tests.newsstand import write_newsstand

CELL = ("toy", "01-hstu", 1)


@dataclass(frozen=True)
class Done:
    """An experiment that was run once: floors, two models, and one that fails."""

    experiment: Experiment
    out: Path
    outcome: Outcome
    notes: Notes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder, notes = tmp_path_factory.mktemp("lab"), Notes()
    experiment = lab(folder, rows={"00-bad": BAD} | ROWS)
    outcome = do(experiment, folder / "out", watcher=notes)
    return Done(experiment, folder / "out", outcome, notes)


def test_a_job_that_fails_is_told_and_the_others_finish(done: Done) -> None:
    assert done.outcome.done == 3
    (failure,) = done.outcome.failed
    assert failure.job.row.slug == "00-bad"
    assert failure.status == 1
    assert "error: " in failure.last
    assert "optimizer.learning_rate" in failure.last
    assert failure.log.is_file()
    assert any(line.startswith("FAILED: toy, Too fast, seed 1, status 1; see") for line in done.notes.lines)


def test_several_jobs_run_at_once(done: Done) -> None:
    assert done.notes.most == 2


def test_what_was_run_can_be_collected(done: Done) -> None:
    found = collect(done.experiment, done.out)
    assert list(found.results) == [
        ("toy", "00-floors:popularity", None),
        ("toy", "00-floors:repeat", None),
        ("toy", "01-hstu", 1),
        ("toy", "02-gru", 1),
    ]
    assert [(one.slug, one.reason) for one in found.missing] == [("00-bad", "not run yet")]
    assert found.codes == {code.version()}
    assert len(found.data["toy"]) == 1
    assert found.titles["00-floors:repeat"] == "repeat"
    assert found.titles["01-hstu"] == "Ours"
    assert found.overrides == set()


def test_a_result_has_all_figures_of_both_kinds_of_questions(done: Done) -> None:
    result = collect(done.experiment, done.out).results[CELL]
    assert list(result.metrics) == ["session", "last_item"]
    for metrics in result.metrics.values():
        assert set(metrics) == set(METRICS), "which tables may ask for"
    assert result.counts["session"] == {"users": 60, "targets": 180, "candidates": 30, "target_coverage": 1.0}
    assert result.counts["last_item"]["targets"] == 60
    assert (result.system, result.seed, result.dataset) == ("Ours", 1, "toy")
    assert result.training["epochs"] == 30
    assert result.training["seconds_per_epoch"] > 0
    assert result.parameters > 30 * 8
    assert result.flops_per_user > 0
    assert result.peak_bytes is not None
    assert result.peak_bytes > 100 << 20
    for targets, metrics in result.metrics.items():
        for name in ("ndcg@10", "in_session_auc"):
            column = result.users[f"{targets}/{name}"].fill_nan(None)
            assert metrics[name] == pytest.approx(column.mean())
    assert result.users["user_index"].is_sorted()


def test_floors_have_their_parameters_and_no_seed(done: Done) -> None:
    results = collect(done.experiment, done.out).results
    repeat = results["toy", "00-floors:repeat", None]
    assert (repeat.seed, repeat.system, repeat.parameters) == (None, "repeat", 0)
    assert "decay" in repeat.config
    assert repeat.training == {}
    # One process made all floors: what it held says nothing of one of them.
    assert repeat.peak_bytes is None
    assert repeat.process_bytes is not None
    assert repeat.process_bytes > 100 << 20


def test_a_table_can_be_asked_with_a_stream(tmp_path: Path) -> None:
    """What is known, and how many candidates there are, reaches the workers, the results and the page."""
    config = write_newsstand(tmp_path)
    model = 'name = "Ours"\npreset = "sessionrec"\nfields = ["model.backbone.heads=1", "prior.hidden=0"]'
    files = {
        "datasets": f'[datasets.toy]\ntitle = "News"\nconfig = "{config}"',
        "rows": {"00-floors": 'floors = ["recency popularity"]', "01-ours": model},
    }
    found = []
    for name, table in (("parts", TABLE), ("stream", f'known = "stream"\n{TABLE}')):
        experiment = lab(tmp_path, name=name, table=table, **files)
        assert do(experiment, tmp_path / "out").failed == []
        found.append(collect(experiment, tmp_path / "out").results)
        said = dict(head(collect(experiment, tmp_path / "out"), experiment.folder, tmp_path / "out").terms)
        assert ("without a training event too" in said["candidates"]) == (name == "stream")
    for cell in (("toy", "00-floors:recency popularity", None), ("toy", "01-ours", 1)):
        parts, stream = (results[cell] for results in found)
        assert parts.key != stream.key
        assert parts.counts["session"]["candidates"] < stream.counts["session"]["candidates"]
        assert parts.counts["session"]["target_coverage"] < 0.1
        assert stream.counts["session"]["target_coverage"] == 1
        assert stream.metrics["session"]["recall@10"] > parts.metrics["session"]["recall@10"] + 0.5


def test_nothing_heavy_is_left(done: Done) -> None:
    places = Places(done.out)
    failed = done.outcome.failed[0].job.key
    assert [file.name for file in places.work("").iterdir()] == [failed]
    assert not list((done.out / "results").rglob("*.safetensors"))


def test_what_is_done_is_skipped(done: Done) -> None:
    rows = ("00-floors", "01-hstu", "02-gru")
    again = do(done.experiment, done.out, rows=rows)
    assert (again.done, again.skipped, again.failed) == (0, 3, [])


def test_an_edited_row_is_missing_and_the_others_are_not(done: Done, tmp_path: Path) -> None:
    rows = {"00-bad": BAD} | ROWS | {"02-gru": ROWS["02-gru"].replace("layers=1", "layers=2")}
    found = collect(lab(tmp_path, rows=rows), done.out)
    assert {one.slug: one.reason for one in found.missing}["02-gru"] == "its settings have changed since it was run"
    assert CELL in found.results


def test_results_of_other_code_are_made_again_unless_they_are_to_be_kept(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = code.version()
    monkeypatch.setattr(code, "version", lambda: "newer")
    found = ready(done.experiment, done.out, rows=["01-hstu"])
    (job,) = found.jobs
    again = standing(job, found.datasets["toy"], Places(done.out), keep_old_code=False)
    assert list(again.todo) == ["01-hstu"]
    kept = do(done.experiment, done.out, rows=["01-hstu"], keep_old_code=True)
    assert (kept.done, kept.skipped) == (0, 1)
    assert kept.kept_old == [f"toy, Ours, seed 1: code {made_by}"]
    collected = collect(done.experiment, done.out)
    assert collected.results == {}
    assert f"made by other code ({made_by}, now newer)" in {one.reason for one in collected.missing}
    assert collect(done.experiment, done.out, allow_old_code=True).codes == {made_by}


def test_tables_that_ask_the_same_share_the_answer(done: Done, tmp_path: Path) -> None:
    other = lab(tmp_path, rows={"09-same": ROWS["01-hstu"].replace("Ours", "The same")}, name="another")
    outcome = do(other, done.out)
    assert (outcome.done, outcome.skipped) == (0, 1)
    found = collect(other, done.out)
    assert found.results["toy", "09-same", 1].key == collect(done.experiment, done.out).results[CELL].key


def test_a_job_that_another_process_has_is_waited_for(done: Done) -> None:
    fields, places = ("model.width=4",), Places(done.out)
    source = collect(done.experiment, done.out).results["toy", "02-gru", 1]
    key = ready(done.experiment, done.out, fields=fields, rows=["02-gru"]).jobs[0].key
    other = ExitStack()
    assert other.enter_context(locked(places.lock(key), wait=False))

    class Other(Notes):
        """As if another process did the job while this one waits, and then let go of it."""

        def tick(self, *told: Any) -> None:
            super().tick(*told)
            if self.lines and not places.result(key).exists():
                values = {name: getattr(source, name) for name in Result.__dataclass_fields__}
                Result(**values | {"key": key}).save(places.result(key))
                other.close()

    notes = Other()
    outcome = do(done.experiment, done.out, fields=fields, rows=["02-gru"], watcher=notes)
    assert (outcome.done, outcome.skipped, outcome.failed) == (0, 1, [])
    assert notes.lines == ["toy, GRU, seed 1: another process does it; waiting for it"]


class Locks(Notes):
    """Tries to take a job from a runner as soon as it has started it."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places
        self.was_free: dict[str, bool] = {}

    def tick(self, *told: Any) -> None:
        super().tick(*told)
        for running in told[3]:
            if running.job.key not in self.was_free:
                with locked(self.places.lock(running.job.key), wait=False) as is_free:
                    self.was_free[running.job.key] = is_free


def test_a_job_is_nobody_elses_from_the_moment_it_is_started(done: Done, tmp_path: Path) -> None:
    """Its process takes seconds to begin; another runner came in between, and one removed what the other worked in."""
    watcher = Locks(Places(tmp_path))
    outcome = do(done.experiment, tmp_path, rows=["00-floors"], watcher=watcher)
    assert (outcome.done, outcome.failed) == (1, [])
    ((key, was_free),) = watcher.was_free.items()
    assert not was_free
    with locked(Places(tmp_path).lock(key), wait=False) as is_free:
        assert is_free, "the lock goes with the process"


def test_damaged_results_are_made_again(done: Done, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", Notes()
    shutil.copytree(done.out, out)
    cells = [("toy", f"00-floors:{name}", None) for name in ("popularity", "repeat")]
    before = collect(done.experiment, out).results
    folders = [Places(out).result(before[cell].key) for cell in cells]
    users = next(folders[0].rglob("users.parquet"))
    users.write_bytes(bytes(users.stat().st_size))
    (folders[1] / "manifest.json").write_text("no manifest", encoding="utf-8")
    missing = {one.slug: one for one in collect(done.experiment, out).missing}
    assert all(missing[cell[1]].is_damaged for cell in cells)
    assert not missing["00-bad"].is_damaged
    outcome = do(done.experiment, out, rows=["00-floors"], watcher=notes)
    assert (outcome.done, outcome.skipped, outcome.failed) == (1, 0, [])
    assert "toy, 00-floors: the result there is damaged; made again" in notes.lines
    after = collect(done.experiment, out).results
    for cell, folder in zip(cells, folders, strict=True):
        assert after[cell].users.equals(before[cell].users, null_equal=True)
        assert folder.with_name(f"{folder.name}.damaged").is_dir()
    again = do(done.experiment, out, rows=["00-floors"])
    assert (again.done, again.skipped) == (0, 1)


def test_a_floor_whose_code_changed_says_so(done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`its settings have changed` sent people to files that were as ever."""
    cell = ("toy", "00-floors:repeat", None)

    def reason(experiment: Experiment) -> str:
        found = collect(experiment, done.out, allow_old_code=True)
        return {one.slug: one.reason for one in found.missing}[cell[1]]

    monkeypatch.setattr(code, "of_floors", lambda: "newer")
    assert reason(done.experiment).startswith("the floors' code or libraries have changed since it was run")
    seen = lab(tmp_path, table=f'{TABLE}\nseen = "filtered"\n', rows={"00-bad": BAD} | ROWS)
    assert reason(seen) == "its settings have changed since it was run"
    # Tables of earlier versions do not say which it was.
    entry = replace(read_index(done.out, "toy")[cell], settings="")
    old = tmp_path / "old"
    add_to_index(old, "toy", {cell: entry})
    found = {one.slug: one.reason for one in collect(done.experiment, old).missing}
    assert found[cell[1]] == "its settings, or the floors' code or libraries, have changed since it was run"


def worker(experiment: Experiment, out: Path) -> tuple[list[str], str]:
    """Command of the process that does one job, and its key."""
    job = ready(experiment, out, rows=["01-hstu"]).jobs[0]
    file = jobfile.write(jobfile.order_of(job, Places(out), {}, keep_model=False))
    return [sys.executable, "-m", "sessionrec.experiments.worker", str(file)], job.key


def wait_for(is_there: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def figures(result: Result) -> tuple[object, ...]:
    return (result.metrics, result.counts, result.training["best_epoch"], result.training["epochs"], result.config)


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_figures(done: Done, tmp_path: Path) -> None:
    words, key = worker(done.experiment, tmp_path)
    metrics = Places(tmp_path).run(key) / "metrics.jsonl"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: metrics.is_file() and len(metrics.read_text(encoding="utf-8").splitlines()) >= 8)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert 8 <= len(metrics.read_text(encoding="utf-8").splitlines()) < 30
    assert do(done.experiment, tmp_path, rows=["01-hstu"]).done == 1
    cut, whole = (collect(done.experiment, out).results[CELL] for out in (tmp_path, done.out))
    assert figures(cut) == figures(whole)
    assert cut.users.equals(whole.users, null_equal=True)
    log = Places(tmp_path).log(key).read_text(encoding="utf-8")
    assert "epoch 3 " not in log, "the first epochs were not trained again"
    assert "epoch 30 " in log


@pytest.mark.slow
def test_a_budget_of_memory_is_kept_and_what_is_larger_runs_alone(tmp_path: Path) -> None:
    notes = Notes()
    outcome = do(lab(tmp_path), tmp_path / "out", rows=["01-hstu", "02-gru"], memory_gb=0.2, watcher=notes)
    assert outcome.done == 2
    assert notes.most == 1
    alone = [line for line in notes.lines if "more than the 0.2 GB of --memory; it runs alone" in line]
    assert len(alone) == 2


@pytest.mark.slow
def test_other_code_begins_a_cut_run_anew(tmp_path: Path) -> None:
    experiment = lab(tmp_path)
    words, key = worker(experiment, tmp_path / "out")
    places = Places(tmp_path / "out")
    metrics = places.run(key) / "metrics.jsonl"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: metrics.is_file() and len(metrics.read_text(encoding="utf-8").splitlines()) >= 3)
        process.kill()
    (places.work(key) / "code.txt").write_text("older\n", encoding="utf-8")
    assert do(experiment, tmp_path / "out", rows=["01-hstu"]).done == 1
    log = places.log(key).read_text(encoding="utf-8")
    assert f"begun anew: the checkpoint is of other code (older, now {code.version()})" in log
    assert "epoch 1 " in log


def test_a_stop_of_what_has_no_checkpoint_yet_promises_none(done: Done, tmp_path: Path) -> None:
    (job,) = ready(done.experiment, tmp_path, rows=["00-floors"]).jobs
    words = [sys.executable, "-m", "sessionrec.cli", "experiment", "run", str(done.experiment.folder)]
    words += ["--out", str(tmp_path), "--rows", "00-floors"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_for(Places(tmp_path).log(job.key).is_file)
        # Its process is there by now, and still imports.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-2:] == [
        "stopping 1 run; writing checkpoints takes up to 20 s",
        "stopped; the same command goes on",
    ]
    assert do(done.experiment, tmp_path, rows=["00-floors"]).done == 1


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_ends_all_runs_and_leaves_their_checkpoints(tmp_path: Path, signum: signal.Signals) -> None:
    experiment, out = lab(tmp_path), tmp_path / "out"
    places, fields = Places(out), ("training.epochs=3000", "training.patience=3000", "training.checkpoint_steps=2")
    keys = [job.key for job in ready(experiment, out, rows=["01-hstu", "02-gru"], fields=fields).jobs]
    words = [sys.executable, "-m", "sessionrec.cli", "experiment", "run", str(experiment.folder), "--out", str(out)]
    words += ["--jobs", "2", "--rows", "01-hstu,02-gru", *fields]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_for(lambda: all((places.run(key) / "metrics.jsonl").is_file() for key in keys))
        process.send_signal(signum)
        told, _ = process.communicate(timeout=60)
    if signum == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + signum
        assert "stopping 2 runs; writing checkpoints takes up to" in told
        assert told.endswith("stopped; the same command goes on\n")
    for key in keys:
        # Nobody has the job any more, and its checkpoint is whole.
        with locked(places.lock(key), wait=True) as is_mine:
            assert is_mine
        assert (places.run(key) / "last" / "manifest.json").is_file()
    assert not (out / "results").exists()
