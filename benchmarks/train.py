"""How many input events a second does training take in, and how does an epoch grow?

    python -m benchmarks.train DATASET [--epochs 5] [--threads 1] [--max-positives 400] [--profile]
    python -m benchmarks.train DATASET --growth [--folder bench-data]

SessionRec-HSTU with the default settings (width 64, 4 layers, 128 negatives a user, alpha 0.2, 64 users a batch), the
whole step: loader, forward, loss, backward, optimizer, on as many cores as threads. Epochs are whole; the figure is the
fastest after the first, which warms up, and the median stands beside it. `--growth` takes an epoch against the size of
the catalogue (the data set's items spread over a larger table), the number of events and the length of histories
(planted logs, made in the folder). Its cases take turns, so that a busy machine is busy for all, and it compares
processor time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.profiler import profile

from benchmarks import machine
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.jagged import Jagged
from sessionrec.logs.synthetic.planted import PlantedConfig
from sessionrec.losses.objective import Objective, ObjectiveConfig
from sessionrec.model.config import ModelConfig
from sessionrec.pipeline.data import DataConfig, prepare
from sessionrec.recommend.artifact import catalogue_of
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.truncation import Truncation
from sessionrec.train.optim import OptimConfig, Optimizer

CATALOGUES = (10_000, 100_000, 1_000_000, 2_000_000)
EVENTS = (250_000, 500_000, 1_000_000)
LENGTHS = (10, 50, 100, 200, 400)
LENGTHS_EVENTS = 400_000
"""Input events of each case of `LENGTHS`, about."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training part."""

    wall_s: float
    cpu_s: float
    events: int
    steps: int


class Training:
    """A model, a loader and what moves the weights.

    Args:
        dataset: To train on.
        max_positives: Cap on the history, as the paper's 400 for RecFlow.
        num_items: Size of the catalogue; the data set's items are spread evenly over a larger one.
    """

    def __init__(self, dataset: Dataset, *, max_positives: int | None = None, num_items: int | None = None) -> None:
        config, catalogue = ModelConfig(), catalogue_of(dataset)
        self._spread = 1
        events_V = torch.from_numpy(dataset.items["train_events"].to_numpy()[: dataset.num_candidates].copy())
        if num_items is not None:
            self._spread = num_items // dataset.num_items
            codes = torch.zeros(num_items + 1, len(catalogue.item_features), dtype=torch.int32)
            catalogue = replace(catalogue, num_items=num_items, codes_VF=codes)
            events_V = torch.ones(num_items, dtype=torch.int64)
        torch.manual_seed(1)
        self._model = config.build(catalogue).train()
        self._objective = Objective(ObjectiveConfig(), events_V, torch.Generator().manual_seed(1))
        self._optimizer = Optimizer(self._model, self._model.items.sparse_tables, OptimConfig())
        caps = Truncation(max_positives=max_positives, max_sessions=config.max_sessions)
        self._loader = Loader(dataset, View(truncation=caps), Loading(), seed=1)

    def epoch(self, most: int | None = None) -> Epoch:
        """One epoch, or its first steps."""
        wall, cpu = time.perf_counter(), time.process_time()
        events = steps = 0
        for examples in self._examples():
            draw = self._objective.draw(examples.targets, examples.inputs.num_users)
            query_QD, vectors_UD, places = self._model(examples, self._objective.items(examples.targets, draw))
            output = self._objective.loss(query_QD, vectors_UD, places, examples.targets, draw)
            torch.autograd.backward(output.total)
            self._optimizer.step()
            events += examples.inputs.num_events
            steps += 1
            if steps == most:
                break
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Epoch(wall_s=wall, cpu_s=cpu, events=events, steps=steps)

    def profile(self, most: int) -> list[str]:
        """The operations with the most time of their own, as shares."""
        with profile() as profiler:
            self.epoch(most)
        rows = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)
        total = sum(row.self_cpu_time_total for row in rows)
        return [f"{row.self_cpu_time_total / total:.1%} {row.key} ({row.count} calls)" for row in rows[:10]]

    def _examples(self) -> Iterator[Examples]:
        for examples in self._loader:
            yield examples if self._spread == 1 else self._spread_out(examples)

    def _spread_out(self, examples: Examples) -> Examples:
        inputs, targets = examples

        def rows(items: Jagged[torch.Tensor]) -> Jagged[torch.Tensor]:
            return Jagged(values=items.values * self._spread, offsets=items.offsets)

        return Examples(
            replace(inputs, item_E=inputs.item_E * self._spread),
            replace(targets, positives=rows(targets.positives), negatives=rows(targets.negatives)),
        )


