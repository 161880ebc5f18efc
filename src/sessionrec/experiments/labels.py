"""Names beside points, placed so that they do not lie on each other, on points or on lines.

Each name tries places around its point and takes the one with the least in the way; the first ones are preferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sessionrec.report import figure as fig

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, low, right, top."""

_AROUND: Final = tuple(
    (dx * reach, dy * reach, ha, va)
    for reach in (1.0, 1.7, 2.6)
    for dx, dy, ha, va in (
        (0, 9, "center", "bottom"),
        (0, -9, "center", "top"),
        (9, 0, "left", "center"),
        (-9, 0, "right", "center"),
        (7, 7, "left", "bottom"),
        (-7, 7, "right", "bottom"),
        (7, -7, "left", "top"),
        (-7, -7, "right", "top"),
    )
)
_MARK_PIXELS: Final = 7.0
_STEPS: Final = 24


def put_labels(
    figure: Figure,
    axes: Axes,
    *,
    points: Sequence[tuple[Point, str, str]],
    lines: Sequence[tuple[Point, Point, str, str]] = (),
    bars: Sequence[tuple[Point, Point]] = (),
) -> None:
    """Write names at points and words at the middle of lines.

    Args:
        figure: Whose layout is done here, with the words in it.
        axes: Where; limits are final.
        points: Place in data, name, colour.
        lines: Ends in data, words, colour.
        bars: Ends of what else not to write on.
    """
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    dots = np.array([axes.transData.transform(at) for at, _, _ in points])
    on_lines = [_along(axes, first, second) for first, second, _, _ in lines]
    taken = [_around(dot) for dot in dots]
    traces = np.concatenate([np.empty((0, 2)), *on_lines, *(_along(axes, low, high) for low, high in bars)])
    wanted: list[tuple[Point, str, str]] = list(points)
    for (_, _, words, color), trace in zip(lines, on_lines, strict=True):
        middle = axes.transData.inverted().transform(trace[_STEPS // 2])
        wanted.append(((float(middle[0]), float(middle[1])), words, color))
    scale = figure.dpi / 72
    for at, words, color in wanted:
        wide, high = _size(axes, words, at, renderer)
        x, y = (float(value) for value in axes.transData.transform(at))
        best: tuple[float, dict[str, Any], Box] | None = None
        for rank, (dx, dy, ha, va) in enumerate(_AROUND):
            left = x + dx * scale - {"left": 0.0, "center": wide / 2, "right": wide}[ha]
            low = y + dy * scale - {"bottom": 0.0, "center": high / 2, "top": high}[va]
            box = (left, low, left + wide, low + high)
            cost = rank * 0.4 + _in_the_way(box, taken, traces, frame)
            if best is None or cost < best[0]:
                best = cost, {"xytext": (dx, dy), "ha": ha, "va": va}, box
        assert best is not None, words
        fig.note(axes, words, at, color=color, **best[1])
        taken.append(best[2])


def _size(axes: Axes, words: str, at: Point, renderer: Any) -> tuple[float, float]:
    """Pixels that some words take."""
    fig.note(axes, words, at)
    written = axes.texts[-1]
    box = written.get_window_extent(renderer)
    written.remove()
    return float(box.width), float(box.height)


def _along(axes: Axes, first: Point, second: Point) -> Any:
    ends = axes.transData.transform([first, second])
    return ends[0] + np.linspace(0, 1, _STEPS + 1)[:, None] * (ends[1] - ends[0])


def _around(dot: Any) -> Box:
    x, y = float(dot[0]), float(dot[1])
    return x - _MARK_PIXELS, y - _MARK_PIXELS, x + _MARK_PIXELS, y + _MARK_PIXELS


def _in_the_way(box: Box, taken: Sequence[Box], traces: Any, frame: Any) -> float:
    """Pixels that lie on something, those outside counted more."""
    left, low, right, top = box
    cost = 0.0
    for x0, y0, x1, y1 in taken:
        wide, high = min(right, x1) - max(left, x0), min(top, y1) - max(low, y0)
        cost += max(wide, 0) * max(high, 0)
    inside = (traces[:, 0] > left) & (traces[:, 0] < right) & (traces[:, 1] > low) & (traces[:, 1] < top)
    cost += 40.0 * float(inside.sum())
    out = max(frame.x0 - left, 0) + max(right - frame.x1, 0) + max(frame.y0 - low, 0) + max(top - frame.y1, 0)
    return float(cost + 60.0 * out)
