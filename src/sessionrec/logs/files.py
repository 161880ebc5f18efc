"""Raw files into one lazy table: find them, check that each is whole, name what is missing.

In: a path as the user wrote it. Out: a `pl.LazyFrame` with the rows of the sorted files end to end, and one more column
`FILE` with the path a row came from (it costs nothing unless selected). Only headers and footers are read here; a file
that is damaged inside shows itself when the table is collected.
"""

from __future__ import annotations

import glob
import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import polars as pl

from sessionrec.config import nearest
from sessionrec.errors import EmptyDatasetError, LogError
from sessionrec.logs.ragged import opened, whole_rows

logger = logging.getLogger(__name__)

Format = Literal["auto", "csv", "tsv", "ndjson", "parquet", "ipc"]

FILE: Final = "__file__"
"""Column of every scanned table: the path of the file the row came from."""

INFER_ROWS: Final = 10_000
"""Rows of a text file that decide its column types."""

_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ipc": "ipc",
    ".arrow": "ipc",
    ".feather": "ipc",
}
_MAGIC: Final[dict[str, bytes]] = {"parquet": b"PAR1", "ipc": b"ARROW1"}


def find_files(path: Path, *patterns: str, skip_empty: bool = False) -> tuple[Path, ...]:
    """Find the raw files that a path means.

    Args:
        path: A file, a folder, or a glob such as `logs/2024-*.csv`.
        patterns: Globs of the files to take when `path` is a folder, relative to it; all files if none is given.
        skip_empty: Leave out files of 0 bytes instead of refusing them.

    Returns:
        The files, sorted by path, each once.

    Raises:
        LogError: If nothing is there, or a file is empty.
    """
    path = path.expanduser()
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [file for pattern in (patterns or ("*",)) for file in path.glob(pattern)]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - may be absolute
    # Names such as `_SUCCESS` and `.part-0.crc` are what a cluster leaves beside its tables.
    is_named = path.is_file()
    files = tuple(sorted({one for one in found if one.is_file() and (is_named or not one.name.startswith((".", "_")))}))
    if not files and path.is_dir():
        wanted = " or ".join(patterns) if patterns else "files"
        names = ", ".join(sorted(child.name for child in path.iterdir())[:10]) or "nothing"
        raise LogError(
            f"{path}: expected {wanted} in this folder, found {names}; set `path` to the folder of the raw log"
        )
    if not files:
        raise LogError(f"{path}: expected a file, a folder or a glob that matches, found nothing; check `path`")
    empty = [file for file in files if file.stat().st_size == 0]
    if empty and not skip_empty:
        raise LogError(f"{empty[0]}: expected rows, found an empty file (0 bytes); remove it or fetch it again")
    if len(empty) == len(files):
        raise LogError(f"{path}: expected rows, found only empty files (0 bytes); fetch them again")
    if empty:
        logger.info("%s: %d empty files left out", path, len(empty))
    return tuple(file for file in files if file not in set(empty))


def find_first(path: Path, *alternatives: Sequence[str], skip_empty: bool = False) -> tuple[Path, ...]:
    """Find the files of the first of several layouts that a folder has; like `find_files` for a file or a glob.

    Args:
        path: A file, a folder, or a glob.
        alternatives: Layouts, each a list of globs relative to the folder, best first.
        skip_empty: Leave out files of 0 bytes instead of refusing them.

    Raises:
        LogError: If no layout is there.
    """
    if path.expanduser().is_dir():
        for patterns in alternatives:
            if any(file.is_file() for pattern in patterns for file in path.expanduser().glob(pattern)):
                return find_files(path, *patterns, skip_empty=skip_empty)
    return find_files(path, *(pattern for patterns in alternatives for pattern in patterns), skip_empty=skip_empty)


