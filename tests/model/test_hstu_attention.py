"""Attention by hand, in blocks, against plain operations on padded blocks; worked loops are in `test_hstu`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sessionrec.model import hstu_attention
from sessionrec.model.attention import NUM_TIME_BUCKETS
from sessionrec.model.backbones.hstu import Hstu, HstuConfig
from sessionrec.model.hstu_attention import gated_attention, plan
from sessionrec.model.sequence import SessionSequence, sequence_of
from tests.model.helpers import User, a_user, batch_of, shake

WIDTH, HEADS, LONGEST = 6, 2, 40
LENGTHS = {"one": [5], "many": [3, 9, 1, 7, 7, 2], "ones": [1, 1, 1], "long": [40, 2, 33]}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"time_bias": "same"},
    {"time_bias": "none"},
    {"position_bias": False},
    {"time_bias": "none", "position_bias": False},
]


def sequence_for(lengths: list[int]) -> SessionSequence:
    users = [a_user(seed, length) for seed, length in enumerate(lengths)]
    users.insert(1, User(visits=(), request_ms=1))
    return sequence_of(*batch_of(users))


def a_stack(**settings: Any) -> Hstu:
    module = HstuConfig(layers=2, heads=HEADS, **settings).build(WIDTH, LONGEST, 0.0)
    assert isinstance(module, Hstu)
    shake(module)
    return module.double()


def run(module: Hstu, sequence: SessionSequence, monkeypatch: pytest.MonkeyPatch, *, is_plain: bool) -> list[Tensor]:
    """States and gradients."""
    with monkeypatch.context() as patch:
        if is_plain:
            patch.setattr("sessionrec.model.backbones.hstu.is_fast_here", lambda _: False)
        generator = torch.Generator().manual_seed(3)
        x_SD = torch.randn(len(sequence.user_S), WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
        states = module(x_SD, sequence)
        wanted = [x_SD, *module.parameters()]
        grads = torch.autograd.grad(states.sin().sum(), wanted)
    return [states, *grads]


@pytest.mark.parametrize("cells", [1, 60, 1 << 16])
@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_any_blocks_equal_the_plain_way(
    lengths: list[int], rows: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hstu_attention, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(hstu_attention, "_BLOCK_CELLS", cells)
    module = a_stack()
    fast = run(module, sequence_for(lengths), monkeypatch, is_plain=False)
    plain = run(module, sequence_for(lengths), monkeypatch, is_plain=True)
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_any_bias_equals_the_plain_way(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    module = a_stack(**settings)
    fast = run(module, sequence_for(LENGTHS["many"]), monkeypatch, is_plain=False)
    plain = run(module, sequence_for(LENGTHS["many"]), monkeypatch, is_plain=True)
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rows", [2, 64])
def test_the_gradient_is_that_of_the_function(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hstu_attention, "_BLOCK_ROWS", rows)
    sequence = sequence_for([4, 1, 3])
    cut = plan(sequence, heads=HEADS, max_sessions=LONGEST, divisor=LONGEST, time_bias="next")
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(8, 4 * WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    position = torch.randn(2 * LONGEST - 1, dtype=torch.float64, generator=generator).requires_grad_()
    time = torch.randn(NUM_TIME_BUCKETS, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, p, t: gated_attention(m, p, t, cut), (mixed, position, time))


def test_a_second_backward_gives_the_same() -> None:
    """Blocks kept for the gradient are not written to."""
    module, sequence = a_stack(), sequence_for(LENGTHS["many"])
    x_SD = torch.randn(len(sequence.user_S), WIDTH, dtype=torch.float64).requires_grad_()
    loss = module(x_SD, sequence).sin().sum()
    first = torch.autograd.grad(loss, x_SD, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(loss, x_SD)[0])


def test_huge_scores_do_not_leak_through_the_mask() -> None:
    module, sequence = a_stack(), sequence_for([5, 3])
    cut = plan(sequence, heads=HEADS, max_sessions=LONGEST, divisor=LONGEST, time_bias="next")
    mixed = (torch.randn(8, 4 * WIDTH, generator=torch.Generator().manual_seed(0)) * 1e6).requires_grad_()
    layer = module.float().layers[0]
    _, attended = gated_attention(mixed, layer.position, layer.time, cut)  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(attended[[0, 5]].sum(), mixed)
    assert torch.isfinite(attended).all()
    assert not grad[[1, 2, 3, 4, 6, 7]].any() and grad[[0, 5]].any()


def test_nobody_has_no_states() -> None:
    module = a_stack()
    sequence = sequence_of(*batch_of([User(visits=(), request_ms=1)] * 2))
    assert module(torch.zeros(0, WIDTH, dtype=torch.float64), sequence).shape == (0, WIDTH)
