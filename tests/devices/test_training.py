"""A model trained elsewhere than on the host is the same model.

Dropout is off: masks are drawn in another order where other kernels draw them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import fit, load_fit_config
from sessionrec.pipeline.training import FitConfig, presets
from tests.devices.conftest import there
from tests.devices.elsewhere import ELSEWHERE
from tests.shop import PRIOR, SMALL, train_shop

UNSETTLED = {"candidates.mlp.2.bias"}
"""Weights that a softmax over dot products leaves open: they add the same to every item of a question, and their
gradient is what rounding leaves."""
VARIANTS = {
    "max": ["model.session_encoder.kind=max"],
    "max with ReLU": ["model.session_encoder.kind=max_relu"],
    "GRU encoder": ["model.session_encoder.kind=gru", "model.session_encoder.layers=2"],
    "Transformer encoder": ["model.session_encoder.kind=transformer", "model.session_encoder.heads=2"],
    "no rank loss": ["objective.alpha=0"],
    "full cross-entropy": ["objective.retrieval.kind=full"],
    "BCE": ["objective.retrieval.kind=bce", "objective.retrieval.negatives.kind=popular"],
    "gBCE": ["objective.retrieval.kind=gbce"],
    "popular negatives": ["objective.retrieval.negatives.kind=popular"],
    "a question's own negatives": ["objective.retrieval.negatives.shared=question"],
    "the batch's negatives": ["objective.retrieval.negatives.shared=batch"],
    "cosine": ["model.score=cosine"],
    "a GRU": ["model.backbone.kind=gru"],
    "a start": ["model.start_token=true", "view.ask_first=true"],
    "dense tables, clipped": ["model.sparse_tables=false", "optimizer.clip_norm=0.1"],
    "no bias": ["model.backbone.time_bias=none", "model.backbone.position_bias=false"],
    "single events": ["view.unit=event"],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return train_shop(tmp_path_factory.mktemp("shop"), "training.epochs=1")[0]


def same(shop: Dataset, tmp_path: Path, device: str, config: FitConfig) -> None:
    """Trained here and there: losses and validation of every epoch, and weights."""
    lines, weights = [], []
    for place in ("cpu", device):
        training = config.training.model_copy(update={"device": place})
        out = tmp_path / place.partition(":")[0]
        with there(place):
            fit(shop, out, config.model_copy(update={"training": training}))
        lines.append([json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()])
        weights.append(weights_of(out))
    for wanted, found in zip(*lines, strict=True):
        for name in ("total", "retrieval", "rank"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-6)
        if device == ELSEWHERE:
            # The sums of a GPU are others in the last digit, and so can be the order of two items.
            assert found["validation_metrics"] == pytest.approx(wanted["validation_metrics"], abs=1e-6)
    for name in weights[0].keys() - UNSETTLED:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=1e-2, atol=1e-2)


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (file,) = run.glob("model/files-*/weights.safetensors")
    return load_file(file)


@pytest.mark.parametrize("preset", presets())
def test_every_preset_trains_elsewhere_as_on_the_host(shop: Dataset, tmp_path: Path, device: str, preset: str) -> None:
    overrides = ["model.width=16", "model.dropout=0", "loading.batch_users=16", "training.epochs=1", "threads=1"]
    # Fitted on the host to scores from elsewhere; hidden layers take thousands of steps and are the host's alone.
    prior = [*PRIOR, "prior.hidden=0"] if load_fit_config(preset).prior else []
    same(shop, tmp_path, device, load_fit_config(preset, None, [*overrides, "optimizer.learning_rate=0.01", *prior]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_trains_elsewhere_as_on_the_host(shop: Dataset, tmp_path: Path, device: str, variant: str) -> None:
    same(shop, tmp_path, device, load_fit_config(None, None, [*SMALL, "training.epochs=1", *VARIANTS[variant]]))


def test_a_run_goes_on_elsewhere_as_if_it_had_not_stopped(shop: Dataset, tmp_path: Path, device: str) -> None:
    settings = [*SMALL, "model.dropout=0", f"training.device={device}", "training.patience=9"]
    with there(device):
        fit(shop, tmp_path / "whole", load_fit_config(None, None, [*settings, "training.epochs=3"]))
        fit(shop, tmp_path / "parts", load_fit_config(None, None, [*settings, "training.epochs=1"]))
        fit(shop, tmp_path / "parts", load_fit_config(None, None, [*settings, "training.epochs=3"]))
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    for name in whole.keys() - UNSETTLED:
        close = 0.0 if device == ELSEWHERE else 1e-2
        torch.testing.assert_close(parts[name], whole[name], rtol=close, atol=close)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_half_precision_learns_on_a_gpu_what_full_precision_does(shop: Dataset, tmp_path: Path) -> None:
    values = []
    for precision in ("float32", "bf16"):
        settings = [*SMALL, "training.epochs=12", "training.device=cuda", f"training.precision={precision}"]
        values.append(fit(shop, tmp_path / precision, load_fit_config(None, None, settings)).best_value)
    assert min(values) > 0.8
