"""Which items an index holds, in which row each stands, and which rows a question may be answered with.

Items stand in ascending order of their indices, so a lower row is a lower item index, here and in every index.

    items_N        2  3  7  9         row 0 is item 2
    features       {"topic": [4, 4, 1, 0]}

Letters: N items of the index, V catalogue, Q queries, P excluded pairs, R allowed rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.config import Config
from sessionrec.jagged import IntArray, Jagged, row_of_element

Features = Mapping[str, npt.NDArray[Any]]


class Filter(Config):
    """Items whose features have the wanted values; several features must all fit."""

    where: dict[str, int | tuple[int, ...]] = {}
    """Feature name -> the code wanted, or several of which one must fit. Empty: every item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """(query, row) pairs that must not be returned; distinct, ascending by query, then row."""

    query_P: IntArray
    row_P: IntArray

    def of(self, start: int, stop: int) -> Excluded:
        """Those of some neighbouring queries, which are counted from 0 again."""
        first, last = np.searchsorted(self.query_P, (start, stop))
        return Excluded(query_P=self.query_P[first:last] - start, row_P=self.row_P[first:last])

    def take(self, queries: IntArray) -> Excluded:
        """Those of some queries, given in ascending order, which are counted from 0 again."""
        place = np.searchsorted(queries, self.query_P)
        keep = place < len(queries)
        keep[keep] = queries[place[keep]] == self.query_P[keep]
        return Excluded(query_P=place[keep], row_P=self.row_P[keep])

    def within(self, rows_R: IntArray) -> Excluded:
        """Those on some rows, given in ascending order; a pair's row becomes its place among them."""
        place = np.searchsorted(rows_R, self.row_P)
        keep = place < len(rows_R)
        keep[keep] = rows_R[place[keep]] == self.row_P[keep]
        return Excluded(query_P=self.query_P[keep], row_P=place[keep])

    def counts(self, num_queries: int) -> IntArray:
        """[Q] how many each query has."""
        return np.bincount(self.query_P, minlength=num_queries)


NOTHING_EXCLUDED = Excluded(query_P=np.zeros(0, np.int64), row_P=np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The items of an index. Made by `stock`, which sorts and checks."""

    items_N: IntArray
    """[N] item indices, ascending, from 1 on."""
    features: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    """[N] codes of each feature, by its name."""

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.items_N)

    def rows_of(self, items: npt.NDArray[Any]) -> IntArray:
        """The row of each item; -1 for one that is not here."""
        place = np.searchsorted(self.items_N, items)
        place[place == self.num_items] = 0
        return np.where(self.items_N[place] == items, place, -1)

    def allowed(self, allow: npt.NDArray[np.bool_] | Filter | None) -> IntArray | None:
        """[R] the rows that may be returned, ascending; None for all of them."""
        if allow is None:
            return None
        if isinstance(allow, Filter):
            return np.flatnonzero(self._fits(allow))
        mask_V = np.asarray(allow)
        needed = int(self.items_N[-1]) + 1
        if mask_V.dtype != np.bool_ or mask_V.ndim != 1 or len(mask_V) < needed:
            raise ValueError(
                f"`allow` must be a filter or a mask of booleans by item index, at least [{needed}], "
                f"got {mask_V.dtype} {list(mask_V.shape)}"
            )
        return np.flatnonzero(mask_V[self.items_N])

    def excluded(self, exclude: Jagged[npt.NDArray[Any]] | None, num_queries: int) -> Excluded:
        """The pairs that must not be returned."""
        if exclude is None:
            return NOTHING_EXCLUDED
        if exclude.num_rows != num_queries:
            raise ValueError(f"`exclude` must have a row for each of {num_queries} queries, got {exclude.num_rows}")
        items = np.asarray(exclude.values)
        if not len(items):
            return NOTHING_EXCLUDED
        if items.dtype.kind not in "iu" or items.ndim != 1:
            raise ValueError(f"`exclude` must hold item indices, got {items.dtype} {list(items.shape)}")
        rows = self.rows_of(items)
        is_here = rows >= 0
        queries = row_of_element(np.asarray(exclude.offsets))[is_here]
        query_P, row_P = np.divmod(np.unique(queries * self.num_items + rows[is_here]), self.num_items)
        return Excluded(query_P=query_P, row_P=row_P)

    def _fits(self, wanted: Filter) -> npt.NDArray[np.bool_]:
        fits_N = np.ones(self.num_items, np.bool_)
        for name, codes in wanted.where.items():
            if name not in self.features:
                there = ", ".join(sorted(self.features)) or "none; hand `features` over when the index is built"
                raise ValueError(f"the filter asks for feature {name!r}; the index has: {there}")
            fits_N &= np.isin(self.features[name], codes)
        return fits_N


def stock(items_N: npt.NDArray[Any], features: Features | None = None) -> tuple[Holdings, IntArray | None]:
    """Sort and check the items of a new index.

    Args:
        items_N: [N] item indices from 1 on, distinct, in any order.
        features: [N] integer codes of each feature, in the order of `items_N`.

    Returns:
        The holdings, and the order that sorts the vectors likewise; None if they are sorted already.

    Raises:
        ValueError: No item, an index below 1 or twice, or a feature of another shape.
    """
    items = np.asarray(items_N)
    if items.ndim != 1 or items.dtype.kind not in "iu" or not len(items):
        raise ValueError(f"`items_N` must be [N] item indices, at least one, got {items.dtype} {list(items.shape)}")
    items = items.astype(np.int64)
    order = None if np.all(items[1:] > items[:-1]) else np.argsort(items, kind="stable")
    if order is not None:
        items = items[order]
        twice = np.flatnonzero(items[1:] == items[:-1])
        if len(twice):
            raise ValueError(f"`items_N` must be distinct, but item {items[twice[0]]} stands there twice")
    if items[0] < 1:
        raise ValueError(f"`items_N` must be item indices from 1 on, got {items[0]}; 0 is the unknown item")
    codes = {}
    for name, values in (features or {}).items():
        column = np.asarray(values)
        if column.shape != items.shape or column.dtype.kind not in "iu":
            raise ValueError(
                f"feature {name!r} must be [{len(items)}] integer codes, got {column.dtype} {list(column.shape)}"
            )
        codes[name] = (column if order is None else column[order]).astype(np.int32)
    return Holdings(items_N=items, features=codes), order
