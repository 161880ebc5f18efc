"""Are these rows events? Checked on every batch as it comes in; a bad row is named with its file, place and value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from sessionrec.errors import LogError
from sessionrec.logs.base import Log
from sessionrec.logs.files import FILE, cure, has_types
from sessionrec.schema import ACTION, ITEM, MAX_TIME_MS, MIN_TIME_MS, POSITIVE, SESSION, TIME_MS, USER, WEIGHT

_ID_COLUMNS = (USER, ITEM, SESSION)


@contextmanager
def reading(log: Log) -> Iterator[None]:
    """Where raw files are read: what the engine says of a damaged one becomes a `LogError` that names it."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        files = str(log.files[0]) if log.files else log.name
        if len(log.files) > 1:
            files += f" or one of {len(log.files) - 1} more"
        what = next(iter(str(error).splitlines()), type(error).__name__)
        raise LogError(f"{files}: cannot be read: {what}; {cure(log.files, what)}") from error


def check_rows(log: Log, batch: pl.DataFrame, first_row: int) -> None:
    """Raise `LogError` at the first row without user, item, session id, a plausible time or weight; blank is no id.

    Args:
        log: Where the batch comes from.
        batch: Events in canonical columns.
        first_row: Number of events of the log before this batch.
    """
    for column in (*_ID_COLUMNS, TIME_MS):
        if column in batch.columns and batch[column].null_count():
            _complain(log, batch, first_row, pl.col(column).is_null(), column)
    for column in _ID_COLUMNS:
        # What is blank sorts before "!", and to compare costs a tenth of looking for blanks.
        if batch.schema.get(column) == pl.String and (batch[column] < "!").any():
            is_blank = pl.col(column).str.strip_chars() == ""
            if batch.select(is_blank.any()).item():
                _complain(log, batch, first_row, is_blank, column)
    if WEIGHT in batch.columns:
        is_good = (pl.col(WEIGHT).is_finite() & (pl.col(WEIGHT) >= 0)).fill_null(False)
        if not batch.select(is_good.all()).item():
            _complain(log, batch, first_row, ~is_good, WEIGHT)
    time_ms = batch[TIME_MS]
    earliest, latest = time_ms.min(), time_ms.max()
    if earliest is None or latest is None:
        return
    if int(earliest) < MIN_TIME_MS or int(latest) >= MAX_TIME_MS:  # type: ignore[arg-type]
        _complain(log, batch, first_row, ~pl.col(TIME_MS).is_between(MIN_TIME_MS, MAX_TIME_MS, "left"), TIME_MS)


def count_positives(batch: pl.DataFrame) -> int:
    """Number of positive events."""
    return int(np.count_nonzero(batch[ACTION].to_numpy() & POSITIVE))


def _complain(log: Log, batch: pl.DataFrame, first_row: int, is_bad: pl.Expr, column: str) -> None:
    bad = batch.select(pl.arg_where(is_bad)).to_series()
    row, ours = first_row + int(bad[0]), batch[column][int(bad[0])]
    place, value = f"event {row + 1} of the log", ours
    name = column
    if log.raw is not None and column in log.raw_columns:
        name = log.raw_columns[column]
        file, in_file, value = _raw_row(log.raw, name, row)
        place = f"{file}, row {in_file + 1}" if file else place
    more = f" (and {len(bad) - 1} more of {len(batch)} rows read together)" if len(bad) > 1 else ""
    if column == TIME_MS:
        raise LogError(f"{log.name}: {place}{more}: {_time_trouble(name, value, ours)}")
    got = "found none" if value is None else f"got {value!r}"
    what, mend = "a value", "drop such rows from the log first"
    if column == WEIGHT:
        what, mend = "a finite number, 0 or more", "mend such rows, or drop them from the log first"
    elif isinstance(value, int):
        what, mend = (
            "a 64-bit integer or text",
            f"read the column as text: types = {{ {name} = 'text' }}, or store it so",
        )
        if log.files and has_types(log.files[0]):
            mend = f"store the column as text: with Polars, `pl.col({name!r}).cast(pl.String)`"
    raise LogError(f"{log.name}: {place}{more}: column {name!r} ({column}) must hold {what}, {got}; {mend}")


def _raw_row(raw: pl.LazyFrame, column: str, row: int) -> tuple[str, int, object]:
    """File, place within the file and value of one raw row."""
    has_file = FILE in raw.collect_schema()
    wanted = [column, FILE] if has_file else [column]
    found = raw.select(wanted).slice(row, 1).collect()
    if not has_file:
        return "", row, found[column][0]
    file = found[FILE][0]
    before = raw.select(FILE).head(row).filter(pl.col(FILE) != file).select(pl.len()).collect().item()
    return str(file), row - int(before), found[column][0]


def _time_trouble(name: str, value: object, ours: object) -> str:
    if ours is None:
        return f"column {name!r} holds no readable time, got {value!r}; correct it, or set the time's unit or format"
    guess = _guess_unit(value)
    return (
        f"column {name!r} gives a time outside 1980..2100, got {value!r} = {ours} ms since 1970; "
        + (f"it would be plausible in {guess!r}: check the time's unit, " if guess else "check the time's unit, ")
        + "and that all rows have the same one"
    )


def _guess_unit(value: object) -> str | None:
    if not isinstance(value, int | float) or value <= 0:
        return None
    for unit, in_ms in (("s", 1e3), ("ms", 1.0), ("us", 1e-3), ("ns", 1e-6)):
        if MIN_TIME_MS <= value * in_ms < MAX_TIME_MS:
            return unit
    return None
