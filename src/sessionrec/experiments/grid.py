"""`Grid`: a table as it will be read, whatever writes it: HTML, Markdown, LaTeX. `Record`: a line of `table.csv`,
`RunRecord` one of `runs.csv`.

A grid knows words and marks, no markup; who writes it escapes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

NOT_RUN: Final = "not run"
DAGGER: Final = "\N{DAGGER}"
CLEAR: Final = "*"
_DIGITS: Final = 6
"""Significant digits in files for programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What stands at one place."""

    text: str
    mark: Literal["", "best", "second"] = ""
    is_absent: bool = False
    """Whether there is no result."""
    is_other_code: bool = False
    """Whether other code made it than most of the table."""
    spread: str = ""
    """Over seeds."""
    interval: str = ""
    """Over users."""
    note: str = ""
    """A word of its own: a baseline's name, a gain."""
    paper: str = ""
    """The published figure."""
    sign: int = 0
    """1 = clearly more than ours, -1 = clearly less."""
    is_difference: bool = False
    """Whether it is what one has more than another, in percent; `spread` is then the same as it is."""
    is_clear: bool = False
    """Of a difference: whether its interval leaves zero out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line."""

    name: str
    cells: tuple[Cell, ...]
    kind: Literal["floor", "model", "ours", "compare", "head"] = "model"
    """`head`: a group's name, without cells; `compare`: differences, below a rule."""
    note: str = ""
    """Small, beside the name."""
    is_text: bool = False
    """Whether the cells are words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table."""

    key: str
    """Grids of one key have the same columns; LaTeX stacks them."""
    topic: str
    """What the columns are about: the targets, the cost."""
    title: str
    """Of the data set."""
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    corner: str = "System"
    about: str = ""
    """How it is to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A number, for programs."""

    dataset: str
    row: str
    slug: str = ""
    group: str = ""
    targets: str = ""
    metric: str = ""
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    seed_sd: float | None = None
    than_ours: float | None = None
    """What it has more than ours on the same users."""
    than_ours_low: float | None = None
    than_ours_high: float | None = None
    than_ours_p: float | None = None
    paper: float | None = None
    code: str = ""
    """Versions that made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run came to in one figure, for programs that make statistics of their own."""

    dataset: str
    row: str
    slug: str
    seed: int | None
    """None of floors."""
    targets: str
    """Empty of costs."""
    metric: str
    value: float
    key: str
    """Of the result."""
    data: str
    """Digest of the data set."""
    code: str
    machine: str
    """Its device."""


def to_csv(kind: type[Record | RunRecord], records: Iterable[Record | RunRecord]) -> str:
    """One line a number, names of the columns above."""
    stream = io.StringIO()
    names = [field.name for field in fields(kind)]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        # Means are rounded for readers; what one run came to is not, so that equal runs show as equal.
        values = [getattr(record, name) for name in names]
        writer.writerow(values if kind is RunRecord else [_plain(value) for value in values])
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value


def absent() -> Cell:
    """Of what was not run."""
    return Cell(text=NOT_RUN, is_absent=True)


def ranks(values: Sequence[float | None], places: int) -> list[Literal["", "best", "second"]]:
    """Best and runner-up; what prints alike shares its place, and the runner-up has the next lower number."""
    printed = [None if value is None or math.isnan(value) else round(value, places) for value in values]
    order = sorted({value for value in printed if value is not None}, reverse=True)
    marks: dict[float, Literal["", "best", "second"]] = {}
    if len(order) > 1 or len([value for value in printed if value is not None]) > 1:
        marks = dict(zip(order, ("best", "second"), strict=False))
    return ["" if value is None else marks.get(value, "") for value in printed]
