"""Raw columns into the house's own: ids, times, actions, features. Everything here builds expressions and runs none.

In: a raw column's name and type. Out: a `pl.Expr` for `LazyFrame.select`. What the *types* show to be wrong is an error
at once. What only the *values* can show (an unparsable time, an id beyond 2^63 - 1) becomes null, and the batch engine,
which sees the rows, reports it; but text that should be a number and is none stops the reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Final

import polars as pl

from sessionrec import schema
from sessionrec.config import nearest
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature
from sessionrec.logs.files import FILE

_PER_MS: Final = {"us": 1_000, "ns": 1_000_000}
# Beyond any legal time, and small enough that times 1000 stays inside int64 instead of wrapping into the legal range.
_FAR: Final = 10**14


def id_column(column: str, dtype: pl.DataType, as_name: str) -> pl.Expr:
    """Turn a raw column into an id: integers become Int64, text and categories String.

    Unsigned and wide integers beyond 2^63 - 1 become null.

    Args:
        column: Raw column.
        dtype: Its type.
        as_name: Name of the result: `schema.USER`, `schema.ITEM` or `schema.SESSION`.

    Raises:
        LogError: If the type is neither integers nor text.
    """
    if dtype.is_integer() or dtype == pl.Null:
        return pl.col(column).cast(pl.Int64, strict=False).alias(as_name)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return pl.col(column).cast(pl.String).alias(as_name)
    hint = (
        "floats cannot hold every id (whole numbers with gaps are often saved so): store it as integers or text"
        if dtype.is_float()
        else "store it as integers or text, or name another column"
    )
    raise LogError(f"column {column!r} as `{as_name}`: expected integers or text, got {dtype}; {hint}")


def joint_id(columns: Mapping[str, pl.DataType], as_name: str) -> pl.Expr:
    """Combine several id columns into one text key, `a|b`; null where any part is null or blank.

    Args:
        columns: Raw columns and their types, in order.
        as_name: Name of the result.
    """
    texts = [id_column(name, dtype, as_name).cast(pl.String) for name, dtype in columns.items()]
    # Escaping the separator keeps ("a|b", "c") and ("a", "b|c") apart.
    parts = [pl.when(text.str.strip_chars() != "").then(text.str.replace_all(r"([\\|])", r"\$1")) for text in texts]
    return pl.concat_str(parts, separator="|", ignore_nulls=False).alias(as_name)


def time_ms(column: str, dtype: pl.DataType, unit: str = "ms", *, zone: str = "UTC") -> pl.Expr:
    """Turn a raw column into `schema.TIME_MS`: UTC epoch in milliseconds, Int64; what cannot be read becomes null.

    A column that is already a date or a datetime needs no unit. A local time that a clock change skips does not exist
    and becomes null; of the two meanings of a repeated hour the earlier is taken.

    Args:
        column: Raw column: numbers, text, dates or datetimes.
        dtype: Its type.
        unit: Of numbers (also numbers written as text): `s`, `ms`, `us` or `ns`. Of text: `iso`, or a format such as
            `%Y-%m-%d %H:%M:%S`.
        zone: IANA name of the time zone of times that carry none, such as `Asia/Shanghai`.

    Raises:
        LogError: If unit, zone or type cannot be meant.
    """
    _check_zone(zone)
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        result = (_to_utc(value, zone) if dtype.time_zone is None else value).dt.epoch("ms")
    elif dtype == pl.Date:
        result = _to_utc(value.cast(pl.Datetime("ms")), zone).dt.epoch("ms")
    elif unit in ("s", "ms", "us", "ns"):
        result = _from_number(value, dtype, unit, column)
    elif unit == "iso":
        result = _from_iso(_as_text(value, dtype, column), zone)
    elif "%" in unit:
        _check_format(unit)
        parsed = _as_text(value, dtype, column).str.to_datetime(unit, time_unit="us", strict=False)
        has_zone = any(mark in unit for mark in ("%z", "%:z", "%#z", "%+"))
        result = (parsed if has_zone else _to_utc(parsed, zone)).dt.epoch("ms")
    else:
        raise LogError(f"time unit {unit!r}: expected s, ms, us, ns, iso or a format such as '%Y-%m-%d %H:%M:%S'")
    return result.alias(schema.TIME_MS)


def flag(sql: str, what: str, frame: pl.LazyFrame) -> pl.Expr:
    """Compile a condition over the raw columns; null counts as false.

    Args:
        sql: A boolean SQL expression on one row, such as `rating >= 4 AND kind IN ('a', 'b')`.
        what: The config key that holds it, for messages.
        frame: The raw table, for its columns; no row is read.

    Raises:
        LogError: If it does not parse, names an unknown column, or is not one truth value a row.
    """
    example = "write a condition such as `is_click = 1`"
    try:
        expression = pl.sql_expr(sql)
        names = expression.meta.root_names()
    except pl.exceptions.PolarsError as error:
        raise LogError(f"`{what}` = {sql!r}: expected a SQL condition, got: {_first(error)}; {example}") from None
    columns = frame.collect_schema()
    unknown = next((name for name in names if name not in columns), None)
    if unknown is not None:
        there = [name for name in columns.names() if name != FILE]
        hint = nearest(unknown, there) or "; text goes in single quotes"
        raise LogError(f"`{what}` = {sql!r}: no column {unknown!r} among {', '.join(there)}{hint}")
    # Two rows of nulls show what no schema shows: types that do not compare, and aggregates (one row for many).
    probe = pl.DataFrame({name: pl.Series([None, None], dtype=columns[name]) for name in names})
    try:
        tried = probe.select(expression.alias("flag"))["flag"]
    except pl.exceptions.PolarsError as error:
        raise LogError(f"`{what}` = {sql!r}: cannot be computed: {_first(error)}; {example}") from None
    if tried.dtype != pl.Boolean:
        raise LogError(f"`{what}` = {sql!r}: expected true or false, got {tried.dtype}; {example}")
    if _has_aggregate(expression, probe):
        raise LogError(f"`{what}` = {sql!r}: expected one value a row, got an aggregate; {example}")
    return expression.fill_null(False)


def _has_aggregate(expression: pl.Expr, probe: pl.DataFrame) -> bool:
    """Whether some part of an expression is one value for all rows, without being a constant."""
    inputs = expression.meta.pop()
    if not inputs:
        # A leaf that is neither: `count(*)`, which names no column.
        return not (expression.meta.is_literal() or expression.meta.is_column())
    if expression.meta.root_names() and len(probe.select(expression)) != len(probe):
        return True
    return any(_has_aggregate(part, probe) for part in inputs)


def action_mask(
    positive: str,
    actions: Mapping[str, str],
    frame: pl.LazyFrame,
    *,
    key: str = "positive",
    actions_key: str = "actions",
) -> pl.Expr:
    """Build `schema.ACTION`: a UInt16 bit set, bit 0 = positive, bit k = the k-th named action.

    Args:
        positive: SQL condition of a positive event.
        actions: Name and SQL condition of each further action, in order of bits.
        frame: The raw table.
        key: Config key of the positive rule, for messages.
        actions_key: Config key of the actions, for messages.

    Raises:
        LogError: If a condition is wrong (see `flag`) or there are more than `schema.MAX_ACTIONS` actions.
    """
    if len(actions) > schema.MAX_ACTIONS:
        raise LogError(f"`{actions_key}`: expected at most {schema.MAX_ACTIONS} actions, got {len(actions)}; drop some")
    flags = [flag(positive, key, frame)]
    flags += [flag(sql, f"{actions_key}.{name}", frame) for name, sql in actions.items()]
    bits = [pl.lit(1 << bit, pl.UInt16) * condition.cast(pl.UInt16) for bit, condition in enumerate(flags)]
    return reduce(or_, bits).alias(schema.ACTION)


def feature_column(column: str, dtype: pl.DataType, feature: Feature) -> pl.Expr:
    """Turn a raw column into a feature: categories stay integers, text or booleans; numbers become Float64.

    Args:
        column: Raw column.
        dtype: Its type.
        feature: Name of the result and what it is.

    Raises:
        LogError: If the name is reserved or the type cannot be such a feature.
    """
    if feature.name in schema.RESERVED or feature.name == FILE:
        taken = ", ".join(sorted(schema.RESERVED))
        raise LogError(
            f"feature {feature.name!r}: the name is reserved (as are {taken}); "
            "choose another `name` and keep it as `column`"
        )
    value = pl.col(column)
    if feature.kind == "number":
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null)):
            raise LogError(f"column {column!r} as number: expected numbers, got {dtype}; name another column")
        if dtype == pl.String:
            # What is no number stops the run when the rows are read; blank text is a missing value.
            trimmed = value.str.strip_chars()
            value = pl.when(trimmed != "").then(trimmed)
        return value.cast(pl.Float64).alias(feature.name)
    if dtype == pl.Boolean:
        return value.alias(feature.name)
    if dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return id_column(column, dtype, feature.name)
    raise LogError(
        f"column {column!r} as category: expected integers, text or booleans, got {dtype}; "
        "set its kind to 'number' if it is one, or store it as integers or text"
    )


def weight_column(column: str, dtype: pl.DataType) -> pl.Expr:
    """Turn a raw column into `schema.WEIGHT`, Float32.

    Raises:
        LogError: If the column has no numbers.
    """
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise LogError(f"column {column!r} as `weight`: expected numbers, got {dtype}; name another column")
    return pl.col(column).cast(pl.Float32).alias(schema.WEIGHT)


def _from_number(value: pl.Expr, dtype: pl.DataType, unit: str, column: str) -> pl.Expr:
    if dtype == pl.Float32:
        raise LogError(f"column {column!r} as time: Float32 is too coarse (minutes are lost); store it as Int64")
    if dtype == pl.String:
        # A text file with one bad time in its first rows: the good ones must still be read, the bad one becomes null.
        trimmed = value.str.strip_chars()
        whole = _from_number(trimmed.cast(pl.Int64, strict=False), pl.Int64(), unit, column)
        return pl.coalesce(whole, _from_number(trimmed.cast(pl.Float64, strict=False), pl.Float64(), unit, column))
    if dtype.is_integer() or dtype == pl.Null:
        number = value.cast(pl.Int64, strict=False)
        if unit == "s":
            return number.clip(-_FAR, _FAR) * 1000
        return number if unit == "ms" else number // _PER_MS[unit]
    if dtype.is_float():
        number = value * 1000 if unit == "s" else value / _PER_MS.get(unit, 1)
        return number.round().cast(pl.Int64, strict=False)
    raise LogError(f"column {column!r} as time: expected numbers, text or datetimes, got {dtype}; name another column")


def _from_iso(text: pl.Expr, zone: str) -> pl.Expr:
    # Explicit formats, not inference: polars infers from the first value, which is another one in every batch.
    clean = text.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace(r"[zZ]$", "+00:00")
    zoned = [clean.str.to_datetime(f"%Y-%m-%dT%H:%M{rest}%#z", time_unit="us", strict=False) for rest in (":%S%.f", "")]
    naive = [
        _to_utc(clean.str.to_datetime(form, time_unit="us", strict=False), zone)
        for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
    ]
    return pl.coalesce([parsed.dt.epoch("ms") for parsed in (*naive, *zoned)])


def _as_text(value: pl.Expr, dtype: pl.DataType, column: str) -> pl.Expr:
    if dtype in (pl.String, pl.Categorical, pl.Enum) or dtype.is_integer() or dtype == pl.Null:
        return value.cast(pl.String)
    raise LogError(f"column {column!r} as time: expected text, got {dtype}; set the time unit to s, ms, us or ns")


def _to_utc(naive: pl.Expr, zone: str) -> pl.Expr:
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")


def _check_zone(zone: str) -> None:
    try:
        pl.Series([datetime(2000, 1, 1)]).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        raise LogError(f"time zone {zone!r}: expected an IANA name such as UTC or Europe/Copenhagen") from None


def _check_format(form: str) -> None:
    try:
        sample = pl.Series([datetime(2001, 2, 3, 4, 5, 6)]).dt.replace_time_zone("UTC").dt.to_string(form)
        if sample.str.to_datetime(form, strict=False).dt.date().to_list() == [date(2001, 2, 3)]:
            return
    except pl.exceptions.PolarsError:
        pass
    raise LogError(f"time format {form!r}: expected one that gives a full date, such as '%Y-%m-%d %H:%M:%S'")


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
