"""The generated world has the habits it was given: determinism, time, position, interests, popularity, drift."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from sessionrec import schema
from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.logs.synthetic import days as days_module
from sessionrec.logs.synthetic.days import INTENT, INTEREST, OTHER, Slates, World, days, make_world
from sessionrec.logs.synthetic.reader import SyntheticConfig
from sessionrec.logs.synthetic.world import split_over_days

CONFIG = SyntheticConfig(num_users=300, num_items=4_000, num_days=10, events=120_000, seed=11)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(CONFIG)


@pytest.fixture(scope="module")
def log(world: World) -> list[Slates]:
    return list(days(world))


def together(log: list[Slates], name: str) -> npt.NDArray[np.generic]:
    arrays: list[npt.NDArray[np.generic]] = [getattr(slates, name) for slates in log]
    return np.concatenate(arrays)


def test_equal_configs_give_equal_bits_and_another_seed_other_ones() -> None:
    small = CONFIG.model_copy(update={"events": 5_000})
    events = small.open().events.collect()
    assert events.equals(small.open().events.collect())
    assert not events.equals(small.model_copy(update={"seed": 12}).open().events.collect())


@pytest.mark.parametrize("events", [1, 7, 999, 5_000])
def test_the_number_of_events_is_exact(events: int) -> None:
    config = CONFIG.model_copy(update={"events": events})
    assert config.open().events.select(pl.len()).collect().item() == events
    assert split_over_days(config).sum() == events


def test_requests_are_numbered_in_time_and_show_distinct_videos(log: list[Slates]) -> None:
    request, position, item = (together(log, name) for name in ("request", "position", "item"))
    frame = pl.DataFrame({"request": request, "position": position, "item": item, "time": together(log, "time_ms")})
    assert frame["time"].is_sorted()
    requests = frame.group_by("request", maintain_order=True).agg(
        pl.len(),
        pl.col("item").n_unique().alias("distinct"),
        pl.col("position").max().alias("last"),
        pl.col("time").n_unique().alias("times"),
    )
    assert requests["request"].to_list() == list(range(len(requests)))
    assert (requests["len"] == requests["distinct"]).all()
    assert (requests["len"] == requests["last"] + 1).all()
    assert requests["times"].max() == 1
    assert requests["len"].max() == CONFIG.slate_size


def test_a_small_world_still_shows_distinct_videos() -> None:
    # 10 per category are uploaded before the log begins, and all six places may want the same category.
    config = SyntheticConfig(num_users=5, num_items=120, num_days=2, events=3_000, popularity_exponent=2.0)
    events = config.open().events.collect()
    assert events.select(schema.SESSION, schema.ITEM).is_duplicated().sum() == 0


def test_chunks_hold_whole_requests_of_one_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(days_module, "CHUNK_EVENTS", 1_000)
    chunks = list(days(world))
    assert max(len(slates.item) for slates in chunks) <= 1_000
    assert sum(len(slates.item) for slates in chunks) == CONFIG.events
    ends = [(slates.request[0], slates.request[-1]) for slates in chunks]
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(ends))
    start_ms = CONFIG.start_s * 1_000
    for slates in chunks:
        assert ((slates.time_ms - start_ms) // 86_400_000 == slates.day).all()


def test_no_video_is_shown_before_its_upload(world: World, log: list[Slates]) -> None:
    for slates in log:
        assert (world.items.upload_s[slates.item] <= slates.time_ms // 1_000).all()


def test_new_videos_are_shown_within_days_of_their_upload(world: World, log: list[Slates]) -> None:
    last = log[-1]
    age_s = last.time_ms // 1_000 - world.items.upload_s[last.item]
    is_new = world.items.upload_s[last.item] >= CONFIG.start_s
    assert is_new.mean() > 0.3
    assert (age_s < 2 * 86_400).any()


def test_the_positive_share_is_as_configured(log: list[Slates]) -> None:
    assert abs(float(together(log, "positive").astype(np.float64).mean()) - CONFIG.positive_share) < 0.02


def test_clicks_fall_with_the_position(log: list[Slates]) -> None:
    position, positive = together(log, "position"), together(log, "positive")
    rates = [float(positive[position == place].astype(np.float64).mean()) for place in range(CONFIG.slate_size)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.3 * rates[-1]


def test_interests_and_intents_are_clicked_more_than_others(log: list[Slates]) -> None:
    affinity, positive = together(log, "affinity"), together(log, "positive")
    other, interest, intent = (
        float(positive[affinity == kind].astype(np.float64).mean()) for kind in (OTHER, INTEREST, INTENT)
    )
    assert intent > 1.2 * interest > 1.2 * 1.8 * other


def test_stronger_signals_and_watch_time_agree_with_the_positive_one(world: World, log: list[Slates]) -> None:
    for slates in log:
        for flags in slates.signals.values():
            assert not (flags & ~slates.positive).any()
        share = slates.playing_ms / world.items.duration_ms[slates.item]
        assert ((share >= 0.3) == slates.positive).all()
        assert ((share >= 1.0) == slates.signals["long_view"]).all()


def test_popularity_is_like_zipf(log: list[Slates]) -> None:
    counts = np.sort(np.bincount(together(log, "item").astype(np.int64), minlength=CONFIG.num_items))[::-1]
    middle = np.arange(20, CONFIG.num_items // 4)
    slope = np.polyfit(np.log(middle + 1), np.log(counts[middle]), 1)[0]
    assert -1.0 < slope < -0.5
    assert counts[: CONFIG.num_items // 10].sum() > 0.3 * CONFIG.events
    assert (counts > 0).mean() > 0.9


def test_users_differ_in_activity_and_days_have_a_rhythm(log: list[Slates]) -> None:
    counts = np.sort(np.bincount(together(log, "user").astype(np.int64), minlength=CONFIG.num_users))
    assert counts[-CONFIG.num_users // 10 :].sum() > 0.3 * CONFIG.events
    hour = (together(log, "time_ms").astype(np.int64) // 3_600_000 + 8) % 24
    by_hour = np.bincount(hour, minlength=24)
    assert by_hour[19:23].min() > 3 * by_hour[2:6].max()


def test_interests_drift_over_the_days() -> None:
    def favourites(config: SyntheticConfig, day: int) -> list[set[int]]:
        """Categories of each user's clicks."""
        world, sets = make_world(config), [set[int]() for _ in range(config.num_users)]
        for slates in days(world):
            chosen = (slates.day == day) & (slates.affinity == INTENT)
            for user, item in zip(slates.user[chosen], slates.item[chosen], strict=True):
                sets[user].add(int(world.items.category[item]))
        return sets

    def overlap(config: SyntheticConfig) -> float:
        pairs = zip(favourites(config, 0), favourites(config, config.num_days - 1), strict=True)
        shares = [len(first & last) / min(len(first), len(last)) for first, last in pairs if first and last]
        return sum(shares) / len(shares)

    small = CONFIG.model_copy(update={"num_users": 20, "events": 20_000})
    still = small.model_copy(update={"interest_drift": 0.0})
    assert overlap(still) > 0.9
    assert overlap(small.model_copy(update={"interest_drift": 0.5})) < 0.3


