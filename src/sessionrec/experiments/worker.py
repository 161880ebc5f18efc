"""`python -m sessionrec.experiments.worker JOB.json [LOCK]`: one job, a process of its own, from data to `Result`.

    fit in its folder of work (or go on there)  ->  test questions  ->  a result, and the work is removed

LOCK is the descriptor of the job's lock, from who holds it already; without, it is taken here.

Ends with 0 when the results are there, 130 when it was stopped (the checkpoint is left), 75 when another process has
the job, 1 when it failed; what it says goes to its log, see `places`.
"""

from __future__ import annotations

import os

# Before torch is imported: waiting threads that spin take the processor from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import ctypes
import json
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from sessionrec.baselines import ALL, FloorName, fit_floors
from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.data.view import evaluation_view, whole_view
from sessionrec.errors import ArtifactError, SessionRecError
from sessionrec.evaluate import quality_of
from sessionrec.experiments import code, jobfile, measure
from sessionrec.experiments.jobfile import Order
from sessionrec.experiments.places import Places, locked, write_text
from sessionrec.experiments.plan import FLOOR_METRIC, protocols
from sessionrec.experiments.result import Result
from sessionrec.pipeline.device import machine
from sessionrec.pipeline.prior import ranker_for
from sessionrec.pipeline.training import FitConfig, facts_of, fit
from sessionrec.recommend import artifact
from sessionrec.train.loop import METRICS

STOPPED, BUSY = 130, 75
CODE = "code.txt"
"""In the work of a run: the version of the code that began it."""
PEAK = "peak.json"
"""In the work of a run: the most memory that any process of it held."""


def work(order: Order, lock: int | None = None) -> int:
    """Do a job.

    Args:
        order: The job.
        lock: Descriptor that holds its lock, if one does; ends with the process.

    Returns:
        The status to end with.
    """
    # Now: the sources may be edited while the job runs.
    version, places = code.version(), Places(Path(order.out))
    with nullcontext(True) if lock is not None else locked(places.lock(order.key), wait=False) as is_mine:
        if not is_mine:
            return BUSY
        dataset = Dataset(places.data(order.dataset))
        if dataset.content != order.data:
            raise ArtifactError(
                f"{dataset.path}: was prepared anew since the job was planned; run the experiment again"
            )
        config = parse(FitConfig, order.config, "job")
        torch.set_num_threads(config.threads or 1)
        _begin_with(version, places.work(order.key))
        is_done = _floors(order, dataset, config, version) if order.floors else _model(order, dataset, config, version)
        if not is_done:
            return STOPPED
        shutil.rmtree(places.work(order.key), ignore_errors=True)
        return 0


def _begin_with(version: str, folder: Path) -> None:
    """A run that other code began is begun anew, so that no result is half of one and half of the other."""
    mark = folder / CODE
    before = mark.read_text(encoding="utf-8").strip() if mark.is_file() else version
    if before != version:
        print(f"begun anew: the checkpoint is of other code ({before}, now {version})", flush=True)  # noqa: T201
        shutil.rmtree(folder / "run", ignore_errors=True)
    write_text(mark, version + "\n")


def _model(order: Order, dataset: Dataset, config: FitConfig, version: str) -> bool:
    """Train and ask a model; False if it was stopped."""
    places = Places(Path(order.out))
    run, peak = places.run(order.key), _Peak(places.work(order.key) / PEAK)
    trained = fit(dataset, run, config, preset=order.preset, monitors=(peak,))
    if trained.is_interrupted:
        return False
    model = artifact.load(run, device=config.training.device)
    asked = protocols(order.seen, order.known)
    ranker = ranker_for(model, dataset, "test", is_stream=asked[0].is_stream)
    answers = measure.ask(ranker, dataset, model.asked_view, asked)
    Result(
        key=order.key,
        code=version,
        dataset=order.dataset,
        data=dataset.content,
        system=order.system,
        seed=order.seed,
        config=order.config,
        training={
            "seconds": round(trained.seconds, 2),
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            **({"prior_seconds": model.body["prior_seconds"]} if model.prior is not None else {}),
            **measure.epochs_of(run / METRICS),
        },
        evaluation_seconds=answers.evaluation_seconds,
        parameters=sum(weights.numel() for weights in model.recommender.parameters()),
        # On the host, whatever answered: the same operations for every result.
        flops_per_user=measure.flops_per_user(model.recommender.cpu(), dataset, model.view),
        peak_bytes=peak.bytes(),
        metrics=answers.metrics,
        counts=answers.counts,
        machine=machine(config.training.device),
        users=answers.users,
    ).save(places.result(order.key))
    if order.keep_model:
        target = places.model(order.key)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(run / "model", target)
    return True


