"""`Table` -> `Grid`s and `Record`s: what people read, and what programs do.

Three grids a data set: each kind of targets, and what it costs. Floors stand first, then the rows, groups under their
names, then what ours has more than the best baseline and the best floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sessionrec.data.wording import compact, count, size
from sessionrec.experiments.grid import NOT_RUN, Cell, Grid, Record, Row, RunRecord, absent, ranks
from sessionrec.experiments.results import Collected
from sessionrec.experiments.systems import IN_SESSION, PLACES, System
from sessionrec.experiments.table import TARGETS, Comparison, Key, Published, Table, Value
from sessionrec.report.numbers import metric_name, score, signed, span, took

_MINUS: Final = "\N{MINUS SIGN}"
_NO_MODEL: Final = "\N{EN DASH}"
_COSTS: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("processor_seconds_per_epoch", "Processor seconds an epoch", lambda value: seconds_of(value)),
    ("events_per_epoch", "Events an epoch", compact),
    ("parameters", "Parameters", compact),
    ("flops_per_user", "FLOPs a user", compact),
    ("peak_bytes", "Peak memory", lambda value: size(round(value))),
    ("evaluation_seconds", "Evaluation", took),
)
_OF_TRAINING: Final = frozenset({"processor_seconds_per_epoch", "events_per_epoch"})
_SHORT: Final = {"ndcg": "N", "recall": "R", IN_SESSION: "GAUC"}


def short(metric: str) -> str:
    """`ndcg@10` -> `N@10`, as the paper has it."""
    name, at, k = metric.partition("@")
    return f"{_SHORT[name]}{at}{k}" if name in _SHORT else metric_name(metric)


def seconds_of(seconds: float) -> str:
    """Three digits."""
    return f"{seconds:,.3g}" if seconds < 1000 else count(seconds)


def percent_of(comparison: Comparison) -> str:
    """`+9.46 %`."""
    if comparison.percent is None:
        return "no base"
    sign = _MINUS if comparison.percent < 0 else "+"
    return f"{sign}{abs(comparison.percent):.2f}\N{NO-BREAK SPACE}%"


def quality_grids(table: Table) -> list[Grid]:
    """A grid for each kind of targets."""
    return [_quality(table, targets) for targets in dict.fromkeys(key[0] for key in table.keys)]


def _quality(table: Table, targets: str) -> Grid:
    keys = table.of_targets(targets)
    rows = with_heads(table.systems, lambda system: _row(table, system, keys))
    if table.ours is not None:
        rows += [
            _compared(f"{table.ours.name} over the best baseline", table.over_baseline, keys),
            _compared(f"{table.ours.name} over the best floor", table.over_floor, keys),
        ]
    return Grid(
        key=targets,
        topic=TARGETS[targets].capitalize(),
        title=table.title,
        columns=tuple(short(metric) for _, metric in keys),
        rows=tuple(rows),
    )


def with_heads(systems: Sequence[System], write: Callable[[System], Row]) -> list[Row]:
    """Rows with a group's name above each run of its members."""
    rows: list[Row] = []
    group = ""
    for system in systems:
        if system.group and system.group != group:
            rows.append(Row(name=system.group, cells=(), kind="head"))
        group = system.group
        rows.append(write(system))
    return rows


def row_of(system: System, cells: Sequence[Cell]) -> Row:
    """A line of a system, saying how many of its seeds there are."""
    ran = len(system.results)
    note = f"{ran} of {system.wanted} seeds" if 0 < ran < system.wanted else ""
    kind = "floor" if system.role == "floor" else "ours" if system.is_ours else "model"
    return Row(name=system.name, cells=tuple(cells), kind=kind, note=note)  # type: ignore[arg-type]


def _row(table: Table, system: System, keys: Sequence[Key]) -> Row:
    return row_of(system, [_cell(table, system, key) for key in keys])


def _cell(table: Table, system: System, key: Key) -> Cell:
    value = table.values.get((system.slug, key))
    paper = system.paper.get(key[0], {}).get(key[1])
    printed = "" if paper is None else score(paper, decimals([paper]))
    if value is None:
        # What was run has no number where nobody could have one, such as sessions with nothing only shown.
        return Cell(text="none" if system.results else NOT_RUN, is_absent=True, paper=printed)
    more = table.in_group.get((system.slug, key))
    return Cell(
        text=score(value.estimate.mean),
        mark=value.mark,
        is_other_code=system.is_other_code,
        spread=f"±{score(value.spread)}" if value.spread is not None else "",
        interval=interval_of(value),
        paper=printed,
        note="" if more is None else f"{percent_of(more)}{'*' if more.sign else ''}",
        sign=value.estimate.gap.sign if value.estimate.gap else 0,
    )


def interval_of(value: Value) -> str:
    """`[.0613, .0841]`, or nothing if there are no users to draw from."""
    one = value.estimate
    return "" if math.isnan(one.low) else span(one.low, one.high)


def _compared(name: str, over: Any, keys: Sequence[Key]) -> Row:
    return Row(name=name, kind="compare", cells=tuple(compared_cell(over.get(key)) for key in keys))


