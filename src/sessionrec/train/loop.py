"""The loop: batches in, weights moved, numbers out; stops when validation stops rising, and can stop anywhere.

The loop computes no metric and reads no data set: validation is a function handed in, batches are an iterator with a
state. After every epoch it leaves a line in `metrics.jsonl` and a checkpoint to go on from.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from pydantic import Field

from sessionrec.artifacts import DamagedError
from sessionrec.batch import Examples
from sessionrec.config import Config
from sessionrec.data.loader import Loader
from sessionrec.errors import ConfigError, ScoreError, SessionRecError
from sessionrec.losses.objective import LossOutput, Objective
from sessionrec.model.recommender import Recommender
from sessionrec.train import checkpoint, journal
from sessionrec.train.checkpoint import RunState
from sessionrec.train.optim import Optimizer

METRICS = "metrics.jsonl"
"""A line an epoch, in the folder of a run."""


_REMEDY = "train into another folder with a lower `optimizer.learning_rate`"


class TrainingError(SessionRecError):
    """Training cannot go on: the loss, a weight or a score is no number."""


class LoopConfig(Config):
    """How long to train, how to judge it, and on what."""

    epochs: int = Field(default=200, ge=1)
    """Most epochs (paper: 200)."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation value after which to stop."""
    metric: str = "ndcg@100"
    """Validation metric that chooses the epoch, such as `ndcg@10` or `recall@100`. `ndcg@10` of a few thousand users is
    noisy; `ndcg@100` is steadier."""
    seen: Literal["kept", "filtered"] = "kept"
    """What becomes of the user's earlier items in answers to validation questions, `evaluate.EvalProtocol.seen`."""
    checkpoint_steps: int | None = Field(default=None, gt=0)
    """Steps between checkpoints inside an epoch; one is written after each epoch anyway."""
    device: str = "cpu"
    """`cpu`, `cuda` or `cuda:0`."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16` multiplies matrices in bfloat16; weights stay float32. Meant for GPUs and wide models; does not pay at
    width 64 on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a run stands after a step."""

    epoch: int
    """From 1."""
    step: int
    """In this epoch, from 1."""
    num_steps: int | None
    """Steps of an epoch, known once one has ended."""
    loss: float
    """Mean over the epoch so far."""
    events_per_s: float
    """Input events a second, over the epoch so far."""
    best_value: float
    """Best validation value so far, -inf before the first."""


class Monitor(Protocol):
    """Who watches a run: a progress bar, TensorBoard."""

    def step(self, step: Step) -> None:
        """After every step."""
        ...

    def epoch(self, line: Mapping[str, Any]) -> None:
        """After every epoch, the line of `metrics.jsonl`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run came to."""

    best_value: float
    """Highest validation value."""
    best_epoch: int
    """Epoch it was reached after, from 1."""
    epochs: int
    """Epochs run."""
    seconds: float
    """Time of all parts of the run, validation included."""
    is_interrupted: bool
    """Whether the user stopped it; its checkpoint goes on from there."""


