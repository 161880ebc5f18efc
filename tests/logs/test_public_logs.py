"""What is special about each public format; what all share is in the contract suite."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sessionrec.errors import LogError
from sessionrec.logs.amazon import FIRST_MS, AmazonConfig
from sessionrec.logs.ebnerd import EbnerdConfig
from sessionrec.logs.globo import GloboConfig
from sessionrec.logs.kuairand import KuairandConfig
from sessionrec.logs.movielens import MovielensConfig
from tests.raw_fixtures.public import (
    START_S,
    ebnerd_behaviors,
    kuairand_rows,
    write_amazon,
    write_ebnerd,
    write_globo,
    write_kuairand,
)

DAY_MS = 86_400_000


def test_amazon_times_count_days_inside_each_user(tmp_path: Path) -> None:
    events = write_amazon(tmp_path).config.open().events.collect()
    days = ((events["time_ms"] - FIRST_MS) // DAY_MS).to_list()
    assert days == [0, 1, 2, 3] * 3


def test_amazon_users_may_be_interleaved(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 5\n2 6\n1 7\n")
    events = AmazonConfig(path=tmp_path, step_s=10).open().events.collect()
    assert events["time_ms"].to_list() == [FIRST_MS, FIRST_MS, FIRST_MS + 10_000]


def test_globo_hours_are_read_in_order_and_all_clicks_are_positive(tmp_path: Path) -> None:
    log = write_globo(tmp_path).config.open()
    events = log.events.collect()
    assert events["time_ms"].is_sorted()
    assert events["action"].to_list() == [1] * 12
    assert [file.name for file in log.files] == ["clicks_hour_000.csv", "clicks_hour_002.csv"]


def test_globo_as_one_parquet_gives_the_same_events(tmp_path: Path) -> None:
    expected = write_globo(tmp_path).config.open().events.collect()
    table = pl.concat([pl.read_csv(tmp_path / f"clicks_hour_00{hour}.csv") for hour in (0, 2)])
    table.cast({"user_id": pl.Int32}).write_parquet(tmp_path / "all.parquet")
    assert GloboConfig(path=tmp_path / "all.parquet").open().events.collect().equals(expected)


def test_kuairand_actions_follow_the_feedback_columns(tmp_path: Path) -> None:
    log = write_kuairand(tmp_path).config.open()
    assert log.actions == ("long_view", "like", "follow", "comment", "forward", "hate")
    action = log.events.collect()["action"].to_list()
    # Row 0: click, long view. Row 2: click. Row 3: hate. Row 4: click, long view, like. Row 1: shown only.
    assert action[:5] == [0b11, 0, 0b1, 0b1000000, 0b111]


def test_kuairand_random_exposures_are_read_only_when_asked(tmp_path: Path) -> None:
    config = write_kuairand(tmp_path).config
    assert len(config.open().events.collect()) == 12
    assert len(config.model_copy(update={"include_random": True}).open().events.collect()) == 12 + 3


def test_kuairand_exact_repeats_stay(tmp_path: Path) -> None:
    pl.concat([kuairand_rows(4), kuairand_rows(4)]).write_parquet(tmp_path / "val.parquet")
    log = KuairandConfig(path=tmp_path).open()
    assert len(log.events.collect()) == 8
    assert log.items is None


def test_kuairand_items_take_the_first_tag(tmp_path: Path) -> None:
    items = write_kuairand(tmp_path).config.open().items
    assert items is not None
    assert items.collect()["tag"].to_list() == ["3", "12", None, "3", "7", "7", "7"]


def test_kuairand_prefix_becomes_pseudo_sessions_a_day_apart_before_the_log(tmp_path: Path) -> None:
    config = write_kuairand(tmp_path).config.model_copy(update={"prefix": True, "prefix_session_size": 2})
    log = config.open()
    events = log.events.collect()
    assert log.raw is None
    assert len(events) == 6 + 12
    last = START_S * 1000 - 1_000
    # User 0 watched 6, 5, 4, 3, 2: sessions of two from the end are [6], [5, 4], [3, 2].
    expected = [
        (0, 6, last - 3 * DAY_MS + 1, 0b01),
        (0, 5, last - 2 * DAY_MS + 0, 0b01),
        (0, 4, last - 2 * DAY_MS + 1, 0b11),
        (0, 3, last - 1 * DAY_MS + 0, 0b01),
        (0, 2, last - 1 * DAY_MS + 1, 0b01),
    ]
    assert events.select("user", "item", "time_ms", "action").rows()[:5] == expected
    assert events["tab"][:6].null_count() == 6
    assert events["time_ms"][:6].max() < events["time_ms"][6:].min()  # type: ignore[operator]


def test_kuairand_prefix_can_count_only_long_views_as_positive(tmp_path: Path) -> None:
    config = write_kuairand(tmp_path).config.model_copy(update={"prefix": True, "prefix_positive": "long_view"})
    assert config.open().events.collect()["action"][:6].to_list() == [0, 0, 0b11, 0, 0, 0]


@pytest.mark.parametrize("days", [0, 1, 2, 9])
@pytest.mark.parametrize("least", [0, 2, 9])
def test_kuairand_prefix_is_of_users_and_videos_that_the_log_knows(tmp_path: Path, days: int, least: int) -> None:
    """Against a loop over the rows of the log."""
    config = write_kuairand(tmp_path).config.model_copy(update={"prefix": True})
    whole = config.open().events.collect()
    is_log = whole["tab"].is_not_null()
    acted: dict[int, set[int]] = {}
    seen: dict[int, int] = {}
    for user, item, action, session in whole.filter(is_log).select("user", "item", "action", "session").iter_rows():
        seen[item] = seen.get(item, 0) + 1
        if action & 1:
            acted.setdefault(user, set()).add(session)
    some = config.model_copy(update={"prefix_min_days": days, "prefix_min_events": least}).open().events.collect()
    expected = [
        row
        for row in whole.filter(~is_log).iter_rows(named=True)
        if len(acted.get(row["user"], ())) >= days and seen.get(row["item"], 0) >= least
    ]
    kept = some.filter(some["tab"].is_null())
    assert kept.rows(named=True) == expected
    assert some.filter(some["tab"].is_not_null()).equals(whole.filter(is_log))


def test_ebnerd_unfolds_impressions_and_marks_the_click(tmp_path: Path) -> None:
    log = write_ebnerd(tmp_path).config.open()
    events = log.events.collect()
    assert events["item"][:6].to_list() == [9_000_000, 9_000_001, 9_000_002, 9_000_001, 9_000_002, 9_000_003]
    assert events["action"][:6].to_list() == [0, 1, 0, 0, 1, 0]
    assert [feature.name for feature in log.item_features] == ["category", "premium"]


def test_ebnerd_sessions_of_two_weeks_differ_though_their_ids_repeat(tmp_path: Path) -> None:
    events = write_ebnerd(tmp_path).config.open().events.collect()
    assert sorted(set(events["session"])) == ["train|1", "train|2", "validation|1", "validation|2"]


def test_ebnerd_adds_clicks_that_were_not_in_view_and_counts_repeats_once(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    shown = pl.Series("article_ids_inview", [[5, 6, 5], []], dtype=pl.List(pl.Int32))
    clicked = pl.Series("article_ids_clicked", [[9, 6, 9], []], dtype=pl.List(pl.Int32))
    ebnerd_behaviors(2, 0).with_columns(shown, clicked).write_parquet(tmp_path / "train" / "behaviors.parquet")
    log = EbnerdConfig(path=tmp_path).open()
    events = log.events.collect()
    assert events.select("item", "action").rows() == [(5, 0), (6, 1), (9, 1)]
    assert log.items is None


def test_ebnerd_positive_may_ask_for_reading_time(tmp_path: Path) -> None:
    config = write_ebnerd(tmp_path).config.model_copy(update={"positive": "clicked AND next_read_time >= 10"})
    # Impressions 2 and 3 of each week have 10 and 15 seconds.
    assert config.open().events.collect()["action"].sum() == 2 * 2


RATINGS = [(1, 10, 5, START_S), (1, 11, 3, START_S + 1), (2, 10, 4, START_S + 2)]
EXPECTED = [(user, item, at * 1000, int(rating >= 4)) for user, item, rating, at in RATINGS]


def write_layout(folder: Path, layout: str) -> None:
    def lines(separator: str) -> str:
        return "".join(separator.join(map(str, row)) + "\n" for row in RATINGS)

    match layout:
        case "data":
            (folder / "u.data").write_text(lines("\t"))
            flags = "|".join("1" if number in (5, 8) else "0" for number in range(19))
            film = f'10|Caf\u00e9 "Noir" (1995)|01-Jan-1995||http://example.org|{flags}\n'
            (folder / "u.item").write_text(film, encoding="latin-1")
        case "dat":
            (folder / "ratings.dat").write_text(lines("::"))
            (folder / "movies.dat").write_text('10::Caf\u00e9 "Noir" (1995)::Comedy|Drama\n', encoding="latin-1")
        case "csv":
            (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines(","))
            film = 'movieId,title,genres\n10,"Caf\u00e9 ""Noir"" (1995)",Comedy|Drama\n'
            (folder / "movies.csv").write_text(film, encoding="utf-8")
        case _:
            header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            (folder / "ml.inter").write_text(header + lines("\t"))
            header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            (folder / "ml.item").write_text(header + '10\tCaf\u00e9 "Noir"\t1995\tComedy Drama\n', encoding="utf-8")


@pytest.mark.parametrize("layout", ["data", "dat", "csv", "inter"])
def test_movielens_layouts_say_the_same(tmp_path: Path, layout: str) -> None:
    write_layout(tmp_path, layout)
    log = MovielensConfig(path=tmp_path).open()
    assert log.events.collect().rows() == EXPECTED
    assert log.items is not None
    title = 'Caf\u00e9 "Noir"' + (" (1995)" if layout != "inter" else "")
    assert log.items.collect().rows() == [(10, title, "Comedy|Drama", 1995.0)]


def test_movielens_reads_half_stars_and_another_rule(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::10::3.5::1650844800\n1::11::5::1650844801\n")
    log = MovielensConfig(path=tmp_path, positive="rating >= 3.5", actions={"loved": "rating = 5"}).open()
    assert log.events.collect()["action"].to_list() == [1, 3]
    assert log.items is None


def test_a_broken_line_of_films_is_shown(tmp_path: Path) -> None:
    write_layout(tmp_path, "dat")
    (tmp_path / "movies.dat").write_text("10::no genres\n")
    items = MovielensConfig(path=tmp_path).open().items
    assert items is not None
    with pytest.raises((LogError, pl.exceptions.ComputeError), match="expected one film a line, got '10::no genres'"):
        items.collect()
