"""Counts of the prepared data sets beside the paper's. Paper, table 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sessionrec.data.dataset import Dataset
from sessionrec.data.wording import average, count
from sessionrec.errors import ArtifactError
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.grid import Cell, Grid, Record, Row
from sessionrec.experiments.places import Places

_COLUMNS: Final = {
    "users": "Users",
    "items": "Items",
    "events": "Events",
    "positives": "Positives",
    "sessions": "Sessions",
    "events_per_user": "Events a user",
    "positives_per_user": "Positives a user",
    "events_per_session": "Events a session",
}
PAPER: Final[Mapping[str, Mapping[str, float]]] = {
    "kuaisar": {
        "users": 9_460,
        "items": 109_575,
        "events": 758_560,
        "events_per_user": 80.19,
        "positives_per_user": 15.44,
    },
    "recflow": {
        "users": 28_257,
        "items": 1_482_117,
        "events": 22_896_181,
        "events_per_user": 810.28,
        "positives_per_user": 404.11,
    },
}
"""Table 1 of the paper, as printed."""
_TITLES: Final = {"kuaisar": "KuaiSAR", "recflow": "RecFlow"}


def counts(dataset: Dataset) -> dict[str, float]:
    """Of a data set."""
    kept = dataset.summary.kept
    return {
        "users": kept.users,
        "items": dataset.num_items,
        "events": kept.events,
        "positives": kept.positives,
        "sessions": kept.sessions,
        "events_per_user": kept.events / max(kept.users, 1),
        "positives_per_user": kept.positives / max(kept.users, 1),
        "events_per_session": kept.events / max(kept.sessions, 1),
    }


def prepared(experiment: Experiment, out: Path) -> dict[str, Dataset | None]:
    """The data sets of an experiment; None where there is none yet."""
    found: dict[str, Dataset | None] = {}
    for name in experiment.sources:
        try:
            found[name] = Dataset(Places(out).data(name))
        except ArtifactError:
            found[name] = None
    return found


def grid(experiment: Experiment, datasets: Mapping[str, Dataset | None]) -> Grid:
    """A row a data set, the paper's figures of the same log below it, of logs that are not at hand at the end."""
    rows: list[Row] = []
    shown: set[str] = set()
    for name, dataset in datasets.items():
        source = experiment.sources[name]
        if dataset is None:
            rows.append(Row(name=source.title, cells=(Cell(text="not prepared", is_absent=True),) * len(_COLUMNS)))
        else:
            rows.append(Row(name=source.title, cells=_cells(counts(dataset))))
        if source.paper is not None and source.paper in PAPER:
            rows.append(_paper(source.paper))
            shown.add(source.paper)
    rows += [_paper(name) for name in PAPER if name not in shown]
    return Grid(
        key="statistics",
        topic="",
        title="Data sets",
        columns=tuple(_COLUMNS.values()),
        rows=tuple(rows),
        corner="Data set",
        about="After the filters. The paper prints no number of sessions or positives.",
    )


def records(experiment: Experiment, datasets: Mapping[str, Dataset | None]) -> list[Record]:
    """Every count."""
    found = []
    for name, dataset in datasets.items():
        numbers = counts(dataset) if dataset is not None else {}
        paper = PAPER.get(experiment.sources[name].paper or "", {})
        for metric in _COLUMNS:
            found.append(Record(dataset=name, row="", metric=metric, mean=numbers.get(metric), paper=paper.get(metric)))
    return found


def sentences(experiment: Experiment, datasets: Mapping[str, Dataset | None]) -> list[str]:
    """How far each data set is from the paper's."""
    found: list[str] = []
    for name, dataset in datasets.items():
        source = experiment.sources[name]
        if dataset is None or source.paper is None or source.paper not in PAPER:
            continue
        numbers, paper = counts(dataset), PAPER[source.paper]
        off = {metric: 100 * (numbers[metric] - value) / value for metric, value in paper.items()}
        most = max(off, key=lambda metric: abs(off[metric]))
        if abs(off[most]) < 0.1:
            found.append(f"{source.title} has the paper's counts.")
        else:
            found.append(
                f"{source.title} differs from the paper's counts, most in {_COLUMNS[most].lower()}: "
                f"{_word(most, numbers[most])} instead of {_word(most, paper[most])}."
            )
    absent = [experiment.sources[name].title for name, dataset in datasets.items() if dataset is None]
    return found + ([f"Not prepared: {', '.join(absent)}."] if absent else [])


def _paper(name: str) -> Row:
    return Row(name=f"{_TITLES[name]}, as published", cells=_cells(PAPER[name]))


def _cells(numbers: Mapping[str, float]) -> tuple[Cell, ...]:
    return tuple(
        Cell(text=_word(name, numbers[name])) if name in numbers else Cell(text="not published", is_absent=True)
        for name in _COLUMNS
    )


def _word(name: str, value: float) -> str:
    return average(value) if "_per_" in name else count(value)
