"""A text file of rows written in pieces, whole or not there at all."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

import polars as pl

logger = logging.getLogger(__name__)


class CsvSink:
    """One CSV file written in pieces; it has its name only once it is whole.

    Args:
        path: The file.
        separator: One byte between two fields.
        has_header: Whether the first line names the columns.
    """

    def __init__(self, path: Path, *, separator: str = ",", has_header: bool = True) -> None:
        self._path = path
        self._part = path.with_suffix(".part")
        self._stream = self._part.open("wb")
        self._separator, self._wants_header = separator, has_header

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; the first piece, even an empty one, brings the header."""
        frame.write_csv(self._stream, include_header=self._wants_header, separator=self._separator)
        self._wants_header = False

    def __enter__(self) -> CsvSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if error is None:
            self._part.replace(self._path)
            logger.info("wrote %s, %.1f MB", self._path, self._path.stat().st_size / 1e6)
