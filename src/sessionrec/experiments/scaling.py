"""Quality against the amount of training data and the size of the model. Paper, figure 5.

In: the systems of a data set with a place each. Out: `Scaling`: points with intervals over users and seeds, the law
through them, and what the smaller points foretold of the largest. Rows of the group `model` differ in size, the others
in data. Letters: N points, U users, D draws, C columns (a seed of a point).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sessionrec.data.wording import compact
from sessionrec.experiments import figures
from sessionrec.experiments.figures import Drawing, Series
from sessionrec.experiments.grid import Cell, Grid, Row, absent
from sessionrec.experiments.laws import FORMS, LEAST_POINTS, LEAST_TO_FORETELL, Form, Study, study
from sessionrec.experiments.sheets import short
from sessionrec.experiments.systems import System
from sessionrec.experiments.table import TARGETS
from sessionrec.report.bootstrap import FloatArray, draws_of_users, over_seeds
from sessionrec.report.numbers import score, span

MODEL: Final = "model"
"""Group of rows that differ in the size of the model."""
METRIC: Final = "recall@500"
NAMES: Final[dict[Form, str]] = {"log": "the line in the logarithm", "power": "the saturating power law"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One line of growth."""

    title: str
    """Of the data set."""
    of: str
    """`training events` or `parameters`."""
    targets: str
    metric: str
    systems: tuple[System, ...]
    """Ascending."""
    study: Study


def metric_of(metrics: Sequence[str]) -> str:
    """Recall@500 as in the paper, or the deepest recall there is."""
    recalls = [metric for metric in metrics if metric.startswith("recall@")]
    return METRIC if METRIC in metrics else (recalls or list(metrics))[-1]


def scalings(systems: Sequence[System], title: str, targets: Sequence[str], metric: str) -> list[Scaling]:
    """Growth by data and by size, for each kind of targets; lines without two points are left out."""
    found = []
    for kind in targets:
        for of in ("training events", "parameters"):
            chosen = [system for system in systems if system.role == "model" and _is_of(system, of)]
            places = [(x, system) for system in chosen if (x := _place(system, of)) and system.by_user(kind, metric)]
            placed: dict[float, System] = {}
            for x, system in sorted(places, key=lambda one: one[0]):
                placed.setdefault(x, system)
            if len(placed) < 2:
                continue
            means, drawn_DN = drawn([*placed.values()], kind, metric)
            found.append(
                Scaling(
                    title=title,
                    of=of,
                    targets=kind,
                    metric=metric,
                    systems=tuple(placed.values()),
                    study=study(list(placed), means, drawn_DN),
                )
            )
    return found


def _is_of(system: System, of: str) -> bool:
    return (system.group == MODEL) == (of == "parameters")


def _place(system: System, of: str) -> float | None:
    return system.cost("parameters") if of == "parameters" else system.events()


def drawn(systems: Sequence[System], targets: str, metric: str) -> tuple[list[float], FloatArray]:
    """Means, and [D, N] the same by draws: users are drawn for all points alike, seeds for each of its own."""
    found = [system.by_user(targets, metric) for system in systems]
    sides = [one for one in found if one is not None]
    assert len(sides) == len(systems), metric
    everyone = np.unique(np.concatenate([users for users, _ in sides]))
    columns: list[FloatArray] = []
    for users, values in sides:
        for row in values:
            aligned = np.full(len(everyone), np.nan)
            aligned[np.searchsorted(everyone, users)] = row
            columns.append(aligned)
    values_CU = np.stack(columns)
    is_known_CU = ~np.isnan(values_CU)
    means_C = np.where(is_known_CU, values_CU, 0.0).sum(axis=1) / is_known_CU.sum(axis=1)
    means_DC = _means(np.where(is_known_CU, values_CU, 0.0), is_known_CU)
    seeds_N = [len(values) for _, values in sides]
    means_N = np.add.reduceat(means_C, np.cumsum([0, *seeds_N[:-1]])) / seeds_N
    return means_N.tolist(), over_seeds(means_DC, seeds_N)


def _means(values_CU: FloatArray, is_known_CU: FloatArray) -> FloatArray:
    """[D, C] means of the users drawn, those that have a value."""
    means = []
    for counts_DU in draws_of_users(values_CU.shape[1]):
        means.append(counts_DU @ values_CU.T / np.maximum(counts_DU @ is_known_CU.T.astype(np.float64), 1.0))
    return np.concatenate(means)


