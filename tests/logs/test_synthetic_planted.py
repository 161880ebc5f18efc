"""The planted log keeps its rule, hides it from simple guesses, and loses it when shuffled."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sessionrec import schema
from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.logs.synthetic.planted import PlantedConfig, cycle

CONFIG = PlantedConfig(num_users=120, num_groups=12, group_size=4, sessions_per_user=6, exposures_per_session=5, seed=7)


def groups(config: PlantedConfig) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(sessions, users): the group acted on, read off the events."""
    events = config.open().events.collect()
    positive = events.filter(pl.col(schema.ACTION) == schema.POSITIVE)
    group = (pl.col(schema.ITEM) // config.group_size).unique()
    sessions = positive.group_by(schema.SESSION, maintain_order=True).agg(group.alias("group"))
    assert sessions["group"].list.len().unique().to_list() == [1]
    shape = (config.sessions_per_user, config.num_users)
    found: np.ndarray[tuple[int, int], np.dtype[np.int64]] = sessions["group"].list.first().to_numpy().reshape(shape)
    return found


def test_the_rule_is_one_cycle_through_all_groups() -> None:
    following = cycle(CONFIG)
    visited = [0]
    while len(visited) < CONFIG.num_groups:
        visited.append(int(following[visited[-1]]))
    assert sorted(visited) == list(range(CONFIG.num_groups))
    assert following[visited[-1]] == 0


def test_every_next_session_follows_the_rule() -> None:
    group = groups(CONFIG)
    assert (group[1:] == cycle(CONFIG)[group[:-1]]).all()


def test_popularity_says_nothing_on_any_day() -> None:
    for day in groups(CONFIG):
        assert np.bincount(day, minlength=CONFIG.num_groups).tolist() == [120 // 12] * 12


def test_a_session_acts_on_its_whole_group_and_is_shown_distinct_items_of_others() -> None:
    events = CONFIG.open().events.collect()
    sessions = events.group_by(schema.SESSION).agg(
        pl.len(),
        pl.col(schema.ITEM).n_unique().alias("distinct"),
        (pl.col(schema.ACTION) == schema.POSITIVE).sum().alias("positives"),
        pl.col(schema.USER).n_unique().alias("users"),
        pl.col(schema.TIME_MS).n_unique().alias("times"),
    )
    assert sessions.drop(schema.SESSION).unique().rows() == [(4 + 5, 4 + 5, 4, 1, 1)]
    assert events[schema.ITEM].is_between(0, 12 * 4 - 1).all()


def test_the_order_of_rows_does_not_tell_what_was_acted_on() -> None:
    action = CONFIG.open().events.collect()[schema.ACTION].to_numpy().reshape(-1, 4 + 5)
    share = action.mean(axis=0)
    # 720 sessions: a share of 4/9 has a standard error of 0.0185, so five of them
    assert np.abs(share - 4 / 9).max() < 0.093


def test_shuffled_sessions_are_independent_of_the_one_before() -> None:
    config = CONFIG.model_copy(update={"shuffled": True, "num_users": 500})
    group = groups(config)
    hits = (group[1:] == cycle(config)[group[:-1]]).mean()
    # 2,500 pairs: 1/12 has a standard error of 0.0055, so five of them
    assert abs(hits - 1 / 12) < 0.028


def test_equal_configs_give_equal_logs_and_another_seed_another_one() -> None:
    events = CONFIG.open().events.collect()
    assert events.equals(CONFIG.open().events.collect())
    assert not events.equals(CONFIG.model_copy(update={"seed": 8}).open().events.collect())


def test_too_many_exposures_are_refused_with_the_limit() -> None:
    tree = {"num_groups": 3, "group_size": 2, "exposures_per_session": 3}
    with pytest.raises(ConfigError, match="at most half of the 4 items of other groups, got 3"):
        parse(PlantedConfig, tree, "test")
