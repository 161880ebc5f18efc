"""From jobs to what is to be done of them: data sets made, results found that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionrec.artifacts import MANIFEST
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError
from sessionrec.experiments import code, sources
from sessionrec.experiments.config import DATASETS, Experiment
from sessionrec.experiments.places import Places
from sessionrec.experiments.plan import Job, settle
from sessionrec.experiments.result import Result
from sessionrec.experiments.sources import Absent
from sessionrec.progress import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Jobs whose data sets are there."""

    jobs: list[Job]
    datasets: dict[str, Dataset]
    """By name."""
    absent: list[Absent]
    """Data sets that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job and what there is of it."""

    job: Job
    todo: dict[str, str]
    """Slug -> key of results that are to be made."""
    old: dict[str, str]
    """Key -> version of the code, of results that another version made."""
    damaged: frozenset[str]
    """Keys of results that are there and cannot be read."""
    dataset: Dataset

    @property
    def is_done(self) -> bool:
        """Nothing is left to do."""
        return not self.todo


def prepare(
    experiment: Experiment,
    drafts: Sequence[Job],
    raw: Path | None,
    out: Path,
    *,
    named: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Ready:
    """Make the data sets of an experiment, and settle its jobs on them; those of absent data sets are left out.

    Args:
        experiment: Read.
        drafts: Its jobs.
        raw: Folder of the raw logs.
        out: Folder of the experiments.
        named: Data sets that were asked for by name, by default all; one of these must not be absent.
        say: Is told what is made.
        progress: Of preparations.

    Raises:
        ArtifactError: A data set that was asked for by name is absent, or all are.
    """
    places, settings = Places(out), experiment.folder.resolve().parent
    names = [name for name in experiment.sources if not named or name in named]
    absent = absences(experiment, names, raw)
    if named and absent:
        told = "\n".join(f"the data set {one.name} cannot be made: {one.reason}" for one in absent.values())
        raise ArtifactError(told)
    if len(absent) == len(names):
        lines = "\n".join(f"  {one.name}: {one.reason}" for one in absent.values())
        raise ArtifactError(f"none of the data sets in {settings / DATASETS} can be made here:\n{lines}")
    for one in absent.values():
        say(f"LEFT OUT: {one.name}: {one.reason}")
    datasets = {
        name: sources.provide(name, experiment.sources[name], raw, settings, places, say, progress)
        for name in names
        if name not in absent
    }
    jobs = [settle(job, datasets[job.dataset]) for job in drafts if job.dataset in datasets]
    return Ready(jobs=jobs, datasets=datasets, absent=list(absent.values()))


def absences(experiment: Experiment, names: Sequence[str], raw: Path | None) -> dict[str, Absent]:
    """Data sets that cannot be made here, by name."""
    settings = experiment.folder.resolve().parent
    found = {name: sources.missing(name, experiment.sources[name], raw, settings) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def standing(job: Job, dataset: Dataset, places: Places, *, keep_old_code: bool) -> Standing:
    """What there is of a job. A result counts if a report can read it, users and all: some MB a result."""
    todo, old, damaged = {}, {}, set()
    for slug, key in job.keys.items():
        folder = places.result(key)
        try:
            made_by = Result.load(folder).code
        except ArtifactError:
            if (folder / MANIFEST).exists():
                damaged.add(key)
            todo[slug] = key
            continue
        if made_by != code.version():
            old[key] = made_by
            if not keep_old_code:
                todo[slug] = key
    return Standing(job=job, todo=todo, old=old, damaged=frozenset(damaged), dataset=dataset)
