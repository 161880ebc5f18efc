"""Quality along a setting, such as the weight of the rank loss. Paper, figure 4 and section 4.5.

Rows of a group are a line; each is compared with the one at the least value, on the same users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sessionrec.experiments import figures, sheets
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.figures import Series
from sessionrec.experiments.grid import Cell, Grid, Row
from sessionrec.experiments.part import Part, not_run, plain_cell, told
from sessionrec.experiments.systems import System
from sessionrec.experiments.table import TARGETS, Comparison, Key, Table, in_groups
from sessionrec.report.numbers import metric_name, score

_ADVISED: Final = 0.2
"""The paper's weight of the rank loss."""


def part(experiment: Experiment, table: Table) -> Part:
    """The section of a data set."""
    label = experiment.config.x_label or "x"
    lines = _lines(table)
    base = {slug: line[0] for line in lines for slug in (system.slug for system in line)}
    over = _over_first(lines, table.keys)
    drawings = []
    for key in table.keys:
        series = [one for line in lines if (one := _series(table, line, key)) is not None]
        if series:
            drawings.append(
                figures.along(
                    series,
                    x_label=label,
                    y_label=metric_name(key[1]),
                    name=figures.file_name(experiment.name, table.dataset, *key),
                    title=f"{sheets.short(key[1])}, {TARGETS[key[0]]}",
                    finding=_peak(table, lines, key, label),
                )
            )
    grids = []
    for targets in dict.fromkeys(key[0] for key in table.keys):
        keys = table.of_targets(targets)
        rows = [sheets.row_of(system, [plain_cell(table, system, key) for key in keys]) for system in table.systems]
        for line in lines:
            for system in line[1:]:
                cells = tuple(sheets.compared_cell(over.get((system.slug, key))) for key in keys)
                first = base[system.slug]
                name = f"{label} = {system.x or 0:g} beside {first.x or 0:g}"
                rows.append(Row(name=name, cells=tuple(map(_unnamed, cells)), kind="compare", note=system.group))
        columns = tuple(sheets.short(metric) for _, metric in keys)
        topic = TARGETS[targets].capitalize()
        grids.append(Grid(key=targets, topic=topic, title=table.title, columns=columns, rows=tuple(rows), corner="Row"))
    return Part(
        title=table.title,
        sentences=tuple(_swept(experiment, table, lines, over, label)),
        grids=(*grids, sheets.cost_grid(table)),
        drawings=tuple(drawings),
        records=tuple(sheets.records(table)),
    )


def _unnamed(cell: Cell) -> Cell:
    """Without the name of the other: the row says it."""
    return replace(cell, note="")


def _lines(table: Table) -> list[list[System]]:
    """Rows of a group by their place."""
    groups: dict[str, list[System]] = {}
    for system in table.systems:
        if system.role == "model" and system.x is not None:
            groups.setdefault(system.group, []).append(system)
    return [sorted(line, key=lambda system: system.x or 0.0) for line in groups.values()]


def _over_first(lines: Sequence[Sequence[System]], keys: Sequence[Key]) -> dict[tuple[str, Key], Comparison]:
    found: dict[tuple[str, Key], Comparison] = {}
    for line in lines:
        found |= in_groups(line, keys, one_group=True)
    return found


def _series(table: Table, line: Sequence[System], key: Key) -> Series | None:
    there = [(system, value) for system in line if (value := table.values.get((system.slug, key))) is not None]
    if not there:
        return None
    return Series(
        name=there[0][0].group or there[0][0].name,
        x=[system.x or 0.0 for system, _ in there],
        mean=[value.estimate.mean for _, value in there],
        low=[value.estimate.low for _, value in there],
        high=[value.estimate.high for _, value in there],
    )


def _peak(table: Table, lines: Sequence[Sequence[System]], key: Key, label: str) -> str:
    there = [(table.values[system.slug, key].estimate.mean, system) for line in lines for system in line
             if (system.slug, key) in table.values]  # fmt: skip
    mean, best = max(there, key=lambda one: one[0])
    return f"The most, {score(mean)}, at {label} = {best.x:g}."


def _swept(
    experiment: Experiment,
    table: Table,
    lines: Sequence[Sequence[System]],
    over: dict[tuple[str, Key], Comparison],
    label: str,
) -> list[str]:
    found = []
    for line in lines:
        chosen = [system for system in line[1:] if system.x == _ADVISED or system.name == experiment.config.ours]
        for system in chosen or line[-1:]:
            for targets in dict.fromkeys(key[0] for key in table.keys):
                keys = [key for key in table.of_targets(targets) if (system.slug, key) in over]
                said = [f"{sheets.short(key[1])} {told(over[system.slug, key])}" for key in keys]
                if said:
                    start = f"{TARGETS[targets].capitalize()}, {label} = {system.x:g} beside {line[0].x:g}"
                    found.append(f"{start}{f' ({system.group})' if system.group else ''}: {'; '.join(said)}.")
    return found + not_run(table.systems)
