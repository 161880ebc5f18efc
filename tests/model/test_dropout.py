from __future__ import annotations

import math

import pytest
import torch

from sessionrec.model.dropout import Dropout, dropout, keep_mask


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.003, 0.999])
def test_so_many_are_dropped_and_the_mean_is_kept(rate: float) -> None:
    torch.manual_seed(0)
    size = 400_000
    mask = keep_mask(torch.empty(size), rate)
    kept = mask != 0
    error = math.sqrt(rate * (1 - rate) / size)
    assert abs(1 - float(kept.double().mean()) - rate) < 4 * error + 1 / 65536
    (scale,) = set(mask[kept].tolist())
    assert scale == pytest.approx(1 / (1 - rate), rel=0.01 if rate > 0.9 else 1e-4)


def test_neighbours_share_a_random_word_and_are_independent() -> None:
    """Four decisions come of one 64-bit word; were its sign bit never set, every fourth would be another."""
    torch.manual_seed(0)
    kept = (keep_mask(torch.empty(400_000), 0.4) != 0).double().view(-1, 4)
    assert ((kept.mean(0) - 0.6).abs() < 0.008).all()
    assert (torch.corrcoef(kept.T) - torch.eye(4)).abs().max() < 0.015


def test_the_gradient_passes_where_the_number_did() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    out = dropout(x, 0.3, True)
    (grad,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(out, x * grad, rtol=0, atol=1e-12)
    assert 0 < int((grad == 0).sum()) < x.numel()


def test_same_seed_same_mask_and_the_global_stream_moves() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks += [keep_mask(torch.empty(3, 3), 0.5), keep_mask(torch.empty(3, 3), 0.5)]
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[4])


def test_nothing_is_dropped_outside_training_or_at_rate_zero() -> None:
    x = torch.randn(4, 4)
    assert dropout(x, 0.5, False) is x and dropout(x, 0.0, True) is x
    assert Dropout(0.5).eval()(x) is x
    assert not torch.equal(Dropout(0.5)(x), x)
