"""Faded counts against a loop over events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from sessionrec.dynamics import NEVER, FadedCounts, ItemEvents, ItemState

ITEMS = 4
T0 = 1_704_067_200_000
HALF_LIVES = (0.5, 60.0, 1e6)

Events = Sequence[tuple[int, int]]
"""Item, time in ms after `T0`."""

drawn_events = st.lists(st.tuples(st.integers(1, ITEMS), st.integers(0, 40).map(lambda t: t * 250)), max_size=40)
drawn_times = st.lists(st.integers(-2, 44).map(lambda t: t * 250), min_size=1, max_size=9)


def events_of(events: Events) -> ItemEvents:
    item, time = (np.array([event[column] for event in events], np.int64) for column in (0, 1))
    return ItemEvents.of(item, time + T0, ITEMS)


def plain(events: Events, item: int, time: int, half_life: float) -> float:
    count = sum(2 ** (-(time - at) / 1000 / half_life) for of, at in events if of == item and at < time)
    return math.log2(count) if count else NEVER


def expected(events: Events, time: int) -> list[list[float]]:
    return [[plain(events, item, time, half_life) for half_life in HALF_LIVES] for item in range(1, ITEMS + 1)]


@given(drawn_events, drawn_times)
def test_counts_at_any_time_are_those_of_a_loop(events: Events, times: list[int]) -> None:
    counts = FadedCounts(events_of(events), HALF_LIVES)
    wanted = np.array([expected(events, time) for time in times])
    at = np.repeat(np.array(times) + T0, ITEMS), np.tile(np.arange(1, ITEMS + 1), len(times))
    found = counts.at(*at).reshape(wanted.shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-5, rtol=1e-6)
    for time, want in zip(times, wanted, strict=True):
        np.testing.assert_allclose(counts.state(time + T0).at(time + T0), want, atol=2e-5, rtol=1e-6)


@given(drawn_events, drawn_times)
def test_a_sweep_stands_at_each_question_where_its_own_search_would(events: Events, times: list[int]) -> None:
    counts = FadedCounts(events_of(events), HALF_LIVES)
    seen = []
    for place, state in counts.sweep(np.array(times) + T0):
        own = counts.state(times[place] + T0)
        for name in ("after_VH", "time_ms_V", "first_ms_V"):
            assert np.array_equal(getattr(state, name), getattr(own, name))
        seen.append(place)
    assert sorted(seen) == list(range(len(times)))


@given(drawn_events, st.randoms())
def test_event_by_event_is_the_same_in_whatever_order_they_come(events: Events, random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    end = 11_000 + T0
    wanted = FadedCounts(events_of(events), HALF_LIVES).state(end)
    for order in (sorted(events, key=lambda event: event[1]), shuffled):
        state = ItemState.empty(ITEMS, HALF_LIVES)
        for item, time in order:
            state.add(item, time + T0)
        np.testing.assert_allclose(state.at(end), wanted.at(end), atol=1e-4, rtol=1e-6)
        assert np.array_equal(state.time_ms_V, wanted.time_ms_V)
        assert np.array_equal(state.first_ms_V, wanted.first_ms_V)
        assert np.array_equal(state.is_known_V, np.bincount([item - 1 for item, _ in events], minlength=ITEMS) > 0)


@given(drawn_events, st.integers(0, 40))
def test_many_events_at_once_are_the_same_as_one_by_one(events: Events, cut: int) -> None:
    end = 11_000 + T0
    wanted = FadedCounts(events_of(events), HALF_LIVES).state(end)
    state = ItemState.empty(ITEMS, HALF_LIVES)
    for part in (events[:cut], events[cut:]):
        item, time = (np.array([event[column] for event in part], np.int64) for column in (0, 1))
        state.add_all(item, time + T0)
    np.testing.assert_allclose(state.at(end), wanted.at(end), atol=1e-4, rtol=1e-6)
    for name in ("time_ms_V", "first_ms_V", "is_known_V"):
        assert np.array_equal(getattr(state, name), getattr(wanted, name))
    some = np.array([2, 0, 2])
    assert np.array_equal(state.at(np.full(3, end), some), state.at(end)[some], equal_nan=True)


@given(drawn_events, st.integers(0, 44).map(lambda t: t * 250), st.integers(0, 10**9))
def test_what_happens_at_the_time_or_later_changes_nothing(events: Events, time: int, later: int) -> None:
    moved = [(item, at if at < time else at + later) for item, at in events]
    dropped = [(item, at) for item, at in events if at < time]
    ask = np.full(ITEMS, time + T0), np.arange(1, ITEMS + 1)
    wanted = FadedCounts(events_of(dropped), HALF_LIVES)
    for known in (events, moved):
        counts = FadedCounts(events_of(known), HALF_LIVES)
        assert np.array_equal(counts.at(*ask), wanted.at(*ask))
        (_, state), (_, want) = next(counts.sweep(ask[0][:1])), next(wanted.sweep(ask[0][:1]))
        assert np.array_equal(state.after_VH, want.after_VH)
        assert np.array_equal(state.first_ms_V, want.first_ms_V)


def test_a_year_of_minutes_is_exact() -> None:
    """Levels counted from a beginning would reach a hundred thousand half-lives, and lose all digits in float32."""
    year = 365 * 86_400_000
    times = [0, *range(year - 600_000, year, 1000)]
    events = [(1 + n % 2, time) for n, time in enumerate(times)]
    counts = FadedCounts(events_of(events), (300.0,))
    found = counts.at(np.full(2, year + T0), np.array([1, 2]))[:, 0]
    wanted = [plain(events, item, year, 300.0) for item in (1, 2)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    # They differ in the time of the last event only, by a second of five minutes.
    assert abs(float(found[0] - found[1])) < 0.01
    assert found[0] != found[1]


@pytest.mark.parametrize("half_lives", [(0.0,), (1.0, -1.0), (math.nan,)])
def test_half_lives_are_above_zero(half_lives: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="half_lives_s"):
        FadedCounts(events_of([]), half_lives)


def test_events_that_cannot_be_are_refused() -> None:
    state = ItemState.empty(2, (1.0,))
    for item, time, told in ((0, T0, "item"), (3, T0, "item"), (1, 0, "time_ms")):
        with pytest.raises(ValueError, match=told):
            state.add(item, time)
    assert not state.is_known_V.any()
