"""How many events a second come out of the loader on one core, and where does the time go?

    python -m benchmarks.loader DATASET [DATASET ...]

For every data set: session batches for training, as an epoch of the paper's 64 users a batch and of a budget of 65,536
events; without prefetching (all work counted) on one core. The first epoch warms up; the figure is the median of three.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import time
from pathlib import Path

import torch

from benchmarks import machine
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View

LOADINGS = {
    "64 users": Loading(prefetch=0),
    "65536 events": Loading(batch_users=None, batch_events=65_536, prefetch=0),
}


def epoch(loader: Loader) -> tuple[float, int, int]:
    """Seconds, events and batches of one epoch."""
    events = batches = 0
    started = time.perf_counter()
    for examples in loader:
        events += examples.inputs.num_events
        batches += 1
    return time.perf_counter() - started, events, batches


def profile(loader: Loader) -> list[str]:
    """The functions with the most time of their own, as shares."""
    profiler = cProfile.Profile()
    profiler.enable()
    epoch(loader)
    profiler.disable()
    stats = pstats.Stats(profiler)
    total = stats.total_tt  # type: ignore[attr-defined]
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])[:8]  # type: ignore[attr-defined]
    return [f"{row[1][2] / total:.0%} {Path(row[0][0]).name}:{row[0][2]}" for row in rows]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    torch.set_num_threads(1)
    figures: dict[str, object] = {}
    for path in options.datasets:
        dataset = Dataset(path)
        for label, loading in LOADINGS.items():
            loader = Loader(dataset, View(), loading, seed=1)
            epoch(loader)
            runs = [epoch(loader) for _ in range(3)]
            seconds = statistics.median(run[0] for run in runs)
            figures[f"{path.name}, {label}"] = {
                "events": runs[0][1],
                "batches": runs[0][2],
                "events_per_s": round(runs[0][1] / seconds),
                "us_a_batch": round(seconds / runs[0][2] * 1e6),
                "profile": profile(loader),
            }
    figures["peak_gb"] = round(machine.peak_gb(), 2)
    machine.write("loader", figures)


if __name__ == "__main__":
    main()
