"""Commands on experiments: `run`; `report`, which draws what there is; `merge`, which takes in what others ran."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sessionrec.cli import screen
from sessionrec.cli.board import Board
from sessionrec.errors import ConfigError

if TYPE_CHECKING:
    from sessionrec.experiments.config import Experiment
    from sessionrec.experiments.places import Places
    from sessionrec.experiments.plan import Job
    from sessionrec.experiments.ready import Standing
    from sessionrec.experiments.runner import Outcome

app = typer.Typer(
    name="experiment",
    help="Many runs under one protocol, and the tables and figures that come of them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

FolderArgument = Annotated[
    Path, typer.Argument(help="Folder with table.toml and a TOML file for each row, such as experiments/table2.")
]
OutOption = Annotated[Path, typer.Option(help="Where data sets, runs and results of all experiments lie.")]
OUT = Path("runs/experiments")


@app.command()
def run(
    folder: FolderArgument,
    raw: Annotated[
        Path | None, typer.Option(help="Folder of the raw logs; datasets.toml names the folders in it.")
    ] = None,
    out: OutOption = OUT,
    data: Annotated[
        list[str] | None, typer.Option(help="Only these data sets: --data ebnerd,globo; those must be there.")
    ] = None,
    rows: Annotated[
        list[str] | None, typer.Option(help="Only these rows, by file name: --rows 02-sasrec,10-sessionrec-hstu.")
    ] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(help="These seeds instead of the experiment's: --seeds 1,2.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, one thread each.")] = os.cpu_count() or 1,
    memory: Annotated[
        float | None, typer.Option(min=0.1, help="GB that all runs together may take; by default 80 % of what is free.")
    ] = None,
    keep_old_code: Annotated[
        bool,
        typer.Option(
            "--keep-old-code",
            help="Keep results that another version of the code made; not floors and priors whose own code changed.",
        ),
    ] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep trained models too, in OUT/models.")] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Say what would run and what is done; run nothing.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Fields of every run, above all others: training.epochs=200.", metavar="[FIELD=VALUE]..."),
    ] = None,
) -> None:
    """Run what is missing of an experiment: every row on every data set with every seed.

    Data sets are prepared first. Each run is a process of its own, with one thread; as many run at once as cores and
    memory allow. What is done is skipped, what was cut goes on from its checkpoint, and what fails is told at the end
    while the rest runs on. Ctrl-C stops all of them, the same command goes on.

    A result is known by all that decided it: settings, data set, questions. So tables that ask the same share it, and
    other fields make other results beside the old ones. Results of another version of the code are made again, unless
    --keep-old-code.

    [bold]Examples[/]:
    sessionrec experiment run experiments/table2 --raw logs/ --list   ·
    sessionrec experiment run experiments/table2 --raw logs/ --data ebnerd --seeds 1   ·
    sessionrec experiment run experiments/table2 --data kuaisar-shaped training.epochs=3
    """
    from sessionrec.experiments import ready, runner
    from sessionrec.experiments.config import load_experiment
    from sessionrec.experiments.memory import free_bytes
    from sessionrec.experiments.plan import contradictions, draft

    fields = _fields(overrides or [])
    experiment = load_experiment(folder)
    names = _split(data)
    drafts = draft(experiment, data=names, rows=_split(rows), seeds=_numbers(seeds), fields=fields)
    if only_list:
        _list(experiment, drafts, names or list(experiment.sources), raw, out, keep_old_code=keep_old_code)
        return
    for line in contradictions(experiment, {job.row.slug: job.row for job in drafts}.values(),
                               {job.dataset for job in drafts}, fields):  # fmt: skip
        screen.errors.print(f"[yellow]note:[/] {line}", highlight=False, soft_wrap=True)
    budget = int(memory * 2**30) if memory is not None else int(0.8 * free_bytes())
    options = runner.Options(jobs=jobs, memory=budget, keep_old_code=keep_old_code, keep_models=keep_models)
    with _goes_on():
        with screen.progress() as progress:
            prepared = ready.prepare(experiment, drafts, raw, out, named=names, say=screen.say, progress=progress)
        with Board(screen.errors) as board:
            outcome = runner.run(experiment, prepared, out, options, board)
    _conclude(outcome, folder, out)


@app.command()
def report(
    folder: FolderArgument,
    out: OutOption = OUT,
    to: Annotated[Path | None, typer.Option(help="Folder to write to; by default OUT/report/EXPERIMENT.")] = None,
    keep_old_code: Annotated[
        bool, typer.Option("--keep-old-code", help="Show results of other versions of the code too, marked.")
    ] = False,
) -> None:
    """Write the tables and figures of an experiment from the results there are; nothing is run.

    report.html is one page that opens anywhere; table.md, table.tex and table.csv are its tables, figures/ its figures,
    runs.csv every figure of every single run. What was not run says so.

    [bold]Example[/]: sessionrec experiment report experiments/table2
    """
    from sessionrec.experiments.report import write_report

    written = write_report(folder, out, to, keep_old_code=keep_old_code)
    for warning in written.warnings:
        screen.errors.print(f"[yellow]note:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    missing = f", {written.num_missing:,} are not there" if written.num_missing else ""
    damaged = f", {written.num_damaged:,} of them damaged: run them again" if written.num_damaged else ""
    screen.say(f"{written.num_results:,} results{missing}{damaged}", f"Report: {written.folder / 'report.html'}")
    screen.say(
        f"Tables: {written.folder / 'table.md'}, table.tex, table.csv, runs.csv; figures: {written.num_figures:,}"
    )


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `experiment run --out` wrote to; only read.")],
    out: OutOption = OUT,
) -> None:
    """Take in the results of other folders: of another machine, of a colleague, of a backup.

    Each machine runs its own seeds or data sets, and the report is made of all. A result is known by settings, data and
    questions, and says which code made it. What both have stays as it is here, unless it is damaged, or only theirs is
    of the present code. What was asked of other data or with other settings than its row is copied and not shown; a
    line says so. The status is 1 if something was left out, damaged or busy.

    [bold]Examples[/]:
    sessionrec experiment merge /mnt/other/runs/experiments   ·
    sessionrec experiment merge first/ second/ --out all/
    """
    from sessionrec.experiments.merging import merge as merge_all

    done = merge_all(folders, out)
    for note in done.notes:
        screen.errors.print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    screen.say(f"{done.taken:,} results taken into {out}, {done.there:,} are there already, {done.left_out:,} left out")
    if done.unfinished:
        screen.say(f"{done.unfinished:,} that their tables name are not in their folders: not run yet, or not copied")
    if done.other_code:
        screen.say(f"{done.other_code:,} of those taken are of other code than this: --keep-old-code shows them")
    if done.left_out:
        raise typer.Exit(1)


@contextmanager
def _goes_on() -> Iterator[None]:
    """A stop says how to go on; its note is the last line, see `entry.main`."""
    try:
        yield
    except BaseException as stop:
        if not isinstance(stop, Exception):
            stop.add_note("the same command goes on")
        raise


def _list(
    experiment: Experiment,
    drafts: Sequence[Job],
    names: Sequence[str],
    raw: Path | None,
    out: Path,
    *,
    keep_old_code: bool,
) -> None:
    """The plan: each line of the table on each data set, and how far its seeds are."""
    from sessionrec.experiments import ready, sources
    from sessionrec.experiments.places import Places
    from sessionrec.experiments.plan import settle

    places = Places(out)
    absent = ready.absences(experiment, names, raw)
    datasets = {name: sources.existing(name, places) for name in names if name not in absent}
    lines, left = [("data set", "row", "system", "seed", "state", "key")], 0
    for job in drafts:
        dataset, found = datasets.get(job.dataset), None
        if dataset is not None:
            found = ready.standing(settle(job, dataset), dataset, places, keep_old_code=keep_old_code)
        for slug in job.slugs:
            title = job.row.config.name or slug.partition(":")[2]
            state, key = _state(found, slug, places, is_absent=job.dataset in absent)
            left += not state.startswith(("done", "left out"))
            lines.append((job.dataset, job.row.slug, title, "" if job.seed is None else str(job.seed), state, key))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if drafts:
        screen.say(*("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))
    screen.say(*(f"LEFT OUT: {one.name}: {one.reason}" for one in absent.values()))
    if experiment.config.kind == "statistics":
        screen.say(f"No runs: this experiment shows its data sets: {', '.join(names)}")
    else:
        screen.say(f"{len(lines) - 1:,} results, {left:,} to be made")


def _state(found: Standing | None, slug: str, places: Places, *, is_absent: bool) -> tuple[str, str]:
    """State and key of one line of the plan."""
    if found is None:
        return ("left out" if is_absent else "data not prepared"), ""
    key = found.job.keys[slug]
    if slug not in found.todo:
        return ("done" if key not in found.old else f"done by other code {found.old[key]}"), key
    if key in found.old:
        return f"again, made by other code {found.old[key]}", key
    if key in found.damaged:
        return "again, damaged", key
    return ("cut, goes on" if (places.run(found.job.key) / "last").is_dir() else "to do"), key


def _conclude(outcome: Outcome, folder: Path, out: Path) -> None:
    """The last words, and the status."""
    screen.say(f"{outcome.done} runs done, {outcome.skipped} were done before, {len(outcome.failed)} failed")
    if outcome.kept_old:
        screen.say("Kept, though made by other code:", *(f"  {line}" for line in outcome.kept_old))
    screen.say(*(f"LEFT OUT: the data set {one.name}: {one.reason}" for one in outcome.absent))
    for failure in outcome.failed:
        indented = "\n".join(f"    {line}" for line in failure.last.splitlines())
        screen.say(f"FAILED: {failure.job.dataset}, {failure.job.name}: the end of {failure.log}", indented)
    screen.say(f"Next: sessionrec experiment report {shlex.quote(str(folder))} --out {shlex.quote(str(out))}")
    if outcome.failed:
        raise typer.Exit(1)


def _split(words: Sequence[str] | None) -> list[str]:
    """Names that were given one by one or with commas."""
    return [name.strip() for word in words or [] for name in word.split(",") if name.strip()]


def _numbers(words: Sequence[str] | None) -> list[int]:
    try:
        return [int(word) for word in _split(words)]
    except ValueError:
        raise ConfigError(f"--seeds: expected whole numbers such as --seeds 1,2, got {' '.join(words or [])}") from None


def _fields(words: Sequence[str]) -> list[str]:
    if wrong := [word for word in words if "=" not in word]:
        raise ConfigError(
            f"expected FIELD=VALUE, got {wrong[0]!r}; several seeds, rows or data sets are written --seeds 1,2"
        )
    return list(words)
