"""Figures of experiments, each with the sentence that says what to see in it; in the style of `report.figure`.

In: numbers. Out: `Drawing`s, for the page by `plot`, and by `save` as files that need no page: SVG and PNG in the
colours of the light one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sessionrec.data.wording import compact
from sessionrec.report import figure as fig
from sessionrec.report.plots import Plot

COLORS: Final = (fig.FIRST, fig.SECOND, fig.THIRD, fig.FOURTH, fig.FIFTH)
MARKS: Final = ("o", "s", "D", "^", "v")
PATCH: Final = {"facecolor": fig.PAGE, "edgecolor": "none", "pad": 1}
"""Behind words, so that no line runs through them."""
_DPI: Final = 160
_ROW_IN: Final = 0.45
_THIRD_IN, _HALF_IN = 3.9, 5.4
_PAIRS: Final = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure and its words."""

    figure: Figure
    name: str
    """As a file, and the beginning of its ids."""
    title: str
    finding: str
    """What to notice, one sentence."""
    detail: str = ""

    def plot(self) -> Plot:
        """For the page."""
        svg = fig.to_svg(self.figure, self.name, f"{self.title}. {self.finding}")
        return Plot(title=self.title, finding=self.finding, detail=self.detail, svg=svg)

    def save(self, folder: Path, plot: Plot) -> list[Path]:
        """As SVG and PNG, on white; the drawing keeps those colours, so this comes last.

        Args:
            folder: Where.
            plot: Of this drawing.
        """
        light, svg = palette(), str(plot.svg)
        for variable, color in light.items():
            svg = svg.replace(f"var({variable})", color)
        svg = svg.replace("var(--sans)", "sans-serif")
        named = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        svg = svg.replace("<svg ", f'<svg {named} style="background: {light["--page"]}" ', 1)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{self.name}.svg", folder / f"{self.name}.png"]
        files[0].write_text(svg, encoding="utf-8")
        recolour(self.figure, light)
        with files[1].open("wb") as stream:
            self.figure.patch.set(visible=True, facecolor=light["--page"])
            self.figure.set_dpi(_DPI)
            canvas = FigureCanvasAgg(self.figure)
            canvas.print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return files


@cache
def palette() -> dict[str, str]:
    """Variables of the page's style, in the light."""
    style = (resources.files("sessionrec.report") / "style.html").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6})", light))


def recolour(figure: Figure, light: Mapping[str, str]) -> None:
    """Put real colours in the place of those that stand in for variables."""
    known = {to_rgb(stand_in): to_rgb(light[variable]) for stand_in, variable in fig.VARIABLES.items()}
    # Ticks are made when they are first drawn.
    figure.draw_without_rendering()
    for artist in figure.findobj():
        parts: list[Any] = [artist]
        if isinstance(artist, Text) and (box := artist.get_bbox_patch()) is not None:
            parts.append(box)
        if isinstance(artist, Annotation) and artist.arrow_patch is not None:
            parts.append(artist.arrow_patch)
        for part in parts:
            for name in _PAIRS:
                _replace(part, name, known)


