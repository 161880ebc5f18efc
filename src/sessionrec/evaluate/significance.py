"""Is it luck? Bootstrap over users: intervals of a mean, and of the difference of two systems on the same users.

Users are drawn with replacement, as many as there are; the interval lies between the quantiles of the resampled means
(percentile bootstrap). Comparing two systems the same users are drawn for both (paired), which takes away what the
users have in common. The same seed gives the same interval. Cost: `resamples` passes over the users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sessionrec.evaluate.metrics import FloatArray
from sessionrec.seeding import stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over users and where it may lie."""

    mean: float
    low: float
    high: float
    level: float
    """Confidence, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What one system has more than another on the same users."""

    mean: float
    low: float
    high: float
    level: float
    """Confidence, 0 to 1."""
    p_value: float
    """Two-sided: twice how often resampled differences lie on the other side of zero; at least 2 / (resamples + 1)."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def interval(
    values_U: FloatArray,
    *,
    seed: int,
    weight_U: FloatArray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """The mean of a metric over users, with its bootstrap interval.

    Args:
        values_U: [U] one value a user; NaN = the user has none.
        seed: Of the draws.
        weight_U: [U] what each user counts; None = the same.
        level: Confidence, 0 to 1.
        resamples: Draws.
    """
    values_U, weight_U = _prepare(values_U, weight_U)
    low, high = np.quantile(_resampled(values_U, weight_U, seed, resamples), [(1 - level) / 2, (1 + level) / 2])
    mean = float(np.average(values_U, weights=weight_U))
    return Interval(mean=mean, low=float(low), high=float(high), level=level)


def compare(
    first_U: FloatArray,
    second_U: FloatArray,
    *,
    seed: int,
    weight_U: FloatArray | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Difference:
    """How much more the first system has than the second, paired by user.

    Args:
        first_U: [U] a metric of each user by the first system; NaN = the user has none.
        second_U: [U] by the second, the same users in the same order.
        seed: Of the draws.
        weight_U: [U] what each user counts; None = the same.
        level: Confidence, 0 to 1.
        resamples: Draws.
    """
    if first_U.shape != second_U.shape:
        raise ValueError(f"both systems must have the same users, got {len(first_U)} and {len(second_U)}")
    values_U, weight_U = _prepare(first_U - second_U, weight_U)
    # A sum of differences that cancel is not always zero to the last bit; what is less than that is no difference.
    means = np.round(_resampled(values_U, weight_U, seed, resamples), 12)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    other_side = min(float(np.mean(means <= 0)), float(np.mean(means >= 0)))
    return Difference(
        mean=float(np.average(values_U, weights=weight_U)),
        low=float(low),
        high=float(high),
        level=level,
        p_value=min(1.0, 2 * (other_side * resamples + 1) / (resamples + 1)),
    )


def _prepare(values_U: FloatArray, weight_U: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    known = ~np.isnan(values_U)
    if not known.any():
        raise ValueError("no user has a value; there is nothing to draw from")
    weights = np.ones(len(values_U)) if weight_U is None else weight_U
    return values_U[known], weights[known]


def _resampled(values_U: FloatArray, weight_U: FloatArray, seed: int, resamples: int) -> FloatArray:
    size = len(values_U)
    both = np.stack([values_U * weight_U, weight_U], 1)
    means = np.empty(resamples)
    for draw in range(resamples):
        # Every draw has a stream of its own, so the first hundred are the same whether a hundred or a thousand follow.
        chosen = stream(seed, "bootstrap", draw).integers(0, size, size)
        total, weight = np.bincount(chosen, minlength=size) @ both
        means[draw] = total / weight
    return means
