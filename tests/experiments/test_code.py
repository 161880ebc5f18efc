"""Versions of the code: words do not count, numbers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.experiments import code

PLAIN = """
def half(value):
    return value / 2
"""
COMMENTED = '''
"""A module."""
# What it is for.
def half(value):
    """Half of it."""
    return (value
            / 2)
'''


def test_comments_docstrings_and_layout_do_not_count() -> None:
    assert code.meaning(COMMENTED) == code.meaning(PLAIN)


def test_a_number_counts() -> None:
    assert code.meaning(PLAIN.replace("2", "3")) != code.meaning(PLAIN)


def test_parts_that_show_are_left_out_and_parts_that_measure_are_not() -> None:
    names = {str(Path(*file.parts[file.parts.index("sessionrec") + 1 :])) for file in code.measured()}
    assert {"experiments/measure.py", "evaluate/metrics.py", "model/recommender.py", "train/loop.py"} <= names
    assert not names & {"cli/entry.py", "describe.py", "report/page.py", "experiments/runner.py", "dynamics/faded.py"}


def test_all_that_floors_go_through_is_in_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_hash", lambda files, _: " ".join(file.name for file in files))
    assert {"recency.py", "item_knn.py", "faded.py", "events.py"} <= set(code.of_floors.__wrapped__().split())


def test_the_version_is_the_same_twice() -> None:
    assert code.version() == code.version()
    assert len(code.version()) == 16
    assert code.of_preparation() != code.version()
