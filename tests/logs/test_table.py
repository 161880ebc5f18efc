from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sessionrec.config import parse
from sessionrec.errors import ConfigError, LogError
from sessionrec.logs.table import Column, ItemTable, TableConfig
from tests.raw_fixtures.table import rows, write_table


def test_items_join_the_table_of_items_with_what_the_log_says(tmp_path: Path) -> None:
    log = write_table(tmp_path).config.open()
    assert log.items is not None
    items = log.items.collect().sort("item")
    assert items.columns == ["item", "title", "shelf", "price"]
    assert items.row(0) == (100, "tea", "a", 0.0)
    assert items.row(1) == (101, "milk", "b", 1.5)
    assert items.row(4) == (104, None, None, 6.0)


def test_an_item_feature_in_the_log_is_the_first_value_that_is_not_missing(tmp_path: Path) -> None:
    table = pl.DataFrame({"user": [1, 1, 1], "item": [7, 7, 7], "time": [1, 2, 3], "brand": [None, "b", "c"]})
    table.write_csv(tmp_path / "log.csv")
    log = TableConfig(path=tmp_path / "log.csv", item_features=(Column(name="brand"),)).open()
    assert log.items is not None
    assert log.items.collect().rows() == [(7, "b")]


@pytest.mark.parametrize("name", ["log.csv", "log.tsv", "log.ndjson", "log.parquet", "log.feather"])
def test_the_format_of_the_file_changes_nothing(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    table = rows()
    match file.suffix:
        case ".csv":
            table.write_csv(file)
        case ".tsv":
            table.write_csv(file, separator="\t")
        case ".ndjson":
            table.write_ndjson(file)
        case ".parquet":
            table.write_parquet(file)
        case _:
            table.write_ipc(file)
    config = TableConfig(path=file, user="customer", item="sku", time="at", context=(Column(name="device"),))
    events = config.open().events.collect()
    expected = table.select(
        pl.col("customer").alias("user"),
        pl.col("sku").alias("item"),
        (pl.col("at") * 1000).alias("time_ms"),
        pl.lit(1, pl.UInt16).alias("action"),
        "device",
    )
    assert events.equals(expected)


def test_two_columns_together_make_a_session(tmp_path: Path) -> None:
    rows().write_csv(tmp_path / "log.csv")
    config = TableConfig(
        path=tmp_path / "log.csv", user="customer", item="sku", time="at", session=("customer", "visit")
    )
    log = config.open()
    assert log.has_session
    assert "session" not in log.raw_columns
    assert log.events.collect()["session"].to_list()[:2] == ["c0|0", "c1|0"]


def test_text_times_that_cannot_be_read_are_null_and_their_raw_row_is_at_hand(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\n1,2,2024-01-01 00:00:00\n1,3,yesterday\n")
    log = TableConfig(path=tmp_path / "log.csv", time_unit="iso", zone="Asia/Shanghai").open()
    assert log.events.collect()["time_ms"].to_list() == [1_704_038_400_000, None]
    assert log.raw is not None
    assert log.raw.slice(1, 1).collect()[log.raw_columns["time_ms"]].to_list() == ["yesterday"]


def test_an_id_of_another_type_in_the_table_of_items_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1], "item": [7], "time": [1]}).write_csv(tmp_path / "log.csv")
    pl.DataFrame({"item": ["x7"]}).write_csv(tmp_path / "items.csv")
    config = TableConfig(path=tmp_path / "log.csv", items=ItemTable(path=tmp_path / "items.csv"))
    with pytest.raises(LogError, match="expected item ids of the log's type Int64, got String; set `types`"):
        config.open()
    as_text = config.model_copy(update={"types": {"item": "text"}}).open()
    assert as_text.events.collect()["item"].to_list() == ["7"]


def test_two_features_of_one_name_are_refused(tmp_path: Path) -> None:
    rows().write_csv(tmp_path / "log.csv")
    twice = (Column(name="device"), Column(name="device", column="event"))
    config = TableConfig(path=tmp_path / "log.csv", user="customer", item="sku", time="at", context=twice)
    with pytest.raises(LogError, match="`context`: expected different names, got 'device' twice"):
        config.open()


def test_the_config_of_the_docstring_parses() -> None:
    tree = {
        "kind": "table",
        "path": "logs/2024-*.csv",
        "session": ["customer", "visit"],
        "actions": {"buy": "event = 'buy'"},
        "context": [{"name": "device", "kind": "category"}],
        "types": {"sku": "text"},
    }
    assert parse(TableConfig, tree, "test").session == ("customer", "visit")
    with pytest.raises(ConfigError, match="colour"):
        parse(TableConfig, {**tree, "colour": 1}, "test")
