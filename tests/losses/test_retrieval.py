from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from sessionrec.losses.retrieval import (
    NEVER,
    binary_cross_entropy,
    gbce_calibration,
    jagged_logsumexp,
    mask_hits,
    masked_score,
    sampled_cross_entropy,
)
from tests.losses.helpers import softmax_loss

POSITIVES = [[1, 2, 3], [4], [5, 6]]
QUESTION_P = torch.tensor([0, 0, 0, 1, 2, 2])


def numbers(*shape: int, seed: int = 0, std: float = 2.0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * std


def test_cross_entropy_by_hand() -> None:
    """-log(e^2 / (e^2 + e^1 + e^0)), and a question with one negative less."""
    lse = torch.tensor([[1.0, 0.0], [0.5, NEVER]], dtype=torch.float64).logsumexp(1)
    found = sampled_cross_entropy(torch.tensor([2.0, -1.0], dtype=torch.float64), lse, torch.tensor([0, 1]))
    first = -math.log(math.e**2 / (math.e**2 + math.e + 1))
    second = -math.log(math.e**-1 / (math.e**-1 + math.e**0.5))
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-12)


def test_cross_entropy_equals_a_denominator_for_every_pair() -> None:
    positive, negative = numbers(6), numbers(3, 5, seed=1)
    found = sampled_cross_entropy(positive, negative.logsumexp(1), QUESTION_P)
    assert float(found) == pytest.approx(softmax_loss(positive.tolist(), negative.tolist(), POSITIVES), abs=1e-12)


def test_other_positives_of_the_question_are_not_in_the_denominator() -> None:
    scores, lse = numbers(6), numbers(3, seed=1)
    raised = scores.clone()
    raised[0] += 5
    before = sampled_cross_entropy(scores[1:2], lse, QUESTION_P[1:2])
    both = sampled_cross_entropy(raised[:2], lse, QUESTION_P[:2])
    own = sampled_cross_entropy(raised[:1], lse, QUESTION_P[:1])
    assert float(both * 2 - own) == pytest.approx(float(before), abs=1e-12)


def test_bce_equals_loops() -> None:
    positive, negative = numbers(6), numbers(3, 5, seed=1)
    sigma = torch.sigmoid
    for beta in (1.0, 0.3):
        total = 0.0
        for place, question in enumerate(QUESTION_P.tolist()):
            total -= math.log(float(sigma(positive[place])) ** beta)
            total -= sum(math.log(1 - float(sigma(score))) for score in negative[question])
        found = binary_cross_entropy(positive, negative, QUESTION_P, beta)
        assert float(found) == pytest.approx(total / 6, abs=1e-10)


def test_gbce_calibration_runs_from_the_rate_of_sampling_to_one() -> None:
    """beta = a (t (1 - 1/a) + 1/a), a = C / (V - 1): 1 at t = 0, a at t = 1."""
    assert gbce_calibration(128, 1001, 0.0) == pytest.approx(1.0)
    assert gbce_calibration(128, 1001, 1.0) == pytest.approx(0.128)
    assert gbce_calibration(128, 1001, 0.75) == pytest.approx(0.128 * (0.75 * (1 - 1 / 0.128) + 1 / 0.128))
    # With more negatives asked for than there are, all are drawn, and nothing is left to calibrate.
    assert gbce_calibration(128, 50, 0.75) == pytest.approx(1.0)
    assert gbce_calibration(1, 1, 0.75) == pytest.approx(1.0)


def test_gradients_are_right() -> None:
    positive, negative = numbers(6).requires_grad_(), numbers(3, 5, seed=1).requires_grad_()
    row_N = torch.tensor([0, 0, 0, 2, 2])
    flat = numbers(5, seed=2).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda p, n: sampled_cross_entropy(p, n.logsumexp(1), QUESTION_P), (positive, negative))
    assert check(lambda p, n: binary_cross_entropy(p, n, QUESTION_P, 0.4), (positive, negative))
    assert check(lambda p, n: sampled_cross_entropy(p, jagged_logsumexp(n, row_N, 3), QUESTION_P), (positive, flat))


