"""The report of an experiment: files that people and programs read.

report.html    one file without any other: tables, figures, what they say, how they were made
table.md       the tables, for a README
table.tex      the tables, for a paper
table.csv      every number, a line each, with its interval and seeds
runs.csv       every figure of every single run
figures/       SVG and PNG
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sessionrec.errors import ArtifactError
from sessionrec.experiments import latex, markdown
from sessionrec.experiments.config import load_experiment
from sessionrec.experiments.grid import Record, RunRecord, to_csv
from sessionrec.experiments.head import Head, head, other_code
from sessionrec.experiments.part import Part
from sessionrec.experiments.parts import parts
from sessionrec.experiments.places import write_text
from sessionrec.experiments.results import Collected, collect
from sessionrec.experiments.sheets import run_records
from sessionrec.report.html_file import render, write_whole
from sessionrec.report.plots import Plot

_FIGURES: Final = "figures"
_LOUD: Final = frozenset({"cost", "sweep", "scaling"})
"""Kinds whose figures say more than their tables, and stand before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a report came to."""

    folder: Path
    files: tuple[Path, ...]
    num_figures: int
    num_results: int
    num_missing: int
    num_damaged: int
    """Of the missing: results that are there and cannot be read."""
    warnings: tuple[str, ...]


def write(folder: Path, out: Path, to: Path | None = None, *, keep_old_code: bool = False) -> Written:
    """Write the report of an experiment from what there is.

    Args:
        folder: Of the experiment's settings.
        out: That runs write to.
        to: Where to write; by default `OUT/report/EXPERIMENT`.
        keep_old_code: Whether results of other versions of the code are shown too.

    Raises:
        ConfigError: The experiment's files are wrong.
        ArtifactError: A result cannot be read, or the report cannot be written.
    """
    experiment = load_experiment(folder)
    collected = collect(experiment, out, allow_old_code=keep_old_code)
    return write_collected(collected, folder, out, to or out / "report" / experiment.name)


def write_collected(collected: Collected, folder: Path, out: Path, to: Path) -> Written:
    """The same from results that were read before."""
    experiment = collected.experiment
    around = head(collected, folder, out)
    sections = parts(experiment, collected.results, other_code(collected), out)
    plots = {drawing.name: drawing.plot() for part in sections for drawing in part.drawings}
    write_whole(to / "report.html", lambda: html(around, sections, experiment.config.kind, plots))
    grids = [grid for part in sections for grid in part.grids]
    said = [f"{part.title}: {sentence}" for part in sections for sentence in part.sentences]
    about = " ".join((around.about, *around.warnings)).strip()
    try:
        write_text(to / "table.md", markdown.document(around.title, about, said, grids, around.legend))
        write_text(to / "table.tex", latex.document(experiment.name, around.title, grids, around.legend))
        write_text(to / "table.csv", to_csv(Record, (record for part in sections for record in part.records)))
        write_text(to / "runs.csv", to_csv(RunRecord, run_records(collected)))
        drawings = [drawing for part in sections for drawing in part.drawings]
        drawn = [file for drawing in drawings for file in drawing.save(to / _FIGURES, plots[drawing.name])]
        _remove_others(to / _FIGURES, experiment.name, drawn)
    except OSError as error:
        raise ArtifactError(f"{to}: cannot write the report: {error.strerror or error}") from error
    texts = tuple(to / name for name in ("report.html", "table.md", "table.tex", "table.csv", "runs.csv"))
    return Written(
        folder=to,
        files=(*texts, *drawn),
        num_figures=len(drawings),
        num_results=len(collected.results),
        num_missing=len(collected.missing),
        num_damaged=sum(one.is_damaged for one in collected.missing),
        warnings=around.warnings,
    )


def html(around: Head, sections: Sequence[Part], kind: str, plots: Mapping[str, Plot]) -> str:
    """The whole page."""
    return render("experiment.html", head=around, parts=[_section(part, kind, plots) for part in sections])


def _section(part: Part, kind: str, plots: Mapping[str, Plot]) -> dict[str, Any]:
    return {
        "title": part.title,
        "note": part.note,
        "sentences": part.sentences,
        "grids": part.grids,
        "plots": [plots[drawing.name] for drawing in part.drawings],
        "columns": "two" if kind in ("cost", "scaling") else "three",
        "is_figures_first": kind in _LOUD,
    }


def _remove_others(folder: Path, experiment: str, drawn: Sequence[Path]) -> None:
    """Figures of an earlier report of this experiment that this one has not."""
    from sessionrec.experiments.figures import file_name

    for ending in ("svg", "png"):
        for file in folder.glob(f"{file_name(experiment)}-*.{ending}"):
            if file not in drawn:
                file.unlink()
