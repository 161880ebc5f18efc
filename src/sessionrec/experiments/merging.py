"""Takes in results of other folders: of another machine, of a colleague, of a backup.

In: folders that experiments were written to. Out: their results beside ours, and our tables naming them.

    every key of theirs    copied, unless ours is as good: of the same code, or theirs is not of the present one
    every cell of theirs   named in our table, unless ours is asked otherwise and counts, or it is unlike its row: other
                           data than the data set's results here, other settings than the row's

A result is known by what decided it, so a copy never stands in anything's way; what a table does not take is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sessionrec.artifacts import MANIFEST, copy_artifact, read_manifest
from sessionrec.errors import ArtifactError
from sessionrec.experiments import code
from sessionrec.experiments.places import Places, locked
from sessionrec.experiments.plan import BESIDE
from sessionrec.experiments.result import FORMAT, KIND, Result
from sessionrec.experiments.results import Cell, Entry, change_index, read_index

Body = Mapping[str, Any]
"""What a result says of itself, without its users."""


@dataclass(slots=True, kw_only=True)
class Merged:
    """What a merge came to, in results."""

    taken: int = 0
    """Copied: new here, or in the place of one that is damaged or of other code."""
    other_code: int = 0
    """Of these, what another version of the code made; a report leaves them out without `keep_old_code`."""
    there: int = 0
    """That stay as they are here."""
    unfinished: int = 0
    """That their tables name and that are not in their folder."""
    left_out: int = 0
    """Damaged, or busy here."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Theirs:
    """A folder that was read."""

    places: Places
    tables: dict[str, dict[Cell, Entry]]


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Take in what other folders have.

    Args:
        folders: Such as `run` writes to; they are only read.
        out: Ours; made if it is not there.

    Raises:
        ArtifactError: A folder has no tables of results or one that cannot be read, and nothing was taken; or ours
            cannot be written, and what was taken until then is whole and stays.
    """
    theirs = [_read(folder, out) for folder in folders]
    done, ours = Merged(), _Ours(Places(out))
    try:
        for one in theirs:
            names = {entry.key: _words(cell) for cells in one.tables.values() for cell, entry in cells.items()}
            for key, name in names.items():
                if key not in ours.seen:
                    _take(key, f"{one.places.out}: {name} ({key})", one.places, ours, done)
            for table, entries in one.tables.items():
                where = f"{one.places.out}: {table}"
                change_index(out, table, partial(_choose, theirs=entries, where=where, ours=ours, done=done))
    except OSError as error:
        raise ArtifactError(f"{out}: cannot be written: {error.strerror or error}") from error
    return done


def _read(folder: Path, out: Path) -> _Theirs:
    if folder.resolve() == out.resolve():
        raise ArtifactError(f"{folder}: is the folder to merge into; name another one")
    names = sorted(file.stem for file in (folder / "tables").glob("[!.]*.json"))
    if not names:
        raise ArtifactError(
            f"{folder}: no results of experiments here (no tables/*.json); expected a folder that "
            "`sessionrec experiment run --out` wrote to, or a copy of its tables and results"
        )
    tables = {name: read_index(folder, name, mend="copy it again") for name in names}
    return _Theirs(places=Places(folder), tables=tables)


class _Ours:
    """Our results, each read once."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.seen: set[str] = set()
        """Keys that were taken, or need not be."""
        self._bodies: dict[str, Body | None] = {}

    def body(self, key: str) -> Body | None:
        """Of a result that can be read; None if there is none."""
        if key not in self._bodies:
            try:
                self._bodies[key] = read_manifest(self.places.result(key), kind=KIND, format=FORMAT).body
            except ArtifactError:
                self._bodies[key] = None
        return self._bodies[key]

    def forget(self, key: str) -> None:
        """It was written anew."""
        self._bodies.pop(key, None)