def scan(
    files: Sequence[Path],
    format: Format = "auto",
    *,
    types: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
    names: Sequence[str] | None = None,
    separator: str | None = None,
    quote: str | None = '"',
    encoding: Literal["utf8", "utf8-lossy"] = "utf8",
) -> pl.LazyFrame:
    """Describe the rows of many files of one format as one lazy table, in the order given.

    Files whose columns differ are joined on the columns that all of them have, with the wider of two types.

    Args:
        files: The files, as `find_files` gives them.
        format: Their format; `auto` goes by the suffix, such as `.csv`, `.csv.gz`, `.tsv`, `.jsonl`, `.parquet`.
        types: Types of columns known in advance, for text formats; the others are inferred from the first rows.
        names: Column names of a text file without a header line.
        separator: One byte between fields of a text file, over the format's own.
        quote: Quote character of a text file; None where quotes are ordinary text.
        encoding: `utf8-lossy` for text files of unknown encoding: bytes that are no UTF-8 become a replacement sign.

    Raises:
        LogError: If the format is unclear or a file is damaged. Collecting the table raises it too, at a row of a text
            file with more or fewer fields than the header.
        EmptyDatasetError: If no file has more than its header.
    """
    kind = format_of(files, format)
    for file in files:
        _check_whole(file, kind)
    if kind in ("csv", "tsv"):
        files = _with_rows(files, has_header=names is None)
    mark = separator or ("\t" if kind == "tsv" else ",")

    def read(some: Sequence[Path]) -> pl.LazyFrame:
        paths = list(some)
        if kind == "parquet":
            return pl.scan_parquet(paths, glob=False, hive_partitioning=False, include_file_paths=FILE)
        if kind == "ipc":
            return pl.scan_ipc(paths, glob=False, hive_partitioning=False, include_file_paths=FILE)
        if kind == "ndjson":
            overrides = dict(types) if types else None
            return pl.scan_ndjson(
                # It knows no `glob=False`.
                [glob.escape(str(path)) for path in paths],
                schema_overrides=overrides,
                infer_schema_length=INFER_ROWS,
                include_file_paths=FILE,
            )
        frame = pl.scan_csv(
            paths,
            separator=mark,
            quote_char=quote,
            encoding=encoding,
            has_header=names is None,
            new_columns=names,
            schema_overrides=dict(types) if types else None,
            infer_schema_length=INFER_ROWS,
            glob=False,
            include_file_paths=FILE,
        )
        return whole_rows(frame, _schema(frame, some), some, separator=mark, quote=quote)

    if len({_shape_of(file, kind, has_header=names is None) for file in files}) == 1:
        frame = read(files)
        _schema(frame, files)
        return frame
    frames = [read([file]) for file in files]
    schemas = [_schema(frame, [file]) for frame, file in zip(frames, files, strict=True)]
    shared = [name for name in schemas[0].names() if all(name in schema for schema in schemas)]
    logger.debug("%s and others: columns differ, %d are shared", files[0], len(shared))
    return pl.concat([frame.select(shared) for frame in frames], how="vertical_relaxed")


def require_columns(
    frame: pl.LazyFrame,
    needed: Mapping[str, str],
    files: Sequence[Path],
    read: Callable[[Sequence[Path]], pl.LazyFrame] = scan,
) -> pl.Schema:
    """Check that the columns a reader needs are there.

    Args:
        frame: The table.
        needed: For each config key, the column it names. A key of a reader without such an option is any words.
        files: The files behind the table, for the message.
        read: How `frame` was made of `files`; finds the one that lacks a column that others have.

    Returns:
        The schema of the table.

    Raises:
        LogError: Naming file, column, nearest existing column and the key to change.
    """
    schema = _schema(frame, files)
    for key, column in needed.items():
        if column in schema:
            continue
        lacking, there = _lacking(column, files, read) if len(files) > 1 else (files, schema.names())
        there = [name for name in there if name != FILE]
        raise LogError(
            f"{_name(lacking)}: expected a column {column!r} (config key `{key}`), found {', '.join(there)}"
            f"{nearest(column, there)}{_other_writing(there)}; set `{key}` to a column that exists"
        )
    return schema


def _lacking(
    column: str, files: Sequence[Path], read: Callable[[Sequence[Path]], pl.LazyFrame]
) -> tuple[Sequence[Path], list[str]]:
    """The first file without a column, and the columns it has."""
    for file in files:
        # A file with a header alone takes no part in the table.
        with suppress(EmptyDatasetError):
            names = _schema(read([file]), [file]).names()
            if column not in names:
                return [file], names
    return files, _schema(read(files), files).names()


def _other_writing(columns: Sequence[str]) -> str:
    if any("\0" in column for column in columns):
        return "; this looks like UTF-16: save the file as UTF-8"
    found = next((mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in columns[0]), None)
    return f"; the fields look separated by {found!r}: set `separator`" if found else ""


@contextmanager
def about(files: Sequence[Path]) -> Iterator[None]:
    """Where columns are turned into ours: what is wrong with one is told with the file it stands in."""
    try:
        yield
    except LogError as error:
        raise LogError(f"{_name(files)}: {error}") from None


