from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sessionrec.baselines.tune import MOST_PASSES, Grid, Tuned, most_tries, tune
from sessionrec.scoring import Ranker


def tried(grid: Grid, qualities: Mapping[tuple[float, ...], float], begin: Mapping[str, float] | None = None) -> Tuned:
    """A floor is its own settings here, and its quality is looked up."""
    return tune(
        grid,
        lambda settings: cast(Ranker, tuple(settings.values())),
        lambda floor: qualities.get(cast(tuple[float, ...], floor), 0),
        begin,
    )


def test_parameters_are_chosen_one_after_the_other() -> None:
    qualities: dict[tuple[float, ...], float] = {(1, 5): 0.1, (2, 5): 0.2, (2, 6): 0.3, (3, 7): 0.9}
    found = tried({"a": (1, 2, 3), "b": (5, 6, 7)}, qualities)
    assert found.choice == {"a": 2, "b": 6}
    # The combination of 3 and 7 is better, but no step of one parameter alone leads to it.
    assert found.quality == {(1, 5): 0.1, (2, 5): 0.2, (3, 5): 0, (2, 6): 0.3, (2, 7): 0, (1, 6): 0, (3, 6): 0}


def test_it_begins_again_until_nothing_changes() -> None:
    qualities: dict[tuple[float, ...], float] = {(1, 5): 0.1, (2, 5): 0.2, (2, 6): 0.3, (1, 6): 0.4, (1, 7): 0.5}
    assert tried({"a": (1, 2), "b": (5, 6, 7)}, qualities).choice == {"a": 1, "b": 7}


def test_it_begins_where_it_is_told() -> None:
    grid: Grid = {"a": (1, 2), "b": (5, 6), "c": (8, 9)}
    qualities: dict[tuple[float, ...], float] = {(1, 5, 8): 0.1, (2, 6, 8): 0.9, (2, 6, 9): 1.0}
    assert tried(grid, qualities).choice == {"a": 1, "b": 5, "c": 8}
    found = tried(grid, qualities, {"a": 2, "b": 6, "unheard of": 4})
    assert found.choice == {"a": 2, "b": 6, "c": 9}
    # A beginning that is not among the values is one of them all the same.
    assert tried(grid, {(7, 5, 8): 0.1}, {"a": 7}).choice["a"] == 7


def test_of_equal_values_the_first_is_chosen() -> None:
    assert tried({"a": (2, 1, 3)}, {(2,): 0.5, (1,): 0.5}).choice == {"a": 2}
    assert tried({"a": (2, 1, 3)}, {(2,): 0.5, (1,): 0.5}, {"a": 1}).choice == {"a": 1}


def test_without_parameters_nothing_is_tried() -> None:
    found = tried({}, {})
    assert (found.choice, found.quality, most_tries({})) == ({}, {}, 0)


def test_it_ends_after_so_many_tries_at_most() -> None:
    # The next combination in a walk that changes one parameter at a time is always the better one.
    steps = 4 * MOST_PASSES
    qualities: dict[tuple[float, ...], float] = {
        (float(step // 2 + step % 2), float(step // 2)): step for step in range(2 * steps)
    }
    grid: Grid = {"a": tuple(range(steps)), "b": tuple(range(steps))}
    found = tried(grid, qualities)
    assert found.choice == {"a": MOST_PASSES, "b": MOST_PASSES}
    assert len(found.quality) <= most_tries(grid)
