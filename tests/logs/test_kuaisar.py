"""KuaiSAR's reader on files of its documented shape, and on files of the generator."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from sessionrec import schema
from sessionrec.errors import LogError
from sessionrec.logs.kuaisar import KuaisarConfig
from sessionrec.logs.synthetic.kuaisar_files import write_kuaisar as generate
from sessionrec.logs.synthetic.reader import SyntheticConfig
from tests.raw_fixtures.kuaishou import KUAISAR_MS, kuaisar_recommendation, write_kuaisar


def test_recommendation_has_its_actions_and_no_session(tmp_path: Path) -> None:
    log = write_kuaisar(tmp_path).config.open()
    events = log.events.collect()
    assert not log.has_session
    assert log.actions == ("forward", "like", "follow", "search")
    # Clicks at 0, 2, 4..; forward every 5th, like every 4th, follow every 6th, search every 3rd row
    assert events[schema.ACTION].head(7).to_list() == [0b11111, 0, 1, 0b10000, 0b101, 0b10, 0b11001]
    # Two rows a request, with the request's time
    assert events[schema.TIME_MS].head(3).to_list() == [KUAISAR_MS, KUAISAR_MS, KUAISAR_MS + 60_000]


def test_search_has_its_sessions_and_any_number_of_clicks_is_positive(tmp_path: Path) -> None:
    write_kuaisar(tmp_path)
    log = KuaisarConfig(path=tmp_path, part="search").open()
    events = log.events.collect()
    assert log.has_session
    assert log.actions == ()
    assert events[schema.SESSION].to_list() == [40] * 3 + [41] * 3 + [42] * 3
    assert events[schema.ACTION].to_list() == [1, 1, 0] * 3
    assert events[schema.TIME_MS].unique(maintain_order=True).to_list() == [KUAISAR_MS + 60_000 * i for i in range(3)]
    assert events["search_source"].unique().to_list() == ["USER_INPUT"]


def test_search_times_written_as_floats_read_the_same(tmp_path: Path) -> None:
    write_kuaisar(tmp_path)
    file = tmp_path / "KuaiSAR_final" / "src_inter.csv"
    before = KuaisarConfig(path=tmp_path, part="search").open().events.collect()
    pl.read_csv(file).with_columns(pl.col("search_session_timestamp").cast(pl.Float64)).write_csv(file)
    assert KuaisarConfig(path=tmp_path, part="search").open().events.collect().equals(before)


def test_videos_are_titled_by_their_categories(tmp_path: Path) -> None:
    items = write_kuaisar(tmp_path).config.open().items
    assert items is not None
    row = items.filter(pl.col(schema.ITEM) == 3).collect().row(0, named=True)
    assert row[schema.TITLE] == "first 3, name_en / second 3, name_en"
    assert (row["author_id"], row["first_level_category_id"], row["upload_type"]) == (3, 31, "LongImport")


def test_without_the_table_of_videos_there_are_no_items(tmp_path: Path) -> None:
    kuaisar_recommendation().write_csv(tmp_path / "rec_inter.csv")
    log = KuaisarConfig(path=tmp_path).open()
    assert log.items is None
    assert log.item_features == ()
    assert log.files == (tmp_path / "rec_inter.csv",)


def test_two_sets_side_by_side_are_not_mixed(tmp_path: Path) -> None:
    for name in ("small", "full"):
        (tmp_path / name).mkdir()
        kuaisar_recommendation().write_csv(tmp_path / name / "rec_inter.csv")
    with pytest.raises(LogError, match=r"expected one rec_inter\.csv, found .*full.* and .*small"):
        KuaisarConfig(path=tmp_path).open()


def test_another_positive_rule_and_other_actions_can_be_set(tmp_path: Path) -> None:
    write_kuaisar(tmp_path)
    config = KuaisarConfig(path=tmp_path, positive='click = 1 AND "like" = 1', actions={"long": "playing_time >= 5000"})
    log = config.open()
    assert log.actions == ("long",)
    assert log.events.collect()[schema.ACTION].head(6).to_list() == [1, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("part", ["recommendation", "search"])
def test_a_generated_log_survives_the_files(tmp_path: Path, part: str) -> None:
    world = SyntheticConfig(
        num_users=40, num_items=600, num_days=4, events=5_000, first_day=datetime.date(2023, 5, 22), seed=2
    )
    generate(world, tmp_path)
    made = world.open().events.with_columns(pl.col(schema.ACTION) & schema.POSITIVE).collect()
    read = KuaisarConfig.model_validate({"path": tmp_path, "part": part}).open().events.collect()
    key = [schema.USER, schema.ITEM, schema.TIME_MS]
    if part == "search":
        key.append(schema.SESSION)
    # Each part holds some whole requests, in the order of the log.
    found = made.join(read.select(key).unique(), on=key, how="semi", maintain_order="left")
    read = read.with_columns(pl.col(schema.ACTION) & schema.POSITIVE)
    assert read.select(*key, schema.ACTION).equals(found.select(*key, schema.ACTION))
    assert 0.15 < len(read) / len(made) < 0.85
