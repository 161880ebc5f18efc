"""Several parameters of a floor, chosen on validation questions one after the other.

The first parameter's values are tried with the others at their beginnings, the best is kept, then the next parameter's,
and so on, once. So the number of tries is the sum of the numbers of values, not their product; the order of parameters
is the order in which they matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sessionrec.scoring import Ranker

Grid = Mapping[str, Sequence[float]]
"""Values of each parameter, by its name with its unit; the first is where tuning begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was tried and what was best."""

    choice: dict[str, float]
    """The best value of each parameter; of equals the one tried first."""
    quality: dict[tuple[float, ...], float]
    """Quality of each combination tried, its values in the order of the parameters."""


def tune(grid: Grid, make: Callable[[dict[str, float]], Ranker], quality: Callable[[Ranker], float]) -> Tuned:
    """Choose a value of each parameter.

    Args:
        grid: What to try.
        make: The floor with a value of each parameter, fitted for validation.
        quality: Of the floor's answers to validation questions, the greater the better.
    """
    current = {name: values[0] for name, values in grid.items()}
    found: dict[tuple[float, ...], float] = {}

    def quality_of(settings: dict[str, float]) -> float:
        key = tuple(settings.values())
        if key not in found:
            found[key] = quality(make(settings))
        return found[key]

    for name, values in grid.items():
        current[name] = max(values, key=lambda value: quality_of(current | {name: value}))
    return Tuned(choice=current, quality=found)


def num_tries(grid: Grid) -> int:
    """How many combinations `tune` tries."""
    return 1 + sum(len(values) - 1 for values in grid.values()) if grid else 0
