"""Quantile bins: a continuous attribute becomes a discrete feature (paper 3.3), fitted on training data only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.schema import UNKNOWN

MAX_SAMPLE = 4_000_000
"""About how many values decide the edges; of more, a random sample of the events."""


def fit_edges(values: npt.NDArray[Any], num_bins: int) -> npt.NDArray[np.float64]:
    """[at most num_bins - 1] ascending inner edges so that bins hold about equally many values.

    Values that are not numbers are left out; repeated quantiles fall together, so a value that makes up half of the
    data gets one bin and not half of them.
    """
    clean = np.asarray(values, np.float64)
    clean = clean[np.isfinite(clean)]
    if not len(clean):
        return np.zeros(0)
    edges: npt.NDArray[np.float64] = np.unique(np.quantile(clean, np.arange(1, num_bins) / num_bins))
    return np.asarray(edges[edges > clean.min()])


def to_bins(values: npt.NDArray[Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """[N] bin of each value, 1 to len(edges) + 1: the number of edges at or below it, plus 1; `UNKNOWN` for NaN."""
    wide = np.asarray(values, np.float64)
    bins = np.searchsorted(edges, wide, "right").astype(np.int32) + 1
    bins[np.isnan(wide)] = UNKNOWN
    return bins
