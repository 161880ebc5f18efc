"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with a stage, the units done, and the units in all if known."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""
