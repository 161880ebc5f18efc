"""Counts of the public logs themselves, where their folder is given; each is stated by the source or counted once."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from sessionrec.logs import EbnerdConfig, GloboConfig, KuairandConfig, MovielensConfig

pytestmark = pytest.mark.raw


@pytest.fixture
def folder() -> Path:
    """The folder with `ebnerd_demo`, `globo_news`, `kuairand_pure`, `ml_100k`."""
    if "SESSIONREC_RAW" not in os.environ:
        pytest.skip("SESSIONREC_RAW is not set")
    return Path(os.environ["SESSIONREC_RAW"])


def num_positive(events: pl.DataFrame) -> int:
    return int((events["action"].to_numpy() & 1).sum())


def test_ebnerd_demo_has_its_impressions_and_sessions(folder: Path) -> None:
    events = EbnerdConfig(path=folder / "ebnerd_demo").open().events.collect()
    assert len(events) == 583_054
    # 50,393 clicks are listed; 120 of them repeat an article inside one impression.
    assert num_positive(events) == 50_393 - 120
    assert events.select(pl.struct("user", "session").n_unique()).item() == 25_929
    assert events.select(pl.col("user", "item").n_unique()).row(0) == (1_935, 3_729)


def test_half_of_globo_has_its_clicks_and_sessions(folder: Path) -> None:
    events = GloboConfig(path=folder / "globo_news").open().events.collect()
    assert len(events) == num_positive(events) == 1_486_165
    assert events.select(pl.col("user", "item", "session").n_unique()).row(0) == (161_449, 31_282, 522_588)


def test_kuairand_pure_has_its_exposures_and_repeats(folder: Path) -> None:
    events = KuairandConfig(path=folder / "kuairand_pure").open().events.collect()
    assert len(events) == 228_329
    assert len(events.unique(["user", "item", "time_ms"])) == 228_329 - 5_885
    assert events.select(pl.col("user", "item").n_unique()).row(0) == (25_156, 6_361)
    assert round(num_positive(events) / len(events), 3) == 0.442


def test_kuairand_prefix_comes_before_the_log(folder: Path) -> None:
    events = KuairandConfig(path=folder / "kuairand_pure", prefix=True).open().events.collect()
    assert len(events) == 817_187 + 228_329
    made_up = events["tab"].is_null()
    assert made_up.sum() == 817_187
    span = events.group_by("user").agg(
        pl.col("time_ms").filter(pl.col("tab").is_null()).max().alias("last_of_prefix"),
        pl.col("time_ms").filter(pl.col("tab").is_not_null()).min().alias("first_of_log"),
    )
    assert span.drop_nulls().select((pl.col("last_of_prefix") < pl.col("first_of_log")).all()).item()


def test_movielens_100k_has_its_ratings(folder: Path) -> None:
    log = MovielensConfig(path=folder / "ml_100k").open()
    events = log.events.collect()
    assert len(events) == 100_000
    assert events.select(pl.col("user", "item").n_unique()).row(0) == (943, 1_682)
    assert round(num_positive(events) / len(events), 3) == 0.554
    assert log.items is not None
    assert len(log.items.collect()) == 1_682
