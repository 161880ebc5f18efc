"""A generated log of ratings: no visits, no exposures, and a next item that often follows from the last one.

In: a `RatingsConfig`. Out: an iterator of `Ratings`, some users at a time, each user's in the order of time.

Items come in series, whose order only the rows tell. A user picks series, popular ones more often, none twice, and
rates each from its first item to its last; of the last one as many as are left of the user's ratings:

    series        a0 a1 a2 | b0 b1 b2 | c0 c1 c2
    user 7        b0 b1 b2   a0 a1                  after b0 comes b1; after b2 the beginning of any other series

So nobody rates an item twice, with series of four items three of four ratings follow from the one before, and a model
that looks at the last item beats popularity by far. Most ratings share their second with the one before, and then the
order of the rows is all that tells which was first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from sessionrec.config import Config
from sessionrec.jagged import position_in_row, row_of_element
from sessionrec.seeding import stream

START_S: Final = 957_000_000
"""2000-04-29 09:20 UTC: no rating is older."""

_CHUNK_CHOICES: Final = 4_000_000
"""Pairs of user and series drawn at a time: bounds memory. Part of the definition: another value gives other bits."""
_YEAR_S: Final = 365 * 86_400
_SAME_SECOND: Final = 0.6
_NEW_SITTING: Final = 0.02

Ints = npt.NDArray[np.int64]


class RatingsConfig(Config):
    """A log of ratings: how many of what."""

    num_users: int = Field(ge=1, le=2**31 - 1)
    """Users; their activity is log-normal."""
    num_items: int = Field(ge=2, le=2**31 - 1)
    """Items that can be rated."""
    events: int = Field(ge=1)
    """Ratings in all, exactly."""
    min_user_events: int = Field(default=5, ge=1)
    """Ratings that each user has at least; 20 in MovieLens."""
    series_length: int = Field(default=4, ge=1)
    """Items of a series; the last series may be shorter. 1 = nothing follows from anything."""
    popularity_exponent: float = Field(default=0.8, ge=0.0, le=2.0)
    """Zipf exponent of the popularity of series."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random draw: equal configs give equal bits on one version of numpy."""

    @model_validator(mode="after")
    def _fits(self) -> RatingsConfig:
        least, most = self.num_users * self.min_user_events, self.num_users * self.num_items // 2
        if not least <= self.events <= most:
            raise ValueError(
                f"events must be from {least} ({self.min_user_events} a user) to {most} (half of the items a user), "
                f"got {self.events}"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Some whole users; arrays of one length, users ascending, each user's ratings in the order of time."""

    user: Ints
    """Id, from 1."""
    item: Ints
    """Id, from 1."""
    half_stars: Ints
    """1 to 10."""
    time_s: Ints
    """UTC epoch; often that of the row before."""


def series(config: RatingsConfig) -> Ints:
    """The rule: ids of all items, series after series, each series from its first item to its last."""
    return stream(config.seed, "item ids").permutation(np.arange(1, config.num_items + 1))


def ratings(config: RatingsConfig) -> Iterator[Ratings]:
    """Make the log; about 0.1 GB, whatever its size."""
    items = series(config)
    lengths_U = draw_lengths(config)
    starts = np.arange(0, config.num_items, config.series_length)
    size = np.diff(np.append(starts, config.num_items))
    rank = stream(config.seed, "popularity").permutation(len(starts))
    # An exponential waiting time over a weight: who waits least is drawn first, as if drawn without replacement.
    scale = ((rank + 1.0) ** config.popularity_exponent).astype(np.float32)
    chunk_users = max(_CHUNK_CHOICES // len(starts), 1)
    for chunk, begin in enumerate(range(0, config.num_users, chunk_users)):
        rng = stream(config.seed, "ratings", chunk)
        lengths = lengths_U[begin : begin + chunk_users]
        wait = rng.standard_exponential((len(lengths), len(starts)), dtype=np.float32) * scale
        chosen = np.argsort(wait, axis=1)
        through = np.cumsum(size[chosen], axis=1)
        taken = np.clip(lengths[:, None] - (through - size[chosen]), 0, size[chosen]).ravel()
        offsets = np.append(0, np.cumsum(taken))
        place = np.repeat(starts[chosen.ravel()], taken) + position_in_row(offsets)
        user_offsets = np.append(0, np.cumsum(lengths))
        yield Ratings(
            user=begin + 1 + row_of_element(user_offsets),
            item=items[place],
            half_stars=rng.integers(1, 11, len(place)),
            time_s=_draw_times(rng, user_offsets),
        )


def draw_lengths(config: RatingsConfig) -> Ints:
    """[U] ratings of each user; their sum is exactly `config.events`, none has more than there are items."""
    rng = stream(config.seed, "activity")
    activity = rng.lognormal(0.0, 1.0, config.num_users)
    lengths = np.full(config.num_users, config.min_user_events, np.int64)
    # What a busy user has no items for goes to the others: they have room for it, so this ends.
    while (left := config.events - int(lengths.sum())) > 0:
        weight = activity * (lengths < config.num_items)
        lengths = np.minimum(lengths + rng.multinomial(left, weight / weight.sum()), config.num_items)
    return lengths


def _draw_times(rng: np.random.Generator, user_offsets: Ints) -> Ints:
    """Sittings in which several ratings share a second, days apart."""
    size, first = int(user_offsets[-1]), user_offsets[:-1]
    step = rng.integers(1, 60, size)
    step[rng.random(size) < _SAME_SECOND] = 0
    is_sitting = rng.random(size) < _NEW_SITTING
    step[is_sitting] = rng.integers(3_600, 30 * 86_400, int(is_sitting.sum()))
    step[first] = rng.integers(0, _YEAR_S, len(first))
    passed = np.cumsum(step)
    before = np.repeat(passed[first] - step[first], np.diff(user_offsets))
    return np.asarray(START_S + passed - before, np.int64)
