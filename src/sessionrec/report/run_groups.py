"""A metric by the number of sessions before the question, with intervals.

In: the systems of an evaluation. Out: one `Group` for each row of `evaluate.breakdown`; users are grouped by the
histories that the last system saw, the same for all systems.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sessionrec.report.bootstrap import Estimate, estimate
from sessionrec.report.run_files import NUM_BEFORE, WEIGHT, System

_LEAST_USERS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Users with so many sessions."""

    label: str
    """`3-5`, with a proper dash."""
    users: int
    estimates: list[Estimate]
    """One a system."""

    @property
    def is_small(self) -> bool:
        """Whether intervals are not shown: from a handful of users they say nothing."""
        return self.users < _LEAST_USERS


def by_history(systems: Sequence[System], metric: str, progress: Callable[[int], object]) -> list[Group]:
    """Means and intervals of a metric in each group of users.

    Args:
        systems: All asked the same.
        metric: One that every user has.
        progress: Told the draws just done.
    """
    # A floor sees whole histories in sessions; a model may have a cap, or count in events.
    basis = systems[-1]
    before_U = basis.users[NUM_BEFORE].to_numpy()
    weight_U = systems[0].users[WEIGHT].to_numpy().astype(np.float64)
    values_SU = np.stack([system.values(metric) for system in systems])
    groups = []
    for row in basis.by_history:
        label = str(row["sessions"])
        first, last = _borders(label)
        chosen = (before_U >= first) & (before_U <= last)
        found = estimate({metric: values_SU[:, chosen]}, weight_U[chosen], progress)[metric]
        users = int(np.count_nonzero(chosen))
        groups.append(Group(label=label.replace("-", "\N{EN DASH}"), users=users, estimates=found))
    return groups


def _borders(label: str) -> tuple[int, int]:
    """First and last number of a label of `evaluate.breakdown`: `0`, `1-2`, `51+`."""
    if label.endswith("+"):
        return int(label[:-1]), sys.maxsize
    first, _, last = label.partition("-")
    return int(first), int(last or first)
