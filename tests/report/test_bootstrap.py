"""The intervals of a page are those of `EvalReport`, number for number."""

from __future__ import annotations

import numpy as np
import pytest

from sessionrec.evaluate import EvalProtocol, EvalReport, significance
from sessionrec.report import bootstrap
from sessionrec.report.bootstrap import RESAMPLES, SEED, FloatArray, estimate
from tests.report.fabricate import World, reports_of


@pytest.fixture(scope="module", params=["macro", "micro"])
def reports(request: pytest.FixtureRequest) -> list[EvalReport]:
    return reports_of(World(90, 60), EvalProtocol(ks=(10, 30), average=request.param))


def weights(reports: list[EvalReport]) -> FloatArray:
    return reports[0].users["weight"].to_numpy().astype(np.float64)


def test_means_intervals_and_paired_differences_are_those_of_the_reports(reports: list[EvalReport]) -> None:
    metrics = ["ndcg@10", "recall@30", "in_session_auc"]
    found = estimate({m: np.stack([r.values(m) for r in reports]) for m in metrics}, weights(reports))
    for metric in metrics:
        for report, mine in zip(reports, found[metric], strict=True):
            interval = report.interval(metric, seed=SEED, resamples=RESAMPLES)
            assert (mine.mean, mine.low, mine.high) == pytest.approx((interval.mean, interval.low, interval.high))
            assert mine.mean == pytest.approx(report.metrics[metric])
            if report is reports[0]:
                assert mine.gap is None
                continue
            gap = report.compare(reports[0], metric, seed=SEED, resamples=RESAMPLES)
            assert mine.gap is not None
            assert (mine.gap.mean, mine.gap.low, mine.gap.high) == pytest.approx(
                (gap.mean, gap.low, gap.high), abs=1e-11
            )
            # Draws without a difference count on both sides; the original counts them by the last bit of a sum.
            assert mine.gap.p_value == pytest.approx(gap.p_value, abs=2 * ties(report, reports[0], metric))
            if abs(gap.low) > 1e-9 and abs(gap.high) > 1e-9:
                assert (mine.gap.sign != 0) == gap.is_clear


def ties(first: EvalReport, second: EvalReport, metric: str) -> float:
    """Share of draws in which two systems have the same, up to rounding."""
    values, weight = significance._prepare(first.values(metric) - second.values(metric), weights([first]))
    return float(np.mean(np.abs(significance._resampled(values, weight, SEED, RESAMPLES)) < 1e-12)) + 1e-9


def test_how_many_draws_are_made_at_once_changes_nothing(
    reports: list[EvalReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ndcg@10": np.stack([report.values("ndcg@10") for report in reports])}
    one = estimate(values, weights(reports))
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 90 * 7)
    told: list[int] = []
    other = estimate(values, weights(reports), told.append)
    assert [e.low for e in one["ndcg@10"]] == pytest.approx([e.low for e in other["ndcg@10"]])
    assert sum(told) == RESAMPLES
    assert set(told[:-1]) == {7}


def test_equal_systems_are_never_told_apart_by_rounding() -> None:
    # Sums of thirds differ in their last bit by the order in which they are added up.
    values = np.random.default_rng(0).integers(0, 4, 50) / 3
    twice = estimate({"a": np.stack([values, values[::-1][::-1], 1 / 3 + values])}, np.ones(50))["a"]
    assert [one.gap.sign for one in twice if one.gap] == [0, 1]
    assert twice[1].gap is not None
    assert twice[1].gap.p_value == 1


def test_seeds_of_one_system_are_told_apart_no_more_often_than_promised() -> None:
    draw = np.random.default_rng(1)
    clear = 0
    for _ in range(60):
        # Two systems of like quality: seeds move them by .012, as they do N@10; users by much more, but alike.
        users = draw.uniform(0, 1, 300)
        runs = np.stack([users + draw.normal(0, 0.012) + draw.normal(0, 0.01, 300) for _ in range(6)])
        clear += sum(one.gap.sign != 0 for one in estimate({"a": runs}, np.ones(300), seeds_S=[3, 3])["a"] if one.gap)
    # A normal interval of three seeds' spread holds the truth in about 88 of 100; of users alone it is one in four.
    assert clear <= 15


def test_drawn_seeds_vary_as_other_seeds_would() -> None:
    means_DR = np.tile([0.1, 0.3, 0.2, 0.7], (RESAMPLES, 1))
    drawn_DS = bootstrap.over_seeds(means_DR, [3, 1])
    assert drawn_DS[:, 0].mean() == pytest.approx(0.2, abs=0.01)
    assert drawn_DS[:, 0].std() == pytest.approx(np.std([0.1, 0.3, 0.2], ddof=1) / np.sqrt(3), rel=0.05)
    assert set(drawn_DS[:, 1]) == {0.7}


def test_a_difference_in_no_draw_is_not_surer_than_the_draws() -> None:
    users = np.linspace(0, 1, 50)
    gap = estimate({"a": np.stack([users, users + 1])}, np.ones(50))["a"][1].gap
    assert gap is not None
    assert gap.p_value == pytest.approx(2 / (RESAMPLES + 1))


def test_a_metric_that_nobody_has_is_left_out() -> None:
    values = {"a": np.full((2, 3), np.nan), "b": np.ones((2, 3))}
    found = estimate(values, np.ones(3))
    assert list(found) == ["b"]
    assert [e.gap.sign for e in found["b"] if e.gap] == [0]
