"""A table as sentences: who has the most, whether a baseline or a floor beats ours, and whether that is clear.

Nothing is called better or worse unless the interval of the difference on the same users leaves zero out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sessionrec.experiments.sheets import percent_of, short
from sessionrec.experiments.systems import PLACES, System
from sessionrec.experiments.table import TARGETS, Comparison, Key, Table, is_in_session
from sessionrec.report.numbers import score

_TOLD: Final = ("ndcg@10", "recall@10", "recall@100", "recall@500")
"""Metrics that are told in words."""


def sentences(table: Table) -> list[str]:
    """What a data set's numbers say, a few sentences for each kind of targets."""
    found: list[str] = []
    for targets in dict.fromkeys(key[0] for key in table.keys):
        keys = told(table.of_targets(targets))
        said = [f"{winners(table, keys)}."]
        said += _ours(table, table.ours, keys) if table.ours is not None else _groups(table, keys)
        found.append(f"{TARGETS[targets].capitalize()}: {' '.join(said)}")
    absent = [system.name for system in table.systems if not system.results]
    return found + ([f"Not run: {listed(absent)}."] if absent else [])


def told(keys: Sequence[Key]) -> list[Key]:
    """Those that are told in words; of a table that has hardly any of them, all but the inside of sessions."""
    chosen = [key for key in keys if key[1] in _TOLD]
    return chosen if len(chosen) > 1 else [key for key in keys if not is_in_session(key[1])] or list(keys)


def winners(table: Table, keys: Sequence[Key]) -> str:
    """`HSTU+ has the most N@10 (.0934); SessionRec-HSTU has the most R@10 (.1268) and R@100 (.2413)`."""
    by_names: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        there = [system for system in table.systems if (system.slug, key) in table.values]
        if not there:
            continue
        most = max(round(table.values[system.slug, key].estimate.mean, PLACES) for system in there)
        best = [system.name for system in there if round(table.values[system.slug, key].estimate.mean, PLACES) == most]
        by_names.setdefault(tuple(best), []).append(f"{short(key[1])} ({score(most)})")
    return "; ".join(
        f"{listed(names)} {'has' if len(names) == 1 else 'share'} the most {listed(said)}"
        for names, said in by_names.items()
    )


def _ours(table: Table, ours: System, keys: Sequence[Key]) -> list[str]:
    if not ours.results:
        return [f"{ours.name} was not run, so nothing is compared with it."]
    found: list[str] = []
    levels = {system.name: system.is_item_level for system in table.systems}
    for role, over in (("baseline", table.over_baseline), ("floor", table.over_floor)):
        said = [(key, over[key]) for key in keys if key in over and over[key].gap is not None]
        if said:
            is_item_level = role == "baseline" and all(levels.get(one.than) for _, one in said)
            start = "Beside" if found else f"{ours.name} beside"
            found.append(_against(start, f"item-level {role}" if is_item_level else role, said))
    return found


def _against(start: str, role: str, said: Sequence[tuple[Key, Comparison]]) -> str:
    """What ours has more than the best of a role, by how clear that is."""
    than = {one.than for _, one in said}
    best = f"the best {role}" + (f", {next(iter(than))}" if len(than) == 1 else "")
    by_sign: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for key, one in said:
        by_sign[one.sign].append(_difference(key, one, is_named=len(than) > 1))
    words = {1: "clearly better at", 0: "not to be told apart at", -1: "clearly worse at"}
    parts = [f"{words[sign]} {listed(found)}" for sign, found in by_sign.items() if found]
    return f"{start} {best}: {'; '.join(parts)}."


def _difference(key: Key, one: Comparison, *, is_named: bool) -> str:
    """`R@500 (+4.66 %, HSTU+)`."""
    words = [percent_of(one), one.than] if is_named else [percent_of(one)]
    if one.sign and one.is_seeded and not one.seeds_apart:
        words.append("though seeds overlap")
    return f"{short(key[1])} ({', '.join(words)})"


def _groups(table: Table, keys: Sequence[Key]) -> list[str]:
    """Each row beside the first of its group."""
    found = []
    for system in table.systems:
        said = [(key, table.in_group[system.slug, key]) for key in keys if (system.slug, key) in table.in_group]
        if said:
            means = [f"{short(key[1])} {percent_of(one)}{'' if one.sign else ' (not clear)'}" for key, one in said]
            found.append(f"{system.name} beside {said[0][1].than}: {listed(means)}.")
    return found


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
