"""Runs what is missing of an experiment: as many processes at once as cores and memory allow, each its own `worker`.

What is done is skipped, what was cut goes on, what fails is told at the end while the rest runs on. A stop leaves
checkpoints. Two runners may share one folder: each job is locked by the process that does it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from sessionrec.artifacts import MANIFEST, read_manifest
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError
from sessionrec.experiments import code, jobfile, memory
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.memory import Taken
from sessionrec.experiments.places import Places, acquire
from sessionrec.experiments.plan import Job, asked
from sessionrec.experiments.ready import Ready, Standing, standing
from sessionrec.experiments.result import FORMAT, KIND
from sessionrec.experiments.results import Entry, add_to_index
from sessionrec.experiments.sources import Absent
from sessionrec.train.loop import METRICS

_POLL_S = 0.2
_GRACE_S = 20.0
"""Time that a stopped run has to write its checkpoint."""
_LOG_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run."""

    jobs: int
    """Processes at once."""
    memory: int
    """Bytes that they may take together."""
    keep_old_code: bool = False
    """Whether results of another version of the code stay; they are made again otherwise."""
    keep_models: bool = False
    """Whether trained models are kept, in OUT/models."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A process and its job."""

    standing: Standing
    process: subprocess.Popen[bytes]
    bytes: int
    """What it is expected to take."""
    metrics: Path
    since: float = field(default_factory=time.monotonic)

    @property
    def job(self) -> Job:
        """Being done."""
        return self.standing.job


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A job that came to nothing."""

    job: Job
    status: int
    log: Path
    last: str
    """Of the log."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    done: int = 0
    """Jobs that this call did."""
    skipped: int = 0
    """Jobs that were done before."""
    failed: list[Failure] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    kept_old: list[str] = field(default_factory=list)
    """Cells whose results are of another version of the code, in words."""


class Watcher(Protocol):
    """Who shows what goes on."""

    def say(self, line: str) -> None:
        """Something worth a line."""
        ...

    def tick(self, done: int, total: int, left_s: float | None, running: Sequence[Running], /) -> None:
        """A moment has passed."""
        ...


def run(experiment: Experiment, ready: Ready, out: Path, options: Options, watcher: Watcher) -> Outcome:
    """Do what is missing.

    Args:
        experiment: Read.
        ready: Its jobs.
        out: Folder of the experiments.
        options: How.
        watcher: Is told what goes on.

    Returns:
        What it came to. A stop (Ctrl-C, an exception of a signal) goes through, after every model left a checkpoint if
        it had begun to train.
    """
    places, outcome, jobs = Places(out), Outcome(absent=ready.absent), ready.jobs
    now = code.version()
    entries = {cell: _entry(experiment, job, cell[1], now) for job in jobs for cell in job.cells}
    add_to_index(out, experiment.name, entries)
    todo = []
    for job in jobs:
        one = standing(job, ready.datasets[job.dataset], places, keep_old_code=options.keep_old_code)
        if options.keep_old_code:
            outcome.kept_old += [f"{job.dataset}, {job.name}: code {made_by}" for made_by in one.old.values()]
        elif one.old:
            watcher.say(f"{job.dataset}, {job.name}: made by other code ({next(iter(one.old.values()))}); made again")
        if one.damaged:
            watcher.say(f"{job.dataset}, {job.name}: the result there is damaged; made again")
        if one.is_done:
            outcome.skipped += 1
        else:
            todo.append(one)
    # Two rows may ask the same; the first does it for both.
    unique = {one.job.key: one for one in reversed(todo)}
    queue = [one for one in todo if unique[one.job.key] is one]
    outcome.skipped += len(todo) - len(queue)
    _Loop(queue, places, options, watcher, outcome).run()
    return outcome