def _replace(artist: Any, name: str, known: Mapping[Any, Any]) -> None:
    read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
    if read is None or write is None:
        return
    color = read()
    if isinstance(color, np.ndarray) and color.ndim == 2:
        if len(color) and any(tuple(map(float, one[:3])) in known for one in color):
            write([(*known.get(tuple(map(float, one[:3])), one[:3]), float(one[3])) for one in color])
        return
    try:
        red, green, blue, alpha = to_rgba(color)
    except (TypeError, ValueError):
        return
    if (red, green, blue) in known:
        write((*known[red, green, blue], alpha))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A mean and where it may lie."""

    name: str
    mean: float
    low: float
    high: float
    kind: str
    """`ours`, `model` or `floor`."""


_KINDS: Final = {"ours": (fig.FIRST, "o"), "model": (fig.SECOND, "s"), "floor": (fig.MUTED, "D")}


def dots(
    dots: Sequence[Dot], *, x_label: str, name: str, title: str, finding: str, write: Any, from_zero: bool = True
) -> Drawing:
    """A row a system: dot and interval, name above."""
    drawing, axes = fig.new_figure(x_label, "", (_THIRD_IN, 0.75 + _ROW_IN * len(dots)))
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=fig.GRID, linewidth=0.8)
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks([])
    edges = [value for dot in dots for value in (dot.low, dot.high, dot.mean) if not np.isnan(value)]
    edges += [0.0] if from_zero else []
    left, room = min(edges), (max(edges) - min(edges)) or 1.0
    axes.set_xlim(left - room * (0.0 if from_zero and left == 0 else 0.06), left + room * 1.06)
    axes.set_ylim(-len(dots) + 0.5, 0.8)
    across = axes.get_yaxis_transform()
    for row, dot in enumerate(dots):
        color, shape = _KINDS[dot.kind]
        axes.plot([dot.low, dot.high], [-row, -row], color=color, linewidth=2.5, solid_capstyle="round", zorder=5)
        axes.plot([dot.mean], [-row], shape, color=color, markersize=7 if shape != "D" else 6, zorder=6)
        where: dict[str, Any] = {"xycoords": across, "xytext": (0, 7), "bbox": PATCH}
        fig.note(axes, dot.name, (0, -row), ha="left", color=fig.FIRST if dot.kind == "ours" else fig.INK, **where)
        fig.note(axes, write(dot.mean), (1, -row), ha="right", color=fig.MUTED, **where)
    score_axis(axes.xaxis)
    detail = "Blue: ours; orange: other trained rows; grey: floors."
    return Drawing(figure=drawing, name=name, title=title, finding=finding, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line of a figure: places, means and intervals."""

    name: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def along(series: Sequence[Series], *, x_label: str, y_label: str, name: str, title: str, finding: str) -> Drawing:
    """Lines along a setting. Its values stand at equal distances, since zero is among those of a doubling."""
    drawing, axes = fig.new_figure(x_label, y_label, (_THIRD_IN, 2.9))
    places = sorted({x for one in series for x in one.x})
    at = {x: place for place, x in enumerate(places)}
    for number, (one, color, shape) in enumerate(zip(series, cycle(COLORS), cycle(MARKS))):
        shift = (number - (len(series) - 1) / 2) * 0.12
        where = [at[x] + shift for x in one.x]
        axes.vlines(where, one.low, one.high, color=color, linewidth=1.8, alpha=0.7)
        axes.plot(where, one.mean, color=color, linewidth=1.8, marker=shape, markersize=5.5, label=one.name)
    axes.set_xlim(-0.4, len(places) - 0.6)
    axes.set_xticks(range(len(places)), [f"{x:g}" for x in places])
    axes.margins(y=0.12)
    score_axis(axes.yaxis)
    if len(series) > 1:
        fig.legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, columnspacing=1.2)
    return Drawing(figure=drawing, name=name, title=title, finding=finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A system between what it costs and what it reaches."""

    name: str
    group: str
    cost: float
    mean: float
    low: float
    high: float


def cost(
    places: Sequence[Place],
    arrows: Sequence[tuple[int, int, str]],
    *,
    y_label: str,
    name: str,
    title: str,
    finding: str,
) -> Drawing:
    """Quality against time; an arrow from the first of a pair to the other, with the ratio of their times.

    Args:
        places: Points.
        arrows: From, to, words.
        y_label: What is reached.
        name: As a file.
        title: Above.
        finding: Below.
    """
    from sessionrec.experiments.labels import put_labels

    drawing, axes = fig.new_figure("processor seconds of training an epoch", y_label, (_HALF_IN, 3.9))
    groups = dict.fromkeys(place.group for place in places)
    style = dict(zip(groups, cycle(zip(COLORS, MARKS, strict=True))))
    for first, second, _ in arrows:
        axes.annotate(
            "",
            xy=(places[second].cost, places[second].mean),
            xytext=(places[first].cost, places[first].mean),
            arrowprops={
                "arrowstyle": "-|>",
                "color": style[places[first].group][0],
                "linewidth": 1.3,
                "shrinkA": 6,
                "shrinkB": 6,
                "mutation_scale": 11,
            },
        )
    for place in places:
        color, shape = style[place.group]
        axes.vlines([place.cost], [place.low], [place.high], color=color, linewidth=1.6, alpha=0.6)
        axes.plot([place.cost], [place.mean], shape, color=color, markersize=7)
    costs = [place.cost for place in places]
    if max(costs) / min(costs) > 8:
        axes.set_xscale("log")
        axes.margins(x=0.16, y=0.2)
    else:
        axes.margins(x=0.16, y=0.2)
        edge = max(costs) * 1.16
        axes.set_xlim(0 if min(costs) < 0.5 * max(costs) else min(costs) - 0.16 * (edge - min(costs)), edge)
    seconds_axis(axes.xaxis, is_log=axes.get_xscale() == "log")
    score_axis(axes.yaxis)
    put_labels(
        drawing,
        axes,
        points=[((place.cost, place.mean), place.name, style[place.group][0]) for place in places],
        bars=[((place.cost, place.low), (place.cost, place.high)) for place in places],
        lines=[
            ((places[a].cost, places[a].mean), (places[b].cost, places[b].mean), words, style[places[a].group][0])
            for a, b, words in arrows
        ],
    )
    return Drawing(figure=drawing, name=name, title=title, finding=finding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A law through points: where it runs, its band, and what it foretold of the largest."""

    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    foretold: tuple[float, float, float, float] | None
    """Place, mean, low, high."""


def law(
    points: Series, curve: Curve | None, *, x_label: str, y_label: str, name: str, title: str, finding: str, detail: str
) -> Drawing:
    """Points with intervals on a scale of powers of ten, the law with its band, the prediction as an open mark."""
    drawing, axes = fig.new_figure(x_label, y_label, (_HALF_IN, 3.7))
    axes.set_xscale("log")
    if curve is not None:
        axes.fill_between(
            curve.x, curve.low, curve.high, color=fig.FIRST_SOFT, alpha=0.45, linewidth=0, label="its 95 % band"
        )
        axes.plot(curve.x, curve.mean, color=fig.FIRST, linewidth=1.8, label="law through all points")
        if curve.foretold is not None:
            x, mean, low, high = curve.foretold
            beside = x * (max(points.x) / min(points.x)) ** 0.035
            axes.vlines([beside], [low], [high], color=fig.SECOND, linewidth=2.2)
            style: dict[str, Any] = {"markerfacecolor": fig.PAGE, "markeredgewidth": 1.8, "markersize": 7}
            axes.plot([beside], [mean], "D", color=fig.SECOND, label="foretold without the largest", **style)
    axes.vlines(points.x, points.low, points.high, color=fig.INK, linewidth=1.6)
    axes.plot(points.x, points.mean, "o", color=fig.INK, markersize=6, label="measured")
    span = (max(points.x) / min(points.x)) if len(points.x) > 1 else 10.0
    axes.set_xlim(min(points.x) / span**0.08, max(points.x) * span**0.1)
    if span > 100:
        axes.xaxis.set_major_locator(LogLocator(10))
        axes.xaxis.set_minor_locator(FixedLocator([]))
    else:
        axes.xaxis.set_major_locator(FixedLocator(_apart(points.x)))
        axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    score_axis(axes.yaxis)
    fig.legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, columnspacing=1.2)
    return Drawing(figure=drawing, name=name, title=title, finding=finding, detail=detail)


def _apart(values: Sequence[float], share: float = 0.1) -> list[float]:
    """Those of the values that are far enough from each other to be written on a scale of powers."""
    room = np.log(max(values) / min(values)) if len(values) > 1 else 1.0
    kept: list[float] = []
    for value in sorted(values, reverse=True):
        if not kept or np.log(kept[-1] / value) >= share * room:
            kept.append(value)
    return kept


def score_axis(axis: Axis) -> None:
    """Ticks of metrics: `.05`, not `0.05`."""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.4g}".replace("0.", ".", 1) if abs(value) > 1e-12 else "0")
    )


def seconds_axis(axis: Axis, *, is_log: bool) -> None:
    """Ticks of seconds."""
    if is_log:
        axis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axis.set_minor_locator(FixedLocator([]))
    else:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def file_name(*parts: str) -> str:
    """`table2`, `KuaiRand, 8 h`, `ndcg@10` -> `table2-kuairand-8-h-ndcg-10`."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") or "x" for part in parts)
