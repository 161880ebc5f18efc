"""What people see: two consoles, plain lines, and progress bars on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
errors = Console(stderr=True)

_STAGES = {"read": "Reading events", "sessions": "Cutting sessions", "split": "Splitting", "write": "Writing"}


def say(*lines: str) -> None:
    """Lines as they are: a path has no markup, and a line that will be copied or piped is not wrapped."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


@contextmanager
def progress() -> Iterator[Any]:
    """Bars on a terminal, nothing in a pipe."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage[:1].upper() + stage[1:]), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


class TrainingBar:
    """Watches a run: a bar an epoch with loss, speed and the time left; a line for every epoch that ended.

    Args:
        epochs: Most epochs.
        metric: What chooses the epoch.
    """

    def __init__(self, epochs: int, metric: str) -> None:
        self._epochs, self._metric = epochs, metric
        self._best = -math.inf
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
        )
        self._bars = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
        self._task = self._bars.add_task("starting", total=None, speed="")
        self._epoch = 0

    def __enter__(self) -> TrainingBar:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def step(self, step: Any) -> None:
        """See `train.loop.Monitor`."""
        self._best = max(self._best, step.best_value)
        if step.epoch != self._epoch:
            self._epoch = step.epoch
            self._bars.reset(self._task, total=step.num_steps)
        self._bars.update(
            self._task,
            completed=step.step,
            total=step.num_steps,
            description=f"epoch {step.epoch}/{self._epochs}  loss {step.loss:.3f}",
            speed=f"{step.events_per_s / 1000:,.0f}k events/s",
        )

    def epoch(self, line: Mapping[str, Any]) -> None:
        """See `train.loop.Monitor`."""
        is_best = line["validation"] > self._best
        self._best = max(self._best, line["validation"])
        errors.print(
            f"epoch {line['epoch']:>3}  loss {line['total']:.4f}  {self._metric} {line['validation']:.4f}"
            f"{' *' if is_best else '  '}  {line['seconds']:.1f} s  {line['events_per_s'] / 1000:,.0f}k events/s",
            highlight=False,
            soft_wrap=True,
        )
