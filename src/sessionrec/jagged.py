"""Ragged arrays: `values` (the rows end to end) and `offsets` (where each row begins; one more for the end).

    user_offsets     [0,      2, 3]            user 0: sessions 0-1      user 1: session 2
    session_offsets  [0,   3, 4,      6]       session 0: events 0-2     session 1: event 3     session 2: events 4-5
    item_E           [7, 2, 2, 5, 9, 1]

`offsets` are int64, begin with 0, never fall and end with `len(values)`. Empty rows are legal. Arrays are NumPy on the
data side and torch on the model side; the functions below the class are the data side's, vectorised over rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    A = TypeVar("A", npt.NDArray[Any], torch.Tensor)
else:
    A = TypeVar("A")

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jagged(Generic[A]):
    """One ragged array. Checked when made: on the host in O(rows), on a device by shape alone (no synchronisation)."""

    values: A
    """[E, ...] the rows' elements, end to end."""
    offsets: A
    """[R + 1] int64."""

    def __post_init__(self) -> None:
        offsets: Any = self.offsets
        size = len(self.values)
        if offsets.ndim != 1 or len(offsets) == 0:
            raise ValueError(f"`offsets` must be [rows + 1], got shape {tuple(offsets.shape)}")
        if not isinstance(offsets, np.ndarray):
            if offsets.device.type != "cpu":
                return
            offsets = offsets.numpy()
        if offsets.dtype != np.int64:
            raise ValueError(f"`offsets` must be int64, got {offsets.dtype}")
        if offsets[0] != 0 or offsets[-1] != size:
            raise ValueError(
                f"`offsets` must run from 0 to the {size} values, got {offsets[0]} to {offsets[-1]}; "
                "build them with `offsets_from_lengths`"
            )
        if np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("`offsets` must never fall; build them with `offsets_from_lengths`")

    @property
    def num_rows(self) -> int:
        """Number of rows, empty ones included."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> A:
        """[R] elements of each row."""
        lengths: A = self.offsets[1:] - self.offsets[:-1]
        return lengths

    def row(self, index: int) -> A:
        """[length] the elements of one row, a view."""
        return self.values[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def map(self, function: Callable[[A], A]) -> Jagged[A]:
        """The same rows with other values; `function` must keep their number."""
        return Jagged(values=function(self.values), offsets=self.offsets)


def offsets_from_lengths(lengths: npt.NDArray[Any]) -> IntArray:
    """[R] lengths -> [R + 1] offsets."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def row_of_element(offsets: IntArray) -> IntArray:
    """[E] the row that each element stands in."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def position_in_row(offsets: IntArray) -> IntArray:
    """[E] 0, 1, 2, ... within each row."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def sum_by_row(values_E: npt.NDArray[Any], offsets: IntArray) -> IntArray:
    """[R] sum of each row's integers or booleans; 0 for an empty row."""
    total = np.zeros(len(values_E) + 1, np.int64)
    np.cumsum(values_E, out=total[1:])
    return total[offsets[1:]] - total[offsets[:-1]]


def take_rows(offsets: IntArray, rows: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Where the elements of some rows stand, in the order of `rows`.

    Args:
        offsets: [R + 1].
        rows: [T] row numbers; may repeat, any order.

    Returns:
        [E'] indices into the values, and [T + 1] the offsets of the taken rows.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    taken = offsets_from_lengths(lengths)
    return np.repeat(offsets[rows] - taken[:-1], lengths) + np.arange(taken[-1]), taken


def keep_elements(keep_E: npt.NDArray[np.bool_], offsets: IntArray) -> IntArray:
    """[R + 1] the offsets after the elements that are not kept are taken out; rows stay, some perhaps empty."""
    return offsets_from_lengths(sum_by_row(keep_E, offsets))


def shrink_rows(offsets: IntArray, keep_R: npt.NDArray[np.bool_]) -> IntArray:
    """[kept + 1] offsets of the kept rows once the elements of the others are gone."""
    return offsets_from_lengths(np.diff(offsets)[keep_R])
