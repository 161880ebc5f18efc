"""The item-level twin: where every session has one event, next-item prediction *is* next-session prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sessionrec import pipeline
from sessionrec.artifacts import read_manifest
from sessionrec.data.dataset import Dataset
from sessionrec.logs import PlantedConfig
from sessionrec.pipeline import DataConfig, EvaluationConfig
from sessionrec.sessions.rule import NativeRule

BACKBONES = ["hstu", "transformer", "gru", "sasrec", "bert4rec"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = PlantedConfig(num_users=60, num_groups=12, group_size=1, sessions_per_user=9, exposures_per_session=0)
    return pipeline.prepare(DataConfig(log=log, session=NativeRule()), tmp_path_factory.mktemp("twin") / "data")


def trained(dataset: Dataset, out: Path, fields: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    usual = ["training.epochs=2", "training.metric=ndcg@10", "model.width=8", "loading.batch_users=16", "threads=1"]
    pipeline.fit(dataset, out, pipeline.load_fit_config(None, None, [*usual, *fields]))
    weights = load_file(
        out / "model" / read_manifest(out / "model", kind="model", format=1).content / "weights.safetensors"
    )
    found = pipeline.evaluate(out, dataset, EvaluationConfig(floors=(), num_examples=0))
    return weights, dict(found.model.metrics)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_with_one_event_a_session_both_train_to_the_same_bits(dataset: Dataset, tmp_path: Path, backbone: Any) -> None:
    fields = [f"model.backbone.kind={backbone}", "model.backbone.layers=2"]
    by_session = trained(dataset, tmp_path / "session", [*fields, "view.unit=session"])
    by_event = trained(dataset, tmp_path / "event", [*fields, "view.unit=event"])
    assert by_session[0].keys() == by_event[0].keys()
    assert all(torch.equal(weight, by_event[0][name]) for name, weight in by_session[0].items())
    assert by_session[1] == by_event[1]


def test_with_several_events_a_session_they_differ(tmp_path: Path) -> None:
    """So the test above can fail."""
    log = PlantedConfig(num_users=60, num_groups=12, group_size=2, sessions_per_user=9, exposures_per_session=0)
    dataset = pipeline.prepare(DataConfig(log=log, session=NativeRule()), tmp_path / "data")
    one, _ = trained(dataset, tmp_path / "session", ["view.unit=session"])
    other, _ = trained(dataset, tmp_path / "event", ["view.unit=event"])
    assert not torch.equal(one["items.weight"], other["items.weight"])
