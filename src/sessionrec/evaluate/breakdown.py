"""Who is served well: metrics by length of the history, and the share of targets found by popularity of the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sessionrec.evaluate.facts import ItemFacts
from sessionrec.evaluate.metrics import FloatArray
from sessionrec.jagged import IntArray

Row = dict[str, float | int | str]

HISTORY_BORDERS = (0, 1, 3, 6, 11, 21, 51)
"""First length of each group of histories."""


def by_history(length_U: IntArray, weight_U: FloatArray, metrics: dict[str, FloatArray]) -> list[Row]:
    """Means over the users whose history has so many sessions; groups without users are left out.

    Args:
        length_U: [U] input positions before the user's last question: sessions, or events for an item-level model.
        weight_U: [U] what each counts.
        metrics: [U] each.
    """
    group_U = np.searchsorted(HISTORY_BORDERS, length_U, "right") - 1
    rows: list[Row] = []
    for group, first in enumerate(HISTORY_BORDERS):
        chosen = group_U == group
        if not chosen.any():
            continue
        last = None if group + 1 == len(HISTORY_BORDERS) else HISTORY_BORDERS[group + 1] - 1
        name = f"{first}+" if last is None else str(first) if last == first else f"{first}-{last}"
        found = {key: weighted_mean(values[chosen], weight_U[chosen]) for key, values in metrics.items()}
        means = {key: mean for key, mean in found.items() if not np.isnan(mean)}
        rows.append({"sessions": name, "users": int(chosen.sum()), **means})
    return rows


def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """The mean of what is not NaN; NaN if nothing is."""
    known = ~np.isnan(values)
    total = weights[known].sum()
    return float((values[known] * weights[known]).sum() / total) if total > 0 else float("nan")


class PopularityTally:
    """Counts targets and hits by thirds of the popularity mass, batch by batch.

    The head is the fewest items that hold a third of all positive training events, the middle the next third, the tail
    the rest of those with a training event; targets without one stand apart, candidates or not.

    Args:
        facts: Of the catalogue.
        ks: Lengths of the list.
    """

    _names = ("head", "middle", "tail", "no training event")

    def __init__(self, facts: ItemFacts, ks: Sequence[int]) -> None:
        self._ks = ks
        popularity_V = facts.train_positives_I[: facts.num_candidates]
        order = np.argsort(-popularity_V, kind="stable")
        before = np.cumsum(popularity_V[order]) - popularity_V[order]
        self._group_I = np.full(len(facts.train_positives_I) + 1, 3)
        # An item belongs to the third in which it begins; items without positives end the tail.
        third = np.minimum(before * 3 // max(int(popularity_V.sum()), 1), 2)
        self._group_I[order + 1] = np.where(popularity_V[order] > 0, third, 2)
        self._group_I[facts.first_cold :] = 3
        self._items = np.bincount(self._group_I[1:], minlength=4)
        self._targets = np.zeros(4, np.int64)
        self._hits = np.zeros((len(ks), 4), np.int64)

    def add(self, target_T: IntArray, rank_T: IntArray) -> None:
        """Add targets and their ranks."""
        known = (target_T >= 1) & (target_T < len(self._group_I))
        group_T = np.where(known, self._group_I[np.where(known, target_T, 0)], 3)
        self._targets += np.bincount(group_T, minlength=4)
        for place, k in enumerate(self._ks):
            self._hits[place] += np.bincount(group_T[rank_T <= k], minlength=4)

    def rows(self) -> list[Row]:
        """One row a group that has targets."""
        rows: list[Row] = []
        for group, name in enumerate(self._names):
            targets = int(self._targets[group])
            if targets:
                found = {f"found@{k}": float(self._hits[place, group]) / targets for place, k in enumerate(self._ks)}
                rows.append({"items": name, "num_items": int(self._items[group]), "targets": targets, **found})
        return rows
