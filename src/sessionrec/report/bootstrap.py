"""95 % intervals of many metrics and systems at once: `evaluate.significance`, number for number, with shared draws.

In: the values of each user, by metric and run; runs of one system are its seeds. Out: `Estimate`s of systems, and
`Gap`s to the first one, paired by user.
It stands here a second time for two reasons: a report must not load torch, which `sessionrec.evaluate` does, and a
table has dozens of intervals over the same users, for which one set of draws is enough. A test compares the two.

Letters: U users, R runs, S systems, D draws, N columns (a metric of a run). Cost: `RESAMPLES` passes over the users in
all, not one for each interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sessionrec.seeding import stream

FloatArray = npt.NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
SEED: Final = 0
LEAST_P: Final = 2 / (RESAMPLES + 1)
"""Of a p-value: that no draw lies on the other side of zero tells no more than this."""
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
    """Two-sided; never below `LEAST_P`."""

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
    values_RU: dict[str, FloatArray],
    weight_U: FloatArray,
    progress: Callable[[int], object] = lambda _: None,
    *,
    seeds_S: Sequence[int] | None = None,
) -> dict[str, list[Estimate]]:
    """Every metric of every system.

    Args:
        values_RU: By metric, [R, U]; a user has a value of all runs, or NaN of all. Metrics nobody has are left out.
        weight_U: [U] what each user counts.
        progress: Told the draws just done.
        seeds_S: Runs of each system, which follow each other; None: each run is a system of its own.
    """
    groups: dict[bytes, list[str]] = {}
    for metric, values in values_RU.items():
        missing_RU = np.isnan(values)
        assert (missing_RU == missing_RU[0]).all(), metric
        if not missing_RU[0].all():
            groups.setdefault(missing_RU[0].tobytes(), []).append(metric)
    found: dict[str, list[Estimate]] = {}
    for metrics in groups.values():
        known = ~np.isnan(values_RU[metrics[0]][0])
        stacked = np.concatenate([values_RU[metric][:, known] for metric in metrics])
        means_N = np.average(stacked, axis=1, weights=weight_U[known])
        drawn_DN = _drawn(stacked, weight_U[known], progress)
        num_runs = len(values_RU[metrics[0]])
        seeds = seeds_S or [1] * num_runs
        firsts_S = np.cumsum([0, *seeds[:-1]])
        for place, metric in enumerate(metrics):
            own = slice(place * num_runs, (place + 1) * num_runs)
            means_S = np.add.reduceat(means_N[own], firsts_S) / seeds
            found[metric] = _estimates(means_S, over_seeds(drawn_DN[:, own], seeds))
    return {metric: found[metric] for metric in values_RU if metric in found}


def over_seeds(means_DR: FloatArray, seeds_S: Sequence[int]) -> FloatArray:
    """[D, S] what systems come to when their seeds are drawn as well, with replacement and each system for itself.

    Seeds drawn from n of them have (n - 1) / n of the variance that other seeds would have; with two or three seeds
    that is much, so how far a draw lies from the mean of all is stretched by the root of n / (n - 1). One seed stands
    as it is: nothing says how far from it another would be.

    Args:
        means_DR: Means of runs, by draws of users.
        seeds_S: Runs of each system, which follow each other.
    """
    found, end = [], 0
    for system, size in enumerate(seeds_S):
        own_DR = means_DR[:, end : end + size]
        end += size
        mean_D = own_DR.mean(axis=1)
        if size > 1:
            chosen_DR = stream(SEED, "seeds", system).integers(0, size, own_DR.shape)
            drawn_D = np.take_along_axis(own_DR, chosen_DR, axis=1).mean(axis=1)
            mean_D += (drawn_D - mean_D) * np.sqrt(size / (size - 1))
        found.append(mean_D)
    return np.stack(found, axis=1)


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
                p_value=min(1.0, LEAST_P * (other_side * RESAMPLES + 1)),
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
