"""A generated world of short videos as a `Log`: lazy, made again whenever it is read, never held as a whole.

In: a `SyntheticConfig`. Out: a `Log` of the same events that the writers beside this file put into raw files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.io.plugins import register_io_source

from sessionrec import schema
from sessionrec.logs.base import Feature, Log
from sessionrec.logs.synthetic.days import SIGNALS, Slates, World, days, make_world
from sessionrec.logs.synthetic.world import WorldConfig

_EVENTS: Final = pl.Schema(
    {
        schema.USER: pl.Int64,
        schema.ITEM: pl.Int64,
        schema.TIME_MS: pl.Int64,
        schema.ACTION: pl.UInt16,
        schema.SESSION: pl.Int64,
    }
)
_FEATURES: Final = (
    Feature(name="author_id", kind="category"),
    Feature(name="category_level_one", kind="category"),
    Feature(name="category_level_two", kind="category"),
    Feature(name="upload_type", kind="category"),
    Feature(name="duration", kind="number"),
)
_ITEMS: Final = pl.Schema(
    {schema.ITEM: pl.Int64} | {f.name: pl.Int64 if f.kind == "category" else pl.Float64 for f in _FEATURES}
)


class SyntheticConfig(WorldConfig):
    """A generated world, read without files; a pass over it costs about a second for two million events."""

    kind: Literal["synthetic"] = "synthetic"
    """Which reader."""

    def open(self) -> Log:
        """Describe the log; the videos are drawn when first asked for, the events at each pass."""
        world = cache(lambda: make_world(self))
        return Log(
            name="synthetic",
            events=_scan(lambda: (_frame(world(), slates) for slates in days(world())), _EVENTS),
            items=_scan(lambda: iter([_items(world())]), _ITEMS),
            actions=SIGNALS,
            context_features=(),
            item_features=_FEATURES,
            has_session=True,
            has_weight=False,
            files=(),
            notes="Generated data.",
        )


def _scan(frames: Callable[[], Iterator[pl.DataFrame]], columns: pl.Schema) -> pl.LazyFrame:
    """A lazy table over frames made one after another, anew for each pass."""

    def read(
        wanted: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        del batch_size  # a hint; the generator's chunks are of a good size
        left = n_rows
        for whole in frames():
            frame = whole if left is None else whole.head(left)
            left = None if left is None else left - frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if wanted is None else frame.select(wanted)
            if left == 0:
                return

    return register_io_source(read, schema=columns, is_pure=True)


def _frame(world: World, slates: Slates) -> pl.DataFrame:
    action = slates.positive.astype(np.uint16) * schema.POSITIVE
    for bit, name in enumerate(SIGNALS, start=1):
        action |= slates.signals[name].astype(np.uint16) << bit
    arrays: list[npt.NDArray[np.generic]]
    arrays = [slates.user, world.items.raw_id[slates.item], slates.time_ms, action, slates.request]
    return pl.DataFrame(
        [pl.Series(name, array, dtype=_EVENTS[name]) for name, array in zip(_EVENTS, arrays, strict=True)]
    )


def _items(world: World) -> pl.DataFrame:
    items = world.items
    arrays: list[npt.NDArray[np.generic]] = [
        items.raw_id,
        items.author,
        items.coarse_category[items.category],
        items.category,
        items.upload_type,
        items.duration_ms,
    ]
    return pl.DataFrame(
        [pl.Series(name, array, dtype=_ITEMS[name]) for name, array in zip(_ITEMS, arrays, strict=True)]
    )
