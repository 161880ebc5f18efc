"""Results of an experiment as far as there are any: what a table or a figure is drawn of.

    found = collect(load_experiment(Path("experiments/table2")), Path("runs/experiments"))
    found.results["ebnerd", "02-sasrec", 1].metrics["session"]["ndcg@10"]
    found.results["ebnerd", "00-floors:popularity", None]        a floor has no seed; its slug has its name
    found.titles["00-floors:popularity"]                         how a row is called in tables
    found.missing                                                what was asked for and is not there, and why
    found.codes, found.data                                      more than one = not to be compared

Nothing is trained and no data set is opened here: `OUT/tables/EXPERIMENT.json`, which runs write, says which result
belongs where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sessionrec.artifacts import MANIFEST
from sessionrec.errors import ArtifactError
from sessionrec.experiments import code
from sessionrec.experiments.config import Experiment, Row
from sessionrec.experiments.places import Places, locked, write_text
from sessionrec.experiments.result import Result

Cell = tuple[str, str, int | None]
"""Data set, slug, seed; the seed of a floor is None."""

DAMAGED = "damaged; run it again"
"""Why a result is missing that is there."""

_FORMAT = 1
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A cell without a result."""

    dataset: str
    slug: str
    seed: int | None
    reason: str
    """In words, such as `not run yet`."""

    @property
    def is_damaged(self) -> bool:
        """Whether there is a result that cannot be read."""
        return self.reason == DAMAGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What there is of an experiment."""

    experiment: Experiment
    results: dict[Cell, Result]
    """By data set, slug and seed, in the order of the experiment; seeds beyond its own too, if they were run."""
    missing: list[Missing]
    """What the experiment asks for and is not in `results`."""
    codes: set[str]
    """Versions of the code that made the results; `code.version()` is the present one."""
    titles: dict[str, str]
    """By slug, how a row or a floor is called, in the order of the table. Titles of data sets stand in
    `experiment.sources[NAME].title`."""
    data: dict[str, set[str]]
    """Digests of each data set that has results; more than one = it was prepared anew in between."""
    overrides: set[str]
    """Fields that were given on the command line of some run."""


def slugs(row: Row) -> dict[str, str]:
    """Slug and title of each line that a row makes: one of a model, one for each floor."""
    if row.config.floors:
        return {floor_slug(row, name): name for name in row.config.floors}
    return {row.slug: row.config.name}


def floor_slug(row: Row, floor: str) -> str:
    """Of a floor of a row."""
    return f"{row.slug}:{floor}"


def collect(experiment: Experiment, out: Path, *, allow_old_code: bool = False) -> Collected:
    """Read what there is of an experiment.

    Args:
        experiment: Read by `load_experiment`.
        out: Folder that runs write to, `runs/experiments`.
        allow_old_code: Whether results of another version of the code count; they are missing otherwise.

    Raises:
        ArtifactError: The index or a result cannot be read.
    """
    places, entries = Places(out), read_index(out, experiment.name)
    results: dict[Cell, Result] = {}
    missing: list[Missing] = []
    for cell, row in _cells(experiment, entries):
        found = _find(places, experiment, row, cell, entries.get(cell), allow_old_code=allow_old_code)
        if isinstance(found, Result):
            results[cell] = found
        elif cell[2] is None or cell[2] in experiment.config.seeds:
            missing.append(Missing(dataset=cell[0], slug=cell[1], seed=cell[2], reason=found))
    data: dict[str, set[str]] = {}
    for (name, _, _), result in results.items():
        data.setdefault(name, set()).add(result.data)
    return Collected(
        experiment=experiment,
        results=results,
        missing=missing,
        codes={result.code for result in results.values()},
        titles={slug: title for row in experiment.rows for slug, title in slugs(row).items()},
        data=data,
        overrides={word for cell in results for word in entries[cell].fields},
    )


def _cells(experiment: Experiment, entries: dict[Cell, Entry]) -> Iterator[tuple[Cell, Row]]:
    """Every cell that is asked for, and those of further seeds that were run."""
    further = {seed for _, _, seed in entries if seed is not None} - set(experiment.config.seeds)
    seeds = (*experiment.config.seeds, *sorted(further))
    for name in experiment.sources:
        for row in experiment.rows:
            for slug in slugs(row):
                for seed in [None] if row.config.floors else seeds:
                    yield (name, slug, seed), row


def _find(
    places: Places, experiment: Experiment, row: Row, cell: Cell, entry: Entry | None, *, allow_old_code: bool
) -> Result | str:
    """The result of a cell, or why there is none."""
    from sessionrec.experiments.plan import asked

    if entry is None:
        return "not run yet"
    digest = partial(asked, experiment, cell[0], row, cell[1], cell[2], entry.fields)
    if entry.asked != (now := digest()):
        return _what_changed(entry, now, digest(counts=False))
    try:
        result = Result.load(places.result(entry.key))
    except ArtifactError:
        return DAMAGED if (places.result(entry.key) / MANIFEST).is_file() else "not run yet"
    if result.code != code.version() and not allow_old_code:
        return f"made by other code ({result.code}, now {code.version()})"
    return result


def _what_changed(entry: Entry, now: str, settings: str) -> str:
    """Why a cell is asked otherwise than when it was run: floors and priors are asked with the code that counts.

    Args:
        entry: Of then.
        now: What is asked at present.
        settings: The same without the code of floors.
    """
    if settings == now or entry.settings not in ("", settings):
        return "its settings have changed since it was run"
    if not entry.settings:
        return "its settings, or the floors' code or libraries, have changed since it was run"
    return "the floors' code or libraries have changed since it was run, its settings have not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index says of a cell."""

    key: str
    """Of the result."""
    asked: str
    """Digest of what was asked for, `plan.asked`."""
    settings: str = ""
    """The same without the code of floors; empty in tables of earlier versions."""
    fields: tuple[str, ...]
    """Of these, what the command line said."""
    code: str
    """Version of the code when the cell was planned; the result says which made it."""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """UTC, ISO 8601."""


