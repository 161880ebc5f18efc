"""Takes in results of other folders: of another machine, of a colleague, of a backup.

In: folders that experiments were written to. Out: their results beside ours, and our index naming them.

A result is known by what decided it and says which code made it, so two folders never disagree in silence: what both
have stays as it is here, unless only theirs is of the present code; what is asked otherwise here and there is refused.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sessionrec.errors import ArtifactError
from sessionrec.experiments import code
from sessionrec.experiments.places import Places, locked
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Cell, Entry, add_to_index, read_index

_KEY = re.compile(r"[0-9a-f]{16}")
_LOCK = "merge"


@dataclass(slots=True, kw_only=True)
class Merged:
    """What a merge came to."""

    taken: int = 0
    """Results that are new here, or replace one of other code."""
    there: int = 0
    """That were here before and stay."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know, a line each: what was refused, and results of one code that differ all the same."""


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Take in what other folders have.

    Args:
        folders: Such as `run` writes to; they are only read.
        out: Ours; made if it is not there.

    Raises:
        ArtifactError: A folder has no index of results or one that cannot be read, or ours cannot be written; what
            was taken until then is whole and stays.
    """
    done = Merged()
    for folder in folders:
        names = sorted(file.stem for file in (folder / "tables").glob("*.json"))
        if not names:
            raise ArtifactError(
                f"{folder}: no results of experiments here (no tables/*.json); expected a folder that "
                "`sessionrec experiment run --out` wrote to"
            )
        if folder.resolve() == out.resolve():
            raise ArtifactError(f"{folder}: is the folder to merge into; name another one")
        with locked(Places(out).lock(_LOCK), wait=True):
            states: dict[str, str] = {}
            for name in names:
                _merge_index(name, folder, out, states, done)
    return done


def _merge_index(name: str, folder: Path, out: Path, states: dict[str, str], done: Merged) -> None:
    """One experiment of one folder; `states` has what became of each key, since tables share results."""
    ours, taken = read_index(out, name), dict[Cell, Entry]()
    for cell, entry in read_index(folder, name).items():
        mine, where = ours.get(cell), f"{folder}: {name}, {_words(cell)}"
        if mine is not None and mine.key != entry.key and _is_there(out, mine.key):
            done.notes.append(
                f"{where}: asked of other data or with other settings there ({entry.key}, here {mine.key})"
            )
            continue
        if entry.key not in states:
            states[entry.key] = _take(entry.key, Places(folder), Places(out), where, done)
        if states[entry.key] == "there" and (mine is None or mine.key != entry.key):
            taken[cell] = entry
    if taken:
        add_to_index(out, name, taken)


def _take(key: str, theirs: Places, ours: Places, where: str, done: Merged) -> str:
    """Copy one result if it is wanted: `there` if there is one of this key now, else `absent`."""
    if not _KEY.fullmatch(key):
        raise ArtifactError(f"{where}: {key!r} is no key of a result; the index is damaged")
    if not (theirs.result(key) / "manifest.json").is_file():
        return "there" if _is_there(ours.out, key) else "absent"
    try:
        found = Result.load(theirs.result(key))
    except ArtifactError as error:
        done.notes.append(f"{where}: left out, damaged: {error}")
        return "there" if _is_there(ours.out, key) else "absent"
    if _is_there(ours.out, key):
        mine = Result.load(ours.result(key))
        if mine.code == found.code or found.code != code.version():
            done.there += 1
            done.notes += _differences(where, mine, found)
            return "there"
    _copy(theirs.result(key), ours.result(key))
    done.taken += 1
    return "there"


def _differences(where: str, mine: Result, found: Result) -> list[str]:
    if mine.code != found.code:
        return [f"{where}: ours stays, which {mine.code} made; theirs is of {found.code}"]
    gap = max(
        (
            abs(value - found.metrics.get(targets, {}).get(metric, math.inf))
            for targets, metric, value in _figures(mine)
        ),
        default=0.0,
    )
    if gap == 0.0:
        return []
    return [f"{where}: the same code came to other figures there, by up to {gap:.2g}; ours stay"]


def _figures(result: Result) -> Iterator[tuple[str, str, float]]:
    for targets, values in result.metrics.items():
        for metric, value in values.items():
            if not math.isnan(value):
                yield targets, metric, value


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: beside it first, then in its place."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    old = fresh.with_suffix(".old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, fresh)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except OSError as error:
        if old.exists():
            old.rename(target)
        raise ArtifactError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)


def _is_there(out: Path, key: str) -> bool:
    try:
        Result.load(Places(out).result(key))
    except ArtifactError:
        return False
    return True


def _words(cell: Cell) -> str:
    dataset, slug, seed = cell
    return f"{dataset}, {slug}" if seed is None else f"{dataset}, {slug}, seed {seed}"
