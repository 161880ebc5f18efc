"""Ids and values as callers have them -> columns of one type, and their codes in a model's vocabularies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.errors import HistoryError
from sessionrec.schema import ITEM, MIN_TIME_MS, TIME_MS, UNKNOWN

TIME, IS_POSITIVE = "time", "positive"
"""Columns of events as callers have them, beside those of a log."""


class Lookup:
    """From values to their codes, by bisection.

    Args:
        values: Distinct.
        codes: Of each.
    """

    def __init__(self, values: pl.Series, codes: npt.NDArray[np.int32]) -> None:
        order = values.arg_sort()
        self._values, self._codes = values.gather(order), codes[order.to_numpy()]

    def codes(self, wanted: pl.Series) -> npt.NDArray[np.int32]:
        """[N] the code of each value, 0 for one that is not there."""
        found = np.zeros(len(wanted), np.int32)
        if not len(wanted) or not len(self._values):
            return found
        # Text of digits finds an integer id and the other way round; what cannot be one is not there.
        wanted = wanted.cast(self._values.dtype, strict=False)
        is_there = wanted.is_not_null().to_numpy()
        present = wanted.drop_nulls()
        place = np.minimum(self._values.search_sorted(present).to_numpy(), len(self._values) - 1)
        is_equal = (self._values.gather(place) == present).to_numpy()
        found[is_there] = np.where(is_equal, self._codes[place], UNKNOWN)
        return found

    @classmethod
    def of(cls, vocabularies: pl.DataFrame, role: str, name: str) -> Lookup:
        """Of a categorical feature, by a model's vocabularies."""
        rows = vocabularies.filter((pl.col("role") == role) & (pl.col("feature") == name))
        return cls(rows["value"], rows["index"].to_numpy())


def as_frame(table: Any) -> pl.DataFrame | None:
    """A data frame of whatever library as one of Polars; None for anything else."""
    if isinstance(table, pl.DataFrame):
        return table
    return pl.DataFrame(table) if hasattr(table, "__arrow_c_stream__") else None


def feature_values(frame: pl.DataFrame, name: str, kind: type[pl.String | pl.Float32 | pl.Float64]) -> pl.Series:
    """[N] values of a feature, categories as text; nothing but unknown ones where the column is missing."""
    is_category = kind == pl.String
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), kind)
    column = frame[name]
    try:
        # A column of whole numbers with a gap comes as floats from elsewhere: 1.0 is the value 1.
        if is_category and column.dtype.is_float() and (column.drop_nulls().drop_nans() % 1 == 0).all():
            column = column.fill_nan(None).cast(pl.Int64)
        return column.cast(kind).alias(name)
    except pl.exceptions.PolarsError:
        raise HistoryError(
            f"column `{name}` must be {'a category' if is_category else 'numbers'}, got {column.dtype}"
        ) from None


def item_ids(ids: Any) -> pl.Series:
    """Item ids as whole numbers or as text."""
    if isinstance(ids, pl.Series) and ids.dtype in (pl.Categorical, pl.Enum):
        ids = ids.cast(pl.String)
    try:
        series = ids if isinstance(ids, pl.Series) else pl.Series(ITEM, list(ids))
    except TypeError:
        series = pl.Series(ITEM, [str(item) for item in ids])
    if series.null_count():
        raise HistoryError("item ids must be whole numbers or text, got None")
    if not (series.dtype.is_integer() or series.dtype in (pl.String, pl.Null)):
        raise HistoryError(f"item ids must be whole numbers or text, got {series.dtype}")
    try:
        return series if series.dtype == pl.String else series.cast(pl.Int64)
    except pl.exceptions.PolarsError:
        raise HistoryError(f"item ids must be whole numbers of 64 bits or text, got {series.max()!r}") from None


def expect_column(frame: pl.DataFrame, name: str) -> None:
    """Raise `HistoryError` where a table lacks a column."""
    if name not in frame.columns:
        raise HistoryError(f"column `{name}` is missing; there are {', '.join(frame.columns)}")


def expect_ids(frame: pl.DataFrame, name: str) -> None:
    """Raise `HistoryError` at the first row without an id; blank text is none."""
    ids = frame[name]
    is_missing = ids.str.strip_chars().fill_null("") == "" if ids.dtype == pl.String else ids.is_null()
    if is_missing.any():
        row = int(is_missing.arg_true()[0])
        found = "found none" if ids[row] is None else f"got {ids[row]!r}"
        raise HistoryError(f"row {row + 1}: column `{name}` must hold a value, {found}; drop such rows")


def expect_times(frame: pl.DataFrame, times: pl.Series, latest_ms: int, wanted: str) -> None:
    """Raise `HistoryError` at the first row without a time from 1980 to some moment.

    Args:
        frame: The events.
        times: [N] of them, see `event_times`.
        latest_ms: UTC epoch.
        wanted: What is expected, in words.
    """
    is_wrong = times.is_null() | ~times.is_between(MIN_TIME_MS, latest_ms)
    if is_wrong.any():
        row = int(is_wrong.arg_true()[0])
        value = frame[TIME if TIME in frame.columns else TIME_MS][row]
        found = "found none" if value is None else f"got {f'{value} ms' if isinstance(value, int) else value}"
        raise HistoryError(f"row {row + 1}: expected {wanted}, {found}")


def event_times(frame: pl.DataFrame) -> pl.Series:
    """[N] UTC epoch milliseconds, of the column `time` or `time_ms`; null where there is none."""
    if TIME not in frame.columns:
        expect_column(frame, TIME_MS)
        if not frame[TIME_MS].dtype.is_integer():
            raise HistoryError(f"column `{TIME_MS}` must be UTC epoch milliseconds, got {frame[TIME_MS].dtype}")
        return frame[TIME_MS].cast(pl.Int64)
    moment = frame[TIME]
    if not isinstance(moment.dtype, pl.Datetime):
        raise HistoryError(
            f"column `{TIME}` must be a datetime, got {moment.dtype}; UTC milliseconds go into `{TIME_MS}`"
        )
    return moment.dt.epoch("ms")


def flags(frame: pl.DataFrame, name: str, *, default: bool) -> npt.NDArray[np.bool_]:
    """[N] a column of true and false; the default where it is missing."""
    if name not in frame.columns:
        return np.full(len(frame), default)
    try:
        is_set = frame[name].cast(pl.Boolean)
    except pl.exceptions.PolarsError:
        raise HistoryError(f"column `{name}` must be true or false, got {frame[name].dtype}") from None
    if is_set.null_count():
        raise HistoryError(f"column `{name}` has rows without a value; it must be true or false")
    found: npt.NDArray[np.bool_] = is_set.to_numpy()
    return found
