"""EB-NeRD, the Ekstra Bladet News Recommendation Dataset (RecSys Challenge 2024): impressions of a Danish newspaper.

Source: recsys.eb.dk (paper arXiv 2410.03432), bundles `ebnerd_demo`, `ebnerd_small`, `ebnerd_large`. Licence: the
publisher's terms, for news-recommendation research; read them before use.

Expected, `ebnerd_demo`: 50,080 impressions, 583,054 events (50,393 positive before repeats of a click in one impression
are merged), 1,935 users, 25,929 sessions.

One raw row is an impression; it becomes one event for each article in view. Session: native, but `session_id` is unique
only inside a week, so the key is `<folder>|<session_id>`. Positive: the article is in `article_ids_clicked`.

Traps: clicked articles that are not in the in-view list are added after it; an article listed twice in one impression
counts once. Times carry no zone and are taken as UTC. News live for hours: leave-last-session-out lets the later clicks
of other users on the same items into training, so show a global-time split beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import polars as pl

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_files, find_first, require_columns, scan

_NEEDED: Final = (
    "user_id",
    "session_id",
    "impression_time",
    "device_type",
    "article_ids_inview",
    "article_ids_clicked",
)
_ITEM_FEATURES: Final = (
    Feature(name="category", kind="category"),
    Feature(name="article_type", kind="category"),
    Feature(name="premium", kind="category"),
    Feature(name="sentiment_label", kind="category"),
)


class EbnerdConfig(Config):
    """Impressions and clicks of the EB-NeRD news log."""

    kind: Literal["ebnerd"] = "ebnerd"
    """Which reader."""
    path: RawPath
    """Folder of the bundle with `train/behaviors.parquet` and `validation/behaviors.parquet` (either may be missing);
    item features come from its `articles.parquet`, if that is there."""
    positive: str = "clicked"
    """SQL condition of a positive event over the columns of `behaviors` and `clicked` (the article was clicked), such
    as `clicked AND next_read_time >= 10`."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions, over the same columns."""

    def open(self) -> Log:
        """Describe the log; reads headers only."""
        # The test week has no clicks and is never read.
        files = find_first(
            self.path, ("train/behaviors.parquet", "validation/behaviors.parquet"), ("behaviors.parquet",)
        )
        context = (Feature(name="device_type", kind="category"),)
        items, item_features, item_files = _items(files[0])
        return Log(
            name="EB-NeRD",
            events=pl.concat([self._events(file, context[0]) for file in files]),
            items=items,
            actions=tuple(self.actions),
            context_features=context,
            item_features=item_features,
            has_session=True,
            has_weight=False,
            files=(*files, *item_files),
        )

    def _events(self, file: Path, device: Feature) -> pl.LazyFrame:
        raw = scan([file])
        types = require_columns(raw, {name: name for name in _NEEDED}, [file])
        shown = pl.col("article_ids_inview").fill_null([])
        clicked = pl.col("article_ids_clicked").fill_null([])
        rows = (
            raw.with_columns(shown.list.concat(clicked).list.unique(maintain_order=True).alias("article"))
            .filter(pl.col("article").list.len() > 0)
            .explode("article")
            .with_columns(pl.col("article").is_in(clicked).alias("clicked"))
        )
        split = pl.lit(f"{file.resolve().parent.name}|")
        with about([file]):
            return rows.select(
                id_column("user_id", types["user_id"], schema.USER),
                id_column("article", rows.collect_schema()["article"], schema.ITEM),
                time_ms("impression_time", types["impression_time"]),
                action_mask(self.positive, self.actions, rows),
                (split + pl.col("session_id").cast(pl.String)).alias(schema.SESSION),
                feature_column(device.name, types[device.name], device),
            )


def _items(behaviors: Path) -> tuple[pl.LazyFrame | None, tuple[Feature, ...], tuple[Path, ...]]:
    # The table of articles lies beside the folders of the weeks.
    folder = next((one for one in behaviors.parents[:2] if (one / "articles.parquet").is_file()), None)
    if folder is None:
        return None, (), ()
    files = find_files(folder, "articles.parquet")
    raw = scan(files)
    types = require_columns(raw, {"article_id": "article_id"}, files)
    features = tuple(feature for feature in _ITEM_FEATURES if feature.name in types)
    title = [pl.col("title").alias(schema.TITLE)] if "title" in types else []
    items = raw.select(
        id_column("article_id", types["article_id"], schema.ITEM),
        *title,
        *(feature_column(feature.name, types[feature.name], feature) for feature in features),
    )
    return items.unique(schema.ITEM, keep="first", maintain_order=True), features, files
