"""Laws of growth through a few points, and whether they foretell the largest one. Paper, section 5.

    log      y = a + b log10(x / x0)            the paper's claim: linear while the data grows by powers
    power    y = a - b (x / x0)^-c              saturates at a, between 0 and 1 as every metric is

x0 is the geometric mean of the points. The form is the one that foretells the largest point better from all the others
(leave-last-out); on equal terms it is the paper's. Whoever judges a forecast of the largest point must not have chosen
by it: there the form is chosen among the smaller points alone. Letters: N points, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from sessionrec.data.wording import compact
from sessionrec.report.bootstrap import LEVEL, SEED, FloatArray
from sessionrec.seeding import stream

Form = Literal["log", "power"]
FORMS: Final[dict[Form, str]] = {"log": "a + b log10(x)", "power": "a - b x^-c"}

LEAST_POINTS: Final = 3
"""For a law."""
LEAST_TO_FORETELL: Final = 4
"""For a law of all but the largest."""
_LEAST_OF_FORM: Final[dict[Form, int]] = {"log": 2, "power": 3}
_POWERS: Final = np.geomspace(0.02, 3.0, 240)
_QUANTILES: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_ALIKE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A fitted form; of draws, a coefficient each."""

    form: Form
    x0: float
    a: FloatArray
    b: FloatArray
    c: FloatArray
    """Of the power; zero of the other form."""

    def at(self, x: Any) -> FloatArray:
        """[D, len(x)] what the law says."""
        ratio = np.atleast_1d(np.asarray(x, np.float64)) / self.x0
        if self.form == "log":
            return self.a[:, None] + self.b[:, None] * np.log10(ratio)
        powers: FloatArray = self.a[:, None] - self.b[:, None] * ratio ** -self.c[:, None]
        return powers

    def words(self) -> str:
        """The law with its numbers, of the first draw."""
        a, b, c = float(self.a[0]), float(self.b[0]), float(self.c[0])
        sign = "+" if (b >= 0) == (self.form == "log") else "\N{MINUS SIGN}"
        if self.form == "log":
            return f"{a:.4g} {sign} {abs(b):.3g} log10(x / {compact(self.x0)})"
        return f"{a:.4g} {sign} {abs(b):.3g} (x / {compact(self.x0)})^(\N{MINUS SIGN}{c:.2g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the smaller points say of the largest."""

    form: Form
    x: float
    mean: float
    low: float
    high: float
    measured: float

    @property
    def is_hit(self) -> bool:
        """Whether what was measured lies in the interval."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Points, their law, and how far it can be trusted."""

    x_N: FloatArray
    mean_N: FloatArray
    low_N: FloatArray
    high_N: FloatArray
    law: Law | None
    """None: too few points."""
    errors: dict[Form, float]
    """Of each form that could be tried, how far it is off at the largest point, fitted without it."""
    band_x: FloatArray
    band: tuple[FloatArray, FloatArray, FloatArray]
    """Mean, low, high."""
    forecast: Forecast | None


def study(x: Sequence[float], mean: Sequence[float], drawn_DN: FloatArray) -> Study:
    """A law through points.

    Args:
        x: [N] ascending, above zero, no two alike.
        mean: [N] what was measured.
        drawn_DN: The same by draws of users and seeds.
    """
    x_N, mean_N = np.asarray(x, np.float64), np.asarray(mean, np.float64)
    low_N, high_N = np.quantile(drawn_DN, _QUANTILES, axis=0)
    law, errors, band_x = None, _errors(x_N, mean_N), np.empty(0)
    band = (band_x, band_x, band_x)
    if len(x_N) >= LEAST_POINTS:
        form = choose(x_N, mean_N)
        law = fit(x_N, mean_N[None], form)
        band_x = np.geomspace(x_N[0] / 1.15, x_N[-1] * 1.15, 60)
        low, high = np.quantile(fit(x_N, drawn_DN, form).at(band_x), _QUANTILES, axis=0)
        band = law.at(band_x)[0], low, high
    return Study(
        x_N=x_N,
        mean_N=mean_N,
        low_N=low_N,
        high_N=high_N,
        law=law,
        errors=errors,
        band_x=band_x,
        band=band,
        forecast=forecast(x_N, mean_N, drawn_DN) if len(x_N) >= LEAST_TO_FORETELL else None,
    )


