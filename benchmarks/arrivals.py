"""What a large catalogue costs a model with a prior: items handed over after training, events, and answers.

sessionrec fit data/recflow --out runs/recflow --preset sessionrec
python -m benchmarks.arrivals runs/recflow 950000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
import polars as pl
import torch

from sessionrec.experiments.measure import peak_bytes
from sessionrec.recommend import SessionRec
from sessionrec.schema import ITEM

T = TypeVar("T")
EVENTS, USERS = 200_000, 64
_DAY_MS = 86_400_000


def timed(name: str, do: Callable[[], T], times: int = 1) -> T:
    """The last of some calls; prints the middle time of one and the peak of memory so far."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        found = do()
        seconds.append(time.perf_counter() - started)
    print(f"{name:42} {np.median(seconds) * 1000:9.1f} ms   peak {peak_bytes() / 2**30:.2f} GiB", flush=True)
    return found


def main() -> None:
    """Print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run whose model has a prior")
    parser.add_argument("number", type=int, help="items to hand over, with attributes of items that are there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    model = timed("load", lambda: SessionRec.load(given.run))
    prior, known = model.model.prior, model.model.items
    if prior is None:
        raise SystemExit(f"{given.run}: the model has no prior; fit one with the preset `sessionrec`")
    dataset = model.model.open_dataset()
    first = int(known[ITEM].cast(pl.Int64).max()) + 1  # type: ignore[arg-type]
    names = {ITEM: np.arange(first, first + given.number)}
    # Values, not codes: an item has the attributes of some item of the data set.
    like = known[random.integers(len(known), size=given.number)]
    for name in dataset.item_features:
        values = model.model.vocabularies.filter((pl.col("role") == "item") & (pl.col("feature") == name))
        names[name] = like.select(name).join(values, left_on=name, right_on="index", how="left")["value"]
    items = pl.DataFrame(names)
    larger = timed(f"with_items of {given.number:,}", lambda: model.with_items(items))
    print(f"{'':42} {len(larger.model.items):,} items, {torch.get_num_threads()} thread")
    newest = int(prior.live.acted.time_ms_V.max())
    events = pl.DataFrame(
        {
            ITEM: random.choice(items[ITEM].to_numpy(), EVENTS),
            "time_ms": newest - random.integers(0, _DAY_MS, EVENTS),
            "positive": random.random(EVENTS) < 0.3,
        }
    )
    timed(f"add_all of {EVENTS:,} events", lambda: larger.add_all(events))
    now = datetime.fromtimestamp(newest / 1000, UTC)
    item = items[ITEM][0]
    timed("add of one event", lambda: larger.add(item, now), times=100)
    minutes = iter(range(2, 100, 2))
    timed("what is fresh, found anew", lambda: larger.recommend([[]], now=now + timedelta(minutes=next(minutes))), 5)
    histories = larger.users(dataset.read(dataset.row_groups[0]).user_U[:USERS].to_list(), dataset)
    asked = replace(histories, time_ms_B=np.full(USERS, newest + 60_000))
    larger.recommend(asked)
    timed(f"{USERS} users at once", lambda: larger.recommend(asked), times=3)
    one = larger.users(histories.users[:1], dataset)
    one = replace(one, time_ms_B=np.full(1, newest + 60_000))
    timed("one user", lambda: larger.recommend(one), times=20)


if __name__ == "__main__":
    main()
