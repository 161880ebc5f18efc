r"""`Grid`s as LaTeX tables for a paper; they need `\usepackage{booktabs}` and nothing else.

Grids with the same columns are one table, data set below data set, as far as a page has room. Intervals stand in the
page and in `table.csv`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from sessionrec.experiments.grid import Cell, Grid, Row

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # The straight one is missing in LaTeX's own fonts.
    '"': "''",
    # A row that begins with a bracket would be an argument of the line's end before it.
    "[": "{[}",
    "]": "{]}",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--",
    "\N{DAGGER}": r"$\dagger$",
    "\N{BLACK UP-POINTING TRIANGLE}": r"$\uparrow$",
    "\N{BLACK DOWN-POINTING TRIANGLE}": r"$\downarrow$",
    "\N{NO-BREAK SPACE}": "~",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
}
_PAGE_ROWS: Final = 60
_SIGNS: Final = {1: r"$^{\uparrow}$", -1: r"$^{\downarrow}$", 0: ""}


def document(name: str, title: str, grids: Sequence[Grid], legend: Sequence[str]) -> str:
    r"""All tables, to be read by `\input`.

    Args:
        name: Of the experiment, for labels.
        title: Of the experiment, for captions.
        grids: In order.
        legend: What the marks mean; stands below the first table.
    """
    stacks: dict[tuple[str, tuple[str, ...], int], list[Grid]] = {}
    rows: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for grid in grids:
        like = (grid.key, grid.columns)
        # What is longer than a page is cut between data sets.
        rows[like] += len(grid.rows) + 2
        stacks.setdefault((*like, (rows[like] - 1) // _PAGE_ROWS), []).append(grid)
    parts = [f"% {' '.join(title.split())}: made by `sessionrec experiment report`; needs \\usepackage{{booktabs}}"]
    for place, stack in enumerate(stacks.values()):
        parts.append(_table(stack, title, f"tab:{_label(name)}-{place + 1}", legend if not place else ()))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Words as words, whatever is in them."""
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split(" ")).replace("\n", " "))


def _table(stack: Sequence[Grid], title: str, label: str, legend: Sequence[str]) -> str:
    width = len(stack[0].columns) + 1
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape(title)}. {escape(stack[0].topic)}.{_notes(legend)}}}",
        rf"\label{{{label}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _line([escape(stack[0].corner), *(escape(column) for column in stack[0].columns)]),
    ]
    for grid in stack:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape(grid.title)}}}}} \\", r"\midrule"]
        lines += _rows(grid, width)
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"])


def _notes(legend: Sequence[str]) -> str:
    return "".join(f" {escape(line)}" for line in legend)


def _rows(grid: Grid, width: int) -> list[str]:
    lines: list[str] = []
    before = None
    for row in grid.rows:
        # A rule below the floors and above what is compared.
        if before is not None and row.kind != before and ("floor" in (before, row.kind) or row.kind == "compare"):
            lines.append(r"\midrule")
        before = row.kind
        if row.kind == "head":
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(row.name)}}}}} \\")
            continue
        lines.append(_line([_name(row), *map(_cell, row.cells)]))
        if any(cell.paper for cell in row.cells):
            lines.append(_line([r"\quad as published", *(escape(cell.paper) for cell in row.cells)]))
    return lines


def _name(row: Row) -> str:
    return escape(row.name) + (rf" {{\tiny {escape(row.note)}}}" if row.note else "")


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.is_absent:
        return rf"\textit{{{text}}}"
    text = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]
    text += "$^{*}$" if cell.is_clear else ""
    text += r"$^{\dagger}$" if cell.is_other_code else ""
    text += _SIGNS[cell.sign]
    text += rf" {{\tiny {escape(cell.spread)}}}" if cell.spread and not cell.is_difference else ""
    return text + (rf" {{\tiny {escape(cell.note)}}}" if cell.note else "")


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "table"
