"""KuaiSAR: search and recommendation of the same users of a short-video service, from 2023-05-22 on.

In: the folder with `rec_inter.csv`, `src_inter.csv` and, if there, `item_features.csv` (users and the social network
are not used). Out: a `Log` of one part. Recommendation: positive = `click = 1`, no session id: rows of one request
share a timestamp, so cut sessions at equal times or at a gap. Search: session = `search_session_id`, positive =
`click_cnt > 0`.

Source: github.com/Ethan00Si/KuaiSAR, licence CC BY-NC-SA 4.0. Stated there: the full set (`KuaiSAR_v2.zip`, to
06-10) has 25,877 users, 14,605,716 rows of recommendation and 5,059,169 of search; the small one (`KuaiSAR.zip`, to
05-31) 7,493,101 and 3,171,231; clicked and not clicked are about even. Arxiv 2502.10157, Table 1, keeps of its
`KuaiSAR-S` after filters 9,460 users, 109,575 items and 758,560 events.

Traps: times in text are Beijing's, so the Unix milliseconds beside them are read; these are floats; `search` in
`rec_inter.csv` marks that the user searched while watching, it is no positive action; search shows more than videos
(`item_type`); author 0, category 0 and an upload in 1970 are padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_first, require_columns, scan

_ITEM_FEATURES: Final = tuple(
    Feature(name=name, kind="category")
    for name in (
        "author_id",
        "item_type",
        "upload_type",
        "first_level_category_id",
        "second_level_category_id",
        "third_level_category_id",
        "fourth_level_category_id",
    )
)
_TITLE: Final = ("first_level_category_name_en", "second_level_category_name_en")

# Every type is given: inferring reads the file's head, and a head without a decimal point would settle on integers.
_REC_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "user_id": pl.Int64,
    "item_id": pl.Int64,
    "playing_time": pl.Float64,
    "duration_ms": pl.Float64,
    "time": pl.String,
    "timestamp": pl.Float64,
    "click": pl.Int64,
    "forward": pl.Int64,
    "like": pl.Int64,
    "follow": pl.Int64,
    "search": pl.Int64,
    "search_item_related": pl.Int64,
}
_SEARCH_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "user_id": pl.Int64,
    "search_session_id": pl.Int64,
    "search_session_time": pl.String,
    "search_session_timestamp": pl.Float64,
    "keyword": pl.String,
    "search_source": pl.String,
    "item_id": pl.Int64,
    "click_cnt": pl.Int64,
    "item_type": pl.String,
}
_ITEM_TYPES: Final[dict[str, type[pl.DataType]]] = {
    "item_id": pl.Int64,
    "caption": pl.String,
    "author_id": pl.Int64,
    "item_type": pl.String,
    "upload_time": pl.String,
    "upload_type": pl.String,
} | {
    f"{level}_level_category_{part}": pl.Int64 if part == "id" else pl.String
    for level in ("first", "second", "third", "fourth")
    for part in ("id", "name", "name_en")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    file: str
    types: Mapping[str, type[pl.DataType]]
    raw: Mapping[str, str]
    positive: str
    actions: dict[str, str]
    context: tuple[str, ...]


_PARTS: Final = {
    "recommendation": _Part(
        file="rec_inter.csv",
        types=_REC_TYPES,
        raw={schema.USER: "user_id", schema.ITEM: "item_id", schema.TIME_MS: "timestamp"},
        positive="click = 1",
        actions={"forward": "forward = 1", "like": '"like" = 1', "follow": "follow = 1", "search": "search = 1"},
        context=(),
    ),
    "search": _Part(
        file="src_inter.csv",
        types=_SEARCH_TYPES,
        raw={
            schema.USER: "user_id",
            schema.ITEM: "item_id",
            schema.TIME_MS: "search_session_timestamp",
            schema.SESSION: "search_session_id",
        },
        positive="click_cnt > 0",
        actions={},
        context=("search_source",),
    ),
}


class KuaisarConfig(Config):
    """One part of KuaiSAR."""

    kind: Literal["kuaisar"] = "kuaisar"
    """Which reader."""
    path: RawPath
    """The folder with the CSV files, or the one above it."""
    part: Literal["recommendation", "search"] = "recommendation"
    """Which log to read; both name users and items alike."""
    positive: str | None = None
    """SQL condition of a positive event over the raw columns; if none, `click = 1` or, in search, `click_cnt > 0`."""
    actions: dict[str, str] | None = None
    """Name and SQL condition of further actions; if none, forward, like, follow and search or, in search, nothing."""

    def open(self) -> Log:
        """Describe the log; reads only the first lines of the files.

        Raises:
            LogError: If files or columns are missing, or several sets lie side by side.
        """
        part = _PARTS[self.part]
        files = find_first(self.path, [part.file], [f"*/{part.file}"])
        if len(files) > 1:
            names = " and ".join(str(file) for file in files[:2])
            raise LogError(
                f"{self.path}: expected one {part.file}, found {names}; set `path` to one of the two folders"
            )
        raw = scan(files, "csv", types=part.types)
        types = require_columns(raw, {name: name for name in (*part.raw.values(), *part.context)}, files)
        actions = part.actions if self.actions is None else self.actions
        context = tuple(Feature(name=name, kind="category") for name in part.context)
        session = part.raw.get(schema.SESSION)
        with about(files):
            columns = [
                id_column("user_id", types["user_id"], schema.USER),
                id_column("item_id", types["item_id"], schema.ITEM),
                time_ms(part.raw[schema.TIME_MS], types[part.raw[schema.TIME_MS]], "ms"),
                action_mask(part.positive if self.positive is None else self.positive, actions, raw),
                *([id_column(session, types[session], schema.SESSION)] if session else []),
                *(feature_column(feature.name, types[feature.name], feature) for feature in context),
            ]
        items, item_features, item_files = _items(files[0].with_name("item_features.csv"))
        return Log(
            name=f"KuaiSAR {self.part}",
            events=raw.select(columns),
            items=items,
            actions=tuple(actions),
            context_features=context,
            item_features=item_features,
            has_session=session is not None,
            has_weight=False,
            files=(*files, *item_files),
            raw=raw,
            raw_columns=part.raw,
        )


def _items(file: Path) -> tuple[pl.LazyFrame | None, tuple[Feature, ...], tuple[Path, ...]]:
    if not file.is_file():
        return None, (), ()
    raw = scan([file], "csv", types=_ITEM_TYPES)
    needed = ("item_id", *_TITLE, *(feature.name for feature in _ITEM_FEATURES))
    types = require_columns(raw, {name: name for name in needed}, [file])
    items = raw.select(
        id_column("item_id", types["item_id"], schema.ITEM),
        # Captions are lists of anonymous words; the categories are the only names there are.
        pl.concat_str(_TITLE, separator=" / ", ignore_nulls=True).alias(schema.TITLE),
        *(feature_column(feature.name, types[feature.name], feature) for feature in _ITEM_FEATURES),
    )
    return items.unique(schema.ITEM, keep="first", maintain_order=True), _ITEM_FEATURES, (file,)
