from __future__ import annotations

import math
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from sessionrec.baselines import recency
from sessionrec.baselines.recency import RecencyPopularity, RecencyScorer
from sessionrec.dynamics.events import ItemEvents
from sessionrec.scoring import Block

S = 1000
"""A second, in milliseconds."""


def events(pairs: Sequence[tuple[int, int]], num_candidates: int) -> ItemEvents:
    item, time = np.array(pairs, np.int64).reshape(-1, 2).T
    return ItemEvents.of(item, time, num_candidates)


def scores(floor: RecencyPopularity, times: list[int]) -> torch.Tensor:
    block = Block(torch.empty(len(times) * floor.num_candidates), len(times), floor.num_candidates)
    RecencyScorer(floor, np.array(times, np.int64)).fill(slice(0, len(times)), block)
    return block.whole()


def slow_score(pairs: Sequence[tuple[int, int]], item: int, time: int, half_life_s: float) -> float:
    known = [2 ** (-(time - at) / (half_life_s * S)) for which, at in pairs if which == item and at < time]
    return math.log2(sum(known)) if known else -1e30


def test_an_event_counts_half_after_its_half_life() -> None:
    # Item 1 was acted on 10 s and 20 s before the question, item 2 just before, item 3 never.
    floor = RecencyPopularity(events([(1, 0), (1, 10 * S), (2, 20 * S - 1)], 3), half_life_s=10)
    found = scores(floor, [20 * S])[0]
    assert 2 ** found[0].item() == pytest.approx(1 / 4 + 1 / 2)
    assert 2 ** found[1].item() == pytest.approx(1, abs=1e-4)
    assert found[2].item() == pytest.approx(-1e30)


def test_what_would_underflow_keeps_its_order() -> None:
    # Half-lives of a second, a year later: 2^-31,536,000 is zero in any float.
    year = 365 * 86_400 * S
    found = scores(RecencyPopularity(events([(1, 0), (2, 60 * S)], 3), half_life_s=1), [year])[0]
    assert found[1] > found[0] > found[2]


drawn_events = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30).map(lambda t: t * S)), max_size=30)
drawn_times = st.lists(st.integers(-1, 32).map(lambda t: t * S), min_size=1, max_size=8)


@given(drawn_events, drawn_times, st.sampled_from([0.5, 3.0, 100.0]), st.integers(1, 5), st.integers(1, 16))
def test_tables_and_pairs_equal_loops(
    pairs: list[tuple[int, int]], times: list[int], half_life_s: float, checkpoints: int, half_lives: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recency, "_CHECKPOINTS", checkpoints)
        patch.setattr(recency, "_MARK_HALF_LIVES", half_lives)
        floor = RecencyPopularity(events(pairs, 5), half_life_s=half_life_s)
        table = scores(floor, times)
        question, item = (torch.from_numpy(axis.ravel()) for axis in np.indices((len(times), 5)))
        single = RecencyScorer(floor, np.array(times, np.int64)).pairs(question, item + 1)
    expected = [[slow_score(pairs, item, time, half_life_s) for item in range(1, 6)] for time in times]
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-5)
    # Bit for bit, so that a rank and the ranking inside a session see the same ties.
    assert torch.equal(single.view(len(times), 5), table)


@given(drawn_events, drawn_events, st.integers(0, 30).map(lambda t: t * S))
def test_no_event_at_or_after_the_question_changes_a_score(
    pairs: list[tuple[int, int]], more: list[tuple[int, int]], time: int
) -> None:
    later = pairs + [(item, time + at) for item, at in more]
    before = scores(RecencyPopularity(events([*pairs, (1, time)], 5), half_life_s=7), [time])
    after = scores(RecencyPopularity(events([*later, (1, time)], 5), half_life_s=7), [time])
    np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-5)


def test_the_order_of_questions_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    pairs = [(int(item), int(time)) for item, time in rng.integers(1, 50_000, (3000, 2)) % [40, 50_000] + [1, 0]]
    floor = RecencyPopularity(events(pairs, 40), half_life_s=5)
    times = rng.integers(0, 60_000, 500)
    table = scores(floor, times.tolist())
    order = rng.permutation(500)
    assert torch.equal(scores(floor, times[order].tolist()), table[torch.from_numpy(order)])


def test_a_year_of_short_half_lives_keeps_what_float32_would_tie() -> None:
    # Levels are 10^7 half-lives high, where float32 knows whole numbers only; the two items differ by 1/1000.
    year = 365 * 86_400 * S
    pairs = [(3, 0), (1, year - 4 * S), (2, year - 4 * S + 3)]
    found = scores(RecencyPopularity(events(pairs, 3), half_life_s=3), [year])[0]
    assert (found[1] - found[0]).item() == pytest.approx(0.001, abs=1e-5)


def test_many_events_between_questions_are_gone_over_by_a_checkpoint() -> None:
    rng = np.random.default_rng(1)
    pairs = [(int(item), int(time)) for item, time in rng.integers([1, 0], [6, 10**6], (4000, 2))]
    floor = RecencyPopularity(events(pairs, 5), half_life_s=20)
    times = [5, 500_000, 500_100, 999_999]
    together = scores(floor, times)
    assert torch.equal(together, torch.cat([scores(floor, [time]) for time in times]))
    np.testing.assert_allclose(together[2, 3], slow_score(pairs, 4, 500_100, 20), rtol=1e-5)


def test_no_events_at_all_tie_everything() -> None:
    found = scores(RecencyPopularity(events([], 3), half_life_s=1), [5])
    assert len(set(found[0].tolist())) == 1


def test_a_half_life_is_positive() -> None:
    with pytest.raises(ValueError, match="above 0, got 0"):
        RecencyPopularity(events([], 3), half_life_s=0)
