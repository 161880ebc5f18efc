"""One parameter of a floor, chosen on validation questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sessionrec.scoring import Ranker


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was tried and what was best."""

    value: float
    """The best value; of equals the one tried first."""
    quality: dict[float, float]
    """Quality of each value tried."""


def choose(values: Iterable[float], make: Callable[[float], Ranker], quality: Callable[[Ranker], float]) -> Choice:
    """Try every value and keep the best.

    Args:
        values: To try.
        make: The floor with a value, fitted for validation.
        quality: Of the floor's answers to validation questions, the greater the better; usually NDCG by `evaluate`.
    """
    found = {value: quality(make(value)) for value in values}
    if not found:
        raise ValueError("`values` is empty; give at least one to choose from")
    return Choice(value=max(found, key=lambda value: found[value]), quality=found)
