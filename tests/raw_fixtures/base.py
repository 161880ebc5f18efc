"""What a writer of raw files tells the contract suite about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessionrec.logs import LogConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLog:
    """Raw files of one format, and what the reader must make of them."""

    config: LogConfig
    """Config that reads them."""
    first: tuple[int | str, int | str, int, int]
    """User, item, time_ms and action of the first event."""
    num_events: int
    """Rows of `events`."""
    main: Path | None
    """The file to spoil in tests of errors; None for a log that is generated."""
    column: str | None
    """A column of `main` that the reader needs; None if `main` has no header."""