def sentences(one: Scaling) -> list[str]:
    """What the law says, and whether it held."""
    found, where = one.study, f"{TARGETS[one.targets].capitalize()}, {short(one.metric)} against {one.of}"
    if found.law is None:
        return [f"{where}: a law needs at least {LEAST_POINTS} points, there are {len(found.x_N)}."]
    said = f"{where}: {found.law.words()}, x in {one.of}."
    if len(found.errors) > 1:
        tried = ", ".join(f"{NAMES[form]} by {score(error)}" for form, error in found.errors.items())
        said += f" Fitted without the largest point, a law is off there: {tried}. Drawn is {NAMES[found.law.form]}."
    told = found.forecast
    if told is None:
        return [said, f"A forecast of the largest point needs {LEAST_TO_FORETELL} points, there are {len(found.x_N)}."]
    measured = f"{score(told.measured)} {span(float(found.low_N[-1]), float(found.high_N[-1]))}"
    hit = "which holds it" if told.is_hit else "which misses it"
    return [
        said,
        f"Foretold from the smaller points alone by {NAMES[told.form]}: {score(told.mean)} "
        f"{span(told.low, told.high)}, {hit}: measured {measured}.",
    ]


def law_grid(lines: Sequence[Scaling]) -> Grid:
    """Every law of a data set, and how its forecast did."""
    rows = []
    for one in lines:
        found, told = one.study, one.study.forecast
        cells = [Cell(text=str(len(found.x_N))), Cell(text=found.law.words() if found.law else "too few points")]
        for form in FORMS:
            cells.append(Cell(text=score(found.errors[form]) if form in found.errors else "too few points"))
        if told is None:
            cells += [Cell(text="too few points")] * 2 + [Cell(text="\N{EN DASH}")]
        else:
            measured = span(float(found.low_N[-1]), float(found.high_N[-1]))
            cells.append(Cell(text=score(told.mean), interval=span(told.low, told.high)))
            cells.append(Cell(text=score(told.measured), interval=measured))
            cells.append(Cell(text="held" if told.is_hit else "missed"))
        rows.append(Row(name=f"{one.of}, {TARGETS[one.targets]}", cells=tuple(cells)))
    return Grid(
        key="laws",
        topic="Laws",
        title=lines[0].title,
        corner="Against",
        columns=("Points", "Law", "log off by", "power off by", "Largest foretold", "Measured", "Forecast"),
        rows=tuple(rows),
        about="Off by: error at the largest point of a law fitted without it. Largest foretold: the form chosen and "
        "fitted on the smaller points alone, with its 95 % interval; held = what was measured lies in it.",
    )


def point_grid(systems: Sequence[System], title: str, targets: Sequence[str], metric: str, x_label: str) -> Grid:
    """Where the points lie."""
    rows = []
    for system in systems:
        if not system.results:
            rows.append(Row(name=system.name, cells=(absent(),) * (3 + len(targets))))
            continue
        events = system.events()
        cells = [
            Cell(text="\N{EN DASH}" if system.x is None else f"{system.x:g}"),
            Cell(text="\N{EN DASH}" if events is None else compact(events)),
            Cell(text=compact(system.cost("parameters") or 0)),
        ]
        for kind in targets:
            means, spread = system.seed_means(kind, metric), system.spread(kind, metric)
            text = score(float(np.mean(means))) if means else "none"
            cells.append(Cell(text=text, spread=f"±{score(spread)}" if spread is not None else ""))
        rows.append(Row(name=system.name, cells=tuple(cells), note=system.group))
    return Grid(
        key="points",
        topic="Points",
        title=title,
        corner="Row",
        columns=(
            x_label or "x",
            "Training events",
            "Parameters",
            *(f"{short(metric)}, {TARGETS[kind]}" for kind in targets),
        ),
        rows=tuple(rows),
    )


def drawing(one: Scaling, experiment: str) -> Drawing:
    """The points, the law and its band."""
    found, curve = one.study, None
    if found.law is not None:
        told = found.forecast
        curve = figures.Curve(
            x=found.band_x.tolist(),
            mean=found.band[0].tolist(),
            low=found.band[1].tolist(),
            high=found.band[2].tolist(),
            foretold=(told.x, told.mean, told.low, told.high) if told else None,
        )
    ends = score(float(found.mean_N[0])), score(float(found.mean_N[-1]))
    x_ends = compact(float(found.x_N[0])), compact(float(found.x_N[-1]))
    finding = f"{short(one.metric)} is {ends[0]} with {x_ends[0]} {one.of} and {ends[1]} with {x_ends[1]}."
    points = Series(
        name="measured",
        x=found.x_N.tolist(),
        mean=found.mean_N.tolist(),
        low=found.low_N.tolist(),
        high=found.high_N.tolist(),
    )
    return figures.law(
        points,
        curve,
        x_label=one.of,
        y_label=short(one.metric),
        name=figures.file_name(experiment, one.title, one.of, one.targets),
        title=f"{short(one.metric)} by {one.of}, {TARGETS[one.targets]}",
        finding=finding,
        detail=f"Law: {found.law.words()}. Lines at points: 95\N{NO-BREAK SPACE}% over users and seeds."
        if found.law
        else "",
    )
