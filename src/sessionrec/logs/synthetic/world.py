"""What the generated world is: its sizes and habits (the config), its videos and its users.

In: a `WorldConfig`. Out: `Items`, `Users` and the number of shown videos of each day, all as numpy arrays.

Videos lie sorted by (category, upload time), so that "the videos of category c uploaded before t" is one slice, and
a popularity-weighted draw from it is one binary search in the running sum of weights:

    category      0  0  0  0 | 1  1  1 | 2 ...
    upload hour  -9 -2  5 30 |-7  1 12 | ...
    weight_sum  0 .2 1. 1.1 ...                 one longer than the videos
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from sessionrec.config import Config
from sessionrec.seeding import stream

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
FRESH_HOURS: Final = 7 * 24
"""A video counts as fresh for this long after its upload."""
NUM_INTERESTS: Final = 4
"""Categories a user is interested in at a time."""
_BEIJING_S: Final = 8 * HOUR_S
_OLDEST_S: Final = 180 * DAY_S


class WorldConfig(Config):
    """A world of short videos: how many of what, and how its users behave."""

    num_users: int = Field(ge=1, le=2**31 - 1)
    """Users; their activity is log-normal, so the busiest have hundreds of times the events of the idlest."""
    num_items: int = Field(ge=1, le=2**31 - 1)
    """Videos there are at the end of the last day; at least 20 times `slate_size`."""
    num_days: int = Field(default=37, ge=1, le=366)
    """Days of the log."""
    events: int = Field(ge=1)
    """Videos shown in all, exactly."""
    slate_size: int = Field(default=6, ge=1, le=50)
    """The most videos one request shows; a length l from 1 to this has a probability proportional to l."""
    positive_share: float = Field(default=0.5, gt=0.0, le=0.6)
    """Share of the shown videos that the user acts on positively, approximately."""
    popularity_exponent: float = Field(default=0.8, ge=0.0, le=2.0)
    """Zipf exponent of the videos' popularity within their category."""
    new_item_share: float = Field(default=0.4, ge=0.0, le=0.5)
    """Share of the videos uploaded during the log; the others are up to 180 days older than it."""
    interest_drift: float = Field(default=0.05, ge=0.0, le=1.0)
    """Probability per day that one interest of a user is replaced by a new one."""
    first_day: datetime.date = datetime.date(2024, 1, 13)
    """First calendar day of the log, Beijing time."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random draw: equal configs give equal bits on one version of numpy."""

    @model_validator(mode="after")
    def _has_enough_items(self) -> WorldConfig:
        if self.num_items < 20 * self.slate_size:
            raise ValueError(
                f"num_items must be at least 20 * slate_size = {20 * self.slate_size}, got {self.num_items}"
            )
        return self

    @property
    def num_categories(self) -> int:
        """Fine categories: one for 50 videos, between 4 and 300."""
        return min(300, max(4, self.num_items // 50))

    @property
    def start_s(self) -> int:
        """First second of the log, UTC epoch."""
        midnight = datetime.datetime.combine(self.first_day, datetime.time(), tzinfo=datetime.UTC)
        return int(midnight.timestamp()) - _BEIJING_S

    def date(self, day: int) -> datetime.date:
        """Calendar day of a day number."""
        return self.first_day + datetime.timedelta(days=day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The videos, sorted by (category, upload time); arrays of length `num_items` unless said."""

    raw_id: npt.NDArray[np.int32]
    """Id in the log, 0 to num_items - 1, in no order."""
    category: npt.NDArray[np.int16]
    """Fine category."""
    coarse_category: npt.NDArray[np.int16]
    """Of each fine category: the coarse one it belongs to; length `num_categories`."""
    author: npt.NDArray[np.int32]
    """Author, from 0; an author stays in one category."""
    upload_s: npt.NDArray[np.int32]
    """Upload time, UTC epoch seconds."""
    upload_type: npt.NDArray[np.int8]
    """Way of upload, 0 to 9."""
    duration_ms: npt.NDArray[np.int32]
    """Length."""
    quality: npt.NDArray[np.float32]
    """Factor of the click probability, 0.6 to 1.4."""
    weight_sum: npt.NDArray[np.float64]
    """Running sum of popularity weights; length `num_items + 1`."""
    first: npt.NDArray[np.int32]
    """Of each fine category: its first video; length `num_categories`."""
    uploaded: npt.NDArray[np.int32]
    """(num_categories, FRESH_HOURS + hours): end of the videos uploaded before hour `h - FRESH_HOURS` of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users; arrays of length `num_users` unless said."""

    activity: npt.NDArray[np.float64]
    """Relative number of requests."""
    interests: npt.NDArray[np.int16]
    """(num_users, NUM_INTERESTS): fine categories on the first day, the strongest first."""
    age: npt.NDArray[np.int8]
    gender: npt.NDArray[np.int8]
    province: npt.NDArray[np.int8]


def make_items(config: WorldConfig) -> Items:
    """Draw the videos. Costs about 40 bytes and 0.5 microseconds a video."""
    num_items, num_categories = config.num_items, config.num_categories
    rng = stream(config.seed, "items")
    share = np.arange(1, num_categories + 1) ** -0.7
    category = np.searchsorted(np.cumsum(share / share.sum()), rng.random(num_items)).clip(max=num_categories - 1)
    category[:num_categories] = np.arange(num_categories)  # none is empty
    upload = _draw_uploads(config, rng)
    # One sort of (category, upload) in one integer is five times as fast as a lexsort.
    key = (category.astype(np.int64) << 32) | upload
    key.sort()
    category, upload_s = (key >> 32).astype(np.int16), (key & 0xFFFFFFFF).astype(np.int32)
    ends = np.searchsorted(category, np.arange(num_categories), side="right")
    first = np.concatenate([[0], ends[:-1]])
    # Each category has at least one video before the log begins, so that a draw never meets an empty slice.
    upload_s[first] = config.start_s - _OLDEST_S - FRESH_HOURS * HOUR_S
    key[first] = (np.arange(num_categories) << 32) | upload_s[first]
    hours = np.arange(-FRESH_HOURS, config.num_days * 24) * HOUR_S + config.start_s
    uploaded = np.searchsorted(key, (np.arange(num_categories)[:, None] << 32) | hours[None, :], side="right")
    del key

    size = (ends - first).astype(np.float64)
    rank = np.floor(rng.random(num_items) * size[category])
    weight_sum = np.zeros(num_items + 1)
    np.cumsum((rank + 1.0) ** -config.popularity_exponent, out=weight_sum[1:])
    num_authors = np.maximum(1, size // 8)
    first_author = np.concatenate([[0], np.cumsum(num_authors)[:-1]])
    author = first_author[category] + np.floor(num_authors[category] * rng.random(num_items) ** 2)
    typical_ms = rng.uniform(12_000, 60_000, num_categories)
    duration_ms = typical_ms[category] * np.exp(0.6 * rng.standard_normal(num_items, dtype=np.float32))
    return Items(
        raw_id=rng.permutation(np.arange(num_items, dtype=np.int32)),
        category=category,
        coarse_category=(np.arange(num_categories) % max(2, num_categories // 8)).astype(np.int16),
        author=author.astype(np.int32),
        upload_s=upload_s,
        upload_type=(10 * rng.random(num_items, dtype=np.float32) ** 3).astype(np.int8),
        duration_ms=duration_ms.clip(3_000, 600_000).astype(np.int32),
        quality=0.6 + 0.8 * rng.random(num_items, dtype=np.float32),
        weight_sum=weight_sum,
        first=first.astype(np.int32),
        uploaded=uploaded.astype(np.int32),
    )


def make_users(config: WorldConfig, items: Items) -> Users:
    """Draw the users."""
    num_users = config.num_users
    rng = stream(config.seed, "users")
    return Users(
        activity=rng.lognormal(0.0, 1.0, num_users),
        interests=draw_categories(rng, items, (num_users, NUM_INTERESTS)),
        age=rng.integers(0, 8, num_users, dtype=np.int8),
        gender=rng.integers(0, 3, num_users, dtype=np.int8),
        province=rng.integers(0, 35, num_users, dtype=np.int8),
    )


def draw_categories(rng: np.random.Generator, items: Items, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Fine categories, each as likely as it has videos."""
    return items.category[rng.integers(0, len(items.category), shape, dtype=np.int32)]


def split_over_days(config: WorldConfig) -> npt.NDArray[np.int64]:
    """Shown videos of each day: weekends have 15 % more; the sum is exactly `config.events`."""
    weekday = (config.first_day.weekday() + np.arange(config.num_days)) % 7
    weight = np.where(weekday >= 5, 1.15, 1.0)
    ends = np.floor(np.cumsum(weight) / weight.sum() * config.events + 0.5).astype(np.int64)
    ends[-1] = config.events
    counts: npt.NDArray[np.int64] = ends - np.append([0], ends[:-1])
    return counts


def _draw_uploads(config: WorldConfig, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    log_s = config.num_days * DAY_S
    is_new = rng.random(config.num_items, dtype=np.float32) < config.new_item_share
    offset_s = np.where(is_new, log_s, -_OLDEST_S) * rng.random(config.num_items)
    return np.floor(offset_s).astype(np.int64) + config.start_s
