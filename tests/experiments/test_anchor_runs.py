"""The anchors as they are committed, through the runner: raw files of the published logs' shapes to a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sessionrec.experiments.config import load_experiment
from sessionrec.experiments.markdown import PUBLISHED as AS_PUBLISHED
from sessionrec.experiments.plan import draft
from sessionrec.experiments.ready import prepare
from sessionrec.experiments.report import write_report
from sessionrec.experiments.results import collect
from sessionrec.experiments.runner import Options, run
from sessionrec.logs.synthetic.rating_files import write_beauty, write_movielens_1m, write_movielens_20m
from sessionrec.logs.synthetic.ratings import RatingsConfig
from tests.experiments.lab import Notes

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
LOGS: dict[str, tuple[Callable[[RatingsConfig, Path], tuple[Path, ...]], str]] = {
    "movielens-1m": (write_movielens_1m, "ml-1m"),
    "movielens-20m": (write_movielens_20m, "ml-20m"),
    "beauty": (write_beauty, "beauty"),
}
"""Logs that nobody may pass on: who writes files of their shape, and the folder where the experiments look for them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anchor-movielens", "anchor-beauty"])
def test_every_row_of_an_anchor_ends_and_stands_beside_what_was_published(name: str, tmp_path: Path) -> None:
    experiment = load_experiment(EXPERIMENTS / name)
    names = [source for source in experiment.sources if source in LOGS]
    for seed, (source, (write, folder)) in enumerate(LOGS.items()):
        if source in names:
            # Of other ratings each: floors of equal data sets would be shared.
            ratings = RatingsConfig(num_users=120, num_items=160, events=3_600, min_user_events=20, seed=seed)
            write(ratings, tmp_path / "raw" / folder)
    # One epoch on some of the users: that it runs is asked, not how well.
    fields = ["training.epochs=1", "loading.users_share=0.2"]
    out, notes = tmp_path / "out", Notes()
    ready = prepare(experiment, draft(experiment, data=names, seeds=[1], fields=fields), tmp_path / "raw", out)
    assert ready.absent == []
    outcome = run(experiment, ready, out, Options(jobs=2, memory=8 << 30), notes)
    assert outcome.failed == []
    assert outcome.done == len(ready.jobs) == len(names) * len(experiment.rows)
    assert [cell for cell in collect(experiment, out).missing if cell.seed in (None, 1) and cell.dataset in names] == []

    written = write_report(experiment.folder, out, tmp_path / "report")
    records = pl.read_csv(written.folder / "table.csv")
    figures = records.filter(pl.col("metric").is_in(experiment.config.metrics) & pl.col("mean").is_not_null())
    lines = sum(len(row.config.floors) or 1 for row in experiment.rows)
    assert len(figures) == len(names) * lines * len(experiment.config.metrics)
    published = {
        (name_of_data, row.config.name, targets, metric): value
        for name_of_data, source in experiment.sources.items()
        for row in experiment.rows
        for targets, values in row.config.paper.get(source.paper or "", {}).items()
        for metric, value in values.items()
    }
    beside = figures.filter(pl.col("paper").is_not_null())
    keys = beside.select("dataset", "row", "targets", "metric").rows()
    assert dict(zip(keys, beside["paper"], strict=True)) == published
    table = (written.folder / "table.md").read_text(encoding="utf-8")
    assert table.count(AS_PUBLISHED) == len({key[:2] for key in published}) > 0
