"""Histories as callers have them become what the data set holds of the same users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.errors import HistoryError
from sessionrec.recommend import Session, SessionRec
from sessionrec.recommend.coding import Lookup
from sessionrec.recommend.histories import HistoryCoder, time_ms
from tests.shop import day

NOT_A_TIME: Any = "2024-03-01"


@pytest.fixture(scope="module")
def coder(model: SessionRec) -> HistoryCoder:
    return HistoryCoder(model.model)


def raw_log(shop: tuple[Dataset, Path]) -> pl.DataFrame:
    """The shop's log in the columns that a caller hands over."""
    log = pl.read_csv(shop[1].parent / "log.csv")
    return log.select(
        "user",
        "device",
        "price",
        pl.col("sku").alias("item"),
        (pl.col("at") * 1000).alias("time_ms"),
        (pl.col("event") == "buy").alias("positive"),
        (pl.col("gift") == 1).alias("gift"),
    )


def test_a_frame_of_the_raw_log_is_coded_as_the_data_set_was(coder: HistoryCoder, shop: tuple[Dataset, Path]) -> None:
    dataset = shop[0]
    intake = coder.read(raw_log(shop), day(20))
    users = [intake.users[place] for place in intake.place_U]
    assert sorted(users) == sorted(f"u{number}" for number in range(60))
    known = dataset.find_users(users)
    for name in ("user_offsets", "session_offsets", "session_time_ms_S", "item_E", "action_E", "time_ms_E"):
        np.testing.assert_array_equal(getattr(intake.histories, name), getattr(known, name), err_msg=name)
    for name in ("device", "price"):
        np.testing.assert_array_equal(intake.histories.features[name], known.features[name], err_msg=name)
    assert intake.num_unknown_B.sum() == 0


def test_the_order_of_the_rows_of_other_users_changes_nothing(coder: HistoryCoder, shop: tuple[Dataset, Path]) -> None:
    frame = raw_log(shop)
    mixed = frame.sort("time_ms")
    one, other = coder.read(frame, day(20)), coder.read(mixed, day(20))
    where = {user: place for place, user in enumerate(other.users)}
    assert sorted(map(str, one.users)) == sorted(map(str, other.users))
    rows = {one.users[place]: row for row, place in enumerate(one.place_U)}
    for row, place in enumerate(other.place_U):
        user = other.users[place]
        assert where[user] == place
        np.testing.assert_array_equal(
            other.histories.users(row, row + 1).item_E, one.histories.users(rows[user], rows[user] + 1).item_E
        )


def test_without_times_sessions_lie_a_usual_pause_apart(coder: HistoryCoder) -> None:
    intake = coder.read([[["s00"], ["s10", "s11"]]], day(20))
    # Customers come every other day.
    assert (time_ms(day(20)) - intake.histories.session_time_ms_S).tolist() == [4 * 86_400_000, 2 * 86_400_000]
    assert np.diff(intake.histories.session_offsets).tolist() == [1, 2]


def test_shown_items_are_no_positives_and_unknown_items_stay(coder: HistoryCoder) -> None:
    intake = coder.read([[Session(items=["s00", "nope", "never"], shown=["s01"])]], day(20))
    assert (intake.histories.action_E & 1).tolist() == [1, 1, 1, 0]
    assert intake.histories.item_E[1:3].tolist() == [0, 0]
    assert intake.num_unknown_B.tolist() == [2]


def test_a_feature_that_is_no_number_or_missing_is_unknown(coder: HistoryCoder) -> None:
    columns = {"user": ["x"] * 3, "item": ["s00", "s01", "s02"], "time": [day(3)] * 3}
    prices = coder.read(pl.DataFrame(columns | {"price": [float("nan"), None, 1.5]}), day(20)).histories
    assert prices.features["price"].tolist()[:2] == [0, 0]
    assert prices.features["price"][2] > 0
    bare = coder.read(pl.DataFrame(columns), day(20)).histories
    assert bare.features["price"].tolist() == bare.features["device"].tolist() == [0, 0, 0]


