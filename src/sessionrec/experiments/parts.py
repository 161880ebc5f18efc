"""What a report says of each data set, by the kind of the experiment: sentences, grids, drawings, records."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sessionrec.experiments import cost, figures, scaling, sheets, statistics, sweep, verdicts
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.figures import Dot, Drawing
from sessionrec.experiments.part import Part, not_run
from sessionrec.experiments.systems import Results
from sessionrec.experiments.table import TARGETS, Key, Table, build, is_in_session, published
from sessionrec.report.numbers import metric_name, score

_DRAWN: Final = ("ndcg@10", "recall@100", "recall@500")


def parts(experiment: Experiment, results: Results, other_code: frozenset[str], out: Path) -> list[Part]:
    """All sections.

    Args:
        experiment: What was asked.
        results: What there is.
        other_code: Keys of results that other code made.
        out: Folder of the experiments, where data sets lie.
    """
    kind = experiment.config.kind
    if kind == "statistics":
        return [_statistics(experiment, out)]
    found: list[Part] = []
    idle: list[Table] = []
    for name in experiment.sources:
        table = build(experiment, name, results, other_code)
        if not table.values:
            # A page of "not run" would hide the rest; what is missing is listed at its end, and in the CSV.
            idle.append(table)
            continue
        if kind == "cost":
            found.append(cost.part(experiment, table, out))
        elif kind == "sweep":
            found.append(sweep.part(experiment, table))
        elif kind == "scaling":
            found.append(_scaling(experiment, table))
        else:
            found.append(_table(experiment, table))
    found += _published(experiment, results)
    if idle:
        names = verdicts.listed([table.title for table in idle])
        records = tuple(record for table in idle for record in sheets.records(table))
        found.append(Part(title="Other data sets", sentences=(f"Nothing was run on {names}.",), records=records))
    return found


def _statistics(experiment: Experiment, out: Path) -> Part:
    datasets = statistics.prepared(experiment, out)
    return Part(
        title="Data sets",
        sentences=tuple(statistics.sentences(experiment, datasets)),
        grids=(statistics.grid(experiment, datasets),),
        records=tuple(statistics.records(experiment, datasets)),
    )


def _table(experiment: Experiment, table: Table) -> Part:
    drawings = []
    for targets in dict.fromkeys(key[0] for key in table.keys):
        keys = [key for key in table.of_targets(targets) if key[1] in _DRAWN] or table.of_targets(targets)[:3]
        drawings += [drawn for key in keys if (drawn := _dots(experiment, table, key)) is not None]
    return Part(
        title=table.title,
        sentences=tuple(verdicts.sentences(table)),
        grids=(*sheets.quality_grids(table), sheets.cost_grid(table)),
        drawings=tuple(drawings),
        records=tuple(sheets.records(table)),
    )


def _dots(experiment: Experiment, table: Table, key: Key) -> Drawing | None:
    dots = [
        Dot(
            name=system.name,
            mean=value.estimate.mean,
            low=value.estimate.low,
            high=value.estimate.high,
            kind="ours" if system.is_ours else system.role,
        )
        for system in table.systems
        if (value := table.values.get((system.slug, key))) is not None
    ]
    if not dots:
        return None
    return figures.dots(
        dots,
        x_label=metric_name(key[1]),
        name=figures.file_name(experiment.name, table.dataset, *key),
        title=f"{metric_name(key[1])}, {TARGETS[key[0]]}",
        finding=f"{verdicts.winners(table, [key])}.",
        write=score,
        from_zero=not is_in_session(key[1]),
    )


def _published(experiment: Experiment, results: Results) -> list[Part]:
    found = []
    for block in published(experiment, results):
        grids = [
            grid
            for targets in dict.fromkeys(key[0] for key in block.keys)
            if (grid := sheets.published_grid(block, targets)) is not None
        ]
        found.append(
            Part(
                title=f"{block.name}, as published",
                grids=tuple(grids),
                records=tuple(sheets.published_records(block)),
                note="Figures of the paper, rounded as printed; this log was not at hand, so compare the order of the "
                "systems, not the numbers.",
            )
        )
    return found


def _scaling(experiment: Experiment, table: Table) -> Part:
    metric = scaling.metric_of(experiment.config.metrics)
    lines = scaling.scalings(table.systems, table.title, experiment.config.targets, metric)
    said = [sentence for one in lines for sentence in scaling.sentences(one)]
    if not lines:
        said.append("There are not two points to draw a line through.")
    said += not_run(table.systems)
    points = scaling.point_grid(
        table.systems, table.title, experiment.config.targets, metric, experiment.config.x_label
    )
    laws = (scaling.law_grid(lines),) if lines else ()
    return Part(
        title=table.title,
        sentences=tuple(said),
        grids=(points, *laws, *sheets.quality_grids(table)),
        drawings=tuple(scaling.drawing(one, experiment.name) for one in lines),
        records=tuple(sheets.records(table)),
    )
