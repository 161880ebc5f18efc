"""The report of a data set: what the template is given, and the file it becomes.

In: a data set. Out: one HTML file without any other: style and figures are in it, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from sessionrec.data import ledger, wording
from sessionrec.data.dataset import Dataset
from sessionrec.data.distribution import Distribution
from sessionrec.data.people import examples, printable
from sessionrec.data.statistics import Statistics, measure
from sessionrec.progress import Progress
from sessionrec.report import plots
from sessionrec.report.html_file import render, write_whole
from sessionrec.report.toml import to_toml

_NUM_PEOPLE: Final = 3
_NUM_VALUES: Final = 4


def write(dataset: Dataset, path: Path, progress: Progress) -> None:
    """Measure, draw, fill the template, and put the file in its place."""
    write_whole(path, lambda: html(dataset, measure(dataset, progress)))


def html(dataset: Dataset, statistics: Statistics) -> str:
    """The whole page."""
    body = dataset.body
    return render(
        "dataset.html",
        log=body["log"],
        manifest=dataset.manifest,
        summary=dataset.summary,
        statistics=statistics,
        session_rule=ledger.session_rule(dataset),
        split_rule=ledger.split_rule(dataset),
        steps=ledger.steps(dataset),
        step_columns=ledger.COLUMNS,
        lengths=_lengths(statistics),
        actions=_actions(statistics),
        session_plots=plots.session_plots(statistics),
        item_plots=plots.item_plots(statistics),
        day_plots=plots.day_plots(statistics),
        num_items=dataset.num_items,
        num_candidates=dataset.num_candidates,
        features=[_feature(entry, dataset.vocabularies) for entry in body["features"]],
        people=examples(dataset, _NUM_PEOPLE),
        config=to_toml(body["config"]),
        inputs=body["inputs"],
    )


def _lengths(statistics: Statistics) -> list[tuple[str, list[str]]]:
    """Rows of the table of medians and means: name; median, mean, 90 %, most."""

    def row(values: Distribution, form: str) -> list[str]:
        write = getattr(wording, form)
        mean = wording.average(values.mean) if form == "count" else write(values.mean)
        return [write(values.median), mean, write(values.p90), write(values.max)]

    rows = [
        ("Sessions per user", statistics.sessions_per_user, "count"),
        ("Events per user", statistics.events_per_user, "count"),
        ("Positives per user", statistics.positives_per_user, "count"),
        ("Events per session", statistics.events_per_session, "count"),
        ("Positives per session", statistics.positives_per_session, "count"),
        ("Positive share of a session", statistics.positive_share, "percent"),
        ("Duration of a session", statistics.span_s, "duration"),
        ("Pause between sessions", statistics.gap_s, "duration"),
    ]
    return [(name, row(values, form)) for name, values, form in rows if values.num]


def _actions(statistics: Statistics) -> list[tuple[str, int, float]]:
    """Name, events and share of all events; the positive rule first."""
    named = [("positive", statistics.num_positives), *statistics.actions.items()]
    return [(name, events, events / max(statistics.num_events, 1)) for name, events in named]


def _feature(entry: Mapping[str, Any], vocabularies: pl.DataFrame) -> dict[str, Any]:
    row = {"name": entry["name"], "of": "item" if entry["role"] == "item" else "event", "kind": entry["kind"]}
    row |= {"size": entry["size"], "values": [], "edges": ()}
    if entry["kind"] == "number":
        edges = entry["edges"]
        return row | {"edges": (f"{edges[0]:,.6g}", f"{edges[-1]:,.6g}") if edges else ()}
    known = vocabularies.filter(
        (pl.col("role") == entry["role"]) & (pl.col("feature") == entry["name"]), pl.col("train_events") > 0
    )
    total = int(known["train_events"].sum())
    top = known.sort("index").head(_NUM_VALUES)
    return row | {"values": [(printable(v), n / total) for v, n in zip(top["value"], top["train_events"], strict=True)]}
