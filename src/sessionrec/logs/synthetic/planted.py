"""A log whose right answer is known: items come in groups, and a session's group follows from the one before.

In: a `PlantedConfig`. Out: a `Log`. The groups form one cycle in a random order:

    groups        0 -> 3 -> 1 -> 2 -> 0
    user 7        3 | 1 | 2 | 0          a session acts on all items of its group, and is shown some of others

So the next session's items follow from the present one: a model that works reaches Recall@10 = 1. Groups are equally
frequent in every place, so popularity stays near chance, and no group comes twice in a row, so repeating fails.
Shuffled, each session's group is drawn by itself, and nothing can be learnt: what then beats chance has found a leak.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.logs.base import Log
from sessionrec.seeding import stream

_START_MS: Final = 1_704_067_200_000  # 2024-01-01 UTC
_DAY_MS: Final = 86_400_000


class PlantedConfig(Config):
    """Groups of items in a fixed cycle; see the module."""

    kind: Literal["planted"] = "planted"
    """Which reader."""
    num_users: int = Field(default=500, ge=1, le=2**31 - 1)
    """Users; each has every session there is."""
    num_groups: int = Field(default=50, ge=2)
    """Groups of items in the cycle."""
    group_size: int = Field(default=5, ge=1, le=10)
    """Items of a group, at most 10, so that Recall@10 can be 1."""
    sessions_per_user: int = Field(default=8, ge=1)
    """Sessions of each user, one a day."""
    exposures_per_session: int = Field(default=5, ge=0)
    """Items of other groups shown in a session and not acted on."""
    shuffled: bool = False
    """Draw each session's group by itself: the control in which nothing can be learnt."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random draw: equal configs give equal bits on one version of numpy."""

    @model_validator(mode="after")
    def _has_enough_items(self) -> PlantedConfig:
        others = (self.num_groups - 1) * self.group_size
        if self.exposures_per_session > others // 2:
            raise ValueError(
                f"exposures_per_session must be at most half of the {others} items of other groups, "
                f"got {self.exposures_per_session}"
            )
        return self

    def open(self) -> Log:
        """Make the log, in memory: about 30 bytes an event."""
        positives, exposures = _draw_sessions(self)
        num_sessions = len(positives)
        item = np.concatenate([positives, exposures], axis=1)
        action = np.zeros(item.shape, dtype=np.uint16)
        action[:, : self.group_size] = schema.POSITIVE
        # What a session acts on stands anywhere among what it is shown: the order of rows must not tell.
        order = stream(self.seed, "order").permuted(np.tile(np.arange(item.shape[1]), (num_sessions, 1)), axis=1)
        session = np.arange(num_sessions)
        day, user = np.divmod(session, self.num_users)
        time_ms = _START_MS + day * _DAY_MS + user * _DAY_MS // self.num_users
        columns = {
            schema.USER: np.repeat(user, item.shape[1]),
            schema.ITEM: np.take_along_axis(item, order, axis=1).ravel(),
            schema.TIME_MS: np.repeat(time_ms, item.shape[1]),
            schema.ACTION: np.take_along_axis(action, order, axis=1).ravel(),
            schema.SESSION: np.repeat(session, item.shape[1]),
        }
        return Log(
            name="planted",
            events=pl.DataFrame(columns).lazy(),
            items=None,
            actions=(),
            context_features=(),
            item_features=(),
            has_session=True,
            has_weight=False,
            files=(),
            notes="Generated data, shuffled: nothing can be learnt." if self.shuffled else "Generated data.",
        )


def cycle(config: PlantedConfig) -> npt.NDArray[np.int64]:
    """The rule: of each group, the group that comes next; one cycle through all groups."""
    order = stream(config.seed, "cycle").permutation(config.num_groups)
    following = np.empty(config.num_groups, dtype=np.int64)
    following[order] = np.roll(order, -1)
    return following


def _draw_sessions(config: PlantedConfig) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Items acted on and items only shown; one row a session, day by day, all users in each day."""
    num_users, num_sessions = config.num_users, config.num_users * config.sessions_per_user
    if config.shuffled:
        group = stream(config.seed, "groups").integers(0, config.num_groups, num_sessions)
    else:
        following = cycle(config)
        # Beginnings are spread evenly, so that on each day each group is as frequent as any other.
        today = stream(config.seed, "groups").permutation(np.arange(num_users) % config.num_groups)
        group = np.empty((config.sessions_per_user, num_users), dtype=np.int64)
        for day in range(config.sessions_per_user):
            group[day] = today
            today = following[today]
        group = group.ravel()
    positives = group[:, None] * config.group_size + np.arange(config.group_size)
    return positives, _draw_exposures(config, group)


def _draw_exposures(config: PlantedConfig, group: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Distinct items of other groups for each session."""
    rng = stream(config.seed, "exposures")
    num_others = (config.num_groups - 1) * config.group_size
    place = rng.integers(0, num_others, (len(group), config.exposures_per_session))
    while True:
        # A row with a repeat is drawn again as a whole: that keeps all sets of items equally likely.
        place.sort(axis=1)
        again = np.flatnonzero((place[:, 1:] == place[:, :-1]).any(axis=1))
        if not len(again):
            break
        place[again] = rng.integers(0, num_others, (len(again), config.exposures_per_session))
    # Places count the items of other groups only: those from the session's own group on move up by one group.
    return np.where(place >= group[:, None] * config.group_size, place + config.group_size, place)
