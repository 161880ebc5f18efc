from __future__ import annotations

import torch

from sessionrec.model.session_encoders.pooling import MaxConfig, MaxReluConfig, MeanConfig
from tests.model.helpers import offsets

TOKENS = torch.tensor([[1.0, -4.0], [3.0, -2.0], [-5.0, 6.0]])
"""Sessions of two events and of one."""


def test_mean_is_the_mean_of_each_session() -> None:
    found = MeanConfig().build(2)(TOKENS, offsets([2, 1]), 2)
    assert found.tolist() == [[(1 + 3) / 2, (-4 - 2) / 2], [-5.0, 6.0]]


def test_max_is_elementwise() -> None:
    found = MaxConfig().build(2)(TOKENS, offsets([2, 1]), 2)
    assert found.tolist() == [[3.0, -2.0], [-5.0, 6.0]]


def test_max_relu_has_no_negative_entries() -> None:
    found = MaxReluConfig().build(2)(TOKENS, offsets([2, 1]), 2)
    assert found.tolist() == [[3.0, 0.0], [0.0, 6.0]]


def test_the_gradient_of_the_maximum_reaches_the_largest_event_alone() -> None:
    tokens = TOKENS.clone().requires_grad_()
    torch.autograd.backward(MaxConfig().build(2)(tokens, offsets([2, 1]), 2).sum())
    assert tokens.grad is not None
    assert tokens.grad.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
