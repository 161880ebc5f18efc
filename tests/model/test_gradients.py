"""Gradients of the blocks against differences of the NumPy computation: two ways to one number, no code shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sessionrec.model import hstu_attention
from sessionrec.model.backbones.gru import GruConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.backbones.sasrec import SasRecConfig
from sessionrec.model.sequence import sequence_of
from tests.model import reference
from tests.model.helpers import User, a_user, batch_of, shake

WIDTH, LONGEST, STEP = 8, 6, 1e-6
USERS = [a_user(1, 5), a_user(3, 2)]

Array = npt.NDArray[np.float64]
Forward = Callable[[Array, dict[str, Array], User], Array]


def hstu(x: Array, weights: dict[str, Array], user: User) -> Array:
    return reference.hstu(
        x,
        weights,
        layers=2,
        heads=2,
        longest=LONGEST,
        time_ms=[visit.time_ms for visit in user.visits],
        request_ms=user.request_ms,
    )


def sasrec(x: Array, weights: dict[str, Array], user: User) -> Array:
    return reference.sasrec(x, weights, layers=2, heads=2)


def gru(x: Array, weights: dict[str, Array], user: User) -> Array:
    return reference.gru(x, weights, layers=2)


BLOCKS: dict[str, tuple[Any, Forward]] = {
    "hstu": (HstuConfig(layers=2, heads=2), hstu),
    "sasrec": (SasRecConfig(layers=2, heads=2), sasrec),
    "gru": (GruConfig(layers=2), gru),
}


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_gradients_equal_differences(name: str) -> None:
    compare(name)


@pytest.mark.parametrize(("rows", "cells"), [(2, 1), (2, 1 << 16), (64, 1)], ids=["both", "rows", "users"])
def test_gradients_equal_differences_over_several_blocks(
    rows: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By themselves users of five and two sessions are one block.
    monkeypatch.setattr(hstu_attention, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(hstu_attention, "_BLOCK_CELLS", cells)
    batch, request = batch_of(USERS)
    cut = hstu_attention.plan(sequence_of(batch, request), heads=2, max_sessions=LONGEST, divisor=1, time_bias="next")
    assert sum(len(chunk.slices) for chunk in cut.chunks) > 1
    compare("hstu")


def compare(name: str) -> None:
    """Gradients of a block with differences of the computation that stands for it."""
    config, forward = BLOCKS[name]
    module = config.build(WIDTH, LONGEST, 0.2).double().eval()
    shake(module)
    batch, request = batch_of(USERS)
    generator = torch.Generator().manual_seed(5)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=generator, requires_grad=True)
    weight_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=generator)
    torch.autograd.backward((module(x_SD, sequence_of(batch, request)) * weight_SD).sum())

    numbers = {key: value.detach().numpy().copy() for key, value in module.state_dict().items()}
    numbers["x"] = x_SD.detach().numpy().copy()
    found = {key: parameter.grad for key, parameter in module.named_parameters()} | {"x": x_SD.grad}
    assert set(found) == set(numbers)

    def loss() -> float:
        total, begin = 0.0, 0
        for user in USERS:
            end = begin + len(user.visits)
            out = forward(numbers["x"][begin:end], numbers, user)
            total += float((out * weight_SD[begin:end].numpy()).sum())
            begin = end
        return total

    random = np.random.default_rng(0)
    for key, gradient in found.items():
        assert gradient is not None
        values = numbers[key].reshape(-1)
        # All places where there is a gradient would take minutes; of each tensor a dozen, the largest among them.
        flat = gradient.numpy().reshape(-1)
        places = {int(np.abs(flat).argmax()), *random.integers(0, len(flat), 12).tolist()}
        for place in places:
            before = values[place]
            values[place] = before + STEP
            above = loss()
            values[place] = before - STEP
            below = loss()
            values[place] = before
            slope = (above - below) / (2 * STEP)
            assert abs(slope - flat[place]) < 1e-6 * max(1.0, abs(slope)), (key, place)
        assert np.abs(flat).max() > 1e-6, key
