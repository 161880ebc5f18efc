"""Anyone's log: CSV, TSV, NDJSON, Parquet or Arrow IPC, described by the names of its columns.

In: one row an event. Session: a column, several columns together, or none (then choose a rule of the session builder).
Positive: a SQL condition, by default every row.

Traps: a text file's column types are guessed from its first 10,000 rows. Ids that look like numbers lose leading zeros,
and an id column that turns into text later stops the run: set `types` for such columns.

    [log]
    kind = "table"
    path = "logs/2024-*.csv"
    user = "customer"
    item = "sku"
    time = "at"
    time_unit = "iso"
    session = "visit"
    positive = "event IN ('cart', 'buy')"
    actions = { buy = "event = 'buy'" }
    context = [{ name = "device", kind = "category" }]
    types = { sku = "text" }
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import polars as pl

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, joint_id, time_ms, weight_column
from sessionrec.logs.files import Format, find_files, require_columns, scan

TypeName = Literal["int", "float", "text"]

_TYPES: Final[dict[str, type[pl.DataType]]] = {"int": pl.Int64, "float": pl.Float64, "text": pl.String}


class Column(Config):
    """One attribute of an event or an item, and the column it stands in."""

    name: str
    """Name of the feature."""
    kind: Literal["category", "number"] = "category"
    """`category`: integers, text or booleans. `number`: quantile bins."""
    column: str | None = None
    """Raw column; none = the same as `name`."""

    @property
    def source(self) -> str:
        """The raw column."""
        return self.name if self.column is None else self.column

    @property
    def feature(self) -> Feature:
        """The same in the house's words."""
        return Feature(name=self.name, kind=self.kind)


class ItemTable(Config):
    """A second file with one row an item; of repeated items the first row counts."""

    path: RawPath
    """File, folder or glob."""
    format: Format = "auto"
    """`csv`, `tsv`, `ndjson`, `parquet` or `ipc`; `auto` goes by the suffix."""
    item: str = "item"
    """Column of the item id."""
    title: str | None = None
    """Column of the readable name."""
    features: tuple[Column, ...] = ()
    """Item features."""
    types: dict[str, TypeName] = {}
    """Types of columns of a text file, over what is guessed."""


