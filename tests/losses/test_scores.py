"""Scores by sampled and batched products against plain dot products, with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sessionrec.losses.retrieval import masked_score
from sessionrec.losses.scores import draw_scores, log_sum_exp, pair_scores

Q, U, D = 5, 7, 3
OFFSETS = torch.tensor([0, 3, 3, 4, 8, 8])
PLACES = torch.tensor([6, 0, 2, 2, 5, 0, 6, 5])
"""Not in order, some items twice, even in a question, one never; questions 1 and 4 have no pair."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def weights() -> tuple[Tensor, Tensor]:
    return numbers(Q, D).requires_grad_(), numbers(U, D, seed=1).requires_grad_()


def test_pair_scores_are_dot_products_with_their_gradient() -> None:
    query, vectors = weights()
    question = [0, 0, 0, 2, 3, 3, 3, 3]
    expected = torch.stack([query[q] @ vectors[place] for q, place in zip(question, PLACES.tolist(), strict=True)])
    found = pair_scores(query, vectors, PLACES, OFFSETS)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda q, v: pair_scores(q, v, PLACES, OFFSETS), (query, vectors))


def test_no_pairs_have_no_scores() -> None:
    query, vectors = weights()
    found = pair_scores(query, vectors, PLACES[:0], torch.zeros(Q + 1, dtype=torch.int64))
    assert found.shape == (0,)
    torch.autograd.backward(found.sum())
    assert query.grad is not None and not query.grad.any()


def test_pair_scores_under_autocast_are_close() -> None:
    query, vectors = (weight.detach().float() for weight in weights())
    plain = pair_scores(query, vectors, PLACES, OFFSETS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(pair_scores(query, vectors, PLACES, OFFSETS), plain)
        lower = pair_scores(query.bfloat16(), vectors.bfloat16(), PLACES, OFFSETS)
    torch.testing.assert_close(lower.float(), plain, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("row_Q", [[0, 0, 0, 0, 0], [0, 1, 1, 3, 3], [0, 1, 2, 3, 4], [2, 2, 2, 2, 2]], ids=str)
def test_draw_scores_are_dot_products_with_their_gradient(row_Q: list[int]) -> None:
    query, vectors = weights()
    rows = max(row_Q) + 1
    places = torch.randint(0, U, (rows, 4), generator=torch.Generator().manual_seed(2))
    found = draw_scores(query, vectors, places, torch.tensor(row_Q))
    for question, row in enumerate(row_Q):
        expected = torch.stack([query[question] @ vectors[place] for place in places[row].tolist()])
        torch.testing.assert_close(found[question], expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda q, v: draw_scores(q, v, places, torch.tensor(row_Q)), (query, vectors))


def test_log_sum_exp_is_torchs() -> None:
    scores = numbers(4, 6) * 30
    scores[1, 2:] = masked_score(scores.dtype)
    scores[2] = masked_score(scores.dtype)
    scores[3] += 1e4
    ours, theirs = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    torch.testing.assert_close(log_sum_exp(ours), theirs.logsumexp(1), rtol=1e-14, atol=1e-12)
    torch.autograd.backward((log_sum_exp(ours) * numbers(4, seed=3)).sum())
    torch.autograd.backward((theirs.logsumexp(1) * numbers(4, seed=3)).sum())
    assert ours.grad is not None and theirs.grad is not None
    # Where all is masked torch rounds every share to 1; the loss has no gradient there.
    torch.testing.assert_close(ours.grad[[0, 1, 3]], theirs.grad[[0, 1, 3]], rtol=0, atol=1e-12)
    single = scores[:2].float().requires_grad_()
    assert torch.autograd.gradcheck(log_sum_exp, [(numbers(3, 5) * 3).requires_grad_()])
    torch.testing.assert_close(log_sum_exp(single), single.logsumexp(1))


def test_gradients_are_the_same_bits_every_time() -> None:
    grads = []
    generator = torch.Generator().manual_seed(2)
    places = torch.cat([torch.randperm(90, generator=generator)[:60] for _ in range(50)])
    for _ in range(2):
        query, vectors = numbers(50, D).float().requires_grad_(), numbers(90, D, seed=1).float().requires_grad_()
        loss = pair_scores(query, vectors, places, torch.arange(51) * 60).sin().sum()
        grads.append(torch.autograd.grad(loss, (query, vectors)))
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


def test_more_pairs_than_there_are_cells_are_scored_too() -> None:
    """Torch's sampled product writes past its memory then."""
    query, vectors = weights()
    places = torch.zeros(3 * Q * U, dtype=torch.int64)
    offsets = torch.tensor([0, 0, 0, 0, 0, 3 * Q * U])
    found = pair_scores(query, vectors, places, offsets)
    torch.testing.assert_close(found, (query[4] @ vectors[0]).expand(len(places)), rtol=0, atol=1e-12)
