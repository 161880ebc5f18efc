from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sessionrec.baselines.tune import Grid, num_tries, tune
from sessionrec.scoring import Ranker


def tried(grid: Grid, qualities: Mapping[tuple[float, ...], float]) -> Any:
    """A floor is its own settings here, and its quality is looked up."""
    return tune(
        grid,
        lambda settings: cast(Ranker, tuple(settings.values())),
        lambda floor: qualities.get(cast(tuple[float, ...], floor), 0),
    )


def test_parameters_are_chosen_one_after_the_other() -> None:
    qualities: dict[tuple[float, ...], float] = {(1, 5): 0.1, (2, 5): 0.2, (2, 6): 0.3, (1, 6): 0.9}
    found = tried({"a": (1, 2), "b": (5, 6, 7)}, qualities)
    assert found.choice == {"a": 2, "b": 6}
    # The combination of 1 and 6 is better, but never tried.
    assert found.quality == {(1, 5): 0.1, (2, 5): 0.2, (2, 6): 0.3, (2, 7): 0}


def test_of_equal_values_the_first_is_chosen() -> None:
    assert tried({"a": (2, 1, 3)}, {(2,): 0.5, (1,): 0.5}).choice == {"a": 2}


def test_without_parameters_nothing_is_tried() -> None:
    found = tried({}, {})
    assert (found.choice, found.quality, num_tries({})) == ({}, {}, 0)


def test_the_number_of_tries_is_known_before() -> None:
    grid = {"a": (1, 2), "b": (5, 6, 7), "c": (1,)}
    assert num_tries(grid) == len(tried(grid, {}).quality) == 4