def test_a_consecutive_request_of_a_visit_keeps_the_intent(world: World, log: list[Slates]) -> None:
    # What a sequence model can learn: the next request's categories follow from the present one's.
    frame = pl.DataFrame(
        {
            "user": together(log, "user"),
            "request": together(log, "request"),
            "category": world.items.category[together(log, "item").astype(np.int64)],
        }
    )
    main = frame.group_by("user", "request", maintain_order=True).agg(pl.col("category").mode().min())
    same = main.sort("user", "request").select(
        (pl.col("category") == pl.col("category").shift()).over("user").mean().alias("next"),
        (pl.col("category") == pl.col("category").shift(20)).over("user").mean().alias("far"),
    )
    assert same["next"].item() > 1.3 * same["far"].item()


def test_the_lazy_log_can_be_cut_filtered_and_projected() -> None:
    small = CONFIG.model_copy(update={"events": 3_000})
    lazy, whole = small.open().events, small.open().events.collect()
    assert lazy.head(10).collect().equals(whole.head(10))
    assert (
        lazy.filter(pl.col(schema.USER) < 5)
        .select(schema.ITEM)
        .collect()
        .equals(whole.filter(pl.col(schema.USER) < 5).select(schema.ITEM))
    )
    assert lazy.slice(2_000, 5).collect().equals(whole.slice(2_000, 5))


def test_too_few_videos_are_refused_with_the_number_wanted() -> None:
    with pytest.raises(ConfigError, match=r"at least 20 \* slate_size = 120, got 100"):
        parse(SyntheticConfig, {"num_users": 1, "num_items": 100, "events": 10}, "test")
