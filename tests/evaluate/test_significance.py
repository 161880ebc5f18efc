from __future__ import annotations

import numpy as np
import pytest

from sessionrec.evaluate.significance import compare, interval


def test_the_interval_is_about_two_standard_errors_wide_on_each_side() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.2, 2500)
    found = interval(values, seed=7)
    error = 0.2 / 50
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.1)
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, covered = np.random.default_rng(1), 0
    for trial in range(200):
        found = interval((rng.random(80) < 0.4).astype(float), seed=trial, resamples=200, level=0.9)
        covered += found.low <= 0.4 <= found.high
    assert 0.83 <= covered / 200 <= 0.96


def test_pairing_sees_a_difference_that_two_intervals_hide() -> None:
    rng = np.random.default_rng(2)
    users = rng.random(400)
    better = users + rng.normal(0.02, 0.05, 400)
    assert interval(users, seed=0).high > interval(better, seed=0).low
    found = compare(better, users, seed=0)
    assert found.is_clear
    assert found.p_value < 0.01
    assert found.mean == pytest.approx((better - users).mean())


def test_equal_systems_do_not_differ() -> None:
    values = np.random.default_rng(3).random(50)
    found = compare(values, values, seed=0)
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert not found.is_clear


def test_noise_alone_is_rarely_called_a_difference() -> None:
    rng = np.random.default_rng(4)
    clear = [compare(rng.random(60), rng.random(60), seed=n, resamples=200).is_clear for n in range(100)]
    assert np.mean(clear) < 0.13


def test_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(5).random(40)
    assert interval(values, seed=1) == interval(values, seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)


def test_weights_count_and_users_without_a_value_do_not() -> None:
    found = interval(np.array([1.0, 0.0, np.nan]), seed=0, weight_U=np.array([3.0, 1.0, 100.0]))
    assert found.mean == 3 / 4
    assert (found.low, found.high) == (0, 1)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="same users, got 2 and 3"):
        compare(np.zeros(2), np.zeros(3), seed=0)
    with pytest.raises(ValueError, match="nothing to draw from"):
        interval(np.array([np.nan]), seed=0)
