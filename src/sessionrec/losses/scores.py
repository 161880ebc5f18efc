"""Dot products of queries with the rows of a table, and their gradients without scattered additions.

Letters: Q questions, R rows of draws, C draws a row, P pairs, U distinct items of a step, D width.

On a CPU, `(query[question] * vectors[place]).sum(1)` copies two [P, D] blocks and its gradient adds row by row. Here
the pairs are the entries of a sparse [Q, U] matrix: scores are one sampled product, gradients pooled lookups over the
pairs of a question and, sorted, over those of an item. Elsewhere, and under autocast, the plain formula is taken; tests
hold the two against each other.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sessionrec.grouped import Grouping, is_fast_here, pool_sum, take

_SAMPLED = (torch.float32, torch.float64)


def pair_scores(query_QD: Tensor, vectors_UD: Tensor, place_P: Tensor, offsets: Tensor) -> Tensor:
    """[P] dot product of each pair's query and item.

    Args:
        query_QD: Queries.
        vectors_UD: Vectors of the distinct items.
        place_P: [P] which item.
        offsets: [Q + 1] cuts the pairs into questions.
    """
    # More pairs than the matrix has cells, which takes repeats, are not a sparse matrix to torch: it would write past
    # the end of what it allots.
    is_matrix = len(place_P) <= len(query_QD) * len(vectors_UD)
    is_sampled = query_QD.dtype in _SAMPLED and vectors_UD.dtype in _SAMPLED
    if not (is_matrix and is_sampled and is_fast_here(query_QD)):
        question_P = torch.repeat_interleave(offsets[1:] - offsets[:-1], output_size=len(place_P))
        return (query_QD[question_P] * vectors_UD[place_P]).sum(1)
    scores: Tensor = _PairScores.apply(query_QD, vectors_UD, place_P, offsets)  # type: ignore[no-untyped-call]
    return scores


def draw_scores(query_QD: Tensor, vectors_UD: Tensor, places_RC: Tensor, row_Q: Tensor) -> Tensor:
    """[Q, C] of each question with the draws of its row, a fresh tensor. One matrix product if all share a row; else
    one a row, over its questions.

    Args:
        query_QD: Queries.
        vectors_UD: Vectors of the distinct items.
        places_RC: Which items a row has drawn.
        row_Q: The row of a question, ascending.
    """
    num_rows, number = places_RC.shape
    vectors_XD = take(vectors_UD, Grouping(places_RC.reshape(-1), len(vectors_UD)))
    if num_rows == 1:
        return query_QD @ vectors_XD.T
    # Questions of a row stand together; pad them so that all rows are one batched product.
    counts_R = torch.bincount(row_Q, minlength=num_rows)
    longest = int(counts_R.max())
    start_R = counts_R.cumsum(0) - counts_R
    cell_Q = row_Q * longest + torch.arange(len(query_QD), device=query_QD.device) - start_R[row_Q]
    padded = query_QD.new_zeros(num_rows * longest, query_QD.shape[1]).index_copy(0, cell_Q, query_QD)
    vectors_RCD = vectors_XD.view(num_rows, number, -1)
    scores = torch.bmm(padded.view(num_rows, longest, -1), vectors_RCD.transpose(1, 2))
    unpadded: Tensor = _Unpad.apply(scores.view(-1, number), cell_Q)  # type: ignore[no-untyped-call]
    return unpadded


def log_sum_exp(scores_QC: Tensor) -> Tensor:
    """[Q] as `logsumexp(1)` of finite scores, in the passes of one softmax."""
    found: Tensor = _LogSumExp.apply(scores_QC)  # type: ignore[no-untyped-call]
    return found


class _PairScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_QD: Tensor, vectors_UD: Tensor, place_P: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(query_QD, vectors_UD)
        ctx.place_P, ctx.offsets = place_P, offsets
        _silence_beta_warning()
        pairs = torch.sparse_csr_tensor(
            offsets,
            place_P,
            torch.zeros(len(place_P), dtype=query_QD.dtype),
            (len(query_QD), len(vectors_UD)),
            check_invariants=False,
        )
        # Into itself, so that nothing is copied.
        torch.sparse.sampled_addmm(pairs, query_QD.detach(), vectors_UD.detach().T, beta=0.0, out=pairs)
        return pairs.values()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query_QD, vectors_UD = ctx.saved_tensors
        place_P, offsets, grad_P = ctx.place_P, ctx.offsets, grads[0].contiguous()
        query_grad = pool_sum(vectors_UD, place_P, offsets, grad_P)
        question_P = torch.repeat_interleave(offsets[1:] - offsets[:-1])
        items = Grouping(place_P, len(vectors_UD))
        question_P, grad_P = question_P.index_select(0, items.order_E), grad_P.index_select(0, items.order_E)
        return query_grad, pool_sum(query_QD, question_P, items.offsets, grad_P), None, None


class _Unpad(torch.autograd.Function):
    """Some rows, each at most once, so that the gradient copies instead of adding."""

    @staticmethod
    def forward(ctx: Any, values_XC: Tensor, cell_Q: Tensor) -> Tensor:
        ctx.cell_Q, ctx.num_rows = cell_Q, len(values_XC)
        return values_XC.index_select(0, cell_Q)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        padded = grads[0].new_zeros(ctx.num_rows, *grads[0].shape[1:])
        return padded.index_copy_(0, ctx.cell_Q, grads[0]), None


class _LogSumExp(torch.autograd.Function):
    """Its gradient is the softmax; and with the softmax at hand the sum is `largest score - log(largest share)`."""

    @staticmethod
    def forward(ctx: Any, scores_QC: Tensor) -> Tensor:
        shares_QC = scores_QC.softmax(1)
        ctx.save_for_backward(shares_QC)
        return scores_QC.amax(1) - shares_QC.amax(1).log()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (shares_QC,) = ctx.saved_tensors
        gradient: Tensor = shares_QC * grads[0][:, None]
        return gradient


@cache
def _silence_beta_warning() -> None:
    """Torch says once a process that sparse CSR is in beta; ours is covered by tests."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        empty = torch.zeros(0)
        torch.sparse_csr_tensor(torch.zeros(1, dtype=torch.int64), empty.long(), empty, (0, 0), check_invariants=False)