def cure(files: Sequence[Path], trouble: str) -> str:
    """What to do about what the engine says of a file that cannot be read.

    Args:
        files: The files it was reading.
        trouble: Its words.
    """
    if "conversion from" in trouble:
        return "mend these values, or leave them empty; empty means unknown"
    if "utf-8" in trouble.lower() or "utf8" in trouble.lower():
        return "save the file as UTF-8, or set encoding = 'utf8-lossy'"
    if "new_columns" in trouble:
        return "give `names` as many names as the file has columns"
    broken = next((place for file in files if (place := _broken_json(file))), None)
    if broken is not None:
        return f"{broken} is no JSON object: mend or remove it"
    if "malformed" in trouble:
        return "mend the quotes, or set `quote` to the quote character there is, '' for none"
    if "parse" in trouble:
        return "a column of a text file changes its type on the way: name its type under log.types, such as 'text'"
    return "fetch the file again"


def _broken_json(file: Path) -> str | None:
    """Place of the first line of an NDJSON file that is none; None for other files. Reads the file, slowly."""
    try:
        with opened(file) as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1 and not line.lstrip().startswith(b"{"):
                    return None
                if line.strip() and not _is_object(line):
                    return f"{file}, line {number}"
    except (OSError, EOFError, zlib.error):
        return None
    return None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def format_of(files: Sequence[Path], format: Format = "auto") -> Format:
    """The format of files that must have one: what the config says, or what their suffixes say.

    Raises:
        LogError: If a suffix is unknown, or the files have several formats.
    """
    if format != "auto":
        return format
    formats = {file: _SUFFIXES.get(Path(file.name.removesuffix(".gz")).suffix.lower()) for file in files}
    unknown = next((file for file, kind in formats.items() if kind is None), None)
    if unknown is not None:
        known = ", ".join(sorted(_SUFFIXES))
        raise LogError(f"{unknown}: expected a suffix among {known}, got {unknown.suffix!r}; set `format`")
    kinds = {kind for kind in formats.values() if kind is not None}
    if len(kinds) != 1:
        raise LogError(f"{_name(files)}: expected files of one format, found {', '.join(sorted(kinds))}; narrow `path`")
    return kinds.pop()


def has_types(file: Path) -> bool:
    """Whether a file itself says which types its columns have: Parquet and Arrow do, text does not."""
    with file.open("rb") as stream:
        return stream.read(max(map(len, _MAGIC.values()))).startswith(tuple(_MAGIC.values()))


def _check_whole(file: Path, kind: Format) -> None:
    magic = _MAGIC.get(kind)
    if magic is None:
        return
    with file.open("rb") as stream:
        head = stream.read(len(magic))
        stream.seek(max(0, file.stat().st_size - len(magic)))
        tail = stream.read()
    if head != magic or tail != magic:
        what = "the end is missing, so the file was cut short" if head == magic else "it does not begin like one"
        raise LogError(f"{file}: expected a whole {kind} file, but {what}; fetch it again or set `format`")


def _with_rows(files: Sequence[Path], *, has_header: bool) -> Sequence[Path]:
    # A file with a header and no rows would make polars infer text for every column of all files.
    if not has_header:
        return files
    lines = {file: len(_first_lines(file)) for file in files}
    if set(lines.values()) == {1}:
        raise EmptyDatasetError(f"{_name(files)}: the log has no rows, only the line with the names of its columns")
    return [file for file in files if lines[file] > 1] or files[:1]


def _first_lines(file: Path) -> list[bytes]:
    """The first two lines that are not blank."""
    try:
        with opened(file) as stream:
            return list(islice((line for line in stream if line.strip()), 2))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LogError(f"{file}: expected gzip, got {error}; fetch it again or drop the suffix .gz") from None


def _shape_of(file: Path, kind: Format, *, has_header: bool) -> object:
    """What must be equal for files to be read as one: the header line, or names and types."""
    if kind in ("csv", "tsv"):
        return (_first_lines(file) or [b""])[0].strip() if has_header else None
    if kind == "ndjson":
        return None
    frame = pl.scan_parquet(file, glob=False) if kind == "parquet" else pl.scan_ipc(file, glob=False)
    return tuple(_schema(frame, [file]).items())


def _schema(frame: pl.LazyFrame, files: Sequence[Path]) -> pl.Schema:
    try:
        return frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).splitlines()[0]
        raise LogError(f"{_name(files)}: expected a readable table, got: {first}; {cure(files, first)}") from None


def _name(files: Sequence[Path]) -> str:
    return f"{files[0]}" if len(files) == 1 else f"{files[0]} (first of {len(files)} files)"
