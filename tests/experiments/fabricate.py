"""Experiments without a run: `Result`s of systems that are as good as we please, on users with a taste of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sessionrec.experiments import code
from sessionrec.experiments.config import DataSource, Experiment, ExperimentConfig, Row, RowConfig
from sessionrec.experiments.result import USER_INDEX, Result
from sessionrec.experiments.results import Cell, Collected, Missing, slugs

DATA = "toy"
KS = (10, 100, 500)
TARGETS = ("session", "last_item")
CODE = "00000000000000aa"


def row(slug: str, name: str = "", **settings: Any) -> Row:
    return Row(slug=slug, config=RowConfig(name=name, **settings))


def item_level(slug: str, name: str, **settings: Any) -> Row:
    return row(slug, name, fields=("view.unit=event",), **settings)


def experiment(
    rows: Sequence[Row],
    *,
    kind: str = "table",
    titles: Mapping[str, str] | None = None,
    papers: Mapping[str, str] | None = None,
    name: str = "toy-table",
    **settings: Any,
) -> Experiment:
    titles = titles or {DATA: "Toy log"}
    sources = {
        key: DataSource(title=title, config="none.toml", paper=(papers or {}).get(key)) for key, title in titles.items()
    }
    tree = {"title": "A table", "about": "What it shows.", "kind": kind, "datasets": tuple(titles)} | settings
    return Experiment(
        folder=Path("experiments") / name, config=ExperimentConfig(**tree), rows=tuple(rows), sources=sources
    )


def result(
    quality: float,
    *,
    seed: int | None = 1,
    system: str = "a system",
    dataset: str = DATA,
    users: int = 400,
    noise: float = 0.6,
    seconds: float = 10.0,
    events: float = 1e5,
    parameters: int = 200_000,
    code_version: str = CODE,
    key: str = "",
) -> Result:
    """A system that puts targets nearer to the top the greater its quality; all of a data set have the same users."""
    luck = np.random.default_rng([sum(map(ord, system)), 0 if seed is None else seed])
    frame: dict[str, Any] = {USER_INDEX: np.arange(users) * 3}
    means: dict[str, dict[str, float]] = {}
    for place, targets in enumerate(TARGETS):
        taste = np.random.default_rng([sum(map(ord, dataset)), place])
        logs = taste.normal(6.5, 2.2, users) - quality + luck.normal(0, noise, users)
        rank = np.maximum(np.floor(np.exp(logs)), 1.0)
        means[targets] = {}
        for k in KS:
            hit = rank <= k
            frame[f"{targets}/recall@{k}"] = hit.astype(np.float64)
            frame[f"{targets}/ndcg@{k}"] = np.where(hit, 1 / np.log2(1 + rank), 0.0)
        auc = np.clip(0.5 + 0.04 * quality + taste.normal(0, 0.2, users) + luck.normal(0, 0.02, users), 0, 1)
        frame[f"{targets}/in_session_auc"] = np.where(np.arange(users) % 5 == 0, np.nan, auc)
        for name, values in frame.items():
            if name.startswith(f"{targets}/"):
                means[targets][name.partition("/")[2]] = float(np.nanmean(values))
    is_model = seed is not None
    return Result(
        key=key or f"{dataset}-{system}-{seed}",
        code=code_version,
        dataset=dataset,
        data="d16e57",
        system=system,
        seed=seed,
        config={},
        training={"seconds": 20 * seconds, "epochs": 20.0, "best_epoch": 12.0, "seconds_per_epoch": 3 * seconds,
                  "processor_seconds_per_epoch": seconds,
                  "events_per_epoch": events} if is_model else {},
        evaluation_seconds=1.5,
        parameters=parameters if is_model else 0,
        flops_per_user=2.5e6 if is_model else 0.0,
        peak_bytes=700_000_000 if is_model else None,
        process_bytes=None if is_model else 700_000_000,
        metrics=means,
        counts={targets: {"users": users, "targets": users, "candidates": 900} for targets in TARGETS},
        machine={"device": "a CPU", "cores": 2},
        users=pl.DataFrame(frame),
    )  # fmt: skip


def given(values: Mapping[str, Sequence[float]], *, seed: int | None = 1, system: str = "given", **more: Any) -> Result:
    """A result whose users have these values, by `targets/metric`."""
    size = len(next(iter(values.values())))
    base = result(0.0, seed=seed, system=system, users=size, **more)
    means: dict[str, dict[str, float]] = {}
    for name, each in values.items():
        targets, _, metric = name.partition("/")
        means.setdefault(targets, {})[metric] = float(np.nanmean(each))
    frame = pl.DataFrame(
        {USER_INDEX: np.arange(size)} | {name: list(map(float, each)) for name, each in values.items()}
    )
    return Result(**{name: getattr(base, name) for name in base.__slots__} | {"users": frame, "metrics": means})


def results_of(asked: Experiment, qualities: Mapping[str, float], **more: Any) -> dict[Cell, Result]:
    """Of every cell whose slug has a quality; per slug, `more` may hold a mapping of slugs to values."""
    found: dict[Cell, Result] = {}
    for dataset in asked.sources:
        for one in asked.rows:
            for slug, name in slugs(one).items():
                if slug not in qualities:
                    continue
                own = {key: value[slug] if isinstance(value, Mapping) else value for key, value in more.items()}
                for seed in (None,) if one.config.floors else asked.config.seeds:
                    found[dataset, slug, seed] = result(qualities[slug], seed=seed, system=name, dataset=dataset, **own)
    return found


def collected(asked: Experiment, results: Mapping[Cell, Result], overrides: frozenset[str] = frozenset()) -> Collected:
    titles = {slug: title for one in asked.rows for slug, title in slugs(one).items()}
    data: dict[str, set[str]] = {}
    for (dataset, _, _), one in results.items():
        data.setdefault(dataset, set()).add(one.data)
    wanted = [
        (dataset, slug, seed)
        for dataset in asked.sources
        for one in asked.rows
        for slug in slugs(one)
        for seed in ((None,) if one.config.floors else asked.config.seeds)
    ]
    return Collected(
        experiment=asked,
        results=dict(results),
        missing=[
            Missing(dataset=cell[0], slug=cell[1], seed=cell[2], reason="not run yet")
            for cell in wanted
            if cell not in results
        ],
        codes={one.code for one in results.values()},
        titles=titles,
        data=data,
        overrides=set(overrides),
    )


def present_code() -> str:
    return code.version()
