from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sessionrec.model.attention import lookup, silu_attention, softmax_attention, time_buckets


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [
        (0.0, 0),
        (0.5, 0),  # below a second counts as one: ln 1 = 0
        (1.0, 0),
        (1.3, 0),  # ln 1.3 = 0.262 < 0.301
        (1.36, 1),  # ln 1.36 = 0.307
        (2.0, 2),  # ln 2 = 0.693 = 2.30 * 0.301
        (60.0, 13),  # ln 60 = 4.094 = 13.60 * 0.301
        (3600.0, 27),  # ln 3600 = 8.189 = 27.2 * 0.301
        (86_400.0, 37),  # ln 86400 = 11.367 = 37.76 * 0.301
        (31_536_000.0, 57),  # ln 3.1536e7 = 17.267 = 57.4 * 0.301
        (4e15, 119),  # about the largest int64 milliseconds: ln 4e15 = 35.925 = 119.4 * 0.301
    ],
)
def test_time_buckets_are_logarithmic_in_seconds_of_either_sign(seconds: float, bucket: int) -> None:
    earlier, later = torch.tensor([7]), torch.tensor([7 + int(seconds * 1000)])
    assert time_buckets(later, earlier).tolist() == [bucket]
    assert time_buckets(earlier, later).tolist() == [bucket]


def test_time_buckets_equal_the_formula() -> None:
    gaps_ms = torch.randint(0, 10**11, (500,), generator=torch.Generator().manual_seed(0))
    expected = [math.floor(math.log(max(1.0, gap / 1000)) / 0.301) for gap in gaps_ms.tolist()]
    assert time_buckets(gaps_ms, torch.zeros_like(gaps_ms)).tolist() == expected


@pytest.mark.parametrize("shape", [(40,), (3, 5, 5), (0,), (1, 0, 0)])
def test_lookup_equals_indexing_with_its_gradient(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, 7, shape, generator=generator)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    table = torch.randn(9, dtype=torch.float64, generator=generator)
    fast, plain = table.clone().requires_grad_(), table.clone().requires_grad_()
    found, expected = lookup(fast, index), plain[index]
    assert torch.equal(found, expected)
    torch.autograd.backward((found * weight).sum())
    torch.autograd.backward((expected * weight).sum())
    assert fast.grad is not None and plain.grad is not None
    torch.testing.assert_close(fast.grad, plain.grad, rtol=0, atol=1e-12)
    # A gradient keeps the type of its table.
    single = table.float().requires_grad_()
    torch.autograd.backward(lookup(single, index).sum())
    assert single.grad is not None and single.grad.dtype == torch.float32


def test_silu_attention_equals_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 4, 3, dtype=torch.float64, generator=generator)
    bias = torch.randn(2, 4, 4, dtype=torch.float64, generator=generator)
    mask = torch.ones(2, 4, 4, dtype=torch.float64).tril() / 10
    found = silu_attention(q, k, v, bias, mask)
    for user in range(2):
        for head in range(2):
            for i in range(4):
                scores = [float(q[user, head, i] @ k[user, head, j] + bias[user, i, j]) for j in range(i + 1)]
                rows = [s / (1 + math.exp(-s)) / 10 * v[user, head, j] for j, s in enumerate(scores)]
                torch.testing.assert_close(found[user, head, i], torch.stack(rows).sum(0), rtol=0, atol=1e-12)


def test_softmax_attention_equals_a_softmax_over_what_may_be_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 1, 4, 3, dtype=torch.float64, generator=generator)
    causal = torch.ones(1, 4, 4, dtype=torch.bool).tril()
    causal[:, 3] = False
    causal[:, :, 3] = False
    found = softmax_attention(q, k, v, causal)
    for i in range(3):
        weights = F.softmax(q[0, 0, i] @ k[0, 0, : i + 1].T / math.sqrt(3), dim=0)
        torch.testing.assert_close(found[0, 0, i], weights @ v[0, 0, : i + 1], rtol=0, atol=1e-12)
    assert torch.isfinite(found).all()
