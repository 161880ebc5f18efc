"""What people see of many runs at once: a line for the table, a line for each run; in a pipe, a line for each event."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sessionrec.experiments.runner import Running

_REFRESH_S = 1.0


class Board:
    """Watches a runner, see `experiments.runner.Watcher`.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._shown = 0.0

    def __enter__(self) -> Board:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(Text(line), soft_wrap=True)

    def tick(self, done: int, total: int, left_s: float | None, running: Sequence[Running]) -> None:
        """Draw anew, if it is time."""
        if not self._console.is_terminal or time.monotonic() - self._shown < _REFRESH_S:
            return
        self._shown = time.monotonic()
        self._live.update(_drawn(done, total, left_s, running), refresh=True)


def _drawn(done: int, total: int, left_s: float | None, running: Sequence[Running]) -> Group:
    first = Table.grid(padding=(0, 2))
    left = "" if left_s is None else f"about {_duration(left_s)} left"
    first.add_row("table", ProgressBar(total=max(total, 1), completed=done, width=40), f"{done}/{total}", left)
    runs = Table.grid(padding=(0, 2))
    for one in running:
        job = one.job
        line = last_line(one.metrics)
        told = ("", "")
        if line is not None:
            told = (
                f"epoch {line['epoch']}/{job.config.training.epochs}",
                f"{job.config.training.metric} {line['best']:.4f}",
            )
        since = _duration(time.monotonic() - one.since)
        seed = "" if job.seed is None else f"seed {job.seed}"
        runs.add_row(job.dataset, job.row.config.name or "floors", seed, *told, f"{since}", style="dim")
    return Group(first, runs)


def last_line(metrics: Path) -> dict[str, Any] | None:
    """Epoch and best validation value so far, of a run's `metrics.jsonl`; None before the first epoch has ended."""
    try:
        lines = metrics.read_text(encoding="utf-8").splitlines()
        parsed = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return None
    if not parsed:
        return None
    return {"epoch": parsed[-1]["epoch"], "best": max(one["validation"] for one in parsed)}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