def _take(key: str, where: str, theirs: Places, ours: _Ours, done: Merged) -> None:
    """Copy one result if it is wanted."""
    source, target = theirs.result(key), ours.places.result(key)
    if not (source / MANIFEST).is_file():
        done.unfinished += 1
        return
    with locked(ours.places.lock(key), wait=False) as is_free:
        if not is_free:
            done.left_out += 1
            done.notes.append(f"{where}: left out, a run of it goes on here; merge again when it has ended")
            return
        try:
            found = Result.load(source)
            if found.key != key:
                raise ArtifactError(f"{source}: holds the result {found.key}")
            mine = _load(target)
            if mine is None or (mine.code != found.code and found.code == code.version()):
                copy_artifact(source, target, kind=KIND, format=FORMAT)
                done.taken += 1
                done.other_code += found.code != code.version()
            else:
                done.there += 1
                done.notes += _differences(where, mine, found)
        except ArtifactError as error:
            done.left_out += 1
            done.notes.append(f"{where}: left out: {error}")
            return
    ours.seen.add(key)
    ours.forget(key)


def _load(path: Path) -> Result | None:
    try:
        return Result.load(path)
    except ArtifactError:
        return None


def _differences(where: str, mine: Result, found: Result) -> Iterator[str]:
    if mine.code != found.code:
        yield f"{where}: ours stays, which {mine.code} made; theirs is of {found.code}, neither is of the present code"
        return
    here, there = _figures(mine), _figures(found)
    names = [name for name in sorted(here | there) if not _is_same(here.get(name), there.get(name))]
    if names:
        of = " ".join(names[0])
        yield (
            f"{where}: the same code came to {len(names):,} other figures there, such as {of} {there.get(names[0])} "
            f"instead of {here.get(names[0])}; ours stays. Other processors and several threads round otherwise"
        )


def _figures(result: Result) -> dict[tuple[str, str], float]:
    parts = (result.metrics, result.counts)
    return {(kind, name): value for part in parts for kind, values in part.items() for name, value in values.items()}


def _is_same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def _choose(
    before: dict[Cell, Entry], theirs: dict[Cell, Entry], where: str, ours: _Ours, done: Merged
) -> dict[Cell, Entry]:
    """Which of their cells our table takes; runs while nobody else writes the table."""
    chosen: dict[Cell, Entry] = {}
    for cell, entry in theirs.items():
        found = ours.body(entry.key)
        if found is None:
            continue
        mine, beside = before.get(cell), f"{where}, {_words(cell)}: theirs lies in results/{entry.key} and is not shown"
        if mine is not None and mine.key == entry.key:
            # The question is the same; the later of two says by which settings it was asked.
            if entry.time > mine.time:
                chosen[cell] = entry
            continue
        if mine is not None and (reason := _keeps(ours.body(mine.key), found, mine)):
            done.notes.append(f"{beside}: {reason}")
            continue
        rest = {other: one for other, one in (before | chosen).items() if other != cell}
        if reason := _unlike(cell, entry, found, rest, ours):
            done.notes.append(f"{beside}: {reason}")
            continue
        chosen[cell] = entry
    return chosen


def _keeps(mine: Body | None, found: Body, entry: Entry) -> str:
    """Why our table keeps another result of the same cell; empty if it does not."""
    other = f"({entry.key}): data, settings, or for floors and priors libraries"
    if mine is None:
        return f"asked otherwise here {other}, and not run yet; the run that you ask for next decides"
    if mine["code"] != code.version() and found["code"] == code.version():
        return ""
    return f"asked otherwise here {other}; the run that you ask for next decides"


def _unlike(cell: Cell, entry: Entry, found: Body, rest: Mapping[Cell, Entry], ours: _Ours) -> str:
    """Why a result must not stand beside those of its data set and row; empty if it may."""
    for other, one in rest.items():
        body = ours.body(one.key)
        if body is None or other[0] != cell[0]:
            continue
        if body["data"] != found["data"]:
            return f"asked of other data ({found['data']}) than {_words(other)} ({body['data']}); prepare both alike"
        if other[1] == cell[1] and _settings(body) != _settings(found):
            names = [name for name, value in _settings(found).items() if value != _settings(body).get(name)]
            return f"other settings ({', '.join(names)}) than {_words(other)}; run both with the same files and fields"
        if other[1] == cell[1] and one.fields != entry.fields:
            return f"other fields on the command line ({' '.join(entry.fields) or 'none'}) than {_words(other)}"
    return ""


def _settings(body: Body) -> dict[str, Any]:
    return {name: value for name, value in body["config"].items() if name not in ("seed", *BESIDE)}


def _words(cell: Cell) -> str:
    dataset, slug, seed = cell
    return f"{dataset}, {slug}" if seed is None else f"{dataset}, {slug}, seed {seed}"
