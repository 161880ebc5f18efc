"""How a quantity is spread: tables of how often each value occurs, small however long the log is.

In: the values, some at a time. Out: a `Distribution` with exact mean and maximum, and quantiles read off the table. A
count of things takes few distinct values (k of them need k^2 / 2 things); durations are rounded down to 10 significant
bits, that is by less than 0.2 %, so their table stays below some ten thousand rows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sessionrec.jagged import IntArray

Numbers = npt.NDArray[Any]

_SIGNIFICANT_BITS = 10


class Bar(NamedTuple):
    """One bar of a histogram: values from `low` to `high`, both included."""

    low: int
    high: int
    num: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Values and how often each occurs."""

    values: Numbers
    """[K] distinct values, ascending."""
    counts: IntArray
    """[K] how often each occurs."""
    mean: float
    """0 if there is no value."""
    max: float
    """0 if there is no value."""

    @cached_property
    def num(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @cached_property
    def _through(self) -> IntArray:
        return np.cumsum(self.counts)

    def quantile(self, share: float) -> float:
        """Smallest value that at least `share` of all are at most; 0 if there is none."""
        if not self.num:
            return 0.0
        # The small change keeps 0.9 * 10 = 9.000000000000002 from asking for a tenth value.
        wanted = math.ceil(share * self.num - 1e-9 * self.num)
        return float(self.values[np.searchsorted(self._through, max(wanted, 1))])

    @property
    def median(self) -> float:
        """At least half of all are at most this."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """At least nine tenths of all are at most this."""
        return self.quantile(0.9)

    def count_between(self, low: float, high: float) -> int:
        """How many values `v` have `low <= v < high`."""
        first, last = np.searchsorted(self.values, [low, high])
        return int(self.counts[first:last].sum())

    def share_at_most(self, value: float) -> float:
        """Share of all that are at most `value`; 0 if there is none."""
        place = int(np.searchsorted(self.values, value, "right"))
        return float(self._through[place - 1] / self.num) if place else 0.0

    def bars(self, most_single: int = 24, from_value: int | None = None) -> list[Bar]:
        """A histogram of integers: one bar a value if few are enough, else each bar twice as wide as the one before.

        Args:
            most_single: Values up to which each has its own bar.
            from_value: Begin here if it is below the least value.
        """
        if not self.num:
            return []
        low, high = int(self.values[0]), int(self.values[-1])
        low = low if from_value is None else min(low, from_value)
        if high - low < most_single:
            edges = [(value, value) for value in range(low, high + 1)]
        else:
            edges = [(0, 0), (1, 1)] + [(2**k + 1, 2 ** (k + 1)) for k in range(high.bit_length())]
            edges = [(first, last) for first, last in edges if last >= low and first <= high]
        return [Bar(first, last, self.count_between(first, last + 1)) for first, last in edges]


class Tally:
    """Counts integers as they come."""

    def __init__(self) -> None:
        self._values: IntArray = np.zeros(0, np.int64)
        self._counts: IntArray = np.zeros(0, np.int64)
        self._sum: float = 0
        self._max = 0

    def add(self, values: Numbers, *, is_duration: bool = False) -> None:
        """Count some non-negative integers; durations are rounded down, see the module."""
        if not len(values):
            return
        values = values.astype(np.int64, copy=False)
        self._sum += int(values.sum())
        self._max = max(self._max, int(values.max()))
        if is_duration:
            values = round_down(values)
        found, counts = np.unique(values, return_counts=True)
        self._values, place = np.unique(np.concatenate([self._values, found]), return_inverse=True)
        merged = np.zeros(len(self._values), np.int64)
        np.add.at(merged, place, np.concatenate([self._counts, counts]))
        self._counts = merged

    def distribution(self) -> Distribution:
        """What was counted so far."""
        num = int(self._counts.sum())
        mean = self._sum / num if num else 0.0
        return Distribution(values=self._values, counts=self._counts, mean=mean, max=self._max)


class ShareTally:
    """Counts shares between 0 and 1 in steps of a thousandth."""

    def __init__(self) -> None:
        self._counts = np.zeros(1001, np.int64)
        self._sum = 0.0

    def add(self, part: Numbers, whole: Numbers) -> None:
        """Count the shares `part / whole`; every whole must be positive."""
        share = part / whole
        self._sum += float(share.sum())
        self._counts += np.bincount(np.rint(share * 1000).astype(np.int64), minlength=1001)

    def distribution(self) -> Distribution:
        """What was counted so far; values are rounded to a thousandth, the mean is not."""
        found = np.flatnonzero(self._counts)
        num = int(self._counts.sum())
        return Distribution(
            values=found / 1000,
            counts=self._counts[found],
            mean=self._sum / num if num else 0.0,
            max=float(found[-1]) / 1000 if num else 0.0,
        )


def round_down(values: IntArray) -> IntArray:
    """[N] non-negative integers with all but their 10 highest bits cleared; below 1024 nothing changes."""
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(bits - _SIGNIFICANT_BITS, 0)
    return values >> shift << shift


@dataclass(frozen=True, kw_only=True)
class Concentration:
    """How unevenly something is shared out among items."""

    counts: IntArray
    """[V] what each item has, most first; an item may have nothing."""

    @cached_property
    def total(self) -> int:
        """What all have together."""
        return int(self.counts.sum())

    @cached_property
    def gini(self) -> float:
        """0: all have the same; 1: one has everything."""
        size = len(self.counts)
        if not self.total:
            return 0.0
        rank = np.arange(size, 0, -1, dtype=np.float64)
        return float(2 * np.dot(rank, self.counts) / (size * self.total) - (size + 1) / size)

    def top_share(self, share: float) -> float:
        """What the most popular `share` of the items, rounded up to whole items, have of all."""
        if not self.total:
            return 0.0
        return float(self.counts[: math.ceil(share * len(self.counts) - 1e-9)].sum() / self.total)

    def items_for(self, share: float) -> int:
        """How many of the most popular items have at least `share` of all."""
        if not self.total:
            return 0
        return int(np.searchsorted(np.cumsum(self.counts), share * self.total - 1e-9) + 1)