def test_users_without_events_are_counted_but_not_coded(coder: HistoryCoder) -> None:
    intake = coder.read([[], [["s00"]], [[]]], day(20))
    assert intake.users == [0, 1, 2]
    assert intake.place_U.tolist() == [1]


def test_no_users_at_all_are_no_mistake(coder: HistoryCoder) -> None:
    assert coder.read([], day(20)).histories.num_users == 0


def test_times_with_and_without_a_zone_mean_what_they_say(coder: HistoryCoder) -> None:
    at = datetime(2024, 3, 2, 12)
    east = datetime(2024, 3, 2, 14, tzinfo=timezone(timedelta(hours=2)))
    assert time_ms(at) == time_ms(at.replace(tzinfo=UTC)) == time_ms(east)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ("s00", "must be a list of users or a data frame, got str"),
        (["s00"], "user 0: a history must be a list of sessions, each a list of item ids, got str"),
        ([["s00", "s01"]], "user 0: a session must be a list of item ids or a `Session`, got 's00'; wrap a single"),
        ([[[None]]], "item ids must be whole numbers or text, got None"),
        ([[[1.5]]], "item ids must be whole numbers or text"),
        ([[Session(items=["s00"], time=day(1)), ["s01"]]], "user 0: 1 of 2 sessions have a time"),
        (
            [[Session(items=["s00"], time=day(2)), Session(items=["s01"], time=day(1))]],
            "sessions must stand oldest first",
        ),
        ([[Session(items=["s00"], time=datetime(1200, 1, 1))]], "expected a time from 1980 to 2100"),
        ([[Session(items="s00")]], "a session's items must be a list of item ids, got 's00'"),
        ([[Session(items=["s00"], time=NOT_A_TIME)]], "a time must be a `datetime`, got '2024-03-01'"),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time_ms": ["now"]}),
            "column `time_ms` must be UTC epoch milliseconds, got String",
        ),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time": [datetime(2024, 3, 1)], "session": [None]}),
            "column `session` has rows without a value",
        ),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time": [datetime(2024, 3, 1)], "positive": [None]}),
            "column `positive` has rows without a value",
        ),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time": [datetime(2024, 3, 1)], "price": ["dear"]}),
            "column `price` must be numbers, got String",
        ),
        (pl.DataFrame({"user": [1], "time_ms": [1]}), "column `item` is missing; there are user, time_ms"),
        (pl.DataFrame({"user": [1], "item": ["a"]}), "column `time_ms` is missing"),
        (pl.DataFrame({"user": [1], "item": ["a"], "time": [5]}), "column `time` must be a datetime, got Int64"),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time_ms": [5]}),
            "row 1: expected a time from 1980 to 2100, got 5 ms",
        ),
        (
            pl.DataFrame({"user": [1, None], "item": ["a", "b"], "time": [datetime(2024, 3, 1)] * 2}),
            "row 2: column `user` must hold a value, found none; drop such rows",
        ),
        (
            pl.DataFrame({"user": [1, 1], "item": ["a", " "], "time": [datetime(2024, 3, 1)] * 2}),
            "row 2: column `item` must hold a value, got ' '",
        ),
        (
            pl.DataFrame({"user": [1, 1], "item": ["a", "a"], "time": [datetime(2024, 3, 1), None]}),
            "row 2: expected a time from 1980 to 2100, found none",
        ),
        (
            pl.DataFrame({"user": [1], "item": ["a"], "time_ms": [1_709_280_000_000], "positive": ["x"]}),
            "column `positive` must be true or false",
        ),
    ],
)
def test_what_cannot_be_read_is_named(coder: HistoryCoder, histories: Any, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        coder.read(histories, day(20))


def test_a_lookup_finds_numbers_written_as_text_and_nothing_else() -> None:
    lookup = Lookup(pl.Series([30, 10, 20]), np.array([1, 2, 3], np.int32))
    assert lookup.codes(pl.Series(["10", "x", "30", "1e1"])).tolist() == [2, 0, 1, 0]
    assert lookup.codes(pl.Series([20, 25])).tolist() == [3, 0]
    assert Lookup(pl.Series([], dtype=pl.String), np.zeros(0, np.int32)).codes(pl.Series(["a"])).tolist() == [0]
