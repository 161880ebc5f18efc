from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from sessionrec.config import parse
from sessionrec.errors import ConfigError, LogError
from sessionrec.logs.table import Column, ItemTable, TableConfig
from sessionrec.pipeline import DataConfig
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


def test_from_python_a_path_may_be_text_and_a_list_a_tuple(tmp_path: Path) -> None:
    loose: dict[str, Any] = {"path": "x.csv", "session": ["a", "b"], "context": [Column(name="device")]}
    assert TableConfig(**loose) == TableConfig(path=Path("x.csv"), session=("a", "b"), context=(Column(name="device"),))
    tree: Any = {"kind": "table", "path": "x.csv"}
    assert DataConfig(log=tree).log == TableConfig(path=Path("x.csv"))
    wrong: list[dict[str, Any]] = [
        {"path": 3},
        {"path": ""},
        {"path": "x.csv", "colour": 1},
        {"path": "x.csv", "user": 1},
    ]
    for keys in wrong:
        with pytest.raises(ValidationError):
            TableConfig(**keys)


EUROPEAN = "Kunde;Artikel;Zeit\n1;'a;b';01.03.2024 09:00\n2;'c';01.03.2024 10:00\n"


def test_another_separator_quote_and_no_header_are_read(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"separator": ";", "quote": "'", "time_unit": "%d.%m.%Y %H:%M"}
    (tmp_path / "log.csv").write_text(EUROPEAN)
    config = TableConfig(path=tmp_path / "log.csv", user="Kunde", item="Artikel", time="Zeit", **keys)
    expected = [(1, "a;b", 1_709_283_600_000), (2, "c", 1_709_287_200_000)]
    assert config.open().events.collect().select("user", "item", "time_ms").rows() == expected
    (tmp_path / "log.csv").write_text(EUROPEAN.partition("\n")[2])
    config = TableConfig(path=tmp_path / "log.csv", names=("user", "item", "time"), **keys)
    assert config.open().events.collect().select("user", "item", "time_ms").rows() == expected
    (tmp_path / "log.csv").write_text(EUROPEAN.replace("'", '"'))
    config = TableConfig(path=tmp_path / "log.csv", user="Kunde", item="Artikel", time="Zeit", **keys | {"quote": ""})
    with pytest.raises(LogError, match=r"line 2: expected 3 fields .* got 4"):
        config.open().events.collect()


def test_bytes_that_are_no_utf8_are_read_when_asked(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("user,item,time\n1,K\u00f6ln,1\n".encode("latin-1"))
    config = TableConfig(path=tmp_path / "log.csv", encoding="utf8-lossy")
    assert config.open().events.collect()["item"].to_list() == ["K\ufffdln"]


@pytest.mark.parametrize("option", [{"separator": ";;"}, {"separator": ""}, {"separator": "\u00f8"}, {"quote": "''"}])
def test_a_separator_or_quote_is_one_sign(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be one ASCII character, such as ';'"):
        parse(TableConfig, {"path": "x.csv"} | option, "test")


def test_names_that_do_not_fit_the_file_say_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("1,2,3\n")
    with pytest.raises(LogError, match="give `names` as many names as the file has columns"):
        TableConfig(path=tmp_path / "log.csv", names=("user", "item")).open()


@pytest.mark.parametrize("of", ["", "items."])
def test_a_type_of_a_column_that_is_not_there_is_refused(tmp_path: Path, of: str) -> None:
    pl.DataFrame({"user": [1], "item": [7], "time": [1]}).write_csv(tmp_path / "log.csv")
    wrong: dict[str, Any] = {"types": {"itm": "text"}}
    items = ItemTable(path=tmp_path / "log.csv", **wrong) if of else None
    config = TableConfig(path=tmp_path / "log.csv", items=items, **({} if of else wrong))
    with pytest.raises(LogError, match=rf"log\.csv: `{of}types` names a column 'itm', .* did you mean 'item'\?"):
        config.open()


@pytest.mark.parametrize(
    ("option", "value"),
    [("types", {"item": "text"}), ("separator", ";"), ("quote", "'"), ("encoding", "utf8-lossy"), ("names", ("a",))],
)
def test_an_option_of_text_files_is_refused_for_others(tmp_path: Path, option: str, value: Any) -> None:
    pl.DataFrame({"user": [1], "item": [7], "time": [1]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(LogError, match=rf"log\.parquet: `{option}` is for csv, tsv.* and this is parquet; drop it"):
        TableConfig(path=tmp_path / "log.parquet", **{option: value}).open()


@pytest.mark.parametrize(
    ("columns", "keys", "words"),
    [
        ({"user": [1.5]}, {}, "column 'user' as `user`"),
        ({"time": [True]}, {}, "column 'time' as time"),
        ({"gain": ["x"]}, {"weight": "gain"}, "column 'gain' as `weight`"),
        ({"size": [1.5]}, {"context": (Column(name="size"),)}, "column 'size' as category"),
        ({"size": [1.5]}, {"item_features": (Column(name="size"),)}, "column 'size' as category"),
        ({"index": [1]}, {"item_features": (Column(name="index"),)}, "feature 'index': the name is reserved"),
        ({}, {"positive": "clicked = 1"}, "`positive` = 'clicked = 1': no column 'clicked'"),
    ],
)
def test_what_is_wrong_with_a_column_is_told_with_its_file(
    tmp_path: Path, columns: dict[str, Any], keys: dict[str, Any], words: str
) -> None:
    pl.DataFrame({"user": [1], "item": [7], "time": [1]} | columns).write_csv(tmp_path / "log.csv")
    with pytest.raises(LogError) as caught:
        TableConfig(path=tmp_path / "log.csv", **keys).open()
    assert str(caught.value).startswith(f"{tmp_path / 'log.csv'}: {words}")
