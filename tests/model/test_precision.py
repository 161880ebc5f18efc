"""Model and loss in mixed precision: every type fits, and the numbers are near those of single precision."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from sessionrec.losses.objective import Bce, FullCrossEntropy, Gbce, Objective, ObjectiveConfig, SampledCrossEntropy
from sessionrec.losses.samplers import Popular, Uniform
from sessionrec.model.backbones import BackboneConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.model.session_encoders import SessionEncoderConfig
from sessionrec.train.optim import OptimConfig, Optimizer
from tests.model.helpers import NUM_ITEMS, a_user, catalogue, examples_of, shake

EXAMPLES = examples_of([a_user(1, 9), a_user(2, 1), a_user(3, 5)])
BACKBONES = [config(layers=2) for config in get_args(get_args(BackboneConfig)[0]) if config.is_causal]
ENCODERS = [config() for config in get_args(get_args(SessionEncoderConfig)[0])]
LOSSES: list[Any] = [
    SampledCrossEntropy(negatives=Uniform(number=8)),
    SampledCrossEntropy(negatives=Popular(number=8, shared="batch")),
    FullCrossEntropy(),
    Bce(),
    Gbce(negatives=Popular(number=8)),
]


def a_model(**settings: Any) -> Recommender:
    model = ModelConfig(**{"width": 8, "max_sessions": 16, "dropout": 0.0, **settings}).build(catalogue()).train()
    shake(model, std=0.2)
    return model


def losses(model: Recommender, retrieval: Any, *, is_mixed: bool) -> list[float]:
    objective = Objective(
        ObjectiveConfig(retrieval=retrieval), torch.arange(1, NUM_ITEMS + 1), torch.Generator().manual_seed(0)
    )
    optimizer = Optimizer(model, [], OptimConfig())
    found = []
    for _ in range(2):
        draw = objective.draw(EXAMPLES.targets, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_mixed):
            query_QD, vectors_UD, places = model(EXAMPLES, objective.items(EXAMPLES.targets, draw))
            output = objective.loss(query_QD, vectors_UD, places, EXAMPLES.targets, draw)
        output.total.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is None or torch.isfinite(p.grad.to_dense()).all() for p in model.parameters())
        assert all(p.grad is None or p.grad.dtype == p.dtype for p in model.parameters())
        optimizer.step()
        found.append(float(output.total.detach()))
    return found


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda part: part.kind)
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda part: part.kind)
def test_every_part_trains_under_autocast(backbone: Any, encoder: Any) -> None:
    single, mixed = (
        losses(a_model(backbone=backbone, session_encoder=encoder), LOSSES[0], is_mixed=is_mixed)
        for is_mixed in (False, True)
    )
    assert mixed == pytest.approx(single, rel=0.05)


@pytest.mark.parametrize("score", ["dot", "cosine"])
@pytest.mark.parametrize("retrieval", LOSSES, ids=lambda part: part.kind)
def test_every_loss_trains_under_autocast(retrieval: Any, score: str) -> None:
    settings = {"score": score, "temperature": 0.5}
    single, mixed = (losses(a_model(**settings), retrieval, is_mixed=is_mixed) for is_mixed in (False, True))
    assert mixed == pytest.approx(single, rel=0.05)


@pytest.mark.parametrize("settings", [{"has_features": False}, {"has_features": False, "has_action": False}], ids=str)
def test_every_token_trains_under_autocast(settings: dict[str, Any]) -> None:
    single, mixed = (losses(a_model(**settings), LOSSES[0], is_mixed=is_mixed) for is_mixed in (False, True))
    assert mixed == pytest.approx(single, rel=0.05)