def speed(options: argparse.Namespace) -> None:
    """Measure one data set."""
    training = Training(Dataset(options.dataset), max_positives=options.max_positives)
    first, *others = [training.epoch() for _ in range(options.epochs)]
    others = others or [first]
    best = min(others, key=lambda epoch: epoch.wall_s)
    figures: dict[str, Any] = {
        "threads": options.threads,
        "batch_users": 64,
        "max_positives": options.max_positives,
        "epochs": options.epochs,
        "events": best.events,
        "steps": best.steps,
        "epoch_s": round(best.wall_s, 3),
        "epoch_cpu_s": round(best.cpu_s, 3),
        "first_epoch_s": round(first.wall_s, 3),
        "median_epoch_s": round(statistics.median(epoch.wall_s for epoch in others), 3),
        "events_per_s": round(best.events / best.wall_s),
        "events_per_cpu_s": round(best.events / min(epoch.cpu_s for epoch in others)),
        "step_ms": round(best.wall_s / best.steps * 1e3, 2),
        "load_before": options.load,
        "peak_gb": round(machine.peak_gb(), 2),
    }
    if options.profile:
        figures["profile"] = training.profile(100)
    machine.write(f"train_{options.dataset.name}_{options.threads}", figures)


def growth(options: argparse.Namespace) -> None:
    """Measure what an epoch costs as things grow."""
    figures: dict[str, Any] = {"load_before": options.load, "rounds": options.epochs}
    cases: dict[int, tuple[Path, int | None]] = {size: (options.dataset, size) for size in CATALOGUES}
    figures["catalogue"] = in_turns(cases, options.epochs)
    for label, sizes, made in (("events", EVENTS, more_users), ("sessions", LENGTHS, longer_histories)):
        cases = {size: (planted(options.folder, made(size)), None) for size in sizes}
        figures[label] = in_turns(cases, options.epochs)
    machine.write("train_growth", figures)


def in_turns(cases: dict[int, tuple[Path, int | None]], rounds: int) -> dict[str, Any]:
    """Fastest epoch of each case, its processor time an event as a ratio to the first case, and its memory."""
    trainings = {size: Training(Dataset(path), num_items=items) for size, (path, items) in cases.items()}
    epochs: dict[int, list[Epoch]] = {size: [] for size in cases}
    for turn in range(rounds + 1):
        for size, training in trainings.items():
            epoch = training.epoch()
            if turn:
                epochs[size].append(epoch)
    figures: dict[str, Any] = {}
    first = 0.0
    for size, own in epochs.items():
        cpu_s = min(epoch.cpu_s for epoch in own)
        first = first or cpu_s / own[0].events
        figures[str(size)] = {
            "events": own[0].events,
            "steps": own[0].steps,
            "epoch_s": round(min(epoch.wall_s for epoch in own), 3),
            "epoch_cpu_s": round(cpu_s, 3),
            "us_an_event": round(cpu_s / own[0].events * 1e6, 3),
            "ratio_an_event": round(cpu_s / own[0].events / first, 3),
            "peak_gb": round(peak_alone(*cases[size]), 2),
        }
    return figures


def peak_alone(path: Path, num_items: int | None) -> float:
    """Peak memory of a process that trains this case for an epoch and nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(_peak, path, num_items).result()


def _peak(path: Path, num_items: int | None) -> float:
    torch.set_num_threads(1)
    Training(Dataset(path), num_items=num_items).epoch()
    # Not `ru_maxrss`, which keeps what the parent took before this process was one of its own.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def more_users(events: int) -> PlantedConfig:
    """So many input events: 20 sessions of 10 events a user, two of them held out and one only asked for."""
    return PlantedConfig(num_users=events // 170, num_groups=1000, group_size=5, sessions_per_user=20)


def longer_histories(sessions: int) -> PlantedConfig:
    """As many events in histories of so many sessions."""
    users = max(LENGTHS_EVENTS // (10 * sessions), 64)
    return PlantedConfig(num_users=users, num_groups=1000, group_size=5, sessions_per_user=sessions + 3)


def planted(folder: Path, log: PlantedConfig) -> Path:
    """The data set of a planted log, made once."""
    path = folder / f"planted-{log.num_users}-{log.sessions_per_user}"
    if not path.exists():
        prepare(DataConfig(log=log, session=NativeRule()), path)
    return path


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--epochs", type=int, default=5, help="the first is not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-positives", type=int)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="where planted data sets are kept")
    options = parser.parse_args()
    options.load = round(os.getloadavg()[0], 2)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    torch.set_num_threads(options.threads)
    (growth if options.growth else speed)(options)


if __name__ == "__main__":
    main()
