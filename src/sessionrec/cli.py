"""The command line: thin; every command is a function of `pipeline`, a progress bar and a table."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import sessionrec
from sessionrec.config_text import commented
from sessionrec.errors import ConfigError, SessionRecError

app = typer.Typer(
    name="sessionrec",
    help="Next-session recommendation: from raw logs to sessions, and from sessions to what comes next.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console()
errors = Console(stderr=True)

_STAGES = {"read": "Reading events", "sessions": "Cutting sessions", "split": "Splitting", "write": "Writing"}


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each stage does.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        console.print(sessionrec.__version__)
        raise typer.Exit
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=errors, show_path=False, omit_repeated_times=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


@app.command()
def prepare(
    config: Annotated[Path, typer.Argument(help="TOML file; `sessionrec config` prints one to start from.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set; replaced once the new one is whole.")],
    raw: Annotated[Path | None, typer.Option(help="Where the raw log is; short for log.path=...")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Any field, such as filter.min_item_events=1.", metavar="[KEY=VALUE]...")
    ] = None,
) -> None:
    """Make a data set of a raw log: sessions, filters, split, catalogue.

    [bold]Example[/]: sessionrec prepare experiments/data/globo.toml --raw clicks/ --out runs/globo
    """
    from sessionrec import describe, pipeline

    assignments = [*(overrides or []), *([f"log.path={raw}"] if raw is not None else [])]
    settings = pipeline.load_data_config(config, assignments)
    with _progress() as progress:
        dataset = pipeline.prepare(settings, out, progress)
    console.print(describe.summarise(dataset))
    console.print(f"Data set: {out}\nNext: sessionrec describe {out}   or   sessionrec report {out}", highlight=False)


@app.command(name="describe")
def describe_(
    dataset: Annotated[Path, typer.Argument(help="Folder that `prepare` wrote.")],
) -> None:
    """Show a data set: its numbers, its distributions, and some users' histories."""
    from sessionrec import describe
    from sessionrec.data.dataset import Dataset

    console.print(describe.describe(Dataset(dataset)))


@app.command()
def report(
    dataset: Annotated[Path, typer.Argument(help="Folder that `prepare` wrote.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; by default DATASET-report.html.")] = None,
) -> None:
    """Write what `describe` shows, and more, as one HTML page with plots that opens anywhere."""
    from sessionrec.data.dataset import Dataset
    from sessionrec.report import write_report

    target = out or dataset.with_name(f"{dataset.name}-report.html")
    write_report(Dataset(dataset), target)
    console.print(f"Report: {target}", highlight=False)


@app.command()
def config(
    log: Annotated[str, typer.Argument(help="Kind of log, such as `table` for your own.")] = "table",
    session: Annotated[str, typer.Option(help="Kind of session rule.")] = "gap",
    split: Annotated[str, typer.Option(help="Kind of split.")] = "leave_last_session",
) -> None:
    """Print a commented config with every default.

    [bold]Example[/]: sessionrec config table > my-log.toml
    """
    from sessionrec.pipeline import DataConfig

    try:
        text = commented(DataConfig, {"log": log, "session": session, "split": split})
    except KeyError as error:
        raise ConfigError(f"there is no kind {error}; `sessionrec config` names the kinds of each table") from None
    # Plain print: the text is meant for a file, not for a terminal's width.
    sys.stdout.write(text)


@contextmanager
def _progress() -> Iterator[Any]:
    """Bars on a terminal, nothing in a pipe."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def main() -> None:
    """Entry point: mistakes a user can mend are one line, not a traceback."""
    try:
        app()
    except SessionRecError as error:
        errors.print(f"[red]error:[/] {_plain(error)}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _plain(error: Exception) -> str:
    return escape(str(error))


if __name__ == "__main__":
    main()
