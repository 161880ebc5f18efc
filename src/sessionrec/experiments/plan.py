"""An experiment becomes a list of jobs, each a process; a job is known by what it asks, so tables share answers.

In: an `Experiment` and what of it is wanted. Out: `Job`s, before any data set is opened (`draft`) and after (`settle`).

Fields are laid one over the other, the later over the earlier; below the experiment's is its `seen`, for validation:

    preset  <  the experiment's  <  the data set's (`fit`)  <  the row's  <  seed and threads  <  the command line's
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sessionrec.baselines import ALL
from sessionrec.config import nearest
from sessionrec.data.dataset import Dataset
from sessionrec.data.view import whole_view
from sessionrec.errors import ConfigError
from sessionrec.evaluate import EvalProtocol
from sessionrec.experiments import code
from sessionrec.experiments.config import TABLE, Experiment, Row
from sessionrec.experiments.results import Cell, floor_slug
from sessionrec.pipeline.training import FitConfig, fitting, load_fit_config, presets

_FORMAT = 1
"""Of a key: raised when what is asked changes in a way that no setting shows."""
BESIDE = ("threads", "tensorboard")
"""Settings that make no other result."""
_OURS = ("seed", "threads", "tensorboard")
"""Settings that a row, a data set or an experiment does not make."""
_COUNTS = ("code", "counts")
"""Of what decides, where the code of floors stands: of a floor, and of a model with a prior."""
FLOOR_METRIC = "ndcg@10"
"""By which floors choose their parameters on validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process: a training run, or some floors of one data set."""

    dataset: str
    """Its name."""
    row: Row
    seed: int | None
    """None of floors."""
    config: FitConfig
    """Settings; of floors, only what they are shown counts."""
    seen: str
    """`kept` or `filtered`."""
    known: str
    """`parts` or `stream`."""
    fields: tuple[str, ...]
    """What the command line said."""
    keys: dict[str, str]
    """By slug, the key of each result that it makes; empty in a draft."""
    data: str
    """Digest of the data set; empty in a draft."""

    @property
    def slugs(self) -> tuple[str, ...]:
        """Lines of the table that it makes."""
        return tuple(floor_slug(self.row, name) for name in self.row.config.floors) or (self.row.slug,)

    @property
    def cells(self) -> list[Cell]:
        """Of the table."""
        return [(self.dataset, slug, self.seed) for slug in self.slugs]

    @property
    def key(self) -> str:
        """Of its own folder and log: that of its result, or of all its floors."""
        if not self.row.config.floors:
            return self.keys[self.row.slug]
        return _hash(["floors", sorted(self.keys.values())])

    @property
    def name(self) -> str:
        """For people."""
        about = self.row.config.name or self.row.slug
        return about if self.seed is None else f"{about}, seed {self.seed}"


def protocols(seen: str, known: str) -> tuple[EvalProtocol, ...]:
    """What every result is asked, whatever its table shows: both kinds of targets."""
    return tuple(
        EvalProtocol.model_validate({"targets": targets, "seen": seen, "known": known})
        for targets in ("session", "last_item")
    )


def draft(
    experiment: Experiment,
    *,
    data: Sequence[str] = (),
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    fields: Sequence[str] = (),
) -> list[Job]:
    """All jobs, in the order of seeds, then data sets, then rows: a first seed of everything comes first.

    Args:
        experiment: Read.
        data: Names of data sets, by default all that the experiment names.
        rows: Slugs, by default all.
        seeds: By default the experiment's.
        fields: The command line's.

    Raises:
        ConfigError: A name is unknown, a seed is none, settings of a row or the command line's fields are wrong, or
            runs are asked of an experiment that has none.
    """
    _expect_known("data sets of the experiment", data, list(experiment.sources))
    if experiment.config.kind == "statistics":
        _expect_no_runs(experiment, rows, seeds, fields)
        return []
    _expect_known("rows of the experiment", rows, [row.slug for row in experiment.rows])
    if wrong := [seed for seed in seeds if seed < 0]:
        raise ConfigError(f"command line: --seeds: expected whole numbers from 0 on, got {wrong[0]}")
    names = [name for name in experiment.sources if not data or name in data]
    wanted = [row for row in experiment.rows if not rows or row.slug in rows]
    jobs = []
    # Floors with the first seed: they are short and any table needs them.
    for place, seed in enumerate(seeds or experiment.config.seeds):
        for name in names:
            for row in wanted:
                if row.config.floors and place:
                    continue
                own = None if row.config.floors else seed
                jobs.append(
                    Job(
                        dataset=name,
                        row=row,
                        seed=own,
                        config=settings(experiment, name, row, own, fields),
                        seen=experiment.config.seen,
                        known=experiment.config.known,
                        fields=tuple(fields),
                        keys={},
                        data="",
                    )
                )
    return jobs


def settings(experiment: Experiment, dataset: str, row: Row, seed: int | None, fields: Iterable[str]) -> FitConfig:
    """Settings of a run, all fields laid over its preset.

    Raises:
        ConfigError: With the file of the row, or of the command line if the row is right without its fields.
    """
    fields = tuple(fields)
    for word in fields:
        # The index would say one seed, the result another.
        if _name(word) == "seed":
            value = word.partition("=")[2].strip()
            raise ConfigError(
                f"command line: {word}: a seed is no field, for it says which cell of a table a run is; "
                f"use --seeds {value}"
            )
    file = experiment.folder / f"{row.slug}.toml"
    layers = {
        str(experiment.folder / TABLE): experiment.config.fields,
        f"the data set {dataset}": experiment.sources[dataset].fit,
        str(file): row.config.fields,
    }
    for place, some in layers.items():
        if ours := [name for name in map(_name, some) if name in _OURS]:
            raise ConfigError(f"{place}: fields: {ours[0]} is given by the command line alone (`--seeds`, `threads=2`)")
    # The epoch is chosen by the answers that are asked for in the end.
    words = [f"training.seen={experiment.config.seen}", *(word for some in layers.values() for word in some)]
    own = ["threads=1", *([] if seed is None else [f"seed={seed}"])]
    _expect_known(f"floors ({file})", row.config.floors, ALL)
    try:
        return load_fit_config(row.config.preset, None, [*words, *own, *fields])
    except ConfigError as error:
        if fields and _is_right(row.config.preset, [*words, *own]):
            source = "settings" if row.config.preset is None else str(presets()[row.config.preset])
            told = [line.removeprefix(f"{source}: ") for line in str(error).splitlines()]
            # Other rows may have such a field: keys depend on the `kind` of a part.
            raise ConfigError("\n".join(f"command line: {line} (for the row {row.slug})" for line in told)) from None
        raise ConfigError(f"{file}: {error}") from None


def contradictions(
    experiment: Experiment, rows: Iterable[Row], datasets: Iterable[str], fields: Iterable[str]
) -> list[str]:
    """Fields of which one place says something other than another, a line each: which one counts. That rows and data
    sets say other than the experiment is what its fields are for."""
    found: dict[str, None] = {}
    for row in rows:
        for dataset in datasets:
            layers: list[tuple[str, tuple[str, ...]]] = [
                (f"the data set {dataset}", experiment.sources[dataset].fit),
                (f"the row {row.slug}", row.config.fields),
                ("the command line", tuple(fields)),
            ]
            said: dict[str, tuple[str, str]] = {}
            for place, words in layers:
                for word in words:
                    name, value = _name(word), word.partition("=")[2].strip()
                    if name in said and said[name][1] != value and said[name][0] != place:
                        first, before = said[name]
                        found[f"{name}: {first} says {before}, {place} says {value}; {place} counts"] = None
                    said[name] = (place, value)
    return list(found)


def settle(job: Job, dataset: Dataset) -> Job:
    """The same job with what follows from its data set: full settings and keys."""
    config = fitting(job.config, dataset)
    floors = {slug: slug.partition(":")[2] for slug in job.slugs}
    keys = {slug: key_of(config, dataset.content, job.seen, floor, known=job.known) for slug, floor in floors.items()}
    return replace(job, config=config, data=dataset.content, keys=keys)


def key_of(config: FitConfig, data: str, seen: str, floor: str = "", *, known: str = "parts") -> str:
    """Hash of all that decides a result but the code.

    Args:
        config: As `fitting` returned it.
        data: Digest of the data set.
        seen: `kept` or `filtered`.
        floor: Its name, or none for a model.
        known: `parts` or `stream`.
    """
    asked = [protocol.model_dump(mode="json") for protocol in protocols(seen, known)]
    if known == "parts":
        # Results that are older than the choice stay what they are.
        for one in asked:
            del one["known"]
    decides = _floor(config, floor) if floor else _decisive(config)
    return _hash([_FORMAT, decides, data, asked])


def asked(
    experiment: Experiment,
    dataset: str,
    row: Row,
    slug: str,
    seed: int | None,
    fields: Sequence[str],
    *,
    counts: bool = True,
) -> str:
    """Digest of what files and command line ask of a cell, whatever is in the data set; changes with an edited row, and
    with `counts`, for floors and models with a prior, with the code of floors."""
    try:
        config = settings(experiment, dataset, row, seed, fields)
    except ConfigError:
        return ""
    source = experiment.sources[dataset]
    origin = source.model_dump(mode="json", exclude={"title", "fit", "paper"})
    floor = slug.partition(":")[2]
    known = [] if experiment.config.known == "parts" else [experiment.config.known]
    decides = _floor(config, floor) if floor else _decisive(config)
    if not counts:
        decides = {name: value for name, value in decides.items() if name not in _COUNTS}
    return _hash([decides, origin, experiment.config.seen, *known])


def _is_right(preset: str | None, words: Sequence[str]) -> bool:
    try:
        load_fit_config(preset, None, words)
    except ConfigError:
        return False
    return True


def _decisive(config: FitConfig) -> dict[str, Any]:
    decisive = {name: value for name, value in config.model_dump(mode="json").items() if name not in BESIDE}
    if decisive["prior"] is None:
        # Results that are older than priors stay what they are.
        del decisive["prior"]
    else:
        # A prior stands on the same counts and neighbours as floors do, which `code.version` leaves out.
        decisive[_COUNTS[1]] = code.of_floors()
    return decisive


def _floor(config: FitConfig, name: str) -> dict[str, Any]:
    view = whole_view(config.view).model_dump(mode="json")
    return {"floor": name, "metric": FLOOR_METRIC, "view": view, _COUNTS[0]: code.of_floors()}


def _expect_no_runs(experiment: Experiment, rows: Sequence[str], seeds: Sequence[int], fields: Sequence[str]) -> None:
    given = [("--rows", rows), ("--seeds", seeds), (" ".join(fields), fields)]
    if wrong := [name for name, values in given if values]:
        raise ConfigError(
            f"command line: {', '.join(wrong)}: expected no rows, seeds or fields, for {experiment.folder} counts "
            "what is in data sets and has no runs; leave them out"
        )


def _hash(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _name(word: str) -> str:
    return ".".join(part.strip() for part in word.partition("=")[0].split("."))


def _expect_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"there is no {name!r} among the {what}{nearest(name, known)}; there are {', '.join(known)}"
            )
