"""Commands on runs: `fit`, `evaluate`, `index`, and `report`, which writes what people look at."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sessionrec.cli import screen
from sessionrec.errors import ArtifactError

if TYPE_CHECKING:
    from sessionrec.data.dataset import Dataset
    from sessionrec.pipeline.evaluation import Evaluation
    from sessionrec.pipeline.indexing import Indexed

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Any field, such as model.backbone.layers=8.", metavar="[KEY=VALUE]...")
]
RunPath = Annotated[Path, typer.Argument(help="Folder that `fit` wrote.")]
DataOption = Annotated[Path | None, typer.Option(help="The data set, if it moved since `fit`.")]
ConfigOption = Annotated[Path | None, typer.Option(help="TOML file; `sessionrec config STAGE` prints one.")]


def fit(
    data: Annotated[Path, typer.Argument(help="Folder that `prepare` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one that was stopped there goes on.")],
    preset: Annotated[str | None, typer.Option(help="Settings in the package: sessionrec, paper, hstu.")] = None,
    config: ConfigOption = None,
    overrides: Overrides = None,
) -> None:
    """Train a model on a data set. Ctrl-C stops it, the same command goes on.

    [bold]Examples[/]: sessionrec fit data/ --out run/   ·   sessionrec fit data/ --out run/ --preset paper seed=2
    """
    from sessionrec.data.dataset import Dataset
    from sessionrec.pipeline.training import fit as train
    from sessionrec.pipeline.training import load_fit_config

    settings = load_fit_config(preset, config, overrides or [])
    dataset = Dataset(data)
    loop = settings.training
    with screen.TrainingBar(loop.epochs, loop.metric) as bar:
        trained = train(dataset, out, settings, preset=preset, monitors=(bar,))
    quoted = shlex.quote(str(out))
    if trained.is_interrupted:
        screen.say(f"Stopped; the checkpoint is in {out}. The same command goes on from there.")
        raise typer.Exit(130)
    screen.say(
        f"Best epoch: {trained.best_epoch} of {trained.epochs}, {loop.metric} {trained.best_value:.4f} on validation",
        f"Model: {out / 'model'}",
        f"Next: sessionrec evaluate {quoted}",
    )


def evaluate(
    run: RunPath,
    data: DataOption = None,
    config: ConfigOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Any field, such as protocol.targets=last_item.", metavar="[KEY=VALUE]..."),
    ] = None,
) -> None:
    """Ask a trained model and the floors what the held-out sessions hold; a model with a prior also without it.

    [bold]Examples[/]: sessionrec evaluate run/ protocol.targets=last_item  ·  sessionrec evaluate run/ retrieval=lists
    """
    from sessionrec.config import load
    from sessionrec.pipeline.evaluation import EvaluationConfig, evaluation_folder
    from sessionrec.pipeline.evaluation import evaluate as ask

    settings = load(EvaluationConfig, config, overrides or [])
    with screen.progress() as progress:
        evaluation = ask(run, opened(data), settings, progress)
    screen.console.print(metrics_table(evaluation))
    quoted = shlex.quote(str(run))
    screen.say(
        f"Figures: {evaluation_folder(run, settings)}",
        f"Next: sessionrec index {quoted}   or   sessionrec report {quoted}",
    )


def index(
    run: RunPath,
    data: DataOption = None,
    config: ConfigOption = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Any field, such as index.kind=exact.", metavar="[KEY=VALUE]...")
    ] = None,
) -> None:
    """Build an index of a trained model's items, and compare it with exact search.

    [bold]Example[/]: sessionrec index run/ index.kind=ivf
    """
    from sessionrec.config import load
    from sessionrec.pipeline.indexing import IndexingConfig
    from sessionrec.pipeline.indexing import index as build

    settings = load(IndexingConfig, config, overrides or [])
    built = build(run, opened(data), settings)
    screen.console.print(index_table(built))
    quoted = shlex.quote(str(run))
    screen.say(f"Index: {run / 'index'}", f"Next: sessionrec recommend {quoted}   or   sessionrec report {quoted}")


def report(
    path: Annotated[Path, typer.Argument(help="Folder that `fit` or `prepare` wrote.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; by default FOLDER-report.html beside it.")] = None,
) -> None:
    """Write a run, or a data set, as one HTML page with plots that opens anywhere.

    A run's page has its curves, metrics with intervals beside the floors, breakdowns, some users' answers, and what
    its prior looks at.
    """
    from sessionrec.data.dataset import Dataset
    from sessionrec.pipeline.runs import RunFolder
    from sessionrec.report import write_report, write_run_report

    # `.` and `..` have no name of their own.
    named = path if path.name not in ("", "..") else path.resolve()
    target = out or named.with_name(f"{named.name}-report.html")
    if RunFolder(path).is_run:
        with screen.progress() as progress:
            write_run_report(path, target, progress)
    elif (path / "last").is_dir():
        raise ArtifactError(f"{path}: training has not ended there; run the same `sessionrec fit` again to go on")
    else:
        with screen.progress() as progress:
            write_report(Dataset(path), target, progress)
    screen.say(f"Report: {target}")


def opened(data: Path | None) -> Dataset | None:
    """The data set that the user names, if one is named."""
    from sessionrec.data.dataset import Dataset

    return None if data is None else Dataset(data)


def metrics_table(evaluation: Evaluation) -> RenderableType:
    """Systems x metrics, the best of a column bold."""
    reports = evaluation.reports
    ks = reports[0].protocol.ks
    wanted = [f"ndcg@{ks[0]}", *(f"recall@{k}" for k in ks), "in_session_auc"]
    names = [name for name in wanted if name in reports[0].metrics]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(_short(name), justify="right", no_wrap=True)
    best = {name: max(one.metrics.get(name, 0.0) for one in reports) for name in names}
    for one in reports:
        table.add_row(one.system, *(_cell(one.metrics.get(name), best[name]) for name in names))
    chosen = [
        f"{system}: {_choice(name, value)}, chosen on validation"
        for system, found in evaluation.choices.items()
        for name, value in found.items()
    ]
    first = reports[0]
    asked = f"{first.num_users:,} users, {first.num_targets:,} targets, {first.num_candidates:,} candidates"
    return Group(table, *(Text(line, style="dim") for line in (asked, *chosen)))


def index_table(built: Indexed) -> Table:
    """What an index costs and finds."""
    quality, found = built.quality, built.found
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    looked = ", so few that each search looks at all" if quality.is_scanned and quality.kind != "exact" else ""
    facts: list[tuple[str, Any]] = [
        ("index", f"{quality.kind}, {quality.num_items:,} items x {quality.dimension}{looked}"),
        (f"recall@{quality.k} against exact", f"{quality.recall:.4f} on {quality.num_queries:,} queries"),
        ("build", f"{quality.build_s:.2f} s"),
        ("memory", f"{quality.bytes_per_item:,.0f} bytes an item"),
        ("one query", f"{quality.latency_median_ms:.2f} ms, 99 % below {quality.latency_p99_ms:.2f} ms"),
        ("exact, one query", f"{quality.exact_latency_median_ms:.2f} ms"),
        ("in a batch", f"{quality.batch_queries_per_s:,.0f} queries/s"),
    ]
    if found is not None:
        costs = f"{found.ms_a_question:.2f} ms a question, all scored {found.exact_ms_a_question:.2f} ms"
        facts.append((f"recall@{found.k} with prior", f"{found.recall:.4f} on {found.num_questions:,} questions"))
        facts.append(("with prior", costs))
    for name, value in facts:
        table.add_row(name, str(value))
    return table


def _short(name: str) -> str:
    return "AUC" if name == "in_session_auc" else name.replace("recall", "R").replace("ndcg", "N")


def _choice(name: str, value: float) -> str:
    if name == "half_life_s":
        return f"half-life {value / 3600:.3g} h"
    return f"{name} {value:g}"


def _cell(value: float | None, best: float) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}"
    return f"[bold]{text}[/]" if value == best else text