def forecast(x_N: FloatArray, mean_N: FloatArray, drawn_DN: FloatArray) -> Forecast:
    """The largest point, foretold by the others.

    Its interval holds what users and seeds leave open, and how far the smaller points lie off their own law.
    """
    known_x, known = x_N[:-1], mean_N[:-1]
    form = choose(known_x, known)
    law = fit(known_x, known[None], form)
    off = known - law.at(known_x)[0]
    free = len(known) - (2 if form == "log" else 3)
    off = off * np.sqrt(len(off) / free) if free > 0 else np.zeros(1)
    drawn_D = fit(known_x, drawn_DN[:, :-1], form).at(x_N[-1:])[:, 0]
    drawn_D = drawn_D + stream(SEED, "residuals").choice(off, len(drawn_D))
    low, high = np.quantile(drawn_D, _QUANTILES)
    return Forecast(
        form=form,
        x=float(x_N[-1]),
        mean=float(law.at(x_N[-1:])[0, 0]),
        low=float(low),
        high=float(high),
        measured=float(mean_N[-1]),
    )


def choose(x_N: FloatArray, mean_N: FloatArray) -> Form:
    """The form that foretells the last of these points better."""
    errors = _errors(x_N, mean_N)
    if "power" in errors and errors["power"] < errors["log"] - _ALIKE:
        return "power"
    return "log"


def _errors(x_N: FloatArray, mean_N: FloatArray) -> dict[Form, float]:
    found: dict[Form, float] = {}
    for form in FORMS:
        if len(x_N) > _LEAST_OF_FORM[form]:
            foretold = fit(x_N[:-1], mean_N[None, :-1], form).at(x_N[-1:])[0, 0]
            found[form] = abs(float(foretold - mean_N[-1]))
    return found


def fit(x_N: FloatArray, y_DN: FloatArray, form: Form) -> Law:
    """Least squares, for each draw; of the power, the best of a grid of exponents with a from 0 to 1."""
    x0 = float(np.exp(np.mean(np.log(x_N))))
    if form == "log":
        a, b, _ = _line(np.log10(x_N / x0), y_DN)
        return Law(form=form, x0=x0, a=a, b=b, c=np.zeros(len(y_DN)))
    lines = [_bounded((x_N / x0) ** -power, y_DN) for power in _POWERS]
    best_D = np.argmin([off for _, _, off in lines], axis=0)
    draws = np.arange(len(y_DN))
    a_PD, b_PD = np.array([a for a, _, _ in lines]), np.array([b for _, b, _ in lines])
    return Law(form=form, x0=x0, a=a_PD[best_D, draws], b=-b_PD[best_D, draws], c=_POWERS[best_D])


def _line(u_N: FloatArray, y_DN: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """[D] height, slope and squared error of a line through (u, y)."""
    from_middle = u_N - u_N.mean()
    slope_D = y_DN @ from_middle / (from_middle @ from_middle)
    height_D = y_DN.mean(axis=1) - slope_D * u_N.mean()
    off_DN = y_DN - height_D[:, None] - slope_D[:, None] * u_N
    return height_D, slope_D, (off_DN**2).sum(axis=1)


def _bounded(u_N: FloatArray, y_DN: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`_line` whose height is from 0 to 1: where it is not, the end it passed, and the best slope with that."""
    height_D, slope_D, off_D = _line(u_N, y_DN)
    within_D = np.clip(height_D, 0.0, 1.0)
    passed_D = within_D != height_D
    end_D1 = within_D[passed_D, None]
    slopes = (y_DN[passed_D] - end_D1) @ u_N / (u_N @ u_N)
    slope_D[passed_D] = slopes
    off_D[passed_D] = ((y_DN[passed_D] - end_D1 - slopes[:, None] * u_N) ** 2).sum(axis=1)
    return within_D, slope_D, off_D
