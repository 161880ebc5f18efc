from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from sessionrec.errors import LogError
from sessionrec.logs.base import Feature
from sessionrec.logs.columns import action_mask, feature_column, flag, id_column, joint_id, time_ms, weight_column

BIGGEST = 2**63 - 1
NEW_YEAR = 1_704_067_200_000  # 2024-01-01 00:00:00 UTC


def ids(values: list[object], dtype: pl.DataType | type[pl.DataType]) -> list[object]:
    column = pl.DataFrame({"raw": pl.Series(values, dtype=dtype)})
    return column.select(id_column("raw", column.schema["raw"], "user")).to_series().to_list()


def times(values: list[object], unit: str, *, zone: str = "UTC", dtype: pl.DataType | None = None) -> list[int | None]:
    column = pl.DataFrame({"raw": pl.Series(values, dtype=dtype)})
    result = column.select(time_ms("raw", column.schema["raw"], unit, zone=zone))
    assert result.schema == {"time_ms": pl.Int64}
    return result.to_series().to_list()


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Int128])
def test_the_biggest_id_is_kept_exactly(dtype: type[pl.DataType]) -> None:
    assert ids([1, BIGGEST], dtype) == [1, BIGGEST]


def test_an_id_beyond_int64_becomes_null_for_the_engine_to_report() -> None:
    assert ids([1, 2**63], pl.UInt64) == [1, None]


def test_text_ids_keep_every_letter() -> None:
    assert ids(["\u4f60\u597d", "a b", "007", None], pl.String) == ["\u4f60\u597d", "a b", "007", None]
    assert ids(["x", "y"], pl.Categorical) == ["x", "y"]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Boolean, pl.List(pl.Int64), pl.Datetime("ms")])
def test_a_type_that_is_no_id_is_refused(dtype: pl.DataType) -> None:
    with pytest.raises(LogError, match=r"column 'raw' as `user`: expected integers or text, got .*; .*store it as"):
        id_column("raw", dtype if isinstance(dtype, pl.DataType) else dtype(), "user")


def test_joint_ids_differ_where_the_parts_do() -> None:
    table = pl.DataFrame({"a": ["x|y", "x", None, " "], "b": ["z", "y|z", "z", "z"]})
    keys = table.select(joint_id({"a": pl.String(), "b": pl.String()}, "session")).to_series().to_list()
    assert keys[0] != keys[1]
    assert keys[2] is None and keys[3] is None


@pytest.mark.parametrize(("unit", "scale"), [("s", 1e-3), ("ms", 1), ("us", 1e3), ("ns", 1e6)])
def test_numbers_are_read_in_their_unit(unit: str, scale: float) -> None:
    raw = round(NEW_YEAR * scale)
    assert times([raw], unit) == [NEW_YEAR]
    assert times([str(raw)], unit) == [NEW_YEAR]
    assert times([float(raw)], unit) == [NEW_YEAR]


def test_fractions_of_a_second_are_rounded_to_a_millisecond() -> None:
    assert times([1_704_067_200.1234], "s") == [NEW_YEAR + 123]
    assert times(["1704067200.5", "n/a", " 1704067200"], "s") == [NEW_YEAR + 500, None, NEW_YEAR]


def test_numbers_that_are_no_times_become_null_or_stay_out_of_range() -> None:
    assert times([float("nan"), float("inf"), None], "s") == [None, None, None]
    # Nanoseconds taken for seconds must not wrap around into a legal time.
    assert times([1_704_067_200_000_000_000], "s") == [10**17]


def test_a_float_too_coarse_for_times_is_refused() -> None:
    with pytest.raises(LogError, match="Float32 is too coarse"):
        time_ms("raw", pl.Float32(), "s")


def test_iso_text_is_read_with_and_without_a_zone() -> None:
    text: list[object] = [
        "2024-01-01",
        "2024-01-01 00:00",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00.250",
        "2024-01-01T01:00:00+01:00",
        "2023-12-31T16:00:00-0800",
        "2024-01-01T00:00:00Z",
        "1 January",
        None,
    ]
    assert times(text, "iso") == [NEW_YEAR] * 3 + [NEW_YEAR + 250] + [NEW_YEAR] * 3 + [None, None]


def test_times_without_a_zone_are_taken_in_the_one_given() -> None:
    eight_hours = 8 * 3_600_000
    shanghai = NEW_YEAR - eight_hours
    assert times(["2024-01-01 00:00:00", "2024-01-01T00:00:00Z"], "iso", zone="Asia/Shanghai") == [shanghai, NEW_YEAR]
    assert times([20240101], "%Y%m%d", zone="Asia/Shanghai") == [shanghai]
    assert times(["01.01.2024 08:00"], "%d.%m.%Y %H:%M", zone="Asia/Shanghai") == [NEW_YEAR]
    assert times(["01.01.2024 08:00 +0800"], "%d.%m.%Y %H:%M %z", zone="UTC") == [NEW_YEAR]
    assert times([datetime(2024, 1, 1)], "ms", zone="Asia/Shanghai") == [shanghai]
    assert times([date(2024, 1, 1)], "ms", zone="Asia/Shanghai") == [shanghai]
    assert times([datetime(2024, 1, 1, tzinfo=UTC)], "ms", zone="Asia/Shanghai") == [NEW_YEAR]


