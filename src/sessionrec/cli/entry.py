"""The application: which commands there are, and what ends it: a mistake, a stop, a closed pipe, a file that cannot be
read or written, a full disk."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer
from rich.logging import RichHandler
from rich.markup import escape

import sessionrec
from sessionrec.cli import answers, data, demonstration, experiments, runs, screen
from sessionrec.errors import SessionRecError

app = typer.Typer(
    name="sessionrec",
    help="Next-session recommendation: from raw logs to sessions, and from sessions to what comes next.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each stage does.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        screen.say(sessionrec.__version__)
        raise typer.Exit
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=screen.errors, show_path=False, omit_repeated_times=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


for command in (
    data.prepare,
    data.describe,
    runs.fit,
    runs.evaluate,
    runs.index,
    runs.report,
    answers.recommend,
    answers.rank,
    demonstration.demo,
    data.config,
):
    app.command()(command)
app.add_typer(experiments.app)


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
        words = "; ".join(getattr(stop, "__notes__", ())) or "nothing half-made is left"
        screen.errors.print(f"stopped; {words}", highlight=False)
        # All is cleaned up by now, but a thread of the engine may still be at work in Python, and the interpreter's own
        # end would abort on it.
        os._exit(getattr(stop, "status", 130))
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        # What has no name is the output; a name may be a number or bytes, as the call had it.
        if error.filename is not None:
            name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
            _fail(f"{name}: {error.strerror or error}", 2)
        if error.errno not in _FULL:
            raise
        _drop_output()
        _fail(f"the output cannot be written: {error.strerror}; free some space or write elsewhere", 2)


def _fail(message: str, status: int) -> NoReturn:
    screen.errors.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(status)


def _drop_output() -> None:
    """What is still buffered would be tried again at the interpreter's end, and fail aloud."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
