"""A newspaper: an article is written every hour and read for some hours, so a test by one clock asks for articles that
training never saw. The readers of a section read its articles, and the section is known of every article."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import DataConfig, prepare

START_S, HOUR_S = 1_709_280_000, 3600
USERS, VISITS, HOURS = 40, 9, 72
SECTIONS = ("sport", "town")
CONFIG = """
[log]
kind = "table"
path = "log.csv"
positive = "event = 'read'"
[log.items]
path = "items.csv"
features = [{ name = "section" }]
[session]
kind = "gap"
gap_s = 1800.0
[split]
kind = "global_time"
validation_share = 0.2
test_share = 0.2
"""


def write_newsstand(folder: Path) -> Path:
    """The raw log and its config; returns the config. Each visit shows the newest six articles; the newest of the
    reader's section, and the one before, are read."""
    rows = []
    for visit in range(VISITS):
        for user in range(USERS):
            at = START_S + (visit * HOURS // VISITS + 7) * HOUR_S + user * 500
            newest = (at - START_S) // HOUR_S
            shown = [newest - back for back in range(6)]
            read = [article for article in shown if article % len(SECTIONS) == user % len(SECTIONS)][:2]
            rows += [
                (f"u{user}", f"a{article}", at + place, "read" if article in read else "seen")
                for place, article in enumerate(shown)
            ]
    names = ["user", "item", "time", "event"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(folder / "log.csv")
    last = max(int(row[1][1:]) for row in rows)
    articles = [(f"a{article}", SECTIONS[article % len(SECTIONS)]) for article in range(last + 1)]
    pl.DataFrame(articles, schema=["item", "section"], orient="row").write_csv(folder / "items.csv")
    config = folder / "news.toml"
    config.write_text(
        CONFIG.replace("log.csv", str(folder / "log.csv")).replace("items.csv", str(folder / "items.csv"))
    )
    return config


def newsstand(folder: Path) -> Dataset:
    """It as a data set."""
    return prepare(load(DataConfig, write_newsstand(folder)), folder / "data")
