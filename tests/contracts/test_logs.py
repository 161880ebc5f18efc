"""What every reader owes the batch engine; runs on every reader in the union, so a new one needs a raw fixture."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from sessionrec import schema
from sessionrec.config import parse
from sessionrec.errors import LogError
from sessionrec.logs import LogConfig
from sessionrec.logs.files import FILE
from tests.raw_fixtures import FIXTURES, RawLog

READERS = {reader.model_fields["kind"].default: reader for reader in get_args(get_args(LogConfig)[0])}


@pytest.fixture(params=sorted(READERS))
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> RawLog:
    assert request.param in FIXTURES, f"the reader {request.param!r} has no fixture in tests/raw_fixtures"
    return FIXTURES[request.param](tmp_path)


def test_events_have_the_names_and_types_of_the_schema(raw: RawLog) -> None:
    log = raw.config.open()
    types = log.events.collect_schema()
    required = [schema.USER, schema.ITEM, schema.TIME_MS, schema.ACTION]
    optional = [schema.SESSION] * log.has_session + [schema.WEIGHT] * log.has_weight
    context = [feature.name for feature in log.context_features]
    assert types.names() == required + optional + context
    ids = [schema.USER, schema.ITEM, schema.SESSION] if log.has_session else [schema.USER, schema.ITEM]
    assert all(types[name] in (pl.Int64, pl.String) for name in ids)
    assert types[schema.TIME_MS] == pl.Int64
    assert types[schema.ACTION] == pl.UInt16
    assert not log.has_weight or types[schema.WEIGHT] == pl.Float32
    for feature in log.context_features:
        allowed = (pl.Float64,) if feature.kind == "number" else (pl.Int64, pl.String, pl.Boolean)
        assert types[feature.name] in allowed
    assert log.events.collect().schema == types


def test_every_item_is_named_and_has_the_type_of_the_log(raw: RawLog) -> None:
    log = raw.config.open()
    if log.items is None:
        assert log.item_features == ()
        return
    types = log.items.collect_schema()
    title = [schema.TITLE] if schema.TITLE in types else []
    assert types.names() == [schema.ITEM, *title, *(feature.name for feature in log.item_features)]
    assert types[schema.ITEM] == log.events.collect_schema()[schema.ITEM]
    items = log.items.collect()
    assert items.schema == types
    assert items[schema.ITEM].null_count() == 0


def test_the_first_event_and_the_count_are_as_written(raw: RawLog) -> None:
    events = raw.config.open().events.collect()
    assert events.select(schema.USER, schema.ITEM, schema.TIME_MS, schema.ACTION).row(0) == raw.first
    assert len(events) == raw.num_events


def test_times_are_milliseconds_in_range_and_no_value_is_missing(raw: RawLog) -> None:
    events = raw.config.open().events.collect()
    assert events[schema.TIME_MS].is_between(schema.MIN_TIME_MS, schema.MAX_TIME_MS).all()
    required = [schema.USER, schema.ITEM, schema.TIME_MS, schema.ACTION]
    assert events.select(required).null_count().row(0) == (0, 0, 0, 0)


def test_some_event_is_positive_and_no_bit_is_without_a_name(raw: RawLog) -> None:
    log = raw.config.open()
    action = log.events.collect()[schema.ACTION].to_numpy()
    assert (action & schema.POSITIVE).any()
    assert len(log.actions) <= schema.MAX_ACTIONS
    assert action.max() < 1 << (1 + len(log.actions))


def test_scanning_twice_gives_the_same_rows_in_the_same_order(raw: RawLog) -> None:
    once = raw.config.open().events
    again = raw.config.open().events
    assert once.collect().equals(again.collect())
    assert once.collect().equals(once.collect(engine="streaming"))


def test_raw_rows_stand_beside_the_events(raw: RawLog) -> None:
    log = raw.config.open()
    if log.raw is None:
        assert dict(log.raw_columns) == {}
        return
    rows = log.raw.collect()
    assert len(rows) == raw.num_events
    assert {FILE, *log.raw_columns.values()} <= set(rows.columns)
    user = rows[log.raw_columns[schema.USER]].cast(pl.String)
    assert user.equals(log.events.collect()[schema.USER].cast(pl.String), check_names=False)
    assert set(rows[FILE]) <= {str(file) for file in log.files}


def test_files_of_the_fingerprint_exist(raw: RawLog) -> None:
    files = raw.config.open().files
    assert all(file.is_file() for file in files)
    assert len(set(files)) == len(files)
    assert raw.main is None or raw.main in files


def test_a_config_survives_its_own_json_and_explains_every_key(raw: RawLog) -> None:
    reader = type(raw.config)
    assert parse(reader, json.loads(raw.config.model_dump_json()), "test") == raw.config
    assert [name for name, field in reader.model_fields.items() if not field.description] == []


def test_a_missing_path_is_named(raw: RawLog, tmp_path: Path) -> None:
    if raw.main is None:
        pytest.skip("a generated log has no path")
    nowhere = tmp_path / "nowhere"
    with pytest.raises(LogError, match=r"expected .* found nothing; check `path`") as caught:
        raw.config.model_copy(update={"path": nowhere}).open()
    assert str(nowhere) in str(caught.value)


def test_a_folder_without_the_files_says_what_is_there(raw: RawLog, tmp_path: Path) -> None:
    if raw.main is None or raw.config.kind == "table":
        pytest.skip("takes any file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.md").write_text("nothing")
    with pytest.raises(LogError, match=r"in this folder, found notes\.md"):
        raw.config.model_copy(update={"path": tmp_path / "other"}).open()


def test_a_missing_column_is_named_with_those_that_exist(raw: RawLog) -> None:
    if raw.main is None or raw.column is None:
        pytest.skip("no header")
    _drop_column(raw.main, raw.column)
    with pytest.raises(LogError) as caught:
        raw.config.open()
    assert repr(raw.column) in str(caught.value)
    assert re.search(r"found|among", str(caught.value))


def test_an_empty_file_is_named(raw: RawLog) -> None:
    if raw.main is None:
        pytest.skip("a generated log has no files")
    for sibling in raw.main.parent.glob(f"*{raw.main.suffix}"):
        sibling.write_bytes(b"")
    with pytest.raises(LogError, match="empty file"):
        raw.config.open()


def test_a_file_cut_short_is_named(raw: RawLog) -> None:
    if raw.main is None or raw.main.suffix not in (".parquet", ".feather"):
        pytest.skip("a text file that ends early cannot be told from a short one")
    raw.main.write_bytes(raw.main.read_bytes()[:-20])
    with pytest.raises(LogError, match="cut short") as caught:
        raw.config.open()
    assert str(raw.main) in str(caught.value)


def test_a_text_row_with_too_few_fields_is_named(raw: RawLog) -> None:
    if raw.main is None or raw.main.suffix in (".parquet", ".feather"):
        pytest.skip("no text")
    with raw.main.open("a") as file:
        file.write("1\n")
    with pytest.raises(LogError, match=r"expected \d+ fields as the first line has, got 1: '1'") as caught:
        raw.config.open().events.collect()
    assert str(raw.main) in str(caught.value)


def _drop_column(file: Path, column: str) -> None:
    if file.suffix == ".parquet":
        pl.read_parquet(file).drop(column).write_parquet(file)
    elif file.suffix == ".feather":
        pl.read_ipc(io.BytesIO(file.read_bytes())).drop(column).write_ipc(file)
    else:
        pl.read_csv(file).drop(column).write_csv(file)
