"""`Part`: a section of a report, and what several kinds of them write alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessionrec.experiments import sheets, verdicts
from sessionrec.experiments.figures import Drawing
from sessionrec.experiments.grid import Cell, Grid, Record, absent
from sessionrec.experiments.systems import System
from sessionrec.experiments.table import Comparison, Key, Table
from sessionrec.report.numbers import score, signed, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A section."""

    title: str
    sentences: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    records: tuple[Record, ...] = ()
    note: str = ""


def plain_cell(table: Table, system: System, key: Key) -> Cell:
    """A number without what it has more than ours."""
    value = table.values.get((system.slug, key))
    if value is None:
        return Cell(text="none", is_absent=True) if system.results else absent()
    return Cell(
        text=score(value.estimate.mean),
        mark=value.mark,
        is_other_code=system.is_other_code,
        spread=f"±{score(value.spread)}" if value.spread is not None else "",
        interval=sheets.interval_of(value),
    )


def told(one: Comparison) -> str:
    """`+9.46 % (+.0031 [.0012, .0050])`."""
    gap = one.gap
    assert gap is not None, one
    clear = "" if one.sign else ", not clear"
    return f"{sheets.percent_of(one)} ({signed(gap.mean)} {span(gap.low, gap.high)}{clear})"


def not_run(systems: Sequence[System]) -> list[str]:
    """The sentence that names what is missing, if anything is."""
    names = [system.name for system in systems if not system.results]
    return [f"Not run: {verdicts.listed(names)}."] if names else []
