"""Figures as inline SVG that take their colours and fonts from the page around them.

In: a matplotlib `Figure`, drawn in the stand-in colours below. Out: an `<svg>` element whose colours are CSS variables,
so that one drawing is readable on a light and on a dark page; whose text is text; whose ids are its own; which is the
same, byte for byte, each time. No pyplot, no global state beyond the moment of writing.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sessionrec.data.wording import compact

# Matplotlib wants colours and CSS shall choose them: each stand-in is replaced by its variable in `to_svg`.
INK: Final = "#0a0001"
MUTED: Final = "#0a0002"
GRID: Final = "#0a0003"
FIRST: Final = "#0a0004"
FIRST_SOFT: Final = "#0a0005"
SECOND: Final = "#0a0006"
TRAIN: Final = "#0a0007"
VALIDATION: Final = "#0a0008"
TEST: Final = "#0a0009"
THIRD: Final = "#0a000a"
FOURTH: Final = "#0a000b"
FIFTH: Final = "#0a000c"
PAGE: Final = "#0a000d"
SIXTH: Final = "#0a000e"
VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    FIRST: "--first",
    FIRST_SOFT: "--first-soft",
    SECOND: "--second",
    TRAIN: "--train",
    VALIDATION: "--validation",
    TEST: "--test",
    THIRD: "--third",
    FOURTH: "--fourth",
    FIFTH: "--fifth",
    SIXTH: "--sixth",
    PAGE: "--page",
}

_SIZE_IN: Final = (6.4, 3.5)
_FONT_SIZE = 10.5


def new_figure(x_label: str, y_label: str, size_in: tuple[float, float] = _SIZE_IN) -> tuple[Figure, Axes]:
    """An empty figure in the house's style: two quiet axes, horizontal grid lines, labels with units.

    Args:
        x_label: Below.
        y_label: Beside.
        size_in: Width and height in inches. Words keep their size, so that a figure for a narrow column is smaller.
    """
    figure = Figure(figsize=size_in, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelcolor=MUTED, labelsize=_FONT_SIZE, pad=5)
    axes.set_xlabel(x_label, color=MUTED, fontsize=_FONT_SIZE, labelpad=6)
    axes.set_ylabel(y_label, color=MUTED, fontsize=_FONT_SIZE, labelpad=6)
    axes.margins(x=0.01)
    return figure, axes


def note(axes: Axes, text: str, at: tuple[float, float], *, color: str = INK, **how: Any) -> None:
    """Words beside what they are about."""
    style: dict[str, Any] = {
        "parse_math": False,
        "xytext": (0, 4),
        "textcoords": "offset points",
        "fontsize": _FONT_SIZE,
        "color": color,
        "ha": "center",
    }
    axes.annotate(text, at, **(style | how))


def legend(axes: Axes, **where: Any) -> None:
    """Name the series, without a frame."""
    style = {"frameon": False, "fontsize": _FONT_SIZE, "labelcolor": INK, "handlelength": 1, "handleheight": 0.9}
    for text in axes.legend(**(style | where)).get_texts():
        # A name may hold a dollar sign and means no formula.
        text.set_parse_math(False)


def percent_axis(axis: Axis) -> None:
    """Ticks of shares as percent, a few."""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.3g} %"))


def compact_axis(axis: Axis) -> None:
    """Ticks of counts as 1k, 1M."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an element to put into a page.

    Args:
        figure: Drawn in the stand-in colours.
        name: Begins all ids of the element; one figure of a page, one name.
        description: What is to be seen, for those who do not see it.
    """
    stream = io.StringIO()
    # The SVG writer reads these two from the global settings only.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, body = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]+"', head)
    assert view is not None, head
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    for stand_in, variable in VARIABLES.items():
        body = body.replace(stand_in, f"var({variable})")
    return Markup(f'<svg {view[0]} role="img" aria-label="{escape(description)}">{body}')
