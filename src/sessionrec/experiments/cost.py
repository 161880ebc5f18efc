"""Quality against the time of training. Paper, figure 3.

Rows of a group are compared with its first one: the time, and the quality on the same users.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sessionrec.data.wording import compact
from sessionrec.experiments import figures, sheets, statistics
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.figures import Drawing, Place
from sessionrec.experiments.grid import Cell, Grid, Row, absent
from sessionrec.experiments.part import Part, not_run, plain_cell
from sessionrec.experiments.systems import System
from sessionrec.experiments.table import TARGETS, Comparison, Key, Table, in_groups, is_in_session
from sessionrec.report.numbers import metric_name

_DRAWN: Final = ("ndcg@10", "recall@500")
_FEW: Final = 3
"""Metrics of which each is drawn."""


def part(experiment: Experiment, table: Table, out: Path) -> Part:
    """The section of a data set."""
    dataset = statistics.prepared(experiment, out)[table.dataset]
    events = statistics.counts(dataset)["events_per_session"] if dataset is not None else None
    over = in_groups(table.systems, table.keys)
    first = _firsts(table.systems)
    quality = [key for key in table.keys if not is_in_session(key[1])]
    keys = [key for key in quality if len(experiment.config.metrics) <= _FEW or key[1] in _DRAWN] or quality[:_FEW]
    drawings = [drawn for key in keys if (drawn := _cost_drawing(experiment, table, first, key)) is not None]
    rows = sheets.with_heads(table.systems, lambda system: _cost_row(table, system, first, over, events, keys))
    grid = Grid(
        key="cost",
        topic="Quality and time",
        title=table.title,
        columns=(
            "Seconds an epoch",
            "Time to the first of the group",
            "Events an epoch",
            "Events a session",
            *(f"{sheets.short(metric)}, {TARGETS[targets]}" for targets, metric in keys),
        ),
        rows=tuple(rows),
    )
    return Part(
        title=table.title,
        sentences=tuple(_costs(table, first, over, keys)),
        grids=(grid, *sheets.quality_grids(table), sheets.cost_grid(table)),
        drawings=tuple(drawings),
        records=tuple(sheets.records(table)),
    )


def _firsts(systems: Sequence[System]) -> dict[str, System]:
    """By slug, the first of the group; of the first ones none."""
    groups: dict[str, System] = {}
    found = {}
    for system in systems:
        if system.role == "model" and system.group:
            if system.group in groups:
                found[system.slug] = groups[system.group]
            else:
                groups[system.group] = system
    return found


def _seconds(system: System) -> float | None:
    # Of the processor: runs stand beside each other, and time on the clock would say more of their number.
    return system.training("processor_seconds_per_epoch")


def _ratio(system: System, first: System | None) -> str:
    """`1.8 x faster`."""
    own, other = _seconds(system), _seconds(first) if first is not None else None
    if not own or not other:
        return ""
    if own <= other:
        return f"{other / own:.2g}\N{MULTIPLICATION SIGN} faster"
    return f"{own / other:.2g}\N{MULTIPLICATION SIGN} slower"


def _cost_row(
    table: Table,
    system: System,
    first: dict[str, System],
    over: dict[tuple[str, Key], Comparison],
    events: float | None,
    keys: Sequence[Key],
) -> Row:
    if not system.results:
        return sheets.row_of(system, [absent()] * (4 + len(keys)))
    seconds, per_epoch = _seconds(system), system.training("events_per_epoch")
    dash = "\N{EN DASH}"
    cells = [
        Cell(text=dash if seconds is None else sheets.seconds_of(seconds), is_other_code=system.is_other_code),
        Cell(text=_ratio(system, first.get(system.slug)) or dash),
        Cell(text=dash if per_epoch is None else compact(per_epoch)),
        Cell(text="not prepared" if events is None else f"{events:.2f}", is_absent=events is None),
    ]
    for key in keys:
        more = over.get((system.slug, key))
        cell = plain_cell(table, system, key)
        note = "" if more is None else f"{sheets.percent_of(more)}{'*' if more.sign else ''}"
        cells.append(Cell(text=cell.text, mark=cell.mark, is_absent=cell.is_absent, spread=cell.spread, note=note))
    return sheets.row_of(system, cells)


def _cost_drawing(experiment: Experiment, table: Table, first: dict[str, System], key: Key) -> Drawing | None:
    models = [system for system in table.systems if system.role == "model"]
    there = [system for system in models if (system.slug, key) in table.values and _seconds(system)]
    if not there:
        return None
    places = []
    for system in there:
        one = table.values[system.slug, key].estimate
        low, high = (one.mean if math.isnan(end) else end for end in (one.low, one.high))
        cost = _seconds(system) or 0.0
        group = system.group or system.name
        places.append(Place(name=system.name, group=group, cost=cost, mean=one.mean, low=low, high=high))
    at = {system.slug: place for place, system in enumerate(there)}
    arrows = [
        (at[first[system.slug].slug], at[system.slug], _ratio(system, first[system.slug]))
        for system in there
        if system.slug in first and first[system.slug].slug in at
    ]
    fastest = min(there, key=lambda system: _seconds(system) or 0.0)
    best = max(there, key=lambda system: table.values[system.slug, key].estimate.mean)
    return figures.cost(
        places,
        arrows,
        y_label=metric_name(key[1]),
        name=figures.file_name(experiment.name, table.dataset, *key),
        title=f"{metric_name(key[1])}, {TARGETS[key[0]]}, by time",
        finding=f"{best.name} has the most; {fastest.name} has the shortest epochs.",
    )


def _costs(
    table: Table, first: dict[str, System], over: dict[tuple[str, Key], Comparison], keys: Sequence[Key]
) -> list[str]:
    found = []
    for system in table.systems:
        other = first.get(system.slug)
        ratio = _ratio(system, other)
        if other is None or not ratio:
            continue
        own, others = (sheets.seconds_of(_seconds(one) or 0.0) for one in (system, other))
        said = [f"{system.name} trains {ratio} than {other.name} ({own} s an epoch instead of {others} s)"]
        for targets in dict.fromkeys(key[0] for key in keys):
            chosen = [key for key in keys if key[0] == targets and (system.slug, key) in over]
            means = [f"{sheets.short(key[1])} {_percent(over[system.slug, key])}" for key in chosen]
            said += [f"{TARGETS[targets]}, {' and '.join(means)}"] if means else []
        found.append(f"{'; '.join(said)}.")
    return found + not_run(table.systems)


def _percent(one: Comparison) -> str:
    return sheets.percent_of(one) + ("" if one.sign else " (not clear)")
