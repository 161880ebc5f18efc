"""The figures of a data set's report, each with the sentence that says what to see in it.

In: `Statistics`. Out: `Plot`s. What spans decades stands on a scale of doublings or powers of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import matplotlib.dates as mdates
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from sessionrec.data.distribution import Bar, Concentration, Distribution
from sessionrec.data.statistics import Statistics
from sessionrec.data.wording import bar_label, count, duration, many, percent
from sessionrec.report import figure as fig

_LABEL_ROOM: Final = 44
"""Characters of tick labels that fit below a figure."""
_CURVE_POINTS: Final = 300
_TIME_TICKS_S: Final = (1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One figure."""

    title: str
    finding: str
    """What to notice, one sentence."""
    detail: str
    """What else there is to know; may be empty."""
    svg: Markup


def session_plots(statistics: Statistics) -> list[Plot]:
    """Lengths, shares and rhythm of sessions; what would be trivial is left out."""
    plots = [_sessions_per_user(statistics), _session_length(statistics)]
    if statistics.num_positives < statistics.num_events:
        plots.append(_positive_share(statistics.positive_share))
    if statistics.span_s.max > 0:
        plots.append(_span(statistics.span_s))
    if statistics.gap_s.num:
        plots.append(_gap(statistics.gap_s))
    return plots


def item_plots(statistics: Statistics) -> list[Plot]:
    """Popularity of items, by rank and as a Lorenz curve."""
    return [_rank(statistics), _lorenz(statistics)]


def day_plots(statistics: Statistics) -> list[Plot]:
    """Events by day."""
    plots = [_days(statistics, by_part=True)]
    if statistics.num_positives < statistics.num_events:
        plots.append(_days(statistics, by_part=False))
    return plots


def _sessions_per_user(statistics: Statistics) -> Plot:
    values = statistics.sessions_per_user
    drawing, axes = fig.new_figure("sessions of a user", "share of the users")
    bars = values.bars()
    _draw_bars(axes, bars, values.num, median=values.median)
    finding = f"Half of the users have at most {many(values.median, 'session')}."
    detail = f"At least one in ten has {count(values.p90)} or more; the most has {count(values.max)}."
    return _plot(drawing, "sessions-per-user", "Sessions per user", finding, detail)


def _session_length(statistics: Statistics) -> Plot:
    events, positives = statistics.events_per_session, statistics.positives_per_session
    finding = f"Half of the sessions have at most {many(events.median, 'event')}."
    drawing, axes = fig.new_figure("events of a session", "share of the sessions")
    if statistics.num_positives == statistics.num_events:
        _draw_bars(axes, events.bars(), events.num, median=events.median)
        detail = f"The mean is {events.mean:.2f}, the longest has {count(events.max)}. Every event is positive."
        return _plot(drawing, "session-length", "Length of a session", finding, detail)
    bars = events.bars(from_value=int(positives.values[0]))
    place = np.arange(len(bars))
    for offset, values, color, name in ((-0.2, events, fig.FIRST, "events"), (0.2, positives, fig.SECOND, "positives")):
        heights = [values.count_between(bar.low, bar.high + 1) / values.num for bar in bars]
        axes.bar(place + offset, heights, width=0.38, color=color, label=name)
    _label_bars(axes, bars)
    fig.legend(axes)
    detail = f"The means are {events.mean:.2f} and {positives.mean:.2f}; the longest has {many(events.max, 'event')}."
    finding = f"{finding[:-1]}; half have at most {many(positives.median, 'positive')}."
    return _plot(drawing, "session-length", "Length of a session", finding, detail)


def _positive_share(values: Distribution) -> Plot:
    drawing, axes = fig.new_figure("positives among the events of a session", "share of the sessions")
    tenths = [values.count_between(t / 10 - 1e-9, (t + 1) / 10 - 1e-9 + (t == 9)) / values.num for t in range(10)]
    axes.bar((np.arange(10) + 0.5) / 10, tenths, width=0.094, color=fig.FIRST)
    axes.set_xlim(0, 1)
    fig.percent_axis(axes.xaxis)
    fig.percent_axis(axes.yaxis)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    everything = 1 - values.share_at_most(0.9995)
    finding = f"In the middle session {percent(values.median)} of the events are positive."
    detail = f"The mean is {percent(values.mean)}."
    if everything:
        detail += f" In {percent(everything)} of the sessions everything is positive."
    return _plot(drawing, "positive-share", "Positive share of a session", finding, detail)


