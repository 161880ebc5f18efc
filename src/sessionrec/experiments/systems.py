"""The systems of a table on one data set: their results over seeds, and their means with intervals.

In: an experiment and its `Result`s. Out: `System`s in the order of the table, floors first; `estimates` of them.

A figure is the mean over seeds. Its 95 % interval is a bootstrap over users, the same draws as `evaluate.significance`,
and over seeds; how far the seeds lie apart stands beside it, as their standard deviation. Users are aligned by
`user_index`. Letters: R runs, U users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from sessionrec.experiments.config import Experiment
from sessionrec.experiments.result import USER_INDEX, Result
from sessionrec.experiments.results import Cell, slugs
from sessionrec.report.bootstrap import Estimate, FloatArray, Gap, estimate

IN_SESSION: Final = "in_session_auc"
PLACES: Final = 4
"""Decimals that are printed; what prints alike is alike."""

Results = Mapping[Cell, Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A row on one data set."""

    slug: str
    name: str
    group: str
    x: float | None
    role: Literal["floor", "model"]
    is_ours: bool
    is_item_level: bool
    """Whether an input position of it is a single event."""
    results: tuple[Result, ...]
    """One a seed, those the experiment asks for first; empty = not run."""
    wanted: int
    """How many it asks for."""
    paper: Mapping[str, Mapping[str, float]]
    """Published figures of this row on this data set: targets, metric."""
    is_other_code: bool
    """Whether other code made its results than most of the table's."""

    def seed_means(self, targets: str, metric: str) -> list[float]:
        """What each seed came to; seeds without a value are left out."""
        found = (result.metrics.get(targets, {}).get(metric) for result in self.results)
        return [value for value in found if value is not None]

    def spread(self, targets: str, metric: str) -> float | None:
        """Standard deviation over seeds; None of fewer than two."""
        means = self.seed_means(targets, metric)
        return float(np.std(means, ddof=1)) if len(means) > 1 else None

    def training(self, name: str) -> float | None:
        """A figure of `Result.training`, mean over seeds."""
        found = [result.training[name] for result in self.results if name in result.training]
        return float(np.mean(found)) if found else None

    def events(self) -> float | None:
        """Input events that it was trained on, each once however often an epoch reads them; mean over seeds."""
        found = [
            result.training["events_per_epoch"] / result.config.get("loading", {}).get("passes", 1)
            for result in self.results
            if "events_per_epoch" in result.training
        ]
        return float(np.mean(found)) if found else None

    def cost(self, name: str) -> float | None:
        """A number of the result itself, such as `parameters`, mean over seeds."""
        return float(np.mean([getattr(result, name) for result in self.results])) if self.results else None

    def by_user(self, targets: str, metric: str) -> tuple[Any, FloatArray] | None:
        """Users ascending, and [seed, user] what each has; users are those of all seeds."""
        column = f"{targets}/{metric}"
        frames = [result.users for result in self.results if column in result.users.columns]
        if not frames:
            return None
        frames = [frame.select(USER_INDEX, column).sort(USER_INDEX) for frame in frames]
        users = frames[0][USER_INDEX].to_numpy()
        for frame in frames[1:]:
            users = np.intersect1d(users, frame[USER_INDEX].to_numpy())
        rows = [
            frame[column].to_numpy()[np.isin(frame[USER_INDEX].to_numpy(), users)].astype(np.float64)
            for frame in frames
        ]
        return users, np.stack(rows)


def systems_of(
    experiment: Experiment, dataset: str, results: Results, other_code: frozenset[str] = frozenset()
) -> list[System]:
    """The rows of a data set, floors first, then in the order of the files.

    Args:
        experiment: What is asked.
        dataset: Its name in `datasets.toml`.
        results: All there are.
        other_code: Keys of results that other code made.
    """
    floors: list[System] = []
    models: list[System] = []
    paper_name, item_level = experiment.sources[dataset].paper, item_level_rows(experiment)
    for row in experiment.rows:
        is_floor = bool(row.config.floors)
        for slug, name in slugs(row).items():
            found = tuple(result for cell, result in results.items() if cell[:2] == (dataset, slug))
            system = System(
                slug=slug,
                name=name,
                group="" if is_floor else row.config.group,
                x=row.config.x,
                role="floor" if is_floor else "model",
                is_ours=not is_floor and name == experiment.config.ours,
                is_item_level=row.slug in item_level,
                results=found,
                wanted=1 if is_floor else len(experiment.config.seeds),
                paper=row.config.paper.get(paper_name, {}) if paper_name else {},
                is_other_code=any(result.key in other_code for result in found),
            )
            (floors if is_floor else models).append(system)
    return floors + models


def item_level_rows(experiment: Experiment) -> frozenset[str]:
    """Slugs of the rows whose input positions are single events, by their settings."""
    from sessionrec.experiments.plan import settings

    dataset = next(iter(experiment.sources))
    models = [row for row in experiment.rows if not row.config.floors]
    return frozenset(row.slug for row in models if settings(experiment, dataset, row, None, ()).view.unit == "event")


