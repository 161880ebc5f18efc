"""The training loop on a log whose right answer is known."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.errors import ArtifactError
from sessionrec.logs import PlantedConfig
from sessionrec.losses.objective import Objective, ObjectiveConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.config import Catalogue, ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.pipeline import DataConfig, prepare
from sessionrec.sessions.rule import NativeRule
from sessionrec.train import checkpoint
from sessionrec.train.loop import LoopConfig, Monitor, Step, Trainer, TrainingError
from sessionrec.train.optim import OptimConfig, Optimizer

# On a busy machine a second thread spins and waits for the first.
torch.set_num_threads(1)

MODEL = ModelConfig(width=16, backbone=HstuConfig(layers=1, heads=1), max_sessions=16, dropout=0.1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = PlantedConfig(num_users=100, num_groups=8, group_size=3, sessions_per_user=8, exposures_per_session=2)
    return prepare(DataConfig(log=log, session=NativeRule()), tmp_path_factory.mktemp("planted") / "data")


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = PlantedConfig(
        num_users=100, num_groups=8, group_size=3, sessions_per_user=8, exposures_per_session=2, shuffled=True
    )
    return prepare(DataConfig(log=log, session=NativeRule()), tmp_path_factory.mktemp("shuffled") / "data")


def recall(model: Recommender, dataset: Dataset, k: int = 3) -> float:
    """Share of the validation targets among the k best; a session of the planted log has three."""
    model.eval()
    vectors = model.item_vectors()[1:]
    hits = total = 0
    examples: Examples
    for examples in Loader(dataset, View(part="validation"), Loading(shuffle=False, prefetch=0), seed=0):
        with torch.no_grad():
            queries, _, _ = model(examples)
        best = (queries @ vectors.T).topk(k).indices + 1
        for place in range(len(queries)):
            wanted = examples.targets.positives.row(place)
            hits += int(torch.isin(best[place], wanted).sum())
            total += len(wanted)
    return hits / total


class StopAfter:
    """Presses Ctrl-C after so many steps of the run."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self, step: Step) -> None:
        assert step.step >= 1 and step.loss > 0
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, line: Mapping[str, Any]) -> None:
        assert line["validation"] >= 0


def trainer(
    dataset: Dataset,
    folder: Path,
    *,
    epochs: int,
    learning_rate: float = 1e-2,
    every: int | None = None,
    monitors: tuple[Monitor, ...] = (),
) -> Trainer:
    torch.manual_seed(5)
    known = Catalogue(
        num_items=dataset.num_items,
        num_actions=len(dataset.actions),
        context_features={},
        item_features={},
        codes_VF=torch.zeros(dataset.num_items + 1, 0, dtype=torch.int32),
    )
    model = MODEL.build(known)
    events = torch.from_numpy(dataset.items["train_events"].to_numpy()[: dataset.num_candidates].astype(np.int64))
    return Trainer(
        model=model,
        loader=Loader(dataset, View(), Loading(batch_users=16), seed=3),
        objective=Objective(ObjectiveConfig(), events, torch.Generator().manual_seed(7)),
        optimizer=Optimizer(model, [model.items.weight], OptimConfig(learning_rate=learning_rate)),
        config=LoopConfig(epochs=epochs, patience=epochs, checkpoint_steps=every),
        validate=lambda trained: {"ndcg@100": recall(trained, dataset)},
        folder=folder,
        described={"what": "test", "rate": learning_rate},
        monitors=monitors,
    )


def test_planted_structure_is_learnt(planted: Dataset, tmp_path: Path) -> None:
    trained = trainer(planted, tmp_path, epochs=12).run()
    assert trained.best_value > 0.95
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["total"] < lines[0]["total"] / 2


def test_where_there_is_no_structure_none_is_found(shuffled: Dataset, tmp_path: Path) -> None:
    # Three of 24 items drawn blindly hold one eighth of the targets.
    assert trainer(shuffled, tmp_path, epochs=8).run().best_value < 0.3


@pytest.mark.parametrize("stop_after", [1, 7, 14, 20])
def test_a_run_stopped_and_resumed_ends_with_the_same_bits(planted: Dataset, tmp_path: Path, stop_after: int) -> None:
    whole = trainer(planted, tmp_path / "whole", epochs=3)
    unbroken = whole.run()

    first = trainer(planted, tmp_path / "cut", epochs=3, monitors=(StopAfter(stop_after),))
    assert first.run().is_interrupted
    second = trainer(planted, tmp_path / "cut", epochs=3)
    torch.manual_seed(99)  # a new process begins with another stream
    assert second.resume()
    resumed = second.run()
    assert (resumed.best_value, resumed.best_epoch) == (unbroken.best_value, unbroken.best_epoch)
    assert (resumed.epochs, resumed.is_interrupted) == (3, False)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name


def test_a_checkpoint_of_another_catalogue_is_refused(planted: Dataset, tmp_path: Path) -> None:
    run = trainer(planted, tmp_path, epochs=1)
    run.run()
    other = MODEL.build(
        Catalogue(
            num_items=planted.num_items + 1,
            num_actions=0,
            context_features={},
            item_features={},
            codes_VF=torch.zeros(planted.num_items + 2, 0, dtype=torch.int32),
        )
    )
    with pytest.raises(ArtifactError, match="another model or another catalogue"):
        checkpoint.load(tmp_path / "last", other, Optimizer(other, [other.items.weight], OptimConfig()))


def test_a_loss_that_is_no_number_stops_with_step_and_parts(planted: Dataset, tmp_path: Path) -> None:
    run = trainer(planted, tmp_path, epochs=1)
    with torch.no_grad():
        run.model.items.weight[1] = float("nan")
    with pytest.raises(TrainingError, match=r"step 1 of epoch 1: the loss is nan \(retrieval nan"):
        run.run()


def test_without_a_checkpoint_there_is_nothing_to_resume(planted: Dataset, tmp_path: Path) -> None:
    assert not trainer(planted, tmp_path / "nowhere", epochs=1).resume()


def test_a_run_with_other_settings_is_not_resumed(planted: Dataset, tmp_path: Path) -> None:
    trainer(planted, tmp_path, epochs=1).run()
    with pytest.raises(ArtifactError, match=r"another run: rate is 0\.01 there and 0\.1 here"):
        trainer(planted, tmp_path, epochs=1, learning_rate=0.1).resume()


def test_an_epoch_that_is_run_again_has_one_line(planted: Dataset, tmp_path: Path) -> None:
    # Killed after the line of its third epoch, before the checkpoint: one line too many, and half of another.
    trainer(planted, tmp_path, epochs=2).run()
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"epoch": 3, "validation": 0.5}\n{"epoch": 4, "val')
    again = trainer(planted, tmp_path, epochs=3)
    assert again.resume()
    again.run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2]["total"] < lines[0]["total"]


def test_weights_that_overflow_on_the_last_step_are_told_before_they_are_validated(
    planted: Dataset, tmp_path: Path
) -> None:
    run = trainer(planted, tmp_path, epochs=1, learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"no number|the loss is"):
        run.run()


def test_a_mistake_in_validation_is_not_put_down_to_the_learning_rate(planted: Dataset, tmp_path: Path) -> None:
    def fails(_: Recommender) -> dict[str, float]:
        raise ValueError("another mistake")

    run = trainer(planted, tmp_path, epochs=1)
    run._validate = fails
    with pytest.raises(ValueError, match="another mistake"):
        run.run()