def test_clock_changes_skip_an_hour_and_repeat_another() -> None:
    # Copenhagen 2024: at 01:00 UTC on 31 March the clock jumps from 02:00 to 03:00, on 27 October back from 03:00.
    def utc(*at: int) -> int:
        return int(datetime(*at, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]

    local: list[object] = ["2024-03-31 01:30:00", "2024-03-31 02:30:00", "2024-03-31 03:30:00", "2024-10-27 02:30:00"]
    expected = [utc(2024, 3, 31, 0, 30), None, utc(2024, 3, 31, 1, 30), utc(2024, 10, 27, 0, 30)]
    assert times(local, "iso", zone="Europe/Copenhagen") == expected


@pytest.mark.parametrize(
    ("unit", "zone", "message"),
    [
        ("seconds", "UTC", "time unit 'seconds': expected s, ms, us, ns, iso or a format"),
        ("%Q", "UTC", "time format '%Q': expected one that gives a full date"),
        ("%H:%M", "UTC", "time format '%H:%M': expected one that gives a full date"),
        ("iso", "Middle/Earth", "time zone 'Middle/Earth': expected an IANA name"),
    ],
)
def test_units_and_zones_that_mean_nothing_are_refused(unit: str, zone: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        time_ms("raw", pl.String(), unit, zone=zone)


def frame() -> pl.LazyFrame:
    return pl.LazyFrame({"rating": [5, 3, None], "kind": ["a", "b", "c"], "seen": [True, None, False]})


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("true", [True, True, True]),
        ("rating >= 4", [True, False, False]),
        ("rating < 4 OR kind = 'c'", [False, True, True]),
        ("kind IN ('a', 'b') AND NOT seen", [False, False, False]),
        ("seen", [True, False, False]),
        ("rating IS NULL", [False, False, True]),
        ("1 = 1", [True, True, True]),
        ("CASE WHEN rating > 4 THEN kind = 'a' ELSE 2 > 1 END", [True, True, True]),
        ("kind IN ('a') OR rating IN (3)", [True, True, False]),
    ],
)
def test_a_condition_holds_or_not_and_null_counts_as_not(sql: str, expected: list[bool]) -> None:
    rows = frame()
    assert rows.select(flag(sql, "positive", rows).alias("flag"), "kind").collect()["flag"].to_list() == expected


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("rating >", "expected a SQL condition, got: unable to parse"),
        ("ratting >= 4", "no column 'ratting' among rating, kind, seen; did you mean 'rating'"),
        ('kind = "a"', "no column 'a' among .*; text goes in single quotes"),
        ("rating", "expected true or false, got Int64"),
        ("rating >= 'x'", "cannot be computed"),
        ("avg(rating) > 2", "expected one value a row, got an aggregate"),
        ("rating > avg(rating)", "expected one value a row, got an aggregate"),
        ("count(*) > 0", "expected one value a row, got an aggregate"),
        ("rating >= 4 AND count(*) > 0", "expected one value a row, got an aggregate"),
        ("avg(rating) OVER (PARTITION BY kind) > 2", "expected one value a row, got an aggregate"),
        ("(SELECT 1) = 1", "cannot be computed"),
    ],
)
def test_a_condition_that_is_none_names_its_key(sql: str, message: str) -> None:
    with pytest.raises(LogError, match=message) as caught:
        flag(sql, "actions.like", frame())
    assert str(caught.value).startswith(f"`actions.like` = {sql!r}: ")


def test_actions_are_bits_in_the_order_of_their_names() -> None:
    rows = frame()
    mask = action_mask("rating >= 4", {"seen": "seen", "b": "kind = 'b'", "all": "true"}, rows)
    result = rows.select(mask).collect()
    assert result.schema == {"action": pl.UInt16}
    assert result["action"].to_list() == [1 + 2 + 8, 4 + 8, 8]


def test_fifteen_actions_fit_and_sixteen_do_not() -> None:
    rows = frame()
    named = {f"a{number}": "true" for number in range(15)}
    assert rows.select(action_mask("true", named, rows), "kind").collect()["action"].to_list() == [2**16 - 1] * 3
    with pytest.raises(LogError, match="`actions`: expected at most 15 actions, got 16"):
        action_mask("true", {**named, "one_more": "true"}, rows)


def test_features_keep_what_they_are() -> None:
    rows = pl.DataFrame({"a": [True], "b": ["x"], "c": [3], "d": ["2.5"]})
    for name, kind, dtype in (("a", "category", pl.Boolean), ("b", "category", pl.String), ("c", "category", pl.Int64)):
        feature = Feature(name="f", kind=kind)  # type: ignore[arg-type]
        assert rows.select(feature_column(name, rows.schema[name], feature)).schema == {"f": dtype}
    number = Feature(name="f", kind="number")
    texts = pl.DataFrame({"d": [" 1 ", "", " ", None, "1e3", "-.5"]}).select(feature_column("d", pl.String(), number))
    assert texts.to_series().to_list() == [1.0, None, None, None, 1000.0, -0.5]
    with pytest.raises(pl.exceptions.InvalidOperationError, match=r"column 'd'.*1,5"):
        pl.DataFrame({"d": ["1,5"]}).select(feature_column("d", pl.String(), number))
    assert rows.select(feature_column("d", pl.String(), number)).to_series().to_list() == [2.5]


def test_a_feature_with_a_reserved_name_or_a_wrong_type_is_refused() -> None:
    # The last four are columns of the catalogue: a feature of that name used to fail there, in the engine's words.
    for name in ("user", "title", "index", "train_events", "train_positives", "first_seen_ms"):
        with pytest.raises(LogError, match=f"feature '{name}': the name is reserved .* keep it as `column`"):
            feature_column("a", pl.Int64(), Feature(name=name, kind="category"))
    with pytest.raises(LogError, match="column 'a' as category: expected integers, text or booleans, got Float64"):
        feature_column("a", pl.Float64(), Feature(name="f", kind="category"))
    with pytest.raises(LogError, match="column 'a' as number: expected numbers"):
        feature_column("a", pl.List(pl.Int64), Feature(name="f", kind="number"))
    with pytest.raises(LogError, match="column 'a' as `weight`: expected numbers"):
        weight_column("a", pl.String())
