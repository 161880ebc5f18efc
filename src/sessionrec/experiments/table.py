"""Results -> a table of numbers: rows by columns, best and runner-up, and what ours has more than the others.

In: the systems of a data set. Out: `Table`, numbers only; `sheets` writes them down. Paper tables 2 to 4.

Marks go by what is printed. Ours is compared with the best baseline of each column and with the best floor, on the same
users (paired bootstrap); the difference is clear if its 95 % interval leaves zero out. Baselines are the item-level
rows, or every other trained row where ours is item-level itself or no row is. Choosing the best per column flatters
baselines a little, never ours. Without `ours`, the rows of a group are compared with the
group's first one (table 3). Nothing is corrected for the number of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sessionrec.experiments.config import Experiment, Targets
from sessionrec.experiments.grid import ranks
from sessionrec.experiments.systems import (
    IN_SESSION,
    PLACES,
    Results,
    System,
    estimates,
    flipped,
    item_level_rows,
    systems_of,
)
from sessionrec.report.bootstrap import Estimate, Gap

TARGETS: Final[dict[str, str]] = {"session": "leave one session out", "last_item": "leave one item out"}
"""How the kinds of targets are called."""

Key = tuple[str, str]
"""Targets and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number of a table."""

    estimate: Estimate
    """Mean over seeds and users; `gap`: what it has more than ours."""
    seeds: int
    spread: float | None
    """Standard deviation over seeds."""
    mark: Literal["", "best", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one system has more than another."""

    than: str
    """Name of the other."""
    percent: float | None
    """Of the other's; None if that is zero."""
    gap: Gap | None
    """None: there are no users to compare by, as with published figures."""
    seeds_apart: bool = False
    """Whether every seed of the better one is above every seed of the other."""
    is_seeded: bool = False
    """Whether both have several seeds."""

    @property
    def sign(self) -> int:
        """1 = clearly more, -1 = clearly less, 0 = cannot be told."""
        return self.gap.sign if self.gap else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A data set's part."""

    dataset: str
    title: str
    systems: tuple[System, ...]
    keys: tuple[Key, ...]
    """Columns of quality, in order."""
    values: Mapping[tuple[str, Key], Value]
    """By slug and column; what was not run is not there."""
    over_baseline: Mapping[Key, Comparison]
    over_floor: Mapping[Key, Comparison]
    in_group: Mapping[tuple[str, Key], Comparison]
    """Of a row, over the first of its group."""

    @property
    def ours(self) -> System | None:
        """The row that the others are compared with."""
        return next((system for system in self.systems if system.is_ours), None)

    def of_targets(self, targets: str) -> list[Key]:
        """Columns of one kind of targets."""
        return [key for key in self.keys if key[0] == targets]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Figures of a data set that is not at hand, as they were printed."""

    name: str
    rows: tuple[tuple[str, Mapping[Key, float]], ...]
    """Name and figures of each row that has any."""
    keys: tuple[Key, ...]
    ours: str
    over_baseline: Mapping[Key, Comparison]
    """As printed figures say."""


def build(
    experiment: Experiment,
    dataset: str,
    results: Results,
    other_code: frozenset[str] = frozenset(),
) -> Table:
    """The part of one data set.

    Args:
        experiment: What is asked.
        dataset: Its name in `datasets.toml`.
        results: All there are.
        other_code: Keys of results that other code made.
    """
    systems = systems_of(experiment, dataset, results, other_code)
    metrics = dict.fromkeys((*experiment.config.metrics, IN_SESSION))
    keys: list[Key] = [(targets, metric) for targets in experiment.config.targets for metric in metrics]
    ours = next((system for system in systems if system.is_ours), None)
    found = estimates(systems, keys, ours)
    marks: dict[tuple[str, Key], Literal["", "best", "second"]] = {}
    for key in keys:
        means = [found[system.slug, *key].mean if (system.slug, *key) in found else None for system in systems]
        marks |= {(system.slug, key): mark for system, mark in zip(systems, ranks(means, PLACES), strict=True)}
    values = {
        (system.slug, key): Value(
            estimate=found[system.slug, *key],
            seeds=len(system.seed_means(*key)),
            spread=system.spread(*key),
            mark=marks[system.slug, key],
        )
        for system in systems
        for key in keys
        if (system.slug, *key) in found
    }
    others = [system for system in systems if system.role == "model" and not system.is_ours]
    is_session_level = ours is not None and not ours.is_item_level
    baselines = [system for system in others if system.is_item_level] if is_session_level else others
    floors = [system for system in systems if system.role == "floor"]
    return Table(
        dataset=dataset,
        title=experiment.sources[dataset].title,
        systems=tuple(systems),
        # The last item alone says the same of the inside of its session as the session does.
        keys=tuple(key for key in keys if not is_in_session(key[1]) or key[0] == _in_session(experiment, values)),
        values=values,
        over_baseline=_over(ours, baselines or others, values, keys),
        over_floor=_over(ours, floors, values, keys),
        in_group={} if experiment.config.ours else in_groups(systems, keys),
    )


def is_in_session(metric: str) -> bool:
    """Whether a metric looks at the exposures of the session to predict alone."""
    return metric.startswith("in_session_")


def published(experiment: Experiment, results: Results) -> list[Published]:
    """Figures that rows keep of data sets that were not run."""
    ran = {dataset for dataset, _, _ in results}
    at_hand = {source.paper for name, source in experiment.sources.items() if name in ran}
    names = dict.fromkeys(name for row in experiment.rows for name in row.config.paper if name not in at_hand)
    metrics = experiment.config.metrics
    keys: list[Key] = [(targets, metric) for targets in experiment.config.targets for metric in metrics]
    return [block for name in names if (block := _published(experiment, name, keys)).rows]


def _published(experiment: Experiment, name: str, wanted: Sequence[Key]) -> Published:
    rows: list[tuple[str, Mapping[Key, float]]] = []
    baselines: dict[str, Mapping[Key, float]] = {}
    item_level = item_level_rows(experiment)
    own = next((row for row in experiment.rows if row.config.name and row.config.name == experiment.config.ours), None)
    for row in experiment.rows:
        figures = row.config.paper.get(name, {})
        known = {(targets, metric): value for targets, by in figures.items() for metric, value in by.items()}
        chosen = {key: known[key] for key in wanted if key in known}
        if chosen:
            rows.append((row.config.name, chosen))
            if row is not own and (own is None or own.slug in item_level or row.slug in item_level):
                baselines[row.config.name] = chosen
    keys = tuple(key for key in wanted if any(key in figures for _, figures in rows))
    ours = next((figures for named, figures in rows if own is not None and named == own.config.name), {})
    if not baselines:
        baselines = {named: figures for named, figures in rows if figures is not ours}
    over = {}
    for key in keys:
        others = [(named, figures[key]) for named, figures in baselines.items() if key in figures]
        if key in ours and others:
            best = max(others, key=lambda one: one[1])
            over[key] = Comparison(than=best[0], percent=_percent(ours[key], best[1]), gap=None)
    titles = {source.paper: source.title for source in experiment.sources.values()}
    return Published(
        name=titles.get(name, name), rows=tuple(rows), keys=keys, ours=experiment.config.ours, over_baseline=over
    )


def _in_session(experiment: Experiment, values: Mapping[tuple[str, Key], Value]) -> Targets | None:
    having = {key[0] for _, key in values if is_in_session(key[1])}
    return next((targets for targets in experiment.config.targets if targets in having), experiment.config.targets[0])


def _over(
    ours: System | None, others: Sequence[System], values: Mapping[tuple[str, Key], Value], keys: Sequence[Key]
) -> dict[Key, Comparison]:
    """Ours over the best of some others, column by column."""
    found: dict[Key, Comparison] = {}
    for key in keys:
        there = [other for other in others if (other.slug, key) in values]
        if ours is None or (ours.slug, key) not in values or not there:
            continue
        best = max(there, key=lambda other: values[other.slug, key].estimate.mean)
        gap = values[best.slug, key].estimate.gap
        found[key] = comparison(ours, best, key, values[ours.slug, key].estimate, flipped(gap) if gap else None)
    return found


def comparison(system: System, than: System, key: Key, own: Estimate, gap: Gap | None) -> Comparison:
    """What a system has more than another, with all that says how sure it is."""
    others = than.seed_means(*key)
    mine = system.seed_means(*key)
    apart = bool(mine and others) and (min(mine) > max(others) or max(mine) < min(others))
    is_seeded = len(mine) > 1 and len(others) > 1
    base = float(sum(others) / len(others)) if others else math.nan
    # Means over the same users, where they are known, not over everyone each was asked about.
    base = own.mean - gap.mean if gap else base
    return Comparison(than=than.name, percent=_percent(own.mean, base), gap=gap, seeds_apart=apart, is_seeded=is_seeded)


def in_groups(
    systems: Sequence[System], keys: Sequence[Key], *, one_group: bool = False
) -> dict[tuple[str, Key], Comparison]:
    """Each row over the first of its group, by slug and column.

    Args:
        systems: Of one data set.
        keys: Columns.
        one_group: Take them all for one group, whatever theirs is called.
    """
    groups: dict[str, list[System]] = {}
    for system in systems:
        if one_group or system.group:
            groups.setdefault("" if one_group else system.group, []).append(system)
    found: dict[tuple[str, Key], Comparison] = {}
    for first, *others in groups.values():
        if not first.results or not others:
            continue
        ends = estimates([first, *others], keys, first)
        for system in others:
            for key in keys:
                one = ends.get((system.slug, *key))
                if one is not None and one.gap is not None:
                    found[system.slug, key] = comparison(system, first, key, one, one.gap)
    return found


def _percent(value: float, base: float) -> float | None:
    return None if not base or math.isnan(base) else 100 * (value - base) / base
