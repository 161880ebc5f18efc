"""A small shop with everything a log can have, and a model trained on it.

Sixty customers come every other day; who bought of group g buys of group g + 1 the next time, which a model can learn.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import DataConfig, fit, load_fit_config, prepare

START_S = 1_709_280_000
"""2024-03-01 08:00 UTC."""
GROUPS, PER_GROUP = 6, 3
BRANDS = ("Acme", "Bolt")
SMALL = (
    "model.width=16",
    "model.backbone.layers=1",
    "model.backbone.heads=1",
    "model.max_sessions=16",
    "model.dropout=0.0",
    "optimizer.learning_rate=0.01",
    "loading.batch_users=16",
    "training.metric=ndcg@10",
    "objective.retrieval.negatives.number=8",
    "threads=1",
)
PRIOR = ("prior.has_neighbours=true", "prior.uniform=12", "prior.recent=8", "prior.best=4")
"""A prior for a catalogue of eighteen items."""
CONFIG = """
[log]
kind = "table"
path = "log.csv"
item = "sku"
time = "at"
positive = "event = 'buy'"
actions = { gift = "gift = 1" }
context = [{ name = "device" }, { name = "price", kind = "number" }]
[log.items]
path = "items.csv"
item = "sku"
title = "title"
features = [{ name = "brand" }]
[session]
kind = "gap"
gap_s = 3600.0
"""


def sku(group: int, member: int) -> str:
    return f"s{group}{member}"


def write_shop(folder: Path) -> Path:
    """The raw log and its config; returns the config."""
    rows = []
    for user in range(60):
        for visit in range(7):
            group, at = (user + visit) % GROUPS, START_S + visit * 2 * 86_400 + user * 60
            for place, (member, event) in enumerate([(0, "buy"), (1, "buy"), (2, "view")]):
                item = sku(group, (member + user) % PER_GROUP)
                rows.append(
                    (f"u{user}", item, at + place, event, int(user % 5 == 0), "app" if user % 2 else "web", 1.5 * place)
                )
    names = ["user", "sku", "at", "event", "gift", "device", "price"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "log.csv")
    items = [
        (sku(group, member), f"Item {group}-{member}", BRANDS[group % 2])
        for group in range(GROUPS)
        for member in range(PER_GROUP)
    ]
    pl.DataFrame(items, schema=["sku", "title", "brand"], orient="row").write_csv(folder / "items.csv")
    config = folder / "shop.toml"
    config.write_text(
        CONFIG.replace("log.csv", str(folder / "log.csv")).replace("items.csv", str(folder / "items.csv"))
    )
    return config


def train_shop(folder: Path, *overrides: str) -> tuple[Dataset, Path]:
    """The data set and the run."""
    dataset = prepare(load(DataConfig, write_shop(folder)), folder / "data")
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=25", *overrides])
    fit(dataset, folder / "run", settings)
    return dataset, folder / "run"


def day(number: int) -> datetime:
    """So many days after the first."""
    return datetime.fromtimestamp(START_S + number * 86_400, UTC)
