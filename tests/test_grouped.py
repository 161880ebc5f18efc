"""Sorted, pooled lookups against plain indexing, with gradients."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from sessionrec.grouped import Grouping, distinct, is_fast_here, pool, sort_stable, take

PLACES = [[3, 0, 3, 3, 1], [0, 0, 0], [2], []]
LENGTHS = [2, 0, 3]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def offsets_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 3), max_size=30))
def test_sorting_and_distinct_equal_pythons(keys: list[int]) -> None:
    tensor = torch.tensor(keys, dtype=torch.int64)
    found, order = sort_stable(tensor)
    expected = sorted(range(len(keys)), key=lambda place: keys[place])
    assert order.tolist() == expected and found.tolist() == sorted(keys)
    values, grouping = distinct(tensor)
    assert values.tolist() == sorted(set(keys))
    assert values[grouping.place_E].tolist() == keys
    assert grouping.order_E.tolist() == expected
    assert grouping.offsets.tolist() == [0, *torch.bincount(grouping.place_E, minlength=len(values)).cumsum(0).tolist()]


@pytest.mark.parametrize("places", PLACES, ids=str)
@pytest.mark.parametrize("num_rows", [4, 5])
def test_taking_equals_indexing_with_its_gradient(places: list[int], num_rows: int) -> None:
    place_E = torch.tensor(places, dtype=torch.int64)
    fast, plain = numbers(num_rows, 3).requires_grad_(), numbers(num_rows, 3).requires_grad_()
    weight = numbers(len(places), 3, seed=1)
    taken = take(fast, Grouping(place_E, num_rows))
    assert torch.equal(taken, plain[place_E])
    torch.autograd.backward((taken * weight).sum())
    torch.autograd.backward((plain[place_E] * weight).sum())
    torch.testing.assert_close(fast.grad, plain.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [[2, 0, 3], [5], [0, 5, 0], [1, 1, 1, 1, 1]], ids=str)
def test_pooling_equals_loops(lengths: list[int]) -> None:
    table = numbers(4, 3).requires_grad_()
    places, offsets = PLACES[0], offsets_of(lengths)
    found = pool(table, Grouping(torch.tensor(places), 4), offsets)
    for row in range(len(lengths)):
        pooled = places[int(offsets[row]) : int(offsets[row + 1])]
        torch.testing.assert_close(found[row], table[pooled].sum(0), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda t: pool(t, Grouping(torch.tensor(places), 4), offsets), [table])
    own = numbers(5, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: pool(values, None, offsets), [own])
    torch.testing.assert_close(
        pool(own, None, offsets), pool(own, Grouping(torch.arange(5), 5), offsets), rtol=0, atol=1e-12
    )


def test_nothing_at_all_is_pooled_and_taken() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    table = numbers(2, 3).requires_grad_()
    pooled = pool(table, Grouping(nothing, 2), torch.zeros(3, dtype=torch.int64))
    assert pooled.tolist() == [[0.0] * 3] * 2
    torch.autograd.backward((pooled + take(table, Grouping(nothing, 2)).sum()).sum())
    assert table.grad is not None and not table.grad.any()


def test_a_gradient_is_the_same_bits_every_time_and_that_of_autocast_is_close() -> None:
    place_E = torch.randint(0, 50, (5000,), generator=torch.Generator().manual_seed(0))
    weight = torch.randn(5000, 8, generator=torch.Generator().manual_seed(1))
    grads = []
    for is_plain in (False, False, True):
        table = numbers(50, 8).float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_plain):
            assert is_fast_here(table) != is_plain
            torch.autograd.backward((take(table, Grouping(place_E, 50)) * weight).sum())
        assert table.grad is not None
        grads.append(table.grad)
    assert torch.equal(grads[0], grads[1])
    torch.testing.assert_close(grads[0], grads[2], rtol=1e-5, atol=1e-4)
