"""Commands that answer: `recommend` and `rank`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer
from rich.markup import escape
from rich.table import Table

from sessionrec.cli import screen
from sessionrec.cli.runs import DataOption, RunPath, opened
from sessionrec.errors import ArtifactError, ConfigError, HistoryError, LogError
from sessionrec.logs.columns import time_ms
from sessionrec.logs.files import format_of
from sessionrec.schema import ITEM, TIME_MS, USER

if TYPE_CHECKING:
    from sessionrec.recommend import Recommendations, SessionRec

ItemsOption = Annotated[
    Path | None,
    typer.Option(help="CSV, NDJSON or Parquet, one row an item that came after training: item, its features, title."),
]
EventsOption = Annotated[
    Path | None,
    typer.Option(help="CSV, NDJSON or Parquet, what everybody did since training: item, time (or time_ms), positive."),
]
_FILE_HELP = (
    "CSV, NDJSON or Parquet, one row an event: user, item, time (or time_ms), and session, positive, ... if there are."
)


def recommend(
    run: RunPath,
    user: Annotated[list[str] | None, typer.Option(help="Id of a user of the data set; may be repeated.")] = None,
    file: Annotated[Path | None, typer.Option(help=_FILE_HELP)] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items for each user.")] = 10,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out items of the user's own history.")] = False,
    now: Annotated[str | None, typer.Option(help="When the next session begins, ISO 8601, UTC.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a CSV or Parquet file instead of a table.")] = None,
    data: DataOption = None,
    items: ItemsOption = None,
    events: EventsOption = None,
) -> None:
    """Recommend items for the next session of some users.

    The next session begins now; for users of the data set, a usual pause after their last one, since a log of last year
    would otherwise be a year old to the model. Without --user and --file, three users of the data set are shown.
    A model with a prior can be told of items that came after training, and of what happened since: --items, --events.

    [bold]Examples[/]: sessionrec recommend run/ --user 17   ·   sessionrec recommend run/ --file today.csv
    """
    model = _loaded(run, items, events)
    histories, moment = _histories(model, user, file, data, now)
    answers = model.recommend(histories, k, now=moment, exclude_seen=exclude_seen)
    _show(answers, out)


def rank(
    run: RunPath,
    candidates: Annotated[str, typer.Option(help="Item ids, comma-separated, or a JSON list.")],
    user: Annotated[list[str] | None, typer.Option(help="Id of a user of the data set; may be repeated.")] = None,
    file: Annotated[Path | None, typer.Option(help=_FILE_HELP)] = None,
    now: Annotated[str | None, typer.Option(help="When the next session begins, ISO 8601, UTC.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a CSV or Parquet file instead of a table.")] = None,
    data: DataOption = None,
    as_shown: Annotated[
        bool, typer.Option("--as-shown", help="All of them are shown anyway: only what is acted on counts.")
    ] = False,
    items: ItemsOption = None,
    events: EventsOption = None,
) -> None:
    """Order given items for some users, best first.

    [bold]Example[/]: sessionrec rank run/ --user 17 --candidates 825994,826784,829291
    """
    model = _loaded(run, items, events)
    histories, moment = _histories(model, user, file, data, now)
    wanted = _ids(candidates)
    intake = model.read(histories, now=moment)
    _show(model.rank(intake, [wanted] * len(intake.users), as_shown=as_shown), out)


def _loaded(run: Path, items: Path | None, events: Path | None) -> SessionRec:
    """The model, brought up to date."""
    from sessionrec.recommend import SessionRec

    model = SessionRec.load(run)
    if items is not None:
        before = len(model.model.items)
        with _naming(items):
            model = model.with_items(_read(items))
        screen.say(f"{len(model.model.items) - before:,} items more: {items}")
    if events is not None:
        with _naming(events):
            told = _events(events)
            number = model.add_all(told)
        screen.say(f"{number:,} of {len(told):,} events are of items that the model knows: {events}")
    return model


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors say which file they are of."""
    try:
        yield
    except HistoryError as error:
        raise HistoryError(f"{file}: {error}") from None


