"""Every row of a text file has as many fields as its header; what the fast reader lets pass is found here.

Polars fills missing fields with nulls, and drops extra ones as soon as not every column is asked for. Arrow's parser
counts the fields of every row, whatever is asked for: one more pass over the file, about a second for a gigabyte. It
takes a carriage return alone for the end of a line too.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import csv

from sessionrec.errors import LogError

# Small blocks stay in the cache; a row must fit into one, so a longer one is tried with the largest there can be.
_BLOCK_BYTES = (1 << 22, 1 << 30)
_SHOWN = 80


def whole_rows(
    frame: pl.LazyFrame, columns: pl.Schema, files: Sequence[Path], *, separator: str, quote: str | None
) -> pl.LazyFrame:
    """The same rows; the first time they are asked for, the fields of every row are counted before any is given.

    Args:
        frame: The files as one table.
        columns: Its schema; the last column is the path of the file.
        files: Text files, gzipped or not.
        separator: One byte between fields.
        quote: Quote character; None where quotes are ordinary text.
    """
    waiting = list(files)

    def check() -> pl.DataFrame:
        while waiting:
            _check_file(waiting[0], len(columns) - 1, separator, quote)
            waiting.pop(0)
        return pl.DataFrame(schema=columns)

    # No rows, put before the others: nothing is read until the table is collected, and nobody can forget the check.
    return pl.concat([pl.defer(check, schema=columns), frame])


def _check_file(file: Path, num_fields: int, separator: str, quote: str | None) -> None:
    bad: list[Any] = []

    def note(row: Any) -> str:
        bad.append(row)
        return "error"

    parse = csv.ParseOptions(
        delimiter=separator, quote_char=quote or False, newlines_in_values=bool(quote), invalid_row_handler=note
    )
    convert = csv.ConvertOptions(include_columns=["0"], column_types={"0": pa.binary()}, check_utf8=False)
    names = [str(place) for place in range(num_fields)]
    for block_bytes in _BLOCK_BYTES:
        read = csv.ReadOptions(column_names=names, use_threads=False, block_size=block_bytes)
        try:
            with csv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert) as reader:
                for _ in reader:
                    pass
            return
        except (pa.ArrowInvalid, OSError) as error:
            if bad:
                raise LogError(_explain(file, bad[0])) from None
            if "straddling" not in str(error):
                # Anything but the number of fields is for the reader of the rows to say.
                return


def _explain(file: Path, row: Any) -> str:
    first = row.text.splitlines()[0] if row.text else ""
    text = first[:_SHOWN] + ("..." if len(first) > _SHOWN else "")
    return (
        f"{file}, line {_line_of(file, first, row.number)}: expected {row.expected_columns} fields as the first line "
        f"has, got {row.actual_columns}: {text!r}; mend the line (a field with a separator in it needs quotes), "
        "or check the separator and the quote character"
    )


def _line_of(file: Path, text: str, row: int) -> int:
    """Line of a bad row, counted from 1; rows before it may be blank or have several lines."""
    with opened(file) as stream:
        lines = enumerate(stream, start=1)
        wanted = text.encode()
        return next((number for number, line in islice(lines, row - 1, None) if line.rstrip(b"\r\n") == wanted), row)


def opened(file: Path) -> gzip.GzipFile | BufferedReader:
    """A text file's bytes, unpacked if it is gzipped."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")
