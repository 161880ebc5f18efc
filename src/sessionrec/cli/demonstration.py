"""`demo`: everything at once on one log, from raw rows to recommendations and a page to look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sessionrec.cli import screen
from sessionrec.cli.answers import answer_table
from sessionrec.cli.runs import index_table, metrics_table


def demo(
    config: Annotated[Path, typer.Argument(help="TOML file of the data set, as for `prepare`.")],
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")],
    raw: Annotated[Path | None, typer.Option(help="Where the raw log is; short for log.path=...")] = None,
    preset: Annotated[
        str, typer.Option(help="Settings of the training run: sessionrec, with a prior; paper, the model alone.")
    ] = "sessionrec",
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Fields of the training run.", metavar="[KEY=VALUE]...")
    ] = None,
) -> None:
    """Prepare a log, train, evaluate beside the floors, build an index, recommend, and write a report.

    What is already there is used again, so a demo that was stopped goes on.

    [bold]Example[/]: sessionrec demo experiments/data/completejourney.toml --out demo/
    """
    from sessionrec import pipeline
    from sessionrec.config_text import to_toml
    from sessionrec.data.dataset import Dataset
    from sessionrec.describe import summarise
    from sessionrec.recommend import SessionRec
    from sessionrec.report import write_report, write_run_report

    settings = pipeline.load_fit_config(preset, None, overrides or [])
    data, run = out / "data", out / "run"
    _step("1. Prepare: from rows to sessions")
    wanted = pipeline.load_data_config(config, [f"log.path={to_toml(raw)}"] if raw is not None else [])
    if (data / "manifest.json").is_file() and Dataset(data).body["config"] == wanted.model_dump(mode="json"):
        dataset = Dataset(data)
    else:
        with screen.progress() as progress:
            dataset = pipeline.prepare(wanted, data, progress)
    screen.console.print(summarise(dataset))
    _step("2. Fit: sessions in, the next session out")
    with screen.TrainingBar(settings.training.epochs, settings.training.metric) as bar:
        trained = pipeline.fit(dataset, run, settings, preset=preset, monitors=(bar,))
    if trained.is_interrupted:
        screen.say("Stopped; the same command goes on from there.")
        raise typer.Exit(130)
    _step("3. Evaluate: every item is a candidate, held-out sessions, beside the floors")
    with screen.progress() as progress:
        evaluation = pipeline.evaluate(run, dataset, None, progress)
    screen.console.print(metrics_table(evaluation))
    _step("4. Index: nearest items without looking at all of them")
    screen.console.print(index_table(pipeline.index(run, dataset)))
    _step("5. Recommend: what these users do next")
    model = SessionRec.load(run)
    users = dataset.read(dataset.row_groups[0]).user_U[:2].to_list()
    for answer in model.recommend(model.users(users, dataset), 5):
        screen.console.print(answer_table(answer))
    with screen.progress() as progress:
        write_report(dataset, out / "data.html", progress)
    write_run_report(run, out / "report.html")
    quoted = shlex.quote(str(run))
    screen.say(
        "",
        f"Report: {out / 'report.html'}   (the data: {out / 'data.html'})",
        f"Next: sessionrec recommend {quoted} --user {users[0]}",
    )


def _step(title: str) -> None:
    screen.console.print(f"\n[bold cyan]{title}[/]", highlight=False)