def _histories(
    model: SessionRec, user: list[str] | None, file: Path | None, data: Path | None, now: str | None
) -> tuple[Any, datetime | None]:
    """Events of the users asked for, and the time of the request."""
    moment = _moment(now)
    if user and file is not None:
        raise ConfigError("give --user or --file, not both")
    if file is not None:
        with _naming(file):
            events = _events(file)
            if not len(events):
                raise HistoryError("there are no rows, only the names of columns; give one row an event")
            return model.read(events, now=moment), moment
    dataset = model.model.open_dataset(opened(data))
    ids = user or dataset.read(dataset.row_groups[0]).user_U[:3].to_list()
    return model.users(ids, dataset), moment


def _events(file: Path) -> pl.DataFrame:
    """A table of events; times that are text are read as ISO 8601.

    Raises:
        HistoryError: A time cannot be read.
    """
    from sessionrec.recommend.coding import TIME

    # Ids may look like numbers for a thousand rows and then not; as text they find either.
    events = _read(file, types=dict.fromkeys((USER, ITEM, TIME), pl.String))
    if events.schema.get(TIME) != pl.String:
        return events
    texts = events[TIME]
    times = events.select(time_ms(TIME, texts.dtype, "iso")).to_series()
    unread = times.is_null().arg_true()
    if len(unread):
        value = texts[int(unread[0])]
        raise HistoryError(
            f"row {unread[0] + 1}: column `{TIME}` holds no readable time, "
            f"{'found none' if value is None else f'got {value!r}'}; write it as 2024-03-01T09:00:00, or UTC "
            f"milliseconds into `{TIME_MS}`"
        )
    return events.with_columns(pl.from_epoch(times, "ms").alias(TIME))


def _read(file: Path, *, types: dict[str, type[pl.String]] | None = None) -> pl.DataFrame:
    """A table; of CSV and TSV without `types` all columns stay as they stand there, leading zeros and all."""
    try:
        kind = format_of([file])
    except LogError:
        raise ConfigError(
            f"{file}: expected a name that ends in .csv, .tsv, .ndjson, .parquet or .arrow, got {file.suffix!r}; "
            "rename the file after what it holds"
        ) from None
    try:
        if kind == "parquet":
            return pl.read_parquet(file)
        if kind == "ipc":
            return pl.read_ipc(file)
        if kind == "ndjson":
            return pl.read_ndjson(file, infer_schema_length=None)
        mark = "\t" if kind == "tsv" else ","
        if types is None:
            return pl.read_csv(file, separator=mark, infer_schema=False)
        return pl.read_csv(file, separator=mark, try_parse_dates=True, schema_overrides=types)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{file}: cannot be read as a table: {str(error).splitlines()[0]}") from None


def _moment(now: str | None) -> datetime | None:
    if now is None:
        return None
    try:
        return datetime.fromisoformat(now)
    except ValueError:
        raise ConfigError(f"--now: expected a time such as 2024-03-01T09:00, got {now!r}") from None


def _ids(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            return list(json.loads(text))
        except ValueError as error:
            raise ConfigError(f"--candidates: not a JSON list: {error}") from None
    return [part.strip() for part in text.split(",") if part.strip()]


def _show(answers: list[Recommendations], out: Path | None) -> None:
    from sessionrec.recommend import to_frame

    if out is not None:
        frame = to_frame(answers)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(out) if out.suffix.lower() == ".parquet" else frame.write_csv(out)
        except OSError as error:
            raise ArtifactError(f"{out}: cannot be written: {error.strerror or error}") from None
        screen.say(f"{len(frame):,} rows: {out}")
        return
    for answer in answers:
        screen.console.print(answer_table(answer))


def answer_table(answer: Recommendations) -> Table:
    """One user's answer."""
    why = {"model": "", "prior": ", by what is fresh", "popularity": ", by popularity"}[answer.source]
    told = f"{why}: nothing is known of this user" if why else ""
    unknown = f", {answer.num_unknown} events with unknown items" if answer.num_unknown else ""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
        pad_edge=False,
        title=f"user {escape(str(answer.user))}{told}{unknown}",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("", justify="right", style="dim")
    table.add_column("item")
    table.add_column("", no_wrap=False)
    table.add_column("score", justify="right")
    for rank, (item, name, score) in enumerate(zip(answer.items, answer.names, answer.scores, strict=True), 1):
        label = "" if name == str(item) else name
        table.add_row(str(rank), escape(str(item)), escape(label), f"{score:.3f}")
    return table
