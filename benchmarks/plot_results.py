"""Draws the pictures of docs/results.md from the figures in `results`, in the style of the reports.

python -m benchmarks.plot_results
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import machine
from sessionrec.experiments import figures
from sessionrec.experiments.config import Experiment, load_experiment
from sessionrec.experiments.figures import Drawing, Place, Series

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "figures"


def table(name: str, targets: str = "session") -> tuple[Experiment, pl.DataFrame]:
    """An experiment, and its numbers with the columns `x`, `events` and `seconds` of each row.

    `events` are those of the log: a share that is read several times an epoch counts once.
    """
    experiment = load_experiment(ROOT / "experiments" / name)
    rows = pl.read_csv(machine.RESULTS / f"experiment_{name}.csv", infer_schema_length=None)
    costs = rows.filter(pl.col("targets").is_null() & pl.col("mean").is_not_null())
    wide = costs.pivot("metric", index=["dataset", "slug"], values="mean")
    about = pl.DataFrame(
        [{"slug": row.slug, "x": row.config.x, "passes": _passes(row.config.fields)} for row in experiment.rows],
        schema={"slug": pl.String, "x": pl.Float64, "passes": pl.Float64},
    )
    found = rows.filter((pl.col("targets") == targets) & pl.col("mean").is_not_null())
    found = found.join(wide, on=["dataset", "slug"], how="left").join(about, on="slug", how="left")
    return experiment, found.with_columns(
        events=pl.col("events_per_epoch") / pl.col("passes"), seconds=pl.col("processor_seconds_per_epoch")
    )


def figure3() -> Iterator[Drawing]:
    """Quality against processor time an epoch, single events beside sessions."""
    experiment, rows = table("figure3")
    groups = {row.slug: row.config.group for row in experiment.rows}
    for (log,), mine in rows.filter(pl.col("metric") == "recall@500").group_by("dataset", maintain_order=True):
        lines = list(mine.sort("slug").iter_rows(named=True))
        places = [
            Place(
                name=line["row"],
                group=groups[line["slug"]],
                cost=line["seconds"],
                mean=line["mean"],
                low=line["low"],
                high=line["high"],
            )
            for line in lines
        ]
        arrows = [
            (first, second, f"{places[first].cost / places[second].cost:.2g}\N{MULTIPLICATION SIGN} faster")
            for first in range(len(places))
            for second in range(first + 1, len(places))
            if places[first].group == places[second].group and places[first].cost > places[second].cost
        ]
        yield figures.cost(
            places,
            arrows,
            y_label="recall@500",
            name=figures.file_name("figure3", str(log)),
            title=f"Figure 3, {experiment.sources[str(log)].title}",
            finding=_most(lines),
        )


def figure4() -> Iterator[Drawing]:
    """Quality along the weight of the rank loss, in parts of what it is without; means alone.

    Intervals of the means would say nothing of their differences, which are over the same users.
    """
    experiment, rows = table("figure4")
    names = {"ndcg@10": "N@10", "recall@100": "R@100", "in_session_auc": "GAUC"}
    for (log,), mine in rows.group_by("dataset", maintain_order=True):
        series, most = [], []
        for metric, name in names.items():
            line = mine.filter(pl.col("metric") == metric).sort("x")
            without = line.filter(pl.col("x") == 0.0)["mean"].item()
            x, parts = line["x"].to_list(), (line["mean"] / without).to_list()
            series.append(Series(name=name, x=x, mean=parts, low=parts, high=parts))
            most.append(f"{name} at {x[parts.index(max(parts))]:g}")
        yield figures.along(
            series,
            x_label="alpha, the weight of the rank loss",
            y_label="as a share of alpha = 0",
            name=figures.file_name("figure4", str(log)),
            title=f"Figure 4, {experiment.sources[str(log)].title}",
            finding=f"The most: {', '.join(most)}.",
        )


def figure5() -> Iterator[Drawing]:
    """Recall@500 against the logarithm of the events that were trained on."""
    experiment, rows = table("figure5")
    chosen = rows.filter((pl.col("metric") == "recall@500") & (pl.col("group") == "data"))
    for (log,), mine in chosen.group_by("dataset", maintain_order=True):
        line = mine.sort("events")
        points = Series(
            name="measured",
            x=line["events"].to_list(),
            mean=line["mean"].to_list(),
            low=line["low"].to_list(),
            high=line["high"].to_list(),
        )
        yield figures.law(
            points,
            None,
            x_label="training events",
            y_label="recall@500",
            name=figures.file_name("figure5", str(log)),
            title=f"Figure 5, {experiment.sources[str(log)].title}",
            finding=_most(line.iter_rows(named=True)),
            detail="",
        )


def _most(lines: Iterable[dict[str, Any]]) -> str:
    best = max(lines, key=lambda line: line["mean"])
    return f"{best['row']} has the most, {best['mean']:.3f}."


def _passes(fields: tuple[str, ...]) -> float:
    said = [word.partition("=")[2] for word in fields if word.startswith("loading.passes=")]
    return float(said[-1]) if said else 1.0


def main() -> None:
    """Draw all of them, SVG alone."""
    for draw in (figure3, figure4, figure5):
        for drawing in draw():
            svg, png = drawing.save(OUT, drawing.plot())
            png.unlink()
            print(svg.relative_to(ROOT))


if __name__ == "__main__":
    main()
