"""The command line: thin; every command is a function of `pipeline`, a progress bar and a table."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import sessionrec
from sessionrec.config_text import commented, to_toml
from sessionrec.errors import SessionRecError

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

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_STAGES = {"read": "Reading events", "sessions": "Cutting sessions", "split": "Splitting", "write": "Writing"}


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each stage does.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        _say(sessionrec.__version__)
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

    # As a TOML text: a folder may be called 2024, or have quotes in its name.
    assignments = [*(overrides or []), *([f"log.path={to_toml(raw)}"] if raw is not None else [])]
    settings = pipeline.load_data_config(config, assignments)
    with _progress() as progress:
        dataset = pipeline.prepare(settings, out, progress)
    console.print(describe.summarise(dataset))
    quoted = shlex.quote(str(out))
    _say(f"Data set: {out}", f"Next: sessionrec describe {quoted}   or   sessionrec report {quoted}")


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

    # `.` and `..` have no name of their own.
    named = dataset if dataset.name not in ("", "..") else dataset.resolve()
    target = out or named.with_name(f"{named.name}-report.html")
    write_report(Dataset(dataset), target)
    _say(f"Report: {target}")


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

    _say(commented(DataConfig, {"log": log, "session": session, "split": split}).rstrip())


def _say(*lines: str) -> None:
    """Lines as they are: a path has no markup, and a line that will be copied or piped is not wrapped."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


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


class _Stop(BaseException):
    """A signal asked for the end; raised in the main thread, so that what is half-made is cleaned up on the way out."""

    def __init__(self, signum: int) -> None:
        self.status = 128 + signum


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop(signum: int, _frame: object) -> NoReturn:
        raise _Stop(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def main() -> None:
    """Entry point: mistakes a user can mend are one line, not a traceback; a stop is clean."""
    try:
        with _stoppable():
            try:
                app()
            finally:
                # Here, not at the interpreter's end: nobody could catch what a full disk or a closed pipe says there.
                sys.stdout.flush()
    except SessionRecError as error:
        _fail(str(error), 2)
    except (_Stop, KeyboardInterrupt) as stop:
        errors.print("stopped; nothing half-made is left", highlight=False)
        # All is cleaned up by now, but a thread of the engine may still be at work in Python, and the interpreter's own
        # end would abort on it.
        os._exit(getattr(stop, "status", 130))
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        # Files are named; what has no name is the output.
        if error.filename is not None or error.errno not in _FULL:
            raise
        _drop_output()
        _fail(f"the output cannot be written: {error.strerror}; free some space or write elsewhere", 2)


def _fail(message: str, status: int) -> NoReturn:
    errors.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(status)


def _drop_output() -> None:
    """What is still buffered would be tried again at the interpreter's end, and fail aloud."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
