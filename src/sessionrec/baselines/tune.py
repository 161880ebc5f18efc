"""Several parameters of a floor, chosen on validation questions one after the other.

The first parameter's values are tried with the others at their beginnings, the best is kept, then the next parameter's,
and so on; then all over again, until a whole pass changes nothing: what is left is best in each parameter by itself.
So the number of tries grows with the sum of the numbers of values, not with their product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sessionrec.scoring import Ranker

Grid = Mapping[str, Sequence[float]]
"""Values of each parameter, by its name with its unit; the first is where tuning begins."""

MOST_PASSES: Final = 4
"""Each but the last makes the quality better, so passes end by themselves; this bounds the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was tried and what was best."""

    choice: dict[str, float]
    """The best value of each parameter; of equals the one tried first."""
    quality: dict[tuple[float, ...], float]
    """Quality of each combination tried, its values in the order of the parameters."""


def tune(
    grid: Grid,
    make: Callable[[dict[str, float]], Ranker],
    quality: Callable[[Ranker], float],
    begin: Mapping[str, float] | None = None,
) -> Tuned:
    """Choose a value of each parameter.

    Args:
        grid: What to try.
        make: The floor with a value of each parameter, fitted for validation.
        quality: Of the floor's answers to validation questions, the greater the better.
        begin: Where to begin instead of the grid's first values, for the parameters it has.
    """
    current = {name: (begin or {}).get(name, values[0]) for name, values in grid.items()}
    found: dict[tuple[float, ...], float] = {}

    def quality_of(settings: dict[str, float]) -> float:
        key = tuple(settings.values())
        if key not in found:
            found[key] = quality(make(settings))
        return found[key]

    for _ in range(MOST_PASSES):
        before = dict(current)
        for name, values in grid.items():
            # The current value first: an equal one is no reason to leave it.
            tries = [current[name], *values]
            current[name] = max(tries, key=lambda value: quality_of(current | {name: value}))
        if current == before:
            break
    return Tuned(choice=current, quality=found)


def most_tries(grid: Grid) -> int:
    """How many combinations `tune` tries at most; it mostly ends with far fewer."""
    if not grid:
        return 0
    others = [len(values) - 1 for values in grid.values()]
    return 1 + sum(others) * (MOST_PASSES if len(others) > 1 else 1)