class Trainer:
    """One run.

    Args:
        model: Being trained; on `config.device`.
        loader: Training batches.
        objective: Loss, with the stream of negatives.
        optimizer: Moves the weights.
        config: How long.
        validate: Metrics of the model after an epoch; that of `config.metric` decides, higher is better.
        folder: For `last` (a checkpoint), `best` (another) and `metrics.jsonl`.
        described: What checkpoints say of the run; a checkpoint that says otherwise is not resumed.
        monitors: Who watches.
        num_steps: Steps of the first epoch, about, for those who watch.
    """

    def __init__(
        self,
        *,
        model: Recommender,
        loader: Loader,
        objective: Objective,
        optimizer: Optimizer,
        config: LoopConfig,
        validate: Callable[[Recommender], Mapping[str, float]],
        folder: Path,
        described: dict[str, Any],
        monitors: tuple[Monitor, ...] = (),
        num_steps: int | None = None,
    ) -> None:
        self.model, self._loader, self._objective, self._optimizer = model, loader, objective, optimizer
        self._config, self._validate, self._folder, self._described = config, validate, folder, described
        self._monitors, self._device = monitors, torch.device(config.device)
        self._sums = _no_sums()
        self._num_steps = num_steps
        self._seconds, self._started = 0.0, time.perf_counter()
        self._best_value, self._best_epoch = -math.inf, 0

    def resume(self) -> bool:
        """Go on from the last checkpoint, if there is one.

        Raises:
            ArtifactError: It is of another run: another model, data set or setting; or the metrics there are of none.
            ConfigError: It has more epochs than are wanted.
            DamagedError: A file of it cannot be read.
        """
        last = self._folder / "last"
        if not (last / "manifest.json").is_file():
            journal.drop_later(self._folder / METRICS, self._loader.epoch)
            return False
        try:
            self._take(checkpoint.load(last, self.model, self._optimizer, self._described))
        except DamagedError as error:
            raise DamagedError(error.file, error.found, checkpoint.way_on(self._folder)) from None
        except (KeyError, TypeError) as error:
            raise DamagedError(last, f"damaged, state.json: {error!r}", checkpoint.way_on(self._folder)) from None
        if self._loader.epoch > self._config.epochs:
            raise ConfigError(
                f"training.epochs: {self._folder} has been trained for {self._loader.epoch} epochs, got "
                f"{self._config.epochs}; give training.epochs={self._loader.epoch} or more, or train into another "
                "folder"
            )
        journal.drop_later(self._folder / METRICS, self._loader.epoch)
        return True

    def _take(self, state: RunState) -> None:
        """Stand where a run stood."""
        self._loader.load_state_dict(state.loader)
        torch.set_rng_state(state.generators["torch"])
        if "cuda" in state.generators and self._device.type == "cuda":
            torch.cuda.set_rng_state(state.generators["cuda"], self._device)
        self._objective.generator.set_state(state.generators["negatives"])
        self._sums, self._num_steps = dict(state.progress["sums"]), state.progress["num_steps"]
        self._seconds = state.progress["seconds"]
        self._best_value, self._best_epoch = state.progress["best_value"], state.progress["best_epoch"]

    def run(self) -> Trained:
        """Train to the end, or until interrupted; an interrupt leaves a checkpoint.

        Raises:
            TrainingError: The loss, a weight or a score in validation is not a number.
        """
        self._started = time.perf_counter()
        with _interrupts() as is_interrupted:
            while self._loader.epoch < self._config.epochs and not self._has_patience_run_out():
                if not self._epoch(is_interrupted):
                    self._save()
                    return self._trained(is_interrupted=True)
        return self._trained(is_interrupted=False)

    def _epoch(self, is_interrupted: Callable[[], bool]) -> bool:
        """One epoch, or the rest of one; False if interrupted."""
        self.model.train()
        epoch, started, events = self._loader.epoch, time.perf_counter(), 0
        processor = time.process_time()
        for examples in self._loader:
            output = self._step(examples)
            events += examples.inputs.num_events
            self._add(output)
            self._tell(epoch, events / max(time.perf_counter() - started, 1e-9))
            every = self._config.checkpoint_steps
            if is_interrupted():
                return False
            if every is not None and self._optimizer.step_number % every == 0:
                self._save()
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        self._expect_numbers(epoch)
        metrics = self._metrics(epoch)
        value = metrics[self._config.metric]
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "step": self._optimizer.step_number,
            **self._means(),
            "validation": value,
        }
        line |= {"validation_metrics": dict(metrics), "learning_rate": self._optimizer.dense.param_groups[0]["lr"]}
        line |= {"events_per_s": round(events / max(seconds, 1e-9)), "seconds": round(seconds, 3)}
        # Of all threads; where several runs share the cores, time on the clock says little.
        line["processor_seconds"] = round(processor, 3)
        journal.append(self._folder / METRICS, line)
        self._num_steps, self._sums = round(self._sums["steps"]), _no_sums()
        if value > self._best_value:
            self._best_value, self._best_epoch = value, epoch + 1
            checkpoint.save(self._folder / "best", self.model, self._optimizer, self._state(), self._described)
        self._save()
        for monitor in self._monitors:
            monitor.epoch(line)
        return True

    def _step(self, examples: Examples) -> LossOutput:
        examples = self._objective.asked(examples)
        if self._device.type != "cpu":
            examples = Examples(examples.inputs.to(self._device), examples.targets.to(self._device))
        draw = self._objective.draw(examples.targets, examples.inputs.num_users)
        wanted = self._objective.items(examples.targets, draw)
        with self._autocast():
            query_QD, vectors_UD, places = self.model(examples, wanted)
            output = self._objective.loss(query_QD, vectors_UD, places, examples.targets, draw)
        if not bool(torch.isfinite(output.total)):
            users = examples.inputs.user_index_B[:5].tolist()
            raise TrainingError(
                f"step {self._optimizer.step_number + 1} of epoch {self._loader.epoch + 1}: the loss is "
                f"{output.total.item()} (retrieval {output.retrieval.item()}, rank {output.rank.item()}) on the batch "
                f"of users {users}...; {_REMEDY}"
            )
        output.total.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return output

    def _expect_numbers(self, epoch: int) -> None:
        """A last step can overflow what the next loss would have told."""
        for name, weight in self.model.named_parameters():
            if not bool(torch.isfinite(weight).all()):
                raise TrainingError(
                    f"after epoch {epoch + 1} the weight {name!r} has values that are no number; {_REMEDY}"
                )

    def _metrics(self, epoch: int) -> Mapping[str, float]:
        """Of validation; weights that are numbers, but too large, overflow there at the latest."""
        try:
            return self._validate(self.model)
        except ScoreError as error:
            raise TrainingError(
                f"after epoch {epoch + 1}, in validation, scores are no numbers though the weights are; {_REMEDY}"
            ) from error

    def _autocast(self) -> AbstractContextManager[None]:
        if self._config.precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=torch.bfloat16)

    def _tell(self, epoch: int, events_per_s: float) -> None:
        if not self._monitors:
            return
        step = Step(
            epoch=epoch + 1,
            step=round(self._sums["steps"]),
            num_steps=self._num_steps,
            loss=self._means()["total"],
            events_per_s=events_per_s,
            best_value=self._best_value,
        )
        for monitor in self._monitors:
            monitor.step(step)

    def _means(self) -> dict[str, float]:
        pairs = max(self._sums["pairs"], 1.0)
        return {name: self._sums[name] / pairs for name in ("total", "retrieval", "rank")}

    def _add(self, output: LossOutput) -> None:
        pairs = output.num_pairs
        self._sums["total"] += output.total.item() * pairs
        self._sums["retrieval"] += output.retrieval.item() * pairs
        self._sums["rank"] += output.rank.item() * pairs
        self._sums["pairs"] += pairs
        self._sums["steps"] += 1

    def _has_patience_run_out(self) -> bool:
        return self._loader.epoch - self._best_epoch >= self._config.patience

    def _state(self) -> RunState:
        generators = {"torch": torch.get_rng_state()}
        if self._device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self._device)
        generators["negatives"] = self._objective.generator.get_state()
        progress: dict[str, Any] = {"sums": self._sums, "num_steps": self._num_steps}
        progress["seconds"] = self._seconds + time.perf_counter() - self._started
        progress |= {"best_value": self._best_value, "best_epoch": self._best_epoch}
        return RunState(loader=self._loader.state_dict(), generators=generators, progress=progress)

    def _save(self) -> None:
        checkpoint.save(self._folder / "last", self.model, self._optimizer, self._state(), self._described)

    def _trained(self, *, is_interrupted: bool) -> Trained:
        return Trained(
            best_value=self._best_value,
            best_epoch=self._best_epoch,
            epochs=self._loader.epoch,
            seconds=self._seconds + time.perf_counter() - self._started,
            is_interrupted=is_interrupted,
        )


def _no_sums() -> dict[str, float]:
    return {"total": 0.0, "retrieval": 0.0, "rank": 0.0, "pairs": 0.0, "steps": 0.0}


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
