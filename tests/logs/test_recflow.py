"""RecFlow's reader on files of its documented shape, and on files of the generator."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from sessionrec import schema
from sessionrec.config import parse
from sessionrec.errors import ConfigError, LogError
from sessionrec.logs.recflow import RecflowConfig
from sessionrec.logs.synthetic.reader import SyntheticConfig
from sessionrec.logs.synthetic.recflow_files import write_recflow as generate
from tests.raw_fixtures.kuaishou import RECFLOW_MS, recflow_rows, write_recflow


def test_positives_actions_sessions_and_times_are_as_in_the_rows(tmp_path: Path) -> None:
    log = write_recflow(tmp_path).config.open()
    events = log.events.collect()
    assert log.actions == ("long_view", "like", "follow", "forward", "comment")
    # Events 0..5: every second is watched, 0 and 4 to the end, 4 is liked.
    assert events[schema.ACTION].head(6).to_list() == [0b011, 0, 0b001, 0, 0b111, 0]
    assert events[schema.SESSION].head(6).to_list() == [0, 0, 0, 1, 1, 1]
    assert events[schema.TIME_MS].head(6).to_list() == [RECFLOW_MS] * 3 + [RECFLOW_MS + 60_000] * 3
    assert events[schema.TIME_MS][12] == RECFLOW_MS + 86_400_000 + 4 * 60_000


def test_a_video_has_the_features_of_its_rows(tmp_path: Path) -> None:
    items = write_recflow(tmp_path).config.open().items
    assert items is not None
    first = items.unique(schema.ITEM, keep="first", maintain_order=True)
    assert first.sort(schema.ITEM).collect().rows() == [
        (v, v // 2, v % 2, v % 4, 0, 10_000.0 + 1_000 * v) for v in range(7)
    ]


@pytest.mark.parametrize("where", ["", "realshow", "realshow/2024-01-13.feather"])
def test_root_folder_and_file_are_understood(tmp_path: Path, where: str) -> None:
    write_recflow(tmp_path)
    log = RecflowConfig(path=tmp_path / where).open()
    assert log.events.select(pl.len()).collect().item() == (12 if where.endswith("feather") else 24)


def test_dates_choose_files_and_both_ends_are_included(tmp_path: Path) -> None:
    write_recflow(tmp_path)
    config = parse(RecflowConfig, {"path": str(tmp_path), "from_date": "2024-01-14", "to_date": "2024-01-14"}, "test")
    assert [file.stem for file in config.open().files] == ["2024-01-14"]


def test_dates_without_a_file_say_which_there_are(tmp_path: Path) -> None:
    write_recflow(tmp_path)
    config = RecflowConfig(path=tmp_path, from_date=datetime.date(2024, 2, 1))
    with pytest.raises(LogError, match="from 2024-02-01 to the last, found 2024-01-13 to 2024-01-14; change the dates"):
        config.open()


def test_dates_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not be after to_date 2024-01-13"):
        parse(RecflowConfig, {"path": "x", "from_date": "2024-01-14", "to_date": "2024-01-13"}, "test")


def test_a_file_not_named_by_its_day_is_named_when_dates_are_asked_for(tmp_path: Path) -> None:
    recflow_rows(0).write_ipc(tmp_path / "all.feather")
    assert len(RecflowConfig(path=tmp_path).open().files) == 1
    with pytest.raises(LogError, match=r"all\.feather: expected a name such as 2024-01-13\.feather"):
        RecflowConfig(path=tmp_path, from_date=datetime.date(2024, 1, 13)).open()


def test_other_integer_widths_read_the_same(tmp_path: Path) -> None:
    rows = recflow_rows(0)
    rows.write_ipc(tmp_path / "wide.feather")
    rows.with_columns(pl.exclude("request_timestamp").cast(pl.Int32)).write_ipc(tmp_path / "narrow.feather")
    wide, narrow = (RecflowConfig(path=tmp_path / f"{name}.feather").open() for name in ("wide", "narrow"))
    assert wide.events.collect().equals(narrow.events.collect())
    assert wide.items is not None
    assert narrow.items is not None
    assert wide.items.sort(schema.ITEM).collect().equals(narrow.items.sort(schema.ITEM).collect())


def test_a_generated_log_survives_the_files(tmp_path: Path) -> None:
    world = SyntheticConfig(num_users=40, num_items=600, num_days=4, events=5_000, seed=2)
    generate(world, tmp_path)
    made, read = world.open(), RecflowConfig(path=tmp_path).open()
    assert read.events.collect().equals(made.events.collect())
    assert read.actions == made.actions
    assert read.item_features == made.item_features
    assert read.items is not None
    assert made.items is not None
    shown = read.items.unique().sort(schema.ITEM).collect()
    assert shown.equals(made.items.join(shown.lazy(), on=schema.ITEM, how="semi").sort(schema.ITEM).collect())