class _Loop:
    """Starts, watches and ends processes."""

    def __init__(
        self, queue: list[Standing], places: Places, options: Options, watcher: Watcher, outcome: Outcome
    ) -> None:
        self._queue, self._places, self._options = queue, places, options
        self._watcher, self._outcome = watcher, outcome
        self._running: list[Running] = []
        self._total, self._began = len(queue), time.monotonic()
        self._seconds: list[float] = []
        self._elsewhere: set[str] = set()
        self._known = {one.dataset.content: one.dataset for one in queue}
        self._taken = _taken(self._known, places)
        self._warned: set[str] = set()

    def run(self) -> None:
        try:
            while self._queue or self._running:
                self._start_what_fits()
                self._collect()
                self._tick()
                if self._queue or self._running:
                    time.sleep(_POLL_S)
        finally:
            self._stop()

    def _start_what_fits(self) -> None:
        for one in list(self._queue):
            if len(self._running) >= self._options.jobs:
                return
            need = memory.expected(one.job, one.dataset, self._taken)
            used = sum(running.bytes for running in self._running)
            is_too_large = need > self._options.memory
            if is_too_large and self._running:
                continue
            if not is_too_large and used + need > self._options.memory:
                continue
            if any(running.bytes > self._options.memory for running in self._running):
                return
            lock = self._lock(one)
            if lock is None:
                continue
            if is_too_large and one.job.key not in self._warned:
                self._warned.add(one.job.key)
                self._watcher.say(
                    f"{one.job.dataset}, {one.job.name}: may take {need / 2**30:.1f} GB, more than the "
                    f"{self._options.memory / 2**30:.1f} GB of --memory; it runs alone"
                )
            self._queue.remove(one)
            try:
                self._start(one, need, lock)
            finally:
                # The worker holds it now.
                os.close(lock)

    def _lock(self, one: Standing) -> int | None:
        """The lock of a job that is still to be done; None if another process does it, or has done it since this one
        looked."""
        key = one.job.key
        lock = acquire(self._places.lock(key), wait=False)
        if lock is None:
            if key not in self._elsewhere:
                self._elsewhere.add(key)
                self._watcher.say(f"{one.job.dataset}, {one.job.name}: another process does it; waiting for it")
            return None
        if standing(one.job, one.dataset, self._places, keep_old_code=self._options.keep_old_code).is_done:
            os.close(lock)
            self._queue.remove(one)
            self._outcome.skipped += 1
            self._total -= 1
            return None
        return lock

    def _start(self, one: Standing, need: int, lock: int) -> None:
        """Start a worker, which inherits the lock: nobody comes in between, to its folder or to its log."""
        job, places = one.job, self._places
        for key in one.damaged:
            _put_aside(places.result(key))
        floors = {slug.partition(":")[2]: key for slug, key in one.todo.items()} if job.row.config.floors else {}
        file = jobfile.write(jobfile.order_of(job, places, floors, keep_model=self._options.keep_models))
        log = places.log(job.key)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            # A group of its own: Ctrl-C at the terminal reaches this process alone, which then stops the others.
            process = subprocess.Popen(
                [sys.executable, "-m", "sessionrec.experiments.worker", str(file), str(lock)],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=(lock,),
            )  # fmt: skip
        self._running.append(Running(standing=one, process=process, bytes=need, metrics=places.run(job.key) / METRICS))

    def _collect(self) -> None:
        for running in list(self._running):
            status = running.process.poll()
            if status is None:
                continue
            self._running.remove(running)
            self._end(running, status)

    def _end(self, running: Running, status: int) -> None:
        one, job = running.standing, running.job
        seconds = time.monotonic() - running.since
        # Of whatever code: the sources may have been edited since this process began.
        if status == 0 and standing(job, one.dataset, self._places, keep_old_code=True).is_done:
            self._outcome.done += 1
            self._seconds.append(seconds)
            self._taken = _taken(self._known, self._places)
            self._watcher.say(f"done: {job.dataset}, {job.name}  {_summary(self._places, one)}  {_minutes(seconds)}")
            return
        log = self._places.log(job.key)
        words = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        killed = (
            [f"ended by signal {-status}{', perhaps for want of memory' if status == -9 else ''}"] if status < 0 else []
        )
        last = "\n".join([*words[-_LOG_LINES:], *killed]) or f"(nothing was said; status {status})"
        self._outcome.failed.append(Failure(job=job, status=status, log=log, last=last))
        self._watcher.say(f"FAILED: {job.dataset}, {job.name}, status {status}; see {log}")

    def _tick(self) -> None:
        ended = self._outcome.done + len(self._outcome.failed)
        left = None
        if self._seconds:
            rate = ended / (time.monotonic() - self._began)
            left = (self._total - ended) / max(rate, 1e-9)
        self._watcher.tick(ended, self._total, left, self._running)

    def _stop(self) -> None:
        """Runs are asked to stop, as by Ctrl-C, and models to write a checkpoint; who does not end in time is ended."""
        if not self._running:
            return
        number = len(self._running)
        self._watcher.say(
            f"stopping {number} {'run' if number == 1 else 'runs'}; writing checkpoints takes up to {_GRACE_S:.0f} s"
        )
        for running in self._running:
            running.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _GRACE_S
        try:
            for running in self._running:
                running.process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            pass
        finally:
            for running in self._running:
                if running.process.poll() is None:
                    running.process.kill()
                    running.process.wait()


def _entry(experiment: Experiment, job: Job, slug: str, version: str) -> Entry:
    digest = partial(asked, experiment, job.dataset, job.row, slug, job.seed, job.fields)
    return Entry(key=job.keys[slug], asked=digest(), settings=digest(counts=False), fields=job.fields, code=version)


def _put_aside(result: Path) -> None:
    """Of a damaged result: its manifest would stop the writer of the new one, when all is trained."""
    aside = result.with_name(f"{result.name}.damaged")
    with suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        result.rename(aside)


def _taken(known: dict[str, Dataset], places: Places) -> list[Taken]:
    """What finished jobs on some data sets took, by digest."""
    found = []
    for file in places.result("").glob(f"*/{MANIFEST}"):
        try:
            body = read_manifest(file.parent, kind=KIND, format=FORMAT).body
        except ArtifactError:
            continue
        held = body["peak_bytes"] or body.get("process_bytes")
        if body["data"] in known and held:
            found.append(memory.taken(body | {"peak_bytes": held}, known[body["data"]]))
    return found


def _summary(places: Places, one: Standing) -> str:
    """The first figure of a new result."""
    if len(one.todo) > 1:
        return f"{len(one.todo)} floors"
    (key,) = one.todo.values()
    metrics = read_manifest(places.result(key), kind=KIND, format=FORMAT).body["metrics"]["session"]
    return "  ".join(f"{name} {metrics[name]:.4f}" for name in ("ndcg@10", "recall@100") if name in metrics)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
