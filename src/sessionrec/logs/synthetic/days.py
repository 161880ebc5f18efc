"""The stream of shown videos, day by day: what a user is shown, in which request, and what the user does with it.

In: a `WorldConfig`. Out: an iterator of `Slates`, some hundred thousand shown videos each, in the order of time.

A user comes in visits of a few requests. A visit has an intent, one of the user's present interests; a request shows
videos of the intent, of the other interests and of anything. A click is likelier near the top of the request and for
videos that fit. All loops run over days and chunks of requests, none over users, requests or videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sessionrec.logs.synthetic.world import (
    DAY_S,
    FRESH_HOURS,
    NUM_INTERESTS,
    Items,
    Users,
    WorldConfig,
    draw_categories,
    make_items,
    make_users,
    split_over_days,
)
from sessionrec.seeding import stream

CHUNK_EVENTS: Final = 400_000
"""Shown videos made at a time: bounds memory. Part of the definition of the log: another value gives other bits."""
OTHER, INTEREST, INTENT = 0, 1, 2
"""How a shown video's category fits its user: not at all, an interest, the intent of the visit."""

_SHOW_INTENT: Final = 0.55
_SHOW_INTEREST: Final = 0.25
_SHOW_FRESH: Final = 0.3
_NEW_VISIT: Final = 0.3
_ACTIVE: Final = 0.7
_APPEAL: Final = np.array([0.4, 1.0, 1.4], dtype=np.float32)
_INTEREST_SHARE_SUM: Final = np.array([0.5, 0.75, 0.9], dtype=np.float32)
_SIGNAL_RATES: Final = {"long_view": 0.45, "like": 0.04, "follow": 0.008, "forward": 0.006, "comment": 0.012}
SIGNALS: Final = tuple(_SIGNAL_RATES)
"""Actions beyond the positive one, in the order of their bits."""
# Relative traffic of each hour of the day, Beijing time: asleep at four, a bump at lunch, the peak at nine.
_HOURLY: Final = np.array([5, 3, 2, 1, 1, 1, 2, 3, 4, 5, 5, 6, 8, 7, 5, 5, 5, 6, 7, 8, 9, 10, 9, 7], dtype=np.float64)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What stays while the days go by."""

    config: WorldConfig
    items: Items
    users: Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """The requests of one day in the order of time; arrays of one length."""

    user: npt.NDArray[np.int32]
    time_ms: npt.NDArray[np.int64]
    intent: npt.NDArray[np.int16]
    """Category of the visit's intent."""
    length: npt.NDArray[np.int64]
    """Videos shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slates:
    """Shown videos of one day, whole requests, in the order of time; one row a video."""

    day: int
    """Day number, from 0."""
    request: npt.NDArray[np.int64]
    """Request, from 0 over the whole log."""
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    """Position in `Items`; `items.raw_id[item]` is the id in the log."""
    position: npt.NDArray[np.int16]
    """Place in the request, 0 = top."""
    time_ms: npt.NDArray[np.int64]
    """Time of the request, UTC epoch, the same for all its videos."""
    affinity: npt.NDArray[np.int8]
    """The truth behind the clicks: `OTHER`, `INTEREST` or `INTENT`."""
    positive: Bools
    """Watched at least 30 % of the video."""
    signals: dict[str, Bools]
    """`long_view` (watched all of it), `like`, `follow`, `forward`, `comment`; only where `positive`."""
    playing_ms: npt.NDArray[np.int32]
    """Time watched; agrees with `positive` and `long_view`."""


def make_world(config: WorldConfig) -> World:
    """Draw videos and users: some seconds and 0.6 GB for 15 million videos."""
    items = make_items(config)
    return World(config=config, items=items, users=make_users(config, items))


def days(world: World) -> Iterator[Slates]:
    """Make the log, in the order of time; a day with no events yields nothing.

    Args:
        world: From `make_world`. The stream can be made again from it and is the same.
    """
    config = world.config
    interests = world.users.interests.copy()
    first_request = 0
    for day, num_events in enumerate(split_over_days(config).tolist()):
        if day > 0:
            _drift(interests, world, day)
        requests = _draw_requests(world, interests, day, num_events)
        ends = np.cumsum(requests.length)
        begin = chunk = 0
        while begin < len(ends):
            done = int(ends[begin - 1]) if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK_EVENTS, side="right")))
            rng = stream(config.seed, "slates", day, chunk)
            yield _show(rng, world, interests, requests, day=day, begin=begin, end=end, first_request=first_request)
            begin, chunk = end, chunk + 1
        first_request += len(ends)


def _drift(interests: npt.NDArray[np.int16], world: World, day: int) -> None:
    rng = stream(world.config.seed, "drift", day)
    changed = rng.random(interests.shape, dtype=np.float32) < world.config.interest_drift
    interests[changed] = draw_categories(rng, world.items, (int(changed.sum()),))


def _draw_requests(world: World, interests: npt.NDArray[np.int16], day: int, num_events: int) -> Requests:
    config, rng = world.config, stream(world.config.seed, "requests", day)
    length = _draw_lengths(rng, config.slate_size, num_events)
    activity = world.users.activity * (rng.random(config.num_users) < _ACTIVE)
    if not activity.any():
        activity = world.users.activity
    count = rng.multinomial(len(length), activity / activity.sum())
    user = np.repeat(np.arange(config.num_users, dtype=np.int32), count)
    # Requests stand user by user; a visit begins with a user's first request and then by chance.
    is_start = rng.random(len(user)) < _NEW_VISIT
    is_start[(np.cumsum(count) - count)[count > 0]] = True
    visit = np.cumsum(is_start) - 1
    visit_begin = np.flatnonzero(is_start)
    elapsed_s = np.cumsum(rng.exponential(45.0, len(user)) + 5.0)
    elapsed_s -= elapsed_s[visit_begin][visit]
    visit_end = np.append(visit_begin[1:], len(user)) - 1
    begin_s = _draw_seconds(rng, len(visit_begin))
    # A visit that would run past midnight begins earlier; one longer than a day cannot be helped, it is cut below.
    begin_s = np.maximum(0.0, np.minimum(begin_s, DAY_S - 1.0 - elapsed_s[visit_end])) if len(user) else begin_s
    second = np.minimum(begin_s[visit] + elapsed_s, DAY_S - 0.001)
    slot = np.searchsorted(_INTEREST_SHARE_SUM, rng.random(len(visit_begin), dtype=np.float32), side="right")
    intent = interests[user, slot[visit]]
    # Now in the order of time; lengths were drawn independently, so they need no reordering.
    order = np.argsort(second, kind="stable")
    time_ms = ((config.start_s + day * DAY_S + second[order]) * 1_000).astype(np.int64)
    return Requests(user=user[order], time_ms=time_ms, intent=intent[order], length=length)


def _draw_lengths(rng: np.random.Generator, slate_size: int, num_events: int) -> npt.NDArray[np.int64]:
    """Lengths of requests, probability proportional to the length, whose sum is exactly `num_events`."""
    # Every request has a video, so num_events lengths always suffice; usually far fewer do.
    mean = (2 * slate_size + 1) / 3
    num_draws = min(num_events, int(1.1 * num_events / mean + 1_000))
    chance = np.arange(1, slate_size + 1) / (slate_size * (slate_size + 1) / 2)
    length = 1 + np.searchsorted(np.cumsum(chance[:-1]), rng.random(num_draws), side="right")
    ends = np.cumsum(length)
    assert num_events == 0 or ends[-1] >= num_events, (ends[-1], num_events)
    used = int(np.searchsorted(ends, num_events, side="left")) + 1 if num_events else 0
    if used:
        length[used - 1] -= ends[used - 1] - num_events
    return length[:used]


def _draw_seconds(rng: np.random.Generator, size: int) -> npt.NDArray[np.float64]:
    hour_sum = np.concatenate([[0.0], np.cumsum(_HOURLY / _HOURLY.sum())])
    seconds: npt.NDArray[np.float64] = np.interp(rng.random(size), hour_sum, np.arange(25) * 3_600.0)
    return seconds


def _show(
    rng: np.random.Generator,
    world: World,
    interests: npt.NDArray[np.int16],
    requests: Requests,
    *,
    day: int,
    begin: int,
    end: int,
    first_request: int,
) -> Slates:
    """Fill the requests begin..end of a day with videos, and let the users act."""
    length = requests.length[begin:end]
    row = np.repeat(np.arange(begin, end), length)
    position = (np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)).astype(np.int16)
    user, intent, time_ms = requests.user[row], requests.intent[row], requests.time_ms[row]
    hour = ((time_ms // 1_000 - world.config.start_s) // 3_600).astype(np.int32)

    item = _draw_distinct(rng, world, interests, row=row, user=user, intent=intent, hour=hour)
    category = world.items.category[item]
    fits = (interests[user] == category[:, None]).any(axis=1)
    affinity = np.where(category == intent, INTENT, np.where(fits, INTEREST, OTHER)).astype(np.int8)

    chance = _click_scale(world.config)[position] * _APPEAL[affinity] * world.items.quality[item]
    positive = rng.random(len(item), dtype=np.float32) < np.minimum(chance, 0.97)
    signals = {
        name: positive & (rng.random(len(item), dtype=np.float32) < rate) for name, rate in _SIGNAL_RATES.items()
    }
    return Slates(
        day=day,
        request=row + first_request,
        user=user,
        item=item,
        position=position,
        time_ms=time_ms,
        affinity=affinity,
        positive=positive,
        signals=signals,
        playing_ms=_watch(rng, world.items.duration_ms[item], positive, signals["long_view"]),
    )


def _draw_distinct(
    rng: np.random.Generator,
    world: World,
    interests: npt.NDArray[np.int16],
    *,
    row: npt.NDArray[np.int64],
    user: npt.NDArray[np.int32],
    intent: npt.NDArray[np.int16],
    hour: npt.NDArray[np.int32],
) -> npt.NDArray[np.int32]:
    """A video for each place, no video twice in a request."""
    items = world.items
    item = np.empty(len(row), dtype=np.int32)
    todo = np.arange(len(row))
    round_number = 0
    while len(todo):
        kind = rng.random(len(todo), dtype=np.float32)
        category = draw_categories(rng, items, (len(todo),))
        # After some rounds, small categories are exhausted: then anything uploaded so far, each as likely.
        if round_number < 4:
            of_interest = kind < _SHOW_INTENT + _SHOW_INTEREST
            slot = rng.integers(0, NUM_INTERESTS, len(todo), dtype=np.int8)
            category = np.where(of_interest, interests[user[todo], slot], category)
            category = np.where(kind < _SHOW_INTENT, intent[todo], category)
        is_fresh = rng.random(len(todo), dtype=np.float32) < _SHOW_FRESH
        item[todo] = _draw_items(rng, items, category, hour[todo], is_fresh=is_fresh, by_popularity=round_number < 4)
        is_twin = np.zeros(len(row), dtype=np.bool_)
        for apart in range(1, min(world.config.slate_size, len(row))):
            is_twin[apart:] |= (item[apart:] == item[:-apart]) & (row[apart:] == row[:-apart])
        todo = np.flatnonzero(is_twin)
        round_number += 1
    return item


def _draw_items(
    rng: np.random.Generator,
    items: Items,
    category: npt.NDArray[np.int16],
    hour: npt.NDArray[np.int32],
    *,
    is_fresh: Bools,
    by_popularity: bool,
) -> npt.NDArray[np.int32]:
    """One video each of a category, uploaded before the present full hour."""
    end, fresh = items.uploaded[category, hour + FRESH_HOURS], items.uploaded[category, hour]
    begin = np.where(is_fresh & (fresh < end), fresh, items.first[category])
    u = rng.random(len(category))
    if not by_popularity:
        return (begin + np.floor(u * (end - begin)).astype(np.int32)).astype(np.int32)
    low = items.weight_sum[begin]
    found = np.searchsorted(items.weight_sum, low + u * (items.weight_sum[end] - low), side="right") - 1
    # Rounding of the sum can step over the border of the slice by one.
    return np.clip(found, begin, end - 1).astype(np.int32)


def _click_scale(config: WorldConfig) -> npt.NDArray[np.float32]:
    """Click probability at each place for an appeal and a quality of one, so that the mean is `positive_share`."""
    bias = 1.0 / (1.0 + 0.12 * np.arange(config.slate_size))
    # P(length >= place + 1), length ~ l
    weight = np.cumsum(np.arange(config.slate_size, 0, -1))[::-1]
    other = 1.0 - _SHOW_INTENT - _SHOW_INTEREST
    appeal = float(_APPEAL @ np.array([other, 0.7 * _SHOW_INTEREST, _SHOW_INTENT + 0.3 * _SHOW_INTEREST]))
    mean = float(bias @ weight / weight.sum()) * appeal
    return (config.positive_share / mean * bias).astype(np.float32)


def _watch(
    rng: np.random.Generator, duration_ms: npt.NDArray[np.int32], positive: Bools, long_view: Bools
) -> npt.NDArray[np.int32]:
    """Time watched: below 30 % of the video; from 30 % to all of it; all of it and some replays."""
    u = rng.random(len(duration_ms), dtype=np.float32)
    share = np.where(long_view, 1.0 - 0.4 * np.log1p(-u), np.where(positive, 0.31 + 0.68 * u, 0.29 * u))
    return (share * duration_ms).astype(np.int32)
