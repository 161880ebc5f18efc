"""Raw files of every format, made by a formula: `FIXTURES[kind](folder)` writes them and says what a reader must find.

A new reader adds a function in a file here and a line below; the contract suite then runs on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.raw_fixtures.base import RawLog
from tests.raw_fixtures.kuaishou import write_kuaisar, write_recflow
from tests.raw_fixtures.public import (
    write_amazon,
    write_completejourney,
    write_ebnerd,
    write_globo,
    write_kuairand,
    write_movielens,
)
from tests.raw_fixtures.synthetic import make_planted, make_synthetic
from tests.raw_fixtures.table import write_table

FIXTURES: dict[str, Callable[[Path], RawLog]] = {
    "amazon": write_amazon,
    "completejourney": write_completejourney,
    "ebnerd": write_ebnerd,
    "globo": write_globo,
    "kuairand": write_kuairand,
    "kuaisar": write_kuaisar,
    "movielens": write_movielens,
    "planted": make_planted,
    "recflow": write_recflow,
    "synthetic": make_synthetic,
    "table": write_table,
}

__all__ = ["FIXTURES", "RawLog"]