class TableConfig(Config):
    """A log in a table of your own, one row an event."""

    kind: Literal["table"] = "table"
    """Which reader."""
    path: RawPath
    """File, folder or glob; the files are read in the order of their names."""
    format: Format = "auto"
    """`csv`, `tsv`, `ndjson`, `parquet` or `ipc`; `auto` goes by the suffix."""
    user: str = "user"
    """Column of the user id: integers or text."""
    item: str = "item"
    """Column of the item id: integers or text."""
    time: str = "time"
    """Column of the time."""
    time_unit: str = "s"
    """Of numbers: `s`, `ms`, `us` or `ns` since 1970. Of text: `iso` or a format such as `%d.%m.%Y %H:%M`. Columns of
    dates and datetimes need none."""
    zone: str = "UTC"
    """IANA time zone of times that carry none."""
    session: str | tuple[str, ...] | None = None
    """Column of the session id, or several columns that make the id together; none = sessions come from a rule."""
    positive: str = "true"
    """SQL condition of a positive event over the raw columns."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions."""
    weight: str | None = None
    """Column of a weight."""
    context: tuple[Column, ...] = ()
    """Features of the event."""
    item_features: tuple[Column, ...] = ()
    """Features of the item that stand in the log itself; the item's first value that is not missing counts."""
    items: ItemTable | None = None
    """A second table with the items."""
    types: dict[str, TypeName] = {}
    """Types of columns of a text file, over what is guessed; `text` keeps leading zeros of ids."""

    def open(self) -> Log:
        """Describe the log; reads headers and the first rows only."""
        files = find_files(self.path)
        raw = scan(files, self.format, types=_types(self.types))
        types = require_columns(raw, self._needed(), files)
        session = (self.session,) if isinstance(self.session, str) else self.session or ()
        events = raw.select(
            id_column(self.user, types[self.user], schema.USER),
            id_column(self.item, types[self.item], schema.ITEM),
            time_ms(self.time, types[self.time], self.time_unit, zone=self.zone),
            action_mask(self.positive, self.actions, raw),
            *_session(session, types),
            *([] if self.weight is None else [weight_column(self.weight, types[self.weight])]),
            *(feature_column(one.source, types[one.source], one.feature) for one in self.context),
        )
        items, item_features, item_files = self._items(raw, types)
        raw_columns = {schema.USER: self.user, schema.ITEM: self.item, schema.TIME_MS: self.time}
        return Log(
            name=self.path.name,
            events=events,
            items=items,
            actions=tuple(self.actions),
            context_features=_distinct(self.context, "context"),
            item_features=item_features,
            has_session=bool(session),
            has_weight=self.weight is not None,
            files=(*files, *item_files),
            raw=raw,
            raw_columns={**raw_columns, schema.SESSION: session[0]} if len(session) == 1 else raw_columns,
        )

    def _needed(self) -> dict[str, str]:
        session = (self.session,) if isinstance(self.session, str) else self.session or ()
        return {
            "user": self.user,
            "item": self.item,
            "time": self.time,
            **({"session": session[0]} if len(session) == 1 else {f"session[{n}]": c for n, c in enumerate(session)}),
            **({} if self.weight is None else {"weight": self.weight}),
            **{f"context[{number}].column": one.source for number, one in enumerate(self.context)},
            **{f"item_features[{number}].column": one.source for number, one in enumerate(self.item_features)},
        }

    def _items(
        self, raw: pl.LazyFrame, types: pl.Schema
    ) -> tuple[pl.LazyFrame | None, tuple[Feature, ...], tuple[Path, ...]]:
        key = id_column(self.item, types[self.item], schema.ITEM)
        from_log = None
        if self.item_features:
            columns = [feature_column(one.source, types[one.source], one.feature) for one in self.item_features]
            first = pl.exclude(schema.ITEM).drop_nulls().first()
            from_log = raw.select(key, *columns).group_by(schema.ITEM, maintain_order=True).agg(first)
        if self.items is None:
            return from_log, _distinct(self.item_features, "item_features"), ()
        table, files = _item_table(self.items)
        features = _distinct((*self.items.features, *self.item_features), "items.features and item_features")
        expected, got = raw.select(key).collect_schema()[schema.ITEM], table.collect_schema()[schema.ITEM]
        if expected != got:
            raise LogError(
                f"{files[0]}: expected item ids of the log's type {expected}, got {got}; set `types` or `items.types` "
                "so that both are int or both are text"
            )
        if from_log is None:
            return table, features, files
        both = table.join(from_log, on=schema.ITEM, how="full", coalesce=True, maintain_order="left_right")
        return both, features, files


def _session(columns: tuple[str, ...], types: pl.Schema) -> list[pl.Expr]:
    if not columns:
        return []
    if len(columns) == 1:
        return [id_column(columns[0], types[columns[0]], schema.SESSION)]
    return [joint_id({column: types[column] for column in columns}, schema.SESSION)]


def _item_table(config: ItemTable) -> tuple[pl.LazyFrame, tuple[Path, ...]]:
    files = find_files(config.path)
    raw = scan(files, config.format, types=_types(config.types))
    needed = {"items.item": config.item}
    needed |= {} if config.title is None else {"items.title": config.title}
    needed |= {f"items.features[{number}].column": one.source for number, one in enumerate(config.features)}
    types = require_columns(raw, needed, files)
    table = raw.select(
        id_column(config.item, types[config.item], schema.ITEM),
        *([] if config.title is None else [pl.col(config.title).cast(pl.String).alias(schema.TITLE)]),
        *(feature_column(one.source, types[one.source], one.feature) for one in config.features),
    )
    return table.unique(schema.ITEM, keep="first", maintain_order=True), files


def _distinct(columns: tuple[Column, ...], key: str) -> tuple[Feature, ...]:
    names = [one.name for one in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise LogError(f"`{key}`: expected different names, got {twice!r} twice; rename one and keep `column`")
    return tuple(one.feature for one in columns)


def _types(names: Mapping[str, TypeName]) -> dict[str, type[pl.DataType]]:
    return {column: _TYPES[name] for column, name in names.items()}
