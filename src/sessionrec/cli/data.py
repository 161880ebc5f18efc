"""Commands on data sets: `prepare`, `describe`, and `config`, which prints what can be set."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sessionrec.cli import screen
from sessionrec.config_text import commented, to_toml
from sessionrec.errors import ConfigError


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
    from sessionrec import pipeline
    from sessionrec.describe import summarise

    # As a TOML text: a folder may be called 2024, or have quotes in its name.
    assignments = [*(overrides or []), *([f"log.path={to_toml(raw)}"] if raw is not None else [])]
    settings = pipeline.load_data_config(config, assignments)
    with screen.progress() as progress:
        dataset = pipeline.prepare(settings, out, progress)
    screen.console.print(summarise(dataset))
    quoted = shlex.quote(str(out))
    screen.say(f"Data set: {out}", f"Next: sessionrec describe {quoted}   or   sessionrec fit {quoted} --out RUN")


def describe(
    dataset: Annotated[Path, typer.Argument(help="Folder that `prepare` wrote.")],
) -> None:
    """Show a data set: its numbers, its distributions, and some users' histories."""
    from sessionrec.data.dataset import Dataset
    from sessionrec.describe import describe as tell

    screen.console.print(tell(Dataset(dataset)))


def config(
    log: Annotated[
        str, typer.Argument(help="Kind of log, such as `table` for your own; or `fit`, `evaluate`, `index`.")
    ] = "table",
    session: Annotated[str, typer.Option(help="Kind of session rule.")] = "gap",
    split: Annotated[str, typer.Option(help="Kind of split.")] = "leave_last_session",
    kind: Annotated[
        list[str] | None, typer.Option(help="Kind of a part of a later stage, such as model.backbone=gru.")
    ] = None,
) -> None:
    """Print a commented config with every default: of a data set, or of a later stage.

    [bold]Examples[/]: sessionrec config table > my-log.toml   ·   sessionrec config fit --kind model.backbone=gru
    """
    from sessionrec import pipeline

    later = {"fit": "FitConfig", "evaluate": "EvaluationConfig", "index": "IndexingConfig"}
    if log in later:
        chosen = dict(word.split("=", 1) for word in kind or [] if "=" in word)
        if len(chosen) < len(kind or []):
            raise ConfigError("--kind: expected KEY=KIND, such as model.backbone=gru")
        text = commented(getattr(pipeline, later[log]), chosen)
    else:
        text = commented(pipeline.DataConfig, {"log": log, "session": session, "split": split})
    screen.say(text.rstrip())