def test_a_question_whose_negatives_are_all_masked_has_no_loss_and_a_gradient_of_zero() -> None:
    """`logsumexp` of nothing but -inf has the gradient NaN, which one such question would spread to every weight."""
    positive = numbers(6).requires_grad_()
    scores = numbers(3, 5, seed=1)
    scores[1] = masked_score(scores.dtype)
    scores[2, :4] = masked_score(scores.dtype)
    negative = scores.requires_grad_()
    for loss in (
        sampled_cross_entropy(positive, negative.logsumexp(1), QUESTION_P),
        binary_cross_entropy(positive, negative, QUESTION_P),
    ):
        assert torch.isfinite(loss)
        grads = torch.autograd.grad(loss, (positive, negative))
        assert all(torch.isfinite(grad).all() for grad in grads)
        assert not grads[1][1].any() and not grads[1][2, :4].any() and grads[1][2, 4] != 0
    (grad,) = torch.autograd.grad(sampled_cross_entropy(positive, negative.detach().logsumexp(1), QUESTION_P), positive)
    assert grad[3] == 0 and (grad[[0, 1, 2, 4, 5]] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_masked_score_adds_exactly_nothing_in_any_precision(dtype: torch.dtype) -> None:
    scores = torch.tensor([[5.0, masked_score(dtype), -7.0], [masked_score(dtype)] * 3], dtype=dtype)
    lse = scores.requires_grad_().logsumexp(1)
    assert torch.equal(lse[0], scores[0, [0, 2]].logsumexp(0))
    loss = sampled_cross_entropy(torch.tensor([3.0, -3.0], dtype=dtype), lse, torch.tensor([0, 1]))
    (grad,) = torch.autograd.grad(loss, scores)
    assert (grad != 0).tolist() == [[True, False, True], [False] * 3] and torch.isfinite(grad).all()


def test_jagged_logsumexp_equals_a_loop_over_rows() -> None:
    rows = [[700.0, 701.0], [], [-900.0], [], [1.0, 2.0, 2.0, -3.0], []]
    flat = torch.tensor([score for row in rows for score in row], dtype=torch.float64, requires_grad=True)
    row_N = torch.tensor([place for place, row in enumerate(rows) for _ in row])
    found = jagged_logsumexp(flat, row_N, len(rows))
    for row, value in zip(rows, found.tolist(), strict=True):
        expected = max(row) + math.log(sum(math.exp(s - max(row)) for s in row)) if row else NEVER
        assert value == pytest.approx(expected, abs=1e-12)
    (grad,) = torch.autograd.grad(found[torch.isfinite(found)].sum(), flat)
    expected_grad = torch.cat([torch.tensor(row, dtype=torch.float64).softmax(0) for row in rows])
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-12)


def test_jagged_logsumexp_has_no_gradient_that_is_no_number_where_rows_are_empty() -> None:
    flat = numbers(2).requires_grad_()
    positive = numbers(3, seed=1).requires_grad_()
    lse = jagged_logsumexp(flat, torch.tensor([1, 1]), 3)
    torch.autograd.backward(sampled_cross_entropy(positive, lse, torch.arange(3)))
    assert flat.grad is not None and positive.grad is not None
    assert torch.isfinite(flat.grad).all() and flat.grad.all()
    assert (positive.grad != 0).tolist() == [False, True, False]


@given(
    rows=st.lists(st.lists(st.integers(1, 9), min_size=4, max_size=4), min_size=1, max_size=5),
    positives=st.lists(st.sets(st.integers(1, 9), min_size=1), min_size=5, max_size=5),
)
def test_masked_are_exactly_the_draws_that_are_positives_repeats_too(
    rows: list[list[int]], positives: list[set[int]]
) -> None:
    rows = [sorted(row) for row in rows]
    wanted = [sorted(items) for items in positives[: len(rows)]]
    question_P = torch.tensor([place for place, items in enumerate(wanted) for _ in items])
    positive_P = torch.tensor([item for items in wanted for item in items])
    question, column = mask_hits(torch.tensor(rows), torch.arange(len(rows)), positive_P, question_P)
    found = list(zip(question.tolist(), column.tolist(), strict=True))
    expected = {(q, c) for q, row in enumerate(rows) for c, item in enumerate(row) if item in wanted[q]}
    assert set(found) == expected and len(found) == len(expected)
    # All questions of the first row.
    row_Q = torch.zeros(len(rows), dtype=torch.int64)
    question, column = mask_hits(torch.tensor(rows[:1]), row_Q, positive_P, question_P)
    found = list(zip(question.tolist(), column.tolist(), strict=True))
    expected = {(q, c) for q, items in enumerate(wanted) for c, item in enumerate(rows[0]) if item in items}
    assert set(found) == expected and len(found) == len(expected)
