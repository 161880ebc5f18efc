from __future__ import annotations

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given

from sessionrec.jagged import (
    Jagged,
    keep_elements,
    offsets_from_lengths,
    position_in_row,
    row_of_element,
    shrink_rows,
    sum_by_row,
    take_rows,
)

ragged = st.lists(st.lists(st.integers(-5, 5), max_size=5), max_size=8)


def flatten(rows: list[list[int]]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    return np.array([v for row in rows for v in row], np.int64), offsets_from_lengths(np.array([*map(len, rows)], int))


def rows_of(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> list[list[int]]:
    return [values[a:b].tolist() for a, b in pairwise(offsets.tolist())]


@given(ragged)
def test_rows_lengths_and_elements_are_those_of_the_nested_lists(rows: list[list[int]]) -> None:
    values, offsets = flatten(rows)
    jagged = Jagged(values=values, offsets=offsets)
    assert jagged.num_rows == len(rows)
    assert jagged.lengths.tolist() == [len(row) for row in rows]
    assert [jagged.row(n).tolist() for n in range(len(rows))] == rows
    assert row_of_element(offsets).tolist() == [n for n, row in enumerate(rows) for _ in row]
    assert position_in_row(offsets).tolist() == [n for row in rows for n in range(len(row))]


@given(ragged)
def test_torch_holds_the_same_rows_as_numpy(rows: list[list[int]]) -> None:
    values, offsets = flatten(rows)
    jagged = Jagged(values=torch.from_numpy(values), offsets=torch.from_numpy(offsets))
    assert [jagged.row(n).tolist() for n in range(jagged.num_rows)] == rows
    assert jagged.lengths.tolist() == [len(row) for row in rows]
    doubled = jagged.map(lambda tensor: tensor * 2)
    assert doubled.values.tolist() == [2 * v for row in rows for v in row]
    assert doubled.offsets is jagged.offsets


@given(ragged, st.data())
def test_taking_rows_is_indexing_a_list_of_lists(rows: list[list[int]], data: st.DataObject) -> None:
    values, offsets = flatten(rows)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=12)) if rows else []
    index, taken = take_rows(offsets, np.array(wanted, np.int64))
    assert rows_of(values[index], taken) == [rows[n] for n in wanted]


@given(ragged, st.sampled_from([np.int64, np.int32, np.uint8, np.uint16, np.bool_]))
def test_sums_by_row_are_sums_of_the_lists(rows: list[list[int]], dtype: type[np.generic]) -> None:
    rows = [[abs(v) for v in row] for row in rows]
    values, offsets = flatten(rows)
    expected = [sum(int(np.array(v).astype(dtype)) for v in row) for row in rows]
    sums = sum_by_row(values.astype(dtype), offsets)
    assert sums.tolist() == expected
    assert sums.dtype == np.int64


def test_a_sum_of_small_integers_does_not_wrap_at_their_type() -> None:
    # 300 x 255 = 76500 is beyond uint16.
    assert sum_by_row(np.full(300, 255, np.uint8), np.array([0, 300])).tolist() == [300 * 255]


@given(ragged, st.data())
def test_offsets_after_dropping_elements_and_rows_are_those_of_the_shorter_lists(
    rows: list[list[int]], data: st.DataObject
) -> None:
    values, offsets = flatten(rows)
    keep_E = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), np.bool_)
    cut = [
        [v for v, keep in zip(row, part, strict=True) if keep]
        for row, part in zip(rows, rows_of(keep_E, offsets), strict=True)
    ]
    assert rows_of(values[keep_E], keep_elements(keep_E, offsets)) == cut
    keep_R = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), np.bool_)
    left = [row for row, keep in zip(rows, keep_R, strict=True) if keep]
    assert rows_of(values[np.repeat(keep_R, np.diff(offsets))], shrink_rows(offsets, keep_R)) == left


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([0, 2], "from 0 to the 3 values, got 0 to 2"),
        ([1, 3], "from 0 to the 3 values, got 1 to 3"),
        ([0, 2, 1, 3], "must never fall"),
        ([0, 4, 3], "must never fall"),
        ([], r"must be \[rows \+ 1\]"),
        ([[0, 3]], r"must be \[rows \+ 1\], got shape \(1, 2\)"),
    ],
)
def test_offsets_that_cut_nothing_are_refused(offsets: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Jagged(values=np.arange(3), offsets=np.array(offsets, np.int64))
    with pytest.raises(ValueError, match=message):
        Jagged(values=torch.arange(3), offsets=torch.tensor(offsets, dtype=torch.int64))


def test_narrow_offsets_are_refused() -> None:
    with pytest.raises(ValueError, match="must be int64, got int32"):
        narrow: npt.NDArray[Any] = np.array([0, 3], np.int32)
        Jagged[npt.NDArray[Any]](values=np.arange(3), offsets=narrow)
    with pytest.raises(ValueError, match="must be int64, got int32"):
        Jagged(values=torch.arange(3), offsets=torch.tensor([0, 3], dtype=torch.int32))


def test_offsets_on_a_device_are_checked_by_shape_alone() -> None:
    # The meta device has no values at all: looking at one would be an error.
    jagged = Jagged(values=torch.zeros(3, 4, device="meta"), offsets=torch.zeros(3, dtype=torch.int64, device="meta"))
    assert jagged.num_rows == 2


def test_no_rows_and_only_empty_rows_are_legal() -> None:
    assert Jagged(values=np.zeros(0), offsets=np.zeros(1, np.int64)).num_rows == 0
    assert Jagged(values=np.zeros(0), offsets=np.zeros(4, np.int64)).lengths.tolist() == [0, 0, 0]