def _floors(order: Order, dataset: Dataset, config: FitConfig, version: str) -> bool:
    """Make and ask floors one after the other, so that each leaves its result and none takes another down.

    Raises:
        SessionRecError: Some could not be made; the others were.
    """
    places, asked, view = Places(Path(order.out)), protocols(order.seen, order.known), whole_view(config.view)
    quality = quality_of(facts_of(dataset, asked[0]), asked[0], FLOOR_METRIC)
    shown = evaluation_view(view, "test", asked[0].targets)
    failed, chosen = [], dict[FloorName, dict[str, float]]()
    for name in (known for known in ALL if known in order.floors):
        key = order.floors[name]
        print(f"floor {name}", flush=True)  # noqa: T201 - for the log
        try:
            (floor,) = fit_floors(dataset, shown, quality, is_stream=asked[0].is_stream, names=(name,), chosen=chosen)
        except SessionRecError as error:
            failed.append(f"{name}: {error}")
            continue
        chosen[name] = floor.choice
        answers = measure.ask(floor.ranker, dataset, view, asked)
        Result(
            key=key,
            code=version,
            dataset=order.dataset,
            data=dataset.content,
            system=name,
            seed=None,
            config=dict(floor.choice),
            training={},
            evaluation_seconds=answers.evaluation_seconds,
            parameters=0,
            flops_per_user=0.0,
            peak_bytes=None,
            process_bytes=measure.peak_bytes(),
            metrics=answers.metrics,
            counts=answers.counts,
            machine=machine("cpu"),
            users=answers.users,
        ).save(places.result(key))
    if failed:
        raise SessionRecError("\n".join(failed))
    return True


class _Peak:
    """Watches a run and writes down the most memory it held, so that a run in several parts knows of all."""

    def __init__(self, file: Path) -> None:
        self._file, self._before = file, 0
        with suppress(OSError, ValueError, KeyError):
            self._before = int(json.loads(file.read_text(encoding="utf-8"))["bytes"])

    def bytes(self) -> int:
        """So far."""
        return max(self._before, measure.peak_bytes())

    def step(self, step: Any) -> None:
        """See `train.loop.Monitor`."""

    def epoch(self, line: Mapping[str, Any]) -> None:
        """See `train.loop.Monitor`."""
        print(f"epoch {line['epoch']}  loss {line['total']:.4f}  validation {line['validation']:.4f}", flush=True)  # noqa: T201
        write_text(self._file, json.dumps({"bytes": self.bytes()}) + "\n")


def _end_with_parent() -> None:
    """On Linux, be stopped like by Ctrl-C when the process that started this one dies, however it dies."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGINT)


def _inherited(words: list[str]) -> int | None:
    """A lock that came with the command; no child of ours shall hold it on when this process is gone."""
    if not words:
        return None
    lock = int(words[0])
    os.set_inheritable(lock, False)
    return lock


def main() -> None:
    """Do the job of a file."""
    _end_with_parent()
    try:
        status = work(jobfile.read(Path(sys.argv[1])), _inherited(sys.argv[2:]))
    except KeyboardInterrupt:
        status = STOPPED
    except SessionRecError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        status = 1
    sys.stdout.flush()
    # A thread of the loader or of an engine may still be at work; nothing is left to be cleaned up.
    os._exit(status) if status == STOPPED else sys.exit(status)


if __name__ == "__main__":
    main()