def read_index(out: Path, experiment: str, *, mend: str = "remove it and run again") -> dict[Cell, Entry]:
    """What runs of an experiment have written down; empty if there was none.

    Args:
        out: Folder that runs write to.
        experiment: Its name.
        mend: What to do about a damaged one.

    Raises:
        ArtifactError: The file is not one of these.
    """
    path = Places(out).index(experiment)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["format"] != _FORMAT:
            raise ValueError(f"format {tree['format']}, expected {_FORMAT}")
        return {_cell(one): _entry(one["entry"]) for one in tree["cells"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: cannot be read as an index of results: {error}; {mend}") from None


def add_to_index(out: Path, experiment: str, entries: dict[Cell, Entry]) -> None:
    """Write down which results belong to which cells; what stands there of other cells stays."""
    change_index(out, experiment, lambda _: entries)


def change_index(out: Path, experiment: str, choose: Callable[[dict[Cell, Entry]], dict[Cell, Entry]]) -> None:
    """The same with entries that depend on what stands there: nobody else writes in between."""
    places = Places(out)
    with locked(places.lock(f"table-{experiment}"), wait=True):
        before = read_index(out, experiment)
        merged = before | choose(before)
        if merged == before:
            return
        cells = [
            {"dataset": dataset, "slug": slug, "seed": seed, "entry": asdict(entry)}
            for (dataset, slug, seed), entry in sorted(merged.items(), key=lambda one: _sortable(one[0]))
        ]
        write_text(places.index(experiment), json.dumps({"format": _FORMAT, "cells": cells}, indent=1) + "\n")


def _sortable(cell: Cell) -> tuple[str, str, int]:
    return cell[0], cell[1], -1 if cell[2] is None else cell[2]


def _cell(tree: dict[str, Any]) -> Cell:
    dataset, slug, seed = tree["dataset"], tree["slug"], tree["seed"]
    if not (isinstance(dataset, str) and isinstance(slug, str) and (seed is None or isinstance(seed, int))):
        raise TypeError(f"expected a data set, a row and a seed, got {dataset!r}, {slug!r}, {seed!r}")
    return dataset, slug, seed


def _entry(tree: dict[str, Any]) -> Entry:
    if not _KEY.fullmatch(tree["key"]):
        # It becomes a path.
        raise ValueError(f"{tree['key']!r} is no key of a result")
    words = (tree["asked"], tree.get("settings", ""), tree["code"], tree["time"])
    if not all(isinstance(word, str) for word in (*tree["fields"], *words)):
        raise TypeError(f"expected words, got {tree}")
    return Entry(**tree | {"fields": tuple(tree["fields"])})
