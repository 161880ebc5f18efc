"""The loop: batches in, weights moved, numbers out; stops when validation stops rising, and can stop anywhere.

The loop knows no metric and no data set: validation is a function handed in, batches are an iterator with a state.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pydantic import Field

from sessionrec.batch import Examples
from sessionrec.config import Config
from sessionrec.data.loader import Loader
from sessionrec.errors import SessionRecError
from sessionrec.losses.objective import LossOutput, Objective
from sessionrec.model.recommender import Recommender
from sessionrec.progress import Progress, silent
from sessionrec.train import checkpoint
from sessionrec.train.checkpoint import RunState
from sessionrec.train.optim import Optimizer


class TrainingError(SessionRecError):
    """Training cannot go on: the loss is no number."""


class LoopConfig(Config):
    """How long to train."""

    epochs: int = Field(default=200, ge=1)
    """Most epochs (paper: 200)."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation value after which to stop."""
    checkpoint_steps: int | None = Field(default=None, gt=0)
    """Steps between checkpoints inside an epoch; one is written after each epoch anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run came to."""

    best_value: float
    """Highest validation value."""
    best_epoch: int
    """Epoch it was reached after, from 1."""
    epochs: int
    """Epochs run."""
    is_interrupted: bool
    """Whether the user stopped it; its checkpoint goes on from there."""


class Trainer:
    """One run.

    Args:
        model: Being trained.
        loader: Training batches.
        objective: Loss, with the stream of negatives.
        optimizer: Moves the weights.
        config: How long.
        validate: Value of the model after an epoch; higher is better.
        folder: For `last` (a checkpoint), `best` (weights) and `metrics.jsonl`.
        described: What checkpoints say of the run.
    """

    def __init__(
        self,
        *,
        model: Recommender,
        loader: Loader,
        objective: Objective,
        optimizer: Optimizer,
        config: LoopConfig,
        validate: Callable[[Recommender], float],
        folder: Path,
        described: dict[str, Any],
    ) -> None:
        self.model, self._loader, self._objective, self._optimizer = model, loader, objective, optimizer
        self._config, self._validate, self._folder, self._described = config, validate, folder, described
        self._sums = {"total": 0.0, "retrieval": 0.0, "rank": 0.0, "pairs": 0.0}
        self._best_value, self._best_epoch = -math.inf, 0

    def resume(self) -> bool:
        """Go on from the last checkpoint, if there is one."""
        if not (self._folder / "last" / "manifest.json").is_file():
            return False
        state = checkpoint.load(self._folder / "last", self.model, self._optimizer)
        self._loader.load_state_dict(state.loader)
        torch.set_rng_state(state.generators["torch"])
        if self._objective.sampler is not None:
            self._objective.sampler.generator.set_state(state.generators["negatives"])
        self._sums = dict(state.progress["sums"])
        self._best_value, self._best_epoch = state.progress["best_value"], state.progress["best_epoch"]
        return True

    def run(self, progress: Progress = silent) -> Trained:
        """Train to the end, or until interrupted; an interrupt leaves a checkpoint.

        Raises:
            TrainingError: The loss is not a number.
        """
        with _interrupts() as is_interrupted:
            while self._loader.epoch < self._config.epochs and not self._has_patience_run_out():
                if not self._epoch(progress, is_interrupted):
                    self._save()
                    return self._trained(is_interrupted=True)
        return self._trained(is_interrupted=False)

    def _epoch(self, progress: Progress, is_interrupted: Callable[[], bool]) -> bool:
        """One epoch, or the rest of one; False if interrupted."""
        self.model.train()
        epoch, started, events = self._loader.epoch, time.perf_counter(), 0
        for examples in self._loader:
            output = self._step(examples)
            events += examples.inputs.num_events
            progress(f"epoch {epoch + 1}", self._optimizer.step_number, None)
            self._add(output)
            every = self._config.checkpoint_steps
            if is_interrupted():
                return False
            if every is not None and self._optimizer.step_number % every == 0:
                self._save()
        seconds = time.perf_counter() - started
        value = self._validate(self.model)
        pairs = max(self._sums["pairs"], 1.0)
        means = {name: self._sums[name] / pairs for name in ("total", "retrieval", "rank")}
        line = {"epoch": epoch + 1, "step": self._optimizer.step_number, **means, "validation": value}
        self._log(line | {"events_per_s": round(events / max(seconds, 1e-9)), "seconds": round(seconds, 3)})
        self._sums = dict.fromkeys(self._sums, 0.0)
        if value > self._best_value:
            self._best_value, self._best_epoch = value, epoch + 1
            checkpoint.save(self._folder / "best", self.model, self._optimizer, self._state(), self._described)
        self._save()
        return True

    def _step(self, examples: Examples) -> LossOutput:
        draw = self._objective.draw(examples.targets, examples.inputs.num_users)
        wanted = self._objective.items(examples.targets, draw)
        query_QD, vectors_UD, places = self.model(examples, wanted)
        output = self._objective.loss(query_QD, vectors_UD, places, examples.targets, draw)
        if not bool(torch.isfinite(output.total)):
            users = examples.inputs.user_index_B[:5].tolist()
            raise TrainingError(
                f"step {self._optimizer.step_number + 1} of epoch {self._loader.epoch + 1}: the loss is "
                f"{output.total.item()} (retrieval {output.retrieval.item()}, rank {output.rank.item()}) on the batch "
                f"of users {users}...; lower the learning rate, or set `clip_norm`"
            )
        output.total.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return output

    def _add(self, output: LossOutput) -> None:
        pairs = output.num_pairs
        self._sums["total"] += output.total.item() * pairs
        self._sums["retrieval"] += output.retrieval.item() * pairs
        self._sums["rank"] += output.rank.item() * pairs
        self._sums["pairs"] += pairs

    def _has_patience_run_out(self) -> bool:
        return self._loader.epoch - self._best_epoch >= self._config.patience

    def _state(self) -> RunState:
        generators = {"torch": torch.get_rng_state()}
        if self._objective.sampler is not None:
            generators["negatives"] = self._objective.sampler.generator.get_state()
        sums = {"sums": self._sums, "best_value": self._best_value, "best_epoch": self._best_epoch}
        return RunState(loader=self._loader.state_dict(), generators=generators, progress=sums)

    def _save(self) -> None:
        checkpoint.save(self._folder / "last", self.model, self._optimizer, self._state(), self._described)

    def _log(self, line: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _trained(self, *, is_interrupted: bool) -> Trained:
        return Trained(
            best_value=self._best_value,
            best_epoch=self._best_epoch,
            epochs=self._loader.epoch,
            is_interrupted=is_interrupted,
        )


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted and asked for between steps; a second one stops at once."""
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:
        # Only the main thread may listen; elsewhere nobody presses Ctrl-C.
        yield lambda: False
        return
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)
