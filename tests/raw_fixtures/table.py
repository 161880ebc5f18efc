"""A small log of one's own, in any of the formats the table reader knows."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sessionrec.logs.table import Column, ItemTable, TableConfig
from tests.raw_fixtures.base import RawLog


def rows(num_events: int = 24) -> pl.DataFrame:
    """Visits of four customers, one event a minute from 2024-01-01 00:00:00 UTC (1,704,067,200 s)."""
    n = range(num_events)
    return pl.DataFrame(
        {
            "customer": [f"c{i % 4}" for i in n],
            "sku": [100 + i * 7 % 5 for i in n],
            "at": [1_704_067_200 + 60 * i for i in n],
            "visit": [i // 8 for i in n],
            "event": ["buy" if i % 3 == 0 else "view" for i in n],
            "device": ["phone" if i % 2 else "desk" for i in n],
            "price": [1.5 * (i * 7 % 5) for i in n],
        }
    )


def write_table(folder: Path) -> RawLog:
    """Two CSV files and a table of items."""
    rows()[:10].write_csv(folder / "day-1.csv")
    rows()[10:].write_csv(folder / "day-2.csv")
    pl.DataFrame({"sku": [100, 101], "label": ["tea", "milk"], "shelf": ["a", "b"]}).write_csv(folder / "items.tsv")
    config = TableConfig(
        path=folder / "day-*.csv",
        user="customer",
        item="sku",
        time="at",
        session="visit",
        positive="event = 'buy'",
        actions={"view": "event = 'view'"},
        weight="price",
        context=(Column(name="device"),),
        item_features=(Column(name="price", kind="number"),),
        items=ItemTable(
            path=folder / "items.tsv", format="csv", item="sku", title="label", features=(Column(name="shelf"),)
        ),
    )
    first = ("c0", 100, 1_704_067_200_000, 1)
    return RawLog(config=config, first=first, num_events=24, main=folder / "day-1.csv", column="event")
