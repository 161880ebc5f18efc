"""A small laboratory: a data set whose rule a tiny model learns, and an experiment on it that takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sessionrec.experiments.config import Experiment, load_experiment
from sessionrec.experiments.plan import draft
from sessionrec.experiments.ready import Ready, prepare
from sessionrec.experiments.runner import Options, Outcome, run

DATASETS = """
[datasets.toy]
title = "Toy"
config = "data/planted.toml"
prepare = ["log.num_users=60"]
fit = ["view.truncation.max_positives=30"]
paper = "toy"

[datasets.other]
title = "Other toy"
config = "data/planted.toml"
prepare = ["log.num_users=40"]

[datasets.far]
title = "Somewhere else"
config = "data/shop.toml"
raw = "shop"
"""
PLANTED = """
[log]
kind = "planted"
num_users = 40
num_groups = 10
group_size = 3
sessions_per_user = 6
exposures_per_session = 2
[session]
kind = "native"
"""
SHOP = """
[log]
kind = "table"
item = "sku"
time = "at"
[session]
kind = "gap"
gap_s = 3600.0
"""
TABLE = """
title = "A table"
datasets = ["toy"]
seeds = [1]
metrics = ["ndcg@10"]
fields = [
    "model.width=8",
    "model.dropout=0.1",
    "model.max_sessions=8",
    "loading.batch_users=16",
    "optimizer.learning_rate=0.01",
    "training.epochs=3",
    "training.metric=ndcg@10",
]
"""
ROWS = {
    "00-floors": 'floors = ["popularity", "repeat"]',
    "01-hstu": 'name = "Ours"\nfields = ["model.backbone.layers=1", "model.backbone.heads=1", '
    '"training.epochs=30", "training.patience=30", "training.checkpoint_steps=2"]\n'
    '[paper.toy.session]\n"ndcg@10" = 0.5',
    "02-gru": 'name = "GRU"\nfields = ["model.backbone.kind=gru", "model.backbone.layers=1"]',
}
BAD = 'name = "Too fast"\nfields = ["model.backbone.kind=gru", "optimizer.learning_rate=1e30"]'
"""A row whose loss is soon no number."""


def write_lab(
    folder: Path, *, table: str = TABLE, rows: dict[str, str] | None = None, datasets: str = DATASETS, name: str = "toy"
) -> Path:
    """Files of an experiment; returns its folder."""
    files = {
        "datasets.toml": datasets,
        "data/planted.toml": PLANTED,
        "data/shop.toml": SHOP,
        f"{name}/table.toml": table,
        **{f"{name}/{slug}.toml": text for slug, text in (ROWS if rows is None else rows).items()},
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text + "\n", encoding="utf-8")
    return folder / name


def lab(folder: Path, **files: object) -> Experiment:
    return load_experiment(write_lab(folder, **files))  # type: ignore[arg-type]


class Notes:
    """Watches a runner and remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.most = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def tick(self, *told: Any) -> None:
        self.most = max(self.most, len(told[3]))


def ready(
    experiment: Experiment,
    out: Path,
    *,
    fields: Sequence[str] = (),
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Ready:
    return prepare(experiment, draft(experiment, rows=rows, fields=fields, seeds=seeds), None, out)


def do(
    experiment: Experiment,
    out: Path,
    *,
    fields: Sequence[str] = (),
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int = 2,
    memory_gb: float = 8.0,
    keep_old_code: bool = False,
    watcher: Notes | None = None,
) -> Outcome:
    options = Options(jobs=jobs, memory=int(memory_gb * 2**30), keep_old_code=keep_old_code)
    prepared = ready(experiment, out, fields=fields, rows=rows, seeds=seeds)
    return run(experiment, prepared, out, options, watcher or Notes())
