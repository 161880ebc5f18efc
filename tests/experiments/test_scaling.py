"""Laws through planted points, and whether forecasts hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from sessionrec.experiments import scaling
from sessionrec.experiments.laws import FORMS, choose, fit, study
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Cell
from sessionrec.experiments.systems import systems_of
from sessionrec.report.bootstrap import FloatArray
from tests.experiments.fabricate import DATA, experiment, given, results_of, row

X = np.array([1e4, 4e4, 1.6e5, 6.4e5, 2.56e6])


def drawn(mean: FloatArray, noise: float = 0.002) -> FloatArray:
    values: FloatArray = mean + np.random.default_rng(3).normal(0, noise, (2000, len(mean)))
    return values


def test_a_line_in_the_logarithm_is_found() -> None:
    mean = 0.05 + 0.06 * (np.log10(X) - 4)
    found = study(X.tolist(), mean.tolist(), drawn(mean))
    assert found.law is not None
    assert found.law.form == "log"
    # At x0, the middle of the points, 1.2 powers of ten above the first.
    assert found.law.b[0] == pytest.approx(0.06)
    assert found.law.a[0] == pytest.approx(0.05 + 0.06 * np.log10(16))
    assert found.errors["log"] == pytest.approx(0, abs=1e-9)
    assert found.forecast is not None
    assert found.forecast.form == "log"
    assert found.forecast.is_hit


def test_a_law_that_saturates_is_found() -> None:
    mean = 0.4 - 0.2 * (X / X[0]) ** -0.5
    found = study(X.tolist(), mean.tolist(), drawn(mean))
    assert found.law is not None
    assert found.law.form == "power"
    assert found.law.a[0] == pytest.approx(0.4, abs=0.003)
    assert found.law.c[0] == pytest.approx(0.5, rel=0.03)
    assert found.errors["power"] < 0.1 * found.errors["log"]
    # Far out it stays below its ceiling, where a line would not.
    assert found.law.at(1e12)[0, 0] == pytest.approx(0.4, abs=0.004)
    assert found.forecast is not None
    assert found.forecast.is_hit


def test_a_law_saturates_at_no_more_than_one() -> None:
    x = np.geomspace(1e3, 1e5, 6)
    y = 0.1 + 0.15 * np.log10(x / 1e3) ** 1.3
    law = fit(x, y[None], "power")
    assert law.a[0] == 1.0
    # Bounded least squares by another hand, from several beginnings.
    ratio = x / law.x0

    def off(abc: FloatArray) -> FloatArray:
        return np.asarray(abc[0] - abc[1] * ratio ** -abc[2] - y, np.float64)

    best = min(
        least_squares(off, (0.9, 0.5, power), bounds=([0, -9, 0.02], [1, 9, 3])).cost for power in (0.05, 0.3, 1.0)
    )
    mine = off(np.array([law.a[0], law.b[0], law.c[0]]))
    assert float(mine @ mine) / 2 == pytest.approx(best, rel=1e-2)


def test_a_forecast_misses_where_growth_breaks_off() -> None:
    mean = 0.05 + 0.06 * (np.log10(X) - 4)
    mean[-1] = mean[-2] - 0.05
    found = study(X.tolist(), mean.tolist(), drawn(mean))
    assert found.forecast is not None
    assert not found.forecast.is_hit
    assert found.forecast.mean == pytest.approx(0.05 + 0.06 * (np.log10(X[-1]) - 4))


def test_a_forecast_does_not_look_at_what_it_foretells() -> None:
    mean = 0.4 - 0.2 * (X / X[0]) ** -0.5
    other = mean.copy()
    other[-1] = 0.9
    first, second = (study(X.tolist(), one.tolist(), drawn(one)).forecast for one in (mean, other))
    assert first is not None
    assert second is not None
    assert (first.form, first.mean, first.low, first.high) == (second.form, second.mean, second.low, second.high)


def test_points_off_their_law_make_a_forecast_wider() -> None:
    mean = 0.05 + 0.06 * (np.log10(X) - 4)
    ragged = mean + np.array([0.01, -0.01, -0.01, 0.01, 0.0])
    narrow, wide = (study(X.tolist(), one.tolist(), drawn(one)).forecast for one in (mean, ragged))
    assert narrow is not None
    assert wide is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_few_points_make_no_law() -> None:
    two = study([1.0, 2.0], [0.1, 0.2], drawn(np.array([0.1, 0.2])))
    assert two.law is None
    three = study([1.0, 2.0, 4.0], [0.1, 0.2, 0.3], drawn(np.array([0.1, 0.2, 0.3])))
    assert three.law is not None
    assert three.forecast is None
    assert choose(np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.25])) == "log"


def test_fits_of_draws_are_fits_one_by_one() -> None:
    draws = drawn(0.4 - 0.2 * (X / X[0]) ** -0.5)[:5]
    for form in FORMS:
        together = fit(X, draws, form).at(X)
        alone = np.concatenate([fit(X, one[None], form).at(X) for one in draws])
        assert together == pytest.approx(alone)


def test_users_are_drawn_alike_for_all_points_and_seeds_for_each() -> None:
    rows = [row(f"0{place}", f"share {place}", x=float(place)) for place in (1, 2)]
    asked = experiment(rows, kind="scaling", seeds=(1,))
    base = np.random.default_rng(0).random(300)
    found: dict[Cell, Result] = {
        (DATA, "01", 1): given({"session/recall@500": base.tolist()}),
        (DATA, "02", 1): given({"session/recall@500": (base + 0.1).tolist()}),
    }
    means, draws_DN = scaling.drawn(systems_of(asked, DATA, found), "session", "recall@500")
    assert means == pytest.approx([base.mean(), base.mean() + 0.1])
    assert (draws_DN[:, 1] - draws_DN[:, 0]) == pytest.approx(0.1)
    assert draws_DN[:, 0].std() == pytest.approx(base.std() / np.sqrt(300), rel=0.1)


def test_data_and_size_are_two_lines() -> None:
    shares = (0.125, 0.25, 0.5, 1.0)
    rows = [row(f"d{place}", f"{share:g}", x=share, group="data") for place, share in enumerate(shares)]
    rows += [row(f"m{place}", f"width {place}", x=2.0**place, group="model") for place in range(3)]
    asked = experiment(rows, kind="scaling", seeds=(1, 2), metrics=("ndcg@10", "recall@500"))
    qualities = {one.slug: 0.3 * place for place, one in enumerate(rows)}
    events = {one.slug: 1e6 * (one.config.x or 0) if one.slug[0] == "d" else 1e6 for one in rows}
    parameters = {one.slug: 1000 * 4 ** int(one.slug[1]) for one in rows}
    found = results_of(asked, qualities, events=events, parameters=parameters)
    systems = systems_of(asked, DATA, found)
    lines = scaling.scalings(systems, "Toy", ["session"], scaling.metric_of(asked.config.metrics))
    assert [(one.of, len(one.systems), one.metric) for one in lines] == [
        ("training events", 4, "recall@500"),
        ("parameters", 3, "recall@500"),
    ]
    assert lines[0].study.x_N.tolist() == [125_000, 250_000, 500_000, 1_000_000]
    said = [sentence for one in lines for sentence in scaling.sentences(one)]
    assert any("Foretold from the smaller points alone" in sentence for sentence in said)
    assert any("A forecast of the largest point needs 4 points, there are 3" in sentence for sentence in said)
    grid = scaling.law_grid(lines)
    assert grid.rows[0].cells[-1].text in ("held", "missed")
    assert all(cell.text for one in grid.rows for cell in one.cells)