def estimates(
    systems: Sequence[System], keys: Sequence[tuple[str, str]], reference: System | None
) -> dict[tuple[str, str, str], Estimate]:
    """Means, intervals, and gaps to one of the systems; by slug, targets and metric; what was not run is not there.

    Args:
        systems: Of one data set.
        keys: Targets and metric.
        reference: Of them; the gap of a system is what it has more than the reference, on the users of both.
    """
    run = [system for system in systems if system.results]
    if reference is not None and reference.results:
        run = [reference, *(system for system in run if system.slug != reference.slug)]
    else:
        reference = None
    found: dict[tuple[str, str, str], Estimate] = {}
    alike: dict[tuple[bytes, ...], dict[tuple[str, str], list[FloatArray]]] = {}
    members: dict[tuple[bytes, ...], list[System]] = {}
    for key in keys:
        values = {system.slug: _aligned(run, system, key) for system in run}
        known = {slug: value for slug, value in values.items() if value is not None}
        groups = _by_users(known)
        for alike_slugs in groups:
            # Metrics that the same systems have of the same users share their draws.
            same = tuple(slug.encode() for slug in alike_slugs)
            members[same] = [system for system in run if system.slug in alike_slugs]
            alike.setdefault(same, {})[key] = [known[slug] for slug in alike_slugs]
        if reference is not None and reference.slug in known:
            _other_users(found, known, groups, reference.slug, key)
        for system in run:
            if system.slug not in known and (means := system.seed_means(*key)):
                found[system.slug, *key] = Estimate(mean=float(np.mean(means)), low=np.nan, high=np.nan, gap=None)
    for same, by_key in alike.items():
        for (targets, metric), each in _estimated(by_key).items():
            for system, one in zip(members[same], each, strict=True):
                known_gap = one.gap if reference is not None and members[same][0].slug == reference.slug else None
                earlier = found.get((system.slug, targets, metric))
                found[system.slug, targets, metric] = replace(one, gap=earlier.gap if earlier else known_gap)
    return found


def _estimated(values: Mapping[tuple[str, str], Sequence[FloatArray]]) -> dict[tuple[str, str], list[Estimate]]:
    """Of systems that have the same metrics of the same users: by metric, [seed, U] of each system."""
    found: dict[tuple[str, str], list[Estimate]] = {}
    by_seeds: dict[tuple[int, ...], dict[tuple[str, str], FloatArray]] = {}
    for key, each in values.items():
        by_seeds.setdefault(tuple(len(rows) for rows in each), {})[key] = np.concatenate(each)
    for seeds_S, values_RU in by_seeds.items():
        named = {"/".join(key): rows_RU for key, rows_RU in values_RU.items()}
        weight_U = np.ones(next(iter(named.values())).shape[1])
        told = estimate(named, weight_U, seeds_S=seeds_S)
        found |= {key: told["/".join(key)] for key in values_RU if "/".join(key) in told}
    return found


def _aligned(run: Sequence[System], system: System, key: tuple[str, str]) -> FloatArray | None:
    """[seed, U] of all users that any of the systems has."""
    own = system.by_user(*key)
    if own is None:
        return None
    everyone = np.unique(np.concatenate([result.users[USER_INDEX].to_numpy() for one in run for result in one.results]))
    users, values = own
    aligned = np.full((len(values), len(everyone)), np.nan)
    # A user without a value of one seed has none of the system.
    aligned[:, np.searchsorted(everyone, users)] = np.where(np.isnan(values).any(axis=0), np.nan, values)
    return aligned if not np.isnan(aligned).all() else None


def _by_users(known: Mapping[str, FloatArray]) -> list[list[str]]:
    """Slugs that have a value of the same users, in their order."""
    groups: dict[bytes, list[str]] = {}
    for slug, values in known.items():
        groups.setdefault(np.isnan(values[0]).tobytes(), []).append(slug)
    return list(groups.values())


def _other_users(
    found: dict[tuple[str, str, str], Estimate],
    known: Mapping[str, FloatArray],
    groups: Sequence[Sequence[str]],
    reference: str,
    key: tuple[str, str],
) -> None:
    """Gaps of systems that were asked about other users than the reference, on the users they share."""
    for others in groups:
        if reference in others:
            continue
        for slug in others:
            shared = ~np.isnan(known[reference][0]) & ~np.isnan(known[slug][0])
            if shared.any():
                _, found[slug, *key] = _estimated({key: [known[reference][:, shared], known[slug][:, shared]]})[key]


def flipped(gap: Gap) -> Gap:
    """What the reference has more than the system."""
    return Gap(mean=-gap.mean, low=-gap.high, high=-gap.low, p_value=gap.p_value)
