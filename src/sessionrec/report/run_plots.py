"""The figures of a run's report, each with the sentence that says what to see in it.

In: what `run_files` read and `bootstrap` estimated. Out: `Plot`s. A system has one colour and one mark on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from sessionrec.data.wording import compact, count, many, percent
from sessionrec.report import figure as fig
from sessionrec.report.bootstrap import Estimate
from sessionrec.report.numbers import metric_name, score, signed
from sessionrec.report.plots import Plot
from sessionrec.report.run_facts import Selection
from sessionrec.report.run_files import Epoch, System
from sessionrec.report.run_groups import Group
from sessionrec.report.run_prior import Look

_HALF_IN: Final = 5.4
_THIRD_IN: Final = 3.9
_ROW_IN: Final = 0.46
_BAR_IN: Final = 0.29
_NAMES_IN: Final = 2.1
_NAME_LENGTH: Final = 26
_COLORS: Final = (fig.FIRST, fig.SECOND, fig.THIRD, fig.FOURTH, fig.FIFTH, fig.SIXTH)
_PATCH: Final = {"facecolor": fig.PAGE, "edgecolor": "none", "pad": 1}
"""Behind words, so that no line runs through them."""
_MARKS: Final = ("o", "s", "D", "^", "v", "P")
_MINUS: Final = "\N{MINUS SIGN}"
_VISIBLE: Final = 0.005
"""What does not read .00."""


def color_variables(names: Sequence[str], drawn: Sequence[str] = ()) -> list[str]:
    """The CSS variable of each system's colour, for tables beside the figures.

    Args:
        names: Of the systems.
        drawn: Those of the figures, in their order, if they are others.
    """
    order = list(dict.fromkeys((*drawn, *names)))
    return [fig.VARIABLES[_COLORS[order.index(name) % len(_COLORS)]] for name in names]


def metric_plots(names: Sequence[str], estimates: dict[str, list[Estimate]], metrics: Sequence[str]) -> list[Plot]:
    """Dots with intervals, one figure a metric."""
    return [_dots(names, estimates[metric], metric, _THIRD_IN) for metric in metrics]


def session_plots(names: Sequence[str], estimates: dict[str, list[Estimate]]) -> list[Plot]:
    """Ranking inside the session."""
    chance = {"in_session_auc": 0.5, "in_session_ndcg": None}
    found = [metric for metric in chance if metric in estimates]
    return [_dots(names, estimates[metric], metric, _HALF_IN, starts_at=chance[metric]) for metric in found]


def _dots(
    names: Sequence[str],
    estimates: Sequence[Estimate],
    metric: str,
    width_in: float,
    *,
    starts_at: float | None = 0.0,
) -> Plot:
    """A row a system. None: the axis starts where the intervals do, for systems that lie close together."""
    drawing, axes = fig.new_figure("", "", (width_in, 0.5 + _ROW_IN * len(names)))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=fig.GRID, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([])
    edges = [one.low for one in estimates] + [one.high for one in estimates]
    edges += [] if starts_at is None else [starts_at]
    left, room = min(edges), (max(edges) - min(edges)) or 1.0
    axes.set_xlim(left - (room * 0.06 if left or starts_at is None else 0), left + room * 1.06)
    axes.set_ylim(-len(names) + 0.55, 0.75)
    if starts_at:
        axes.axvline(starts_at, color=fig.MUTED, linewidth=1, linestyle=(0, (4, 4)))
    across = axes.get_yaxis_transform()
    for row, (name, one, (color, shape)) in enumerate(zip(names, estimates, _styles(len(names)), strict=True)):
        axes.plot([one.low, one.high], [-row, -row], color=color, linewidth=2.5, solid_capstyle="round")
        axes.plot([one.mean], [-row], shape, color=color, markersize=7 if shape != "D" else 6)
        # Names stand above their rows: beside them they would take half of a narrow figure.
        where: dict[str, Any] = {"xycoords": across, "xytext": (0, 8), "bbox": _PATCH}
        fig.note(axes, name, (0, -row), ha="left", **where)
        fig.note(axes, score(one.mean), (1, -row), ha="right", color=fig.MUTED, **where)
    _score_axis(axes.xaxis)
    order = np.argsort([-one.mean for one in estimates], kind="stable")
    best = names[int(order[0])]
    finding = f"{best[:1].upper()}{best[1:]} has the most, {score(estimates[int(order[0])].mean)}."
    detail = "The dashed line is chance." if starts_at else ""
    return _plot(drawing, f"dots-{metric.replace('@', '-')}", metric_name(metric), finding, detail)


def training_plots(epochs: Sequence[Epoch], selection: Selection) -> list[Plot]:
    """Losses, validation and speed by epoch; a loss that is always zero is left out."""
    plots = []
    for name, title in (("retrieval", "Retrieval loss"), ("rank", "Ranking loss")):
        values = [getattr(epoch, name) for epoch in epochs]
        if any(values):
            finding = f"{title} went from {values[0]:.4g} to {values[-1]:.4g}."
            plots.append(_curve(epochs, values, selection, title, finding, fig.SECOND))
    metric = metric_name(selection.metric)
    finding = f"Validation {metric} was best after epoch {selection.best_epoch}: {score(selection.best_value)}."
    values = [epoch.validation for epoch in epochs]
    plots.append(_curve(epochs, values, selection, f"Validation {metric}", finding, fig.FIRST))
    speeds = [epoch.events_per_s for epoch in epochs if epoch.events_per_s is not None]
    if speeds:
        finding = f"The middle epoch took in {compact(float(np.median(speeds)))} events a second."
        values = [np.nan if epoch.events_per_s is None else epoch.events_per_s for epoch in epochs]
        plots.append(_curve(epochs, values, selection, "Events a second", finding, fig.MUTED, starts_at_zero=True))
    return plots


def _curve(
    epochs: Sequence[Epoch],
    values: Sequence[float],
    selection: Selection,
    title: str,
    finding: str,
    color: str,
    *,
    starts_at_zero: bool = False,
) -> Plot:
    drawing, axes = fig.new_figure("epoch", "", (_HALF_IN, 2.6))
    numbers = [epoch.epoch for epoch in epochs]
    axes.margins(x=0.03, y=0.12)
    axes.plot(numbers, values, color=color, linewidth=2, marker="o", markersize=3.5 if len(numbers) < 40 else 0)
    if selection.best_epoch in numbers:
        axes.axvline(selection.best_epoch, color=fig.MUTED, linewidth=1, linestyle=(0, (4, 4)))
        best = values[numbers.index(selection.best_epoch)]
        axes.plot([selection.best_epoch], [best], "o", color=color, markersize=8)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if starts_at_zero:
        axes.set_ylim(bottom=0)
        fig.compact_axis(axes.yaxis)
    else:
        _score_axis(axes.yaxis)
    name = "curve-" + "-".join(title.lower().replace("@", " ").split())
    return _plot(drawing, name, title, finding, "The dashed line is the epoch that was kept.")


def history_plot(names: Sequence[str], groups: Sequence[Group], metric: str) -> Plot:
    """A metric by the number of sessions before the question."""
    drawn = [group for group in groups if not group.is_small] or list(groups)
    drawing, axes = fig.new_figure("sessions before the question, and users", metric_name(metric), (_HALF_IN, 3.5))
    _grouped(axes, names, [group.estimates for group in drawn])
    labels = [f"{group.label}\n{compact(group.users)}" for group in drawn]
    axes.set_xticks(range(len(drawn)), labels)
    _score_axis(axes.yaxis)
    ends = drawn[0].estimates[0].mean, drawn[-1].estimates[0].mean
    finding = f"{names[0]} has {score(ends[0])} with {drawn[0].label} sessions before"
    finding += f" and {score(ends[1])} with {drawn[-1].label}." if len(drawn) > 1 else "."
    left_out = len(groups) - len(drawn)
    detail = f"{many(left_out, 'group')} of a few users left out." if left_out else ""
    return _plot(drawing, "by-history", "By number of sessions", finding, detail)


def popularity_plot(systems: Sequence[System], k: int) -> Plot:
    """Share of targets found among the first K, by popularity of the item."""
    rows = systems[0].by_popularity
    drawing, axes = fig.new_figure("items by popularity, and targets", "", (_HALF_IN, 3.5))
    width = 0.8 / len(systems)
    for place, (system, (color, _)) in enumerate(zip(systems, _styles(len(systems)), strict=True)):
        at = np.arange(len(rows)) + (place - (len(systems) - 1) / 2) * width
        shares = [float(row[f"found@{k}"] or 0) for row in system.by_popularity]
        axes.bar(at, shares, width=width * 0.9, color=color, label=system.name)
    axes.set_xticks(
        range(len(rows)), [f"{str(row['items']).replace(' ', chr(10), 1)}\n{compact(_number(row))}" for row in rows]
    )
    fig.percent_axis(axes.yaxis)
    _legend_above(axes)
    tail = next((row for row in rows if row["items"] == "tail"), rows[-1])
    finding = f"{systems[0].name} finds {percent(float(tail[f'found@{k}'] or 0))} of the targets in the {tail['items']}"
    finding += f" among its first {count(k)}."
    detail = "Head, middle and tail each hold a third of the training positives; the head is the fewest items that do."
    return _plot(drawing, "by-popularity", f"Targets found among the first {count(k)}", finding, detail)


def prior_plots(looks: Sequence[Look], purpose: str) -> list[Plot]:
    """What a usual difference of each feature moves a score by, one figure a kind, all on one scale.

    Args:
        looks: Of one set of weights.
        purpose: What that is for, in the names of the figures.
    """
    moves = [0.0, *(bar.moves for look in looks for bar in look.bars)]
    room = (max(moves) - min(moves)) or 1.0
    # Room for the numbers at the ends of the bars.
    limits = min(moves) - room * (0.26 if min(moves) < 0 else 0.02), max(moves) + room * 0.26
    return [_look(look, limits, f"prior-{purpose}-{look.slug}") for look in looks]


def _look(look: Look, limits: tuple[float, float], name: str) -> Plot:
    height_in = 0.62 + _BAR_IN * len(look.bars)
    drawing, axes = fig.new_figure("", "", (_HALF_IN, height_in))
    # Not where the names leave room: zero stands at one place in figures above each other.
    left, bottom = _NAMES_IN / _HALF_IN, 0.56 / height_in
    axes.set_position((left, bottom, 0.99 - left, 1 - 0.04 / height_in - bottom))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=fig.GRID, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    place = -np.arange(len(look.bars))
    moves = [bar.moves for bar in look.bars]
    axes.barh(place, moves, height=0.62, color=[fig.FIRST if move >= 0 else fig.SECOND for move in moves])
    axes.axvline(0, color=fig.MUTED, linewidth=1)
    axes.set_xlim(*limits)
    axes.set_ylim(-len(moves) + 0.5, 0.5)
    axes.set_yticks(place, [_short(bar.name) for bar in look.bars], parse_math=False)
    axes.set_xlabel("natural-log odds", color=fig.MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:+.3g}".replace("-", _MINUS) if value else "0")
    )
    for at, move in zip(place.tolist(), moves, strict=True):
        side = 1 if move >= 0 else -1
        where: dict[str, Any] = {"ha": "left" if side > 0 else "right", "va": "center", "xytext": (4 * side, 0)}
        fig.note(axes, signed(move, 2), (move, at), **where)
    greatest = look.greatest
    finding = "Nothing here moves a score."
    if abs(greatest.moves) >= _VISIBLE:
        finding = f"A usual difference of {greatest.name} moves a score by {signed(greatest.moves, 2)}."
    return _plot(drawing, name, look.title, finding, look.detail)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _number(row: dict[str, float | int | str | None]) -> float:
    return float(row["targets"] or 0)


def _grouped(axes: Axes, names: Sequence[str], estimates: Sequence[Sequence[Estimate]]) -> None:
    """Lines through groups, a little beside each other, so that intervals do not lie on one another."""
    place = np.arange(len(estimates))
    for system, (name, (color, shape)) in enumerate(zip(names, _styles(len(names)), strict=True)):
        at = place + (system - (len(names) - 1) / 2) * 0.09
        own = [group[system] for group in estimates]
        axes.vlines(at, [one.low for one in own], [one.high for one in own], color=color, linewidth=1.6, alpha=0.75)
        means = [one.mean for one in own]
        style: dict[str, Any] = {
            "color": color,
            "linewidth": 2.2 if system == 0 else 1.2,
            "marker": shape,
            "markersize": 5.5,
        }
        axes.plot(at, means, label=name, **style)
    axes.set_xlim(-0.5, len(estimates) - 0.5)
    axes.set_ylim(bottom=0)
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    # From the edge of the figure, not of the axes: long names need all of the width.
    where: dict[str, Any] = {"bbox_transform": blended_transform_factory(axes.figure.transFigure, axes.transAxes)}
    where |= {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    fig.legend(axes, ncols=2, borderaxespad=0.2, columnspacing=1.2, **where)


def _styles(number: int) -> list[tuple[str, str]]:
    return list(islice(cycle(zip(_COLORS, _MARKS, strict=True)), number))


def _score_axis(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    write: Callable[[float, object], str] = lambda value, _: f"{value:.4g}".replace("0.", ".", 1) if value else "0"  # noqa: E731
    axis.set_major_formatter(FuncFormatter(write))


def _plot(drawing: Figure, name: str, title: str, finding: str, detail: str) -> Plot:
    return Plot(title=title, finding=finding, detail=detail, svg=fig.to_svg(drawing, name, f"{title}. {finding}"))