def _span(values: Distribution) -> Plot:
    instant = values.share_at_most(0)
    finding = f"Half of the sessions last at most {duration(values.median)}."
    if values.median == 0:
        finding = f"{percent(instant)} of the sessions have one single time."
    detail = f"Nine in ten end within {duration(values.p90)}, the longest takes {duration(values.max)}."
    if values.median > 0 and instant > 0:
        detail += f" {percent(instant)} have one single time and are not drawn."
    drawing = _durations(values, "from first to last event (log scale)", "share of the sessions")
    return _plot(drawing, "session-span", "Duration of a session", finding, detail)


def _gap(values: Distribution) -> Plot:
    finding = f"Half of the pauses are at most {duration(values.median)}."
    detail = f"Nine in ten are at most {duration(values.p90)}, the longest is {duration(values.max)}."
    overlap = values.share_at_most(0)
    if overlap > 0:
        detail += f" {percent(overlap)} are none at all: sessions that touch or overlap."
    drawing = _durations(values, "from the end of a session to the user's next (log scale)", "share of the pauses")
    return _plot(drawing, "gap", "Pause between sessions", finding, detail)


def _rank(statistics: Statistics) -> Plot:
    events, positives = statistics.item_events, statistics.item_positives
    drawing, axes = fig.new_figure("rank of the item, most popular first (log scale)", "events of the item (log scale)")
    rank = np.unique(np.geomspace(1, len(events.counts), _CURVE_POINTS).astype(np.int64))
    axes.plot(rank, events.counts[rank - 1], color=fig.FIRST, linewidth=2, label="events")
    if statistics.num_positives < statistics.num_events:
        found = rank[positives.counts[rank - 1] > 0]
        axes.plot(found, positives.counts[found - 1], color=fig.SECOND, linewidth=2, label="positives")
        fig.legend(axes)
    axes.set_xscale("log")
    axes.set_yscale("log")
    fig.compact_axis(axes.xaxis)
    fig.compact_axis(axes.yaxis)
    half = events.items_for(0.5)
    finding = f"Half of the events are on {count(half)} of {count(len(events.counts))} items."
    middle = count(events.counts[len(events.counts) // 2])
    detail = f"The most popular item has {many(events.counts[0], 'event')}, the middle one {middle}."
    return _plot(drawing, "popularity", "Popularity by rank", finding, detail)


def _lorenz(statistics: Statistics) -> Plot:
    events, positives = statistics.item_events, statistics.item_positives
    drawing, axes = fig.new_figure("share of the items, most popular first", "share of what they have")
    axes.plot([0, 1], [0, 1], color=fig.MUTED, linewidth=1, linestyle=(0, (4, 4)))
    axes.plot(*_lorenz_curve(events), color=fig.FIRST, linewidth=2, label="events")
    if statistics.num_positives < statistics.num_events:
        axes.plot(*_lorenz_curve(positives), color=fig.SECOND, linewidth=2, label="positives")
    tenth = events.top_share(0.1)
    axes.plot([0.1], [tenth], "o", color=fig.FIRST, markersize=7, label=f"top tenth: {percent(tenth)} of the events")
    fig.legend(axes, loc="lower right")
    fig.note(axes, "all alike", (0.5, 0.5), color=fig.MUTED, ha="left", xytext=(4, -12))
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        fig.percent_axis(axis)
        axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
    finding = f"The most popular tenth of the items has {percent(tenth)} of the events."
    detail = f"The top 1 % has {percent(events.top_share(0.01))}; the Gini coefficient is {events.gini:.2f}"
    detail += "." if statistics.num_positives == statistics.num_events else f", {positives.gini:.2f} for positives."
    return _plot(drawing, "lorenz", "Concentration", finding, detail)


def _lorenz_curve(has: Concentration) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    place = np.unique(np.linspace(0, len(has.counts), _CURVE_POINTS).astype(np.int64))
    through = np.concatenate([[0], np.cumsum(has.counts)])
    return place / len(has.counts), through[place] / max(has.total, 1)


def _days(statistics: Statistics, *, by_part: bool) -> Plot:
    counts_DPK = statistics.days.counts_DPK
    num_days = len(counts_DPK)
    drawing, axes = fig.new_figure("day (UTC)", "events a day")
    # Days since 1970 are matplotlib's own dates.
    edges = statistics.days.first_day + np.arange(num_days + 1)
    if by_part:
        series = list(zip(("train", "validation", "test"), counts_DPK.sum(axis=2).T, strict=True))
        colors = [fig.TRAIN, fig.VALIDATION, fig.TEST]
    else:
        series = [("positive", counts_DPK[:, :, 1].sum(axis=1)), ("only shown", counts_DPK[:, :, 0].sum(axis=1))]
        colors = [fig.FIRST, fig.FIRST_SOFT]
    bottom = np.zeros(num_days, np.int64)
    for (name, values), color in zip(series, colors, strict=True):
        axes.stairs(bottom + values, edges, baseline=bottom, fill=True, color=color, label=name, linewidth=0)
        bottom = bottom + values
    locator = mdates.AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(color=fig.MUTED, fontsize=10)
    fig.compact_axis(axes.yaxis)
    axes.set_ylim(0, float(bottom.max(initial=1)) * 1.18)
    fig.legend(axes, loc="upper left", ncols=3, borderaxespad=0)
    if not by_part:
        share = percent(statistics.num_positives / statistics.num_events)
        return _plot(drawing, "days-kind", "Positives by day", f"{share} of all events are positive.", "")
    busiest = np.datetime64("1970-01-01") + statistics.days.first_day + int(bottom.argmax())
    finding = f"The events span {many(num_days, 'day')}; the busiest is {busiest} with {count(bottom.max())}."
    return _plot(drawing, "days-part", "Events by day and part", finding, _overlap(counts_DPK.sum(axis=2)))


def _overlap(events_DP: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
    days = [np.flatnonzero(events_DP[:, part]) for part in range(events_DP.shape[1])]
    if not len(days[0]) or not len(days[-1]):
        return ""
    if days[-1][0] <= days[0][-1]:
        return "Test and training share days: what is popular later is partly known while training."
    return "Every test day comes after every training day."


def _draw_bars(axes: Axes, bars: list[Bar], num: int, median: float) -> None:
    heights = [bar.num / num for bar in bars]
    middle = next(place for place, bar in enumerate(bars) if bar.low <= median <= bar.high)
    colors = [fig.FIRST if place == middle else fig.FIRST_SOFT for place in range(len(bars))]
    axes.bar(range(len(bars)), heights, width=0.86, color=colors)
    # Above the neighbours too, for the words are wider than a bar.
    fig.note(axes, f"median {count(median)}", (middle, max(heights[max(middle - 1, 0) : middle + 2])), color=fig.FIRST)
    axes.set_ylim(0, max(heights) * 1.12)
    _label_bars(axes, bars)


def _label_bars(axes: Axes, bars: list[Bar]) -> None:
    labels = [bar_label(bar.low, bar.high) for bar in bars]
    step = -(-sum(map(len, labels)) // _LABEL_ROOM)
    axes.set_xticks(range(0, len(bars), step), labels[::step])
    fig.percent_axis(axes.yaxis)


def _durations(values: Distribution, x_label: str, y_label: str) -> Figure:
    drawing, axes = fig.new_figure(x_label, y_label)
    # One bar a doubling from one second on; finer ones would be ragged where seconds are whole.
    edges = 2.0 ** np.arange(np.ceil(np.log2(max(values.max, 1) + 1)) + 1)
    heights = [values.count_between(low, high) / values.num for low, high in pairwise(edges)]
    axes.stairs(heights, edges, fill=True, color=fig.FIRST)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    ticks = [tick for tick in _TIME_TICKS_S if edges[0] <= tick <= edges[-1]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    fig.percent_axis(axes.yaxis)
    return drawing


def _plot(drawing: Figure, name: str, title: str, finding: str, detail: str) -> Plot:
    return Plot(title=title, finding=finding, detail=detail, svg=fig.to_svg(drawing, name, f"{title}. {finding}"))
