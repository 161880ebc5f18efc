"""`Grid`s as Markdown: tables that read well as text too. Intervals stand in the page and in `table.csv`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sessionrec.experiments.grid import CLEAR, DAGGER, Cell, Grid, Row

PUBLISHED: Final = "as published"
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~$&])")
_SIGNS: Final = {1: " \N{BLACK UP-POINTING TRIANGLE}", -1: " \N{BLACK DOWN-POINTING TRIANGLE}", 0: ""}


def document(title: str, about: str, words: Sequence[str], grids: Sequence[Grid], legend: Sequence[str]) -> str:
    """A page of tables.

    Args:
        title: Of the experiment.
        about: What it shows.
        words: The verdict, a sentence each.
        grids: In order; a data set's name is written where it changes.
        legend: What the marks mean.
    """
    parts = [f"# {escape(title)}"]
    parts += [escape(about)] if about else []
    parts += ["\n".join(f"- {escape(sentence)}" for sentence in words)] if words else []
    last = None
    for grid in grids:
        if grid.title != last:
            parts.append(f"## {escape(grid.title)}")
            last = grid.title
        parts += [f"### {escape(grid.topic)}"] if grid.topic else []
        parts.append(table(grid))
        parts += [escape(grid.about)] if grid.about else []
    parts += ["\n".join(f"- {escape(line)}" for line in legend)] if legend else []
    return "\n\n".join(parts) + "\n"


def table(grid: Grid) -> str:
    """One table."""
    lines = [_line([escape(grid.corner), *(escape(column) for column in grid.columns)])]
    lines.append("|" + " --- |" + " ---: |" * len(grid.columns))
    for row in grid.rows:
        if row.kind == "head":
            lines.append(_line([f"*{escape(row.name)}*", *("" for _ in grid.columns)]))
            continue
        lines.append(_line([_name(row), *map(_cell, row.cells)]))
        if any(cell.paper for cell in row.cells):
            lines.append(_line([f"{escape(row.name)}, {PUBLISHED}", *(cell.paper for cell in row.cells)]))
    return "\n".join(lines)


def escape(text: str) -> str:
    """Words as words, whatever is in them; one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _name(row: Row) -> str:
    name = f"**{escape(row.name)}**" if row.kind == "ours" else escape(row.name)
    return f"{name} ({escape(row.note)})" if row.note else name


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.is_absent:
        return f"*{text}*"
    text = {"best": f"**{text}**", "second": f"<u>{text}</u>", "": text}[cell.mark]
    text += CLEAR.replace("*", r"\*") if cell.is_clear else ""
    text += DAGGER if cell.is_other_code else ""
    text += _SIGNS[cell.sign]
    text += f" {cell.spread}" if cell.spread and not cell.is_difference else ""
    return f"{text} ({escape(cell.note)})" if cell.note else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
