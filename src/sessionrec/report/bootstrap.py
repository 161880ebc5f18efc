"""95 % intervals of many metrics and systems at once: `evaluate.significance`, number for number, with shared draws.

In: the values of each user, by metric and system. Out: `Estimate`s, and `Gap`s to the first system, paired by user.
It stands here a second time for two reasons: a report must not load torch, which `sessionrec.evaluate` does, and a
table has dozens of intervals over the same users, for which one set of draws is enough. A test compares the two.

Letters: U users, S systems, D draws, N columns (a metric of a system). Cost: `RESAMPLES` passes over the users in all,
not one for each interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sessionrec.seeding import stream

FloatArray = npt.NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
SEED: Final = 0
_PLACES: Final = 12
_BLOCK_VALUES: Final = 4 << 20
_QUANTILES: Final = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What a system has more than the first one, on the same users."""

    mean: float
    low: float
    high: float
    p_value: float
    """Two-sided; never below 1 / `RESAMPLES`."""

    @property
    def sign(self) -> int:
        """1 = clearly more, -1 = clearly less, 0 = the interval holds zero."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over users, where it may lie, and how it stands to the first system's."""

    mean: float
    low: float
    high: float
    gap: Gap | None
    """None for the first system itself."""


def estimate(
    values_SU: dict[str, FloatArray], weight_U: FloatArray, progress: Callable[[int], object] = lambda _: None
) -> dict[str, list[Estimate]]:
    """Every metric of every system.

    Args:
        values_SU: By metric, [S, U]; a user has a value of all systems, or NaN of all. Metrics nobody has are left out.
        weight_U: [U] what each user counts.
        progress: Told the draws just done.
    """
    groups: dict[bytes, list[str]] = {}
    for metric, values in values_SU.items():
        missing_SU = np.isnan(values)
        assert (missing_SU == missing_SU[0]).all(), metric
        if not missing_SU[0].all():
            groups.setdefault(missing_SU[0].tobytes(), []).append(metric)
    found: dict[str, list[Estimate]] = {}
    for metrics in groups.values():
        known = ~np.isnan(values_SU[metrics[0]][0])
        stacked = np.concatenate([values_SU[metric][:, known] for metric in metrics])
        means_N = np.average(stacked, axis=1, weights=weight_U[known])
        drawn_DN = _drawn(stacked, weight_U[known], progress)
        num_systems = len(values_SU[metrics[0]])
        for place, metric in enumerate(metrics):
            own = slice(place * num_systems, (place + 1) * num_systems)
            found[metric] = _estimates(means_N[own], drawn_DN[:, own])
    return {metric: found[metric] for metric in values_SU if metric in found}


def _estimates(mean_S: FloatArray, drawn_DS: FloatArray) -> list[Estimate]:
    low_S, high_S = np.quantile(drawn_DS, _QUANTILES, axis=0)
    # Draws in which both have the same must differ by nothing, not by the last bit of two sums.
    more_DS = np.round(drawn_DS - drawn_DS[:, :1], _PLACES)
    gap_low_S, gap_high_S = np.quantile(more_DS, _QUANTILES, axis=0)
    estimates = []
    for system, mean in enumerate(mean_S):
        gap = None
        if system:
            more_D = more_DS[:, system]
            other_side = min(float(np.mean(more_D <= 0)), float(np.mean(more_D >= 0)))
            gap = Gap(
                mean=float(mean - mean_S[0]),
                low=float(gap_low_S[system]),
                high=float(gap_high_S[system]),
                p_value=min(1.0, max(2 * other_side, 1 / RESAMPLES)),
            )
        low, high = float(low_S[system]), float(high_S[system])
        estimates.append(Estimate(mean=float(mean), low=low, high=high, gap=gap))
    return estimates


def _drawn(values_NU: FloatArray, weight_U: FloatArray, progress: Callable[[int], object]) -> npt.NDArray[Any]:
    """[D, N] the weighted means of users drawn with replacement; the draws of `significance`."""
    size = len(weight_U)
    columns_UN = np.concatenate([values_NU * weight_U, weight_U[None]]).T
    means = []
    for counts_DU in draws_of_users(size):
        sums = counts_DU @ columns_UN
        means.append(sums[:, :-1] / sums[:, -1:])
        progress(len(counts_DU))
    return np.concatenate(means)


def draws_of_users(size: int) -> Iterator[FloatArray]:
    """[d, U] how often each user is drawn, in blocks of draws, `RESAMPLES` of them in all.

    So many draws at a time that their counts fit into a cache or two: one product of matrices instead of many.
    """
    block = max(1, min(RESAMPLES, _BLOCK_VALUES // size))
    for first in range(0, RESAMPLES, block):
        draws = range(first, min(first + block, RESAMPLES))
        counts_DU = np.empty((len(draws), size))
        for row, draw in enumerate(draws):
            chosen = stream(SEED, "bootstrap", draw).integers(0, size, size)
            counts_DU[row] = np.bincount(chosen, minlength=size)
        yield counts_DU
