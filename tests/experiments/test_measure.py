"""What is measured of a system, beside sums that can be done by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.config import parse
from sessionrec.experiments import measure
from sessionrec.experiments.measure import Counter, epochs_of, flops_per_user
from sessionrec.pipeline import DataConfig, prepare
from sessionrec.pipeline.training import fitting, load_fit_config
from sessionrec.recommend.artifact import catalogue_of

B, H, L, K, N = 3, 2, 10, 8, 6


def filled(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape) / 100


class _Doubled(torch.autograd.Function):
    """A product inside an operation of our own."""

    @staticmethod
    def forward(_: Any, left: Tensor, right: Tensor) -> Tensor:
        return torch.bmm(left, right)


PRODUCTS: dict[str, tuple[Callable[[], object], int]] = {
    "mm": (lambda: filled(L, K) @ filled(K, N), 2 * L * K * N),
    "linear": (lambda: F.linear(filled(L, K), filled(N, K), filled(N)), 2 * L * K * N),
    "bmm": (lambda: torch.bmm(filled(B, L, K), filled(B, K, N)), 2 * B * L * K * N),
    "bmm into": (
        lambda: torch.bmm(filled(B, L, K), filled(B, K, N), out=torch.empty(B, L, N)),
        2 * B * L * K * N,
    ),
    "baddbmm": (lambda: torch.baddbmm(filled(B, L, N), filled(B, L, K), filled(B, K, N)), 2 * B * L * K * N),
    "baddbmm in place": (lambda: filled(B, L, N).baddbmm_(filled(B, L, K), filled(B, K, N)), 2 * B * L * K * N),
    "attention": (
        lambda: F.scaled_dot_product_attention(filled(B, H, L, K), filled(B, H, L, K), filled(B, H, L, K)),
        # Scores, and what they weigh.
        2 * 2 * B * H * L * L * K,
    ),
    "gru": (
        lambda: nn.GRU(K, K, batch_first=True)(filled(B, L, K)),
        # Three gates of the input and three of the state.
        2 * B * L * (3 * K * K + 3 * K * K),
    ),
    "own function": (lambda: _Doubled.apply(filled(B, L, K), filled(B, K, N)), 2 * B * L * K * N),  # type: ignore[no-untyped-call]
    "sums and look-ups": (lambda: filled(L, K).relu().sum() + filled(L, K)[torch.tensor([0, 1])].mean(), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("has_gradients", [False, True])
def test_a_multiplication_and_an_addition_are_each_one_operation(name: str, has_gradients: bool) -> None:
    do, wanted = PRODUCTS[name]
    counter = Counter()
    with torch.inference_mode(not has_gradients), counter:
        do()
    assert counter.total == wanted


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tree = {"log": {"kind": "planted", "num_users": 30, "num_groups": 6, "group_size": 3, "sessions_per_user": 5,
                    "exposures_per_session": 2}, "session": {"kind": "native"}}  # fmt: skip
    return prepare(parse(DataConfig, tree, "test"), tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("layers", [1, 3])
def test_operations_of_hstu_are_those_of_its_layers(world: Any, layers: int) -> None:
    width, sessions = 16, 4
    fields = [f"model.width={width}", f"model.backbone.layers={layers}", "model.backbone.heads=2"]
    counts = []
    for more in (fields, [*fields, f"model.backbone.layers={layers + 1}"]):
        config = fitting(load_fit_config(None, None, more), world)
        model = config.model.build(catalogue_of(world))
        counts.append(flops_per_user(model, world, config.view, users=5))
        assert model.training
        assert all(weights.requires_grad for weights in model.parameters())
    # Of the test session the four before are the history: gate, value, query, key; scores and sums; the output.
    one_layer = sessions * width * 4 * width + 2 * sessions * sessions * width + sessions * width * width
    assert counts[1] - counts[0] == 2 * one_layer


def test_a_mean_is_of_the_users_asked(world: Any) -> None:
    config = fitting(load_fit_config(None, None, ["model.width=16"]), world)
    model = config.model.build(catalogue_of(world))
    # All have histories of one length, so a mean over any of them is the same but for items that come twice.
    few, many = (flops_per_user(model, world, config.view, users=users) for users in (1, 4))
    assert few == pytest.approx(many, rel=0.05)


def test_epochs_are_told_by_their_medians(tmp_path: Path) -> None:
    lines = [{"seconds": seconds, "events_per_s": 100, "processor_seconds": seconds} for seconds in (1.0, 9.0, 2.0)]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    found = epochs_of(file)
    assert (found["seconds_per_epoch"], found["events_per_epoch"]) == (2.0, 200)


def test_a_process_holds_some_memory() -> None:
    assert 50 << 20 < measure.peak_bytes() < 64 << 30
