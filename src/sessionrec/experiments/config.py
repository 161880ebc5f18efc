"""An experiment as files: a folder with `table.toml` and a TOML file a row, and one file that names the data sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from sessionrec.config import Config, load, nearest
from sessionrec.errors import ConfigError
from sessionrec.evaluate import EvalProtocol
from sessionrec.evaluate.metrics import RANK_METRICS

TABLE = "table.toml"
DATASETS = "datasets.toml"

Kind = Literal["table", "statistics", "cost", "sweep", "scaling"]
"""How an experiment is drawn: rows and metrics; counts of data sets; quality against time; metrics along a setting;
quality against the amount of training data and the size of the model."""

Targets = Literal["session", "last_item"]

METRICS = (
    *(f"{name}@{k}" for name in RANK_METRICS for k in EvalProtocol().ks),
    "in_session_auc",
    "in_session_ndcg",
)
"""What every result has, whatever its table shows."""


class ShapeConfig(Config):
    """Raw files that are generated in the shape of a public log's; see `sessionrec.logs.synthetic`."""

    kind: str
    """Whose files: `kuaisar`, `recflow`, ..."""
    events: int = Field(ge=1)
    """Shown items."""
    users: int = Field(ge=1)
    """Users."""
    items: int = Field(ge=1)
    """Items."""
    days: int = Field(default=37, ge=1)
    """Days."""
    seed: int = Field(default=0, ge=0)
    """Of the generator."""


class DataSource(Config):
    """Where a data set comes from."""

    title: str
    """In tables."""
    config: str
    """File of the data set's settings, beside this one."""
    raw: str | None = None
    """Its folder inside that of the raw logs; none for generated files and for logs that are ordinary packages."""
    shape: ShapeConfig | None = None
    """Generated raw files."""
    prepare: tuple[str, ...] = Field(default=(), strict=False)
    """Fields of its settings, such as `filter.sample_users=20000`."""
    fit: tuple[str, ...] = Field(default=(), strict=False)
    """Fields of every run on it, such as the cap on the history."""
    paper: str | None = None
    """Name under which rows keep published figures of it."""


class RowConfig(Config):
    """A row of a table, a point or a line of a figure."""

    name: str = ""
    """In tables; floors bring their own."""
    group: str = ""
    """Rows of one group stand together, compared with each other."""
    preset: str | None = None
    """The settings to begin with."""
    fields: tuple[str, ...] = Field(default=(), strict=False)
    """Fields of the run."""
    floors: tuple[str, ...] = Field(default=(), strict=False)
    """Floors instead of a model, by name."""
    x: float | None = None
    """Place on the axis of a figure: alpha, the share of users."""
    paper: dict[str, dict[str, dict[str, float]]] = {}
    """Published figures: data set, targets, metric."""


class ExperimentConfig(Config):
    """What is asked."""

    title: str
    """Above the table."""
    about: str = ""
    """What it shows, in a sentence or two."""
    kind: Kind = "table"
    """How it is drawn."""
    datasets: tuple[str, ...] = Field(strict=False)
    """Names in `datasets.toml`, in the order of the table."""
    targets: tuple[Targets, ...] = Field(default=("session", "last_item"), strict=False)
    """Leave one session out, leave one item out."""
    seen: Literal["kept", "filtered"] = "kept"
    """Items of the history."""
    known: Literal["parts", "stream"] = "parts"
    """What may be known of all users when a question is asked, see `evaluate.EvalProtocol`."""
    metrics: tuple[str, ...] = Field(
        default=("ndcg@10", "ndcg@100", "ndcg@500", "recall@10", "recall@100", "recall@500"), strict=False
    )
    """Columns, of `METRICS`."""
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), strict=False)
    """Each model row is trained once a seed."""
    ours: str = ""
    """Name of the row that the others are compared with."""
    fields: tuple[str, ...] = Field(default=(), strict=False)
    """Fields of every run of the experiment, below those of rows and data sets."""
    x_label: str = ""
    """Of the axis that rows' `x` lies on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row and its name as a file."""

    slug: str
    """Stem of the file."""
    config: RowConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A folder of settings, read."""

    folder: Path
    config: ExperimentConfig
    rows: tuple[Row, ...]
    """In the order of their files' names."""
    sources: dict[str, DataSource]
    """The data sets that the experiment names, in its order."""

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.resolve().name


class _Sources(Config):
    datasets: dict[str, DataSource]


def load_experiment(folder: Path) -> Experiment:
    """Read and check a folder.

    Args:
        folder: With `table.toml` and the rows; `datasets.toml` lies in the folder above.

    Raises:
        ConfigError: A file is missing or wrong, a data set has no entry, or no result has a metric.
    """
    if not (folder / TABLE).is_file():
        raise ConfigError(f"{folder}: expected a folder with {TABLE}, such as experiments/table2")
    config = load(ExperimentConfig, folder / TABLE)
    _expect_metrics(f"{folder / TABLE}: metrics", config.metrics)
    rows = tuple(
        Row(slug=file.stem, config=_checked(load(RowConfig, file), file, config))
        for file in sorted(folder.glob("*.toml"))
        if file.name != TABLE
    )
    if not rows and config.kind != "statistics":
        raise ConfigError(f"{folder}: there is no row; expected a TOML file for each beside {TABLE}")
    known = load(_Sources, folder.resolve().parent / DATASETS).datasets
    missing = [name for name in config.datasets if name not in known]
    if missing:
        raise ConfigError(
            f"{folder / TABLE}: datasets: {', '.join(missing)} not in {DATASETS}; there are {', '.join(known)}"
        )
    names = [row.config.name for row in rows if not row.config.floors]
    if config.ours and config.ours not in names:
        raise ConfigError(f"{folder / TABLE}: ours: no row is called {config.ours!r}; there are {', '.join(names)}")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"{folder}: several rows are called {', '.join(sorted(twice))}; give each its own name")
    return Experiment(folder=folder, config=config, rows=rows, sources={name: known[name] for name in config.datasets})


def _expect_metrics(where: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"{where}: there is no {name!r}{nearest(name, METRICS)}; there are {', '.join(METRICS)}")


def _checked(row: RowConfig, file: Path, config: ExperimentConfig) -> RowConfig:
    if bool(row.floors) == bool(row.name):
        raise ConfigError(f"{file}: a row has either a `name`, and is a model, or `floors`")
    wrong = {targets for by_targets in row.paper.values() for targets in by_targets} - set(get_args(Targets))
    if wrong:
        raise ConfigError(f"{file}: paper: {', '.join(sorted(wrong))}: expected {' or '.join(get_args(Targets))}")
    for name, by_targets in row.paper.items():
        for targets, figures in by_targets.items():
            _expect_metrics(f"{file}: paper.{name}.{targets}", figures)
    if config.kind in ("sweep", "scaling") and not row.floors and row.x is None:
        raise ConfigError(f"{file}: x: missing; a row of a {config.kind} needs its place on the axis")
    return row
