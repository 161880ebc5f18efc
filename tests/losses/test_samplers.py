from __future__ import annotations

import math

import pytest
import torch

from sessionrec.losses.samplers import NegativeSampler, Popular, Uniform, distinct_uniform


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Each takes another path: all, ranked random keys, redrawn repeats.
SIZES = [(5, 5), (9, 5), (4, 10), (5, 20), (4, 20), (30, 200), (128, 100_000)]


@pytest.mark.parametrize(("number", "num_candidates"), SIZES)
def test_uniform_rows_are_distinct_ascending_candidates(number: int, num_candidates: int) -> None:
    drawn = distinct_uniform(50, number, num_candidates, random())
    assert drawn.shape == (50, min(number, num_candidates)) and drawn.dtype == torch.int64
    assert int(drawn.min()) >= 1 and int(drawn.max()) <= num_candidates
    assert (drawn[:, 1:] > drawn[:, :-1]).all()


@pytest.mark.parametrize(("number", "num_candidates"), [(2, 5), (3, 15), (6, 30)])
def test_uniform_draws_every_candidate_and_every_set_equally_often(number: int, num_candidates: int) -> None:
    """Chi-square of single candidates and of the sets, each within 4.5 standard deviations of its mean."""
    num_rows = 60_000
    drawn = distinct_uniform(num_rows, number, num_candidates, random(7))
    counts = torch.bincount(drawn.reshape(-1), minlength=num_candidates + 1)[1:].double()
    mean = num_rows * number / num_candidates
    # Without replacement a count varies by the factor (1 - C / V) V / (V - 1) less than a multinomial's.
    factor = (1 - number / num_candidates) * num_candidates / (num_candidates - 1)
    square = float(((counts - mean) ** 2 / mean).sum()) / factor
    freedom = num_candidates - 1
    assert abs(square - freedom) < 4.5 * math.sqrt(2 * freedom)

    num_sets = math.comb(num_candidates, number)
    if num_rows / num_sets < 5:
        return
    _, by_set = torch.unique(drawn, dim=0, return_counts=True)
    assert len(by_set) == num_sets
    mean = num_rows / num_sets
    square = float(((by_set.double() - mean) ** 2 / mean).sum())
    assert abs(square - (num_sets - 1)) < 4.5 * math.sqrt(2 * (num_sets - 1))


@pytest.mark.parametrize("config", [Uniform(number=3), Uniform(number=20), Popular(number=20)], ids=str)
def test_the_generator_decides_alone(config: Uniform | Popular) -> None:
    events = torch.arange(1, 41)
    rows = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + 5)
        sampler = NegativeSampler(config, events, random(seed))
        rows.append(torch.cat([sampler.draw(4)[0], sampler.draw(2)[0]]))
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])


def test_drawing_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for config in (Uniform(number=3), Uniform(number=20), Popular()):
        NegativeSampler(config, torch.arange(1, 41), random()).draw(3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_popular_draws_by_frequency_to_the_beta(beta: float) -> None:
    events = torch.tensor([1, 4, 9, 100, 16])
    items, _ = NegativeSampler(Popular(number=400, beta=beta), events, random()).draw(200)
    assert (items[:, 1:] >= items[:, :-1]).all()
    counts = torch.bincount(items.reshape(-1), minlength=6).double()
    assert counts[0] == 0
    probability = events.double() ** beta / (events.double() ** beta).sum()
    mean = 80_000 * probability
    assert float(((counts[1:] - mean) ** 2 / mean).sum()) < 4 + 4.5 * math.sqrt(8)


def test_popular_never_draws_what_has_no_weight() -> None:
    events = torch.tensor([0, 5, 0, 0, 3, 0])
    items, log_expected = NegativeSampler(Popular(number=64), events, random()).draw(100)
    assert set(items.reshape(-1).tolist()) == {2, 5}
    assert log_expected is not None and torch.isfinite(log_expected).all()


def test_popular_tells_how_often_each_is_expected() -> None:
    events = torch.tensor([1, 4, 9, 100, 16])
    items, log_expected = NegativeSampler(Popular(number=8, beta=1.0), events, random()).draw(3)
    assert log_expected is not None
    for item, value in zip(items.reshape(-1).tolist(), log_expected.reshape(-1).tolist(), strict=True):
        assert value == pytest.approx(math.log(8 * int(events[item - 1]) / 130), abs=1e-6)


def test_corrected_popular_negatives_estimate_the_sum_over_the_catalogue() -> None:
    """Each e^score over its expected number of draws: the mean over draws is the sum over all candidates."""
    events, scores = torch.tensor([1, 4, 9, 100, 16]), torch.tensor([0.3, -1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    items, log_expected = NegativeSampler(Popular(number=16, beta=0.5), events, random()).draw(20_000)
    assert log_expected is not None
    estimates = (scores[items - 1] - log_expected).exp().sum(1)
    error = float(estimates.std()) / math.sqrt(20_000)
    assert abs(float(estimates.mean() - scores.exp().sum())) < 4.5 * error