def compared_cell(comparison: Comparison | None) -> Cell:
    """`+9.46 %*`, and over whom."""
    if comparison is None:
        return absent()
    gap = comparison.gap
    return Cell(
        text=percent_of(comparison),
        is_difference=True,
        is_clear=comparison.sign != 0,
        spread=signed(gap.mean) if gap else "",
        interval=span(gap.low, gap.high) if gap else "",
        note=comparison.than,
    )


def cost_grid(table: Table) -> Grid:
    """What each system costs."""
    return Grid(
        key="cost",
        topic="What it costs",
        title=table.title,
        columns=tuple(title for _, title, _ in _COSTS),
        rows=tuple(with_heads(table.systems, lambda system: row_of(system, [_cost(system, *of) for of in _COSTS]))),
    )


def _cost(system: System, name: str, _title: str, write: Callable[[float], str]) -> Cell:
    if not system.results:
        return absent()
    value = _mean_cost(system, name)
    is_none = value is None or (system.role == "floor" and name in ("parameters", "flops_per_user"))
    return Cell(text=_NO_MODEL if is_none or value is None else write(value), is_other_code=system.is_other_code)


def _mean_cost(system: System, name: str) -> float | None:
    if name in _OF_TRAINING:
        return system.training(name)
    if name == "peak_bytes" and any(result.peak_bytes is None for result in system.results):
        return None
    return system.cost(name)


def published_grid(block: Published, targets: str) -> Grid | None:
    """Published figures of one kind of targets; None if there are none."""
    keys = [key for key in block.keys if key[0] == targets]
    if not keys:
        return None
    places = decimals([value for _, figures in block.rows for value in figures.values()])
    marks = {key: ranks([figures.get(key) for _, figures in block.rows], places) for key in keys}
    rows = []
    for place, (name, figures) in enumerate(block.rows):
        cells = [
            Cell(text=score(figures[key], places), mark=marks[key][place])
            if key in figures
            else Cell(text="not published", is_absent=True)
            for key in keys
        ]
        rows.append(Row(name=name, cells=tuple(cells), kind="ours" if name == block.ours else "model"))
    if any(key in block.over_baseline for key in keys):
        over = [block.over_baseline.get(key) for key in keys]
        rows.append(
            Row(
                name=f"{block.ours} over the best baseline",
                kind="compare",
                cells=tuple(compared_cell(one) for one in over),
            )
        )
    return Grid(
        key=targets,
        topic=TARGETS[targets].capitalize(),
        title=f"{block.name}, as published",
        columns=tuple(short(metric) for _, metric in keys),
        rows=tuple(rows),
    )


def decimals(values: Sequence[float]) -> int:
    """Those that were printed, at least four: `.095` was `.0950`."""
    return max([PLACES, *(len(f"{value!r}".partition(".")[2]) for value in values if "e" not in f"{value!r}")])


def records(table: Table) -> Iterator[Record]:
    """Every number of a data set."""
    for system in table.systems:
        code = " ".join(sorted({result.code for result in system.results}))
        about: dict[str, Any] = {
            "dataset": table.dataset,
            "row": system.name,
            "slug": system.slug,
            "group": system.group,
            "code": code,
        }
        for key in table.keys:
            value = table.values.get((system.slug, key))
            where = about | {"targets": key[0], "metric": key[1], "paper": system.paper.get(key[0], {}).get(key[1])}
            if value is None:
                yield Record(**where)
                continue
            one, gap = value.estimate, value.estimate.gap
            of_gap: dict[str, Any] = {} if gap is None else _gap_fields(gap.mean, gap.low, gap.high, gap.p_value)
            number: dict[str, Any] = {"mean": one.mean, "low": one.low, "high": one.high}
            yield Record(**where, **number, **of_gap, seeds=value.seeds, seed_sd=value.spread)
        for name, _, _ in _COSTS:
            cost = _mean_cost(system, name)
            if cost is not None:
                yield Record(**about, metric=name, mean=cost, seeds=len(system.results))


def run_records(collected: Collected) -> Iterator[RunRecord]:
    """Every figure of every run."""
    for (dataset, slug, seed), result in collected.results.items():
        costs = result.training | {"evaluation_seconds": result.evaluation_seconds}
        if seed is not None:
            costs |= {"parameters": result.parameters, "flops_per_user": result.flops_per_user}
        if result.peak_bytes is not None:
            costs["peak_bytes"] = result.peak_bytes
        parts = [*result.metrics.items(), *result.counts.items(), ("", costs)]
        for targets, figures in parts:
            for metric, value in figures.items():
                yield RunRecord(
                    dataset=dataset,
                    row=collected.titles[slug],
                    slug=slug,
                    seed=seed,
                    targets=targets,
                    metric=metric,
                    value=value,
                    key=result.key,
                    data=result.data,
                    code=result.code,
                    machine=str(result.machine.get("device", "")),
                )


def _gap_fields(mean: float, low: float, high: float, p_value: float) -> dict[str, float]:
    return {"than_ours": mean, "than_ours_low": low, "than_ours_high": high, "than_ours_p": p_value}


def published_records(block: Published) -> Iterator[Record]:
    """What was printed."""
    for name, figures in block.rows:
        for (targets, metric), value in figures.items():
            yield Record(dataset=f"{block.name} (as published)", row=name, targets=targets, metric=metric, paper=value)
