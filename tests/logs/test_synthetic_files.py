"""The writers make files of exactly the documented shapes, whole or not at all."""

from __future__ import annotations

import datetime
import logging
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from sessionrec.logs.synthetic import recflow_files
from sessionrec.logs.synthetic.kuaisar_files import FILES, write_kuaisar
from sessionrec.logs.synthetic.recflow_files import write_recflow
from sessionrec.logs.synthetic.world import WorldConfig
from tests.raw_fixtures.kuaishou import (
    RECFLOW_COLUMNS,
    kuaisar_items,
    kuaisar_recommendation,
    kuaisar_search,
)

CONFIG = WorldConfig(num_users=30, num_items=500, num_days=3, events=2_000, seed=5)


@pytest.fixture(scope="module")
def kuaisar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kuaisar")
    write_kuaisar(CONFIG.model_copy(update={"first_day": datetime.date(2023, 5, 22)}), folder)
    return folder


def test_recflow_files_have_the_documented_names_columns_and_integers(tmp_path: Path) -> None:
    files = write_recflow(CONFIG, tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        f"realshow/2024-01-{day}.feather" for day in (13, 14, 15)
    ]
    assert {file.name for file in (tmp_path / "realshow").iterdir()} == {file.name for file in files}
    for file in files:
        with pa.memory_map(str(file)) as source:
            schema = pa.ipc.open_file(source).schema
        assert schema.names == RECFLOW_COLUMNS
        assert all(pa.types.is_integer(kind) for kind in schema.types)


def test_recflow_days_run_from_midnight_to_midnight_in_beijing(tmp_path: Path) -> None:
    files = write_recflow(CONFIG, tmp_path)
    for file in files:
        times = pl.read_ipc(file)["request_timestamp"]
        dates = (
            times.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Shanghai").dt.date()
        )
        assert dates.unique().to_list() == [datetime.date.fromisoformat(file.stem)]


def test_recflow_flags_and_units_agree_with_their_meaning(tmp_path: Path) -> None:
    rows = pl.concat([pl.read_ipc(file) for file in write_recflow(CONFIG, tmp_path)])
    assert len(rows) == CONFIG.events
    watched = pl.col("playing_time") / pl.col("duration")
    told = rows.select(
        ((watched >= 0.3) == (pl.col("effective_view") == 1)).all().alias("effective"),
        ((watched >= 1.0) == (pl.col("long_view") == 1)).all().alias("long"),
        (pl.col("realshow") == 1).all().alias("shown"),
        (pl.col("upload_timestamp") * 1_000 < pl.col("request_timestamp")).all().alias("uploaded before"),
    )
    assert told.row(0) == (True, True, True, True)
    assert rows.group_by("request_id").len()["len"].max() == 6
    # What belongs to a video or a user is the same in all its rows.
    videos = rows.select("video_id", "author_id", "category_level_one", "category_level_two", "duration").unique()
    assert videos["video_id"].is_unique().all()


def test_a_day_without_events_has_a_file_without_rows(tmp_path: Path) -> None:
    files = write_recflow(CONFIG.model_copy(update={"events": 1}), tmp_path)
    assert sorted(len(pl.read_ipc(file)) for file in files) == [0, 0, 1]


def test_a_writer_that_fails_leaves_no_half_file_under_a_real_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> pa.Table:
        raise OSError("disk full")

    monkeypatch.setattr(recflow_files, "_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_recflow(CONFIG, tmp_path)
    assert list(tmp_path.glob("realshow/*.feather")) == []


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("rec_inter.csv", kuaisar_recommendation()),
        ("src_inter.csv", kuaisar_search()),
        ("item_features.csv", kuaisar_items()),
    ],
)
def test_kuaisar_tables_have_the_documented_columns_and_types(kuaisar: Path, name: str, like: pl.DataFrame) -> None:
    # Both are read without help, so what is compared is the text of the files.
    assert pl.read_csv(kuaisar / name).schema == pl.read_csv(like.write_csv().encode()).schema


def test_kuaisar_users_and_network_have_the_documented_columns(kuaisar: Path) -> None:
    assert sorted(file.name for file in kuaisar.iterdir()) == sorted(FILES)
    users = pl.read_csv(kuaisar / "user_features.csv")
    assert users.columns == ["user_id", "search_active_level", "rec_active_level", "onehot_feat1", "onehot_feat2"]
    assert users["user_id"].to_list() == list(range(CONFIG.num_users))
    assert users["onehot_feat1"].is_between(0, 2).all()
    assert users["onehot_feat2"].is_between(0, 7).all()
    network = pl.read_csv(kuaisar / "social_network.csv")
    assert network.columns == ["user_id", "user_follow_id"]
    assert network["user_follow_id"].is_in(users["user_id"].to_list()).all()


def test_kuaisar_texts_are_lists_and_times_of_beijing(kuaisar: Path) -> None:
    search = pl.read_csv(kuaisar / "src_inter.csv")
    assert search["keyword"].str.contains(r"^\[\d+, \d+\]$").all()
    assert search.group_by("search_session_id").agg(pl.col("keyword").n_unique())["keyword"].max() == 1
    shown = pl.read_csv(kuaisar / "rec_inter.csv")
    utc = shown["time"].str.to_datetime().dt.replace_time_zone("Asia/Shanghai").dt.epoch("s")
    assert (utc == (shown["timestamp"] // 1_000).cast(pl.Int64)).all()
    assert pl.read_csv(kuaisar / "item_features.csv")["caption"].str.contains(r"^\[\d+(, \d+)*\]$").all()
    assert (shown["search"] >= shown["search_item_related"]).all()


def test_both_parts_of_kuaisar_together_are_the_whole_log(kuaisar: Path) -> None:
    shown, search = pl.read_csv(kuaisar / "rec_inter.csv"), pl.read_csv(kuaisar / "src_inter.csv")
    assert len(shown) + len(search) == CONFIG.events
    assert abs(len(search) / CONFIG.events - 0.25) < 0.06


def test_writing_twice_gives_the_same_bytes(kuaisar: Path, tmp_path: Path) -> None:
    write_kuaisar(CONFIG.model_copy(update={"first_day": datetime.date(2023, 5, 22)}), tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (kuaisar / name).read_bytes()


def test_the_command_writes_and_explains_a_wrong_size(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sessionrec.logs.synthetic", "--shape", "recflow", "--users", "9", "--days", "2"]
    command += ["--events", "500", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--items", "200"], capture_output=True, text=True, check=True)
    assert "2024-01-14.feather" in done.stderr
    assert len(pl.read_ipc(tmp_path / "realshow" / "2024-01-13.feather")) > 0
    refused = subprocess.run([*command, "--items", "20"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "num_items must be at least" in refused.stderr


def test_the_writers_tell_each_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        write_recflow(CONFIG, tmp_path)
    assert sum("2024-01-1" in message for message in caplog.messages) == 3
