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

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import polars as pl
from pydantic import AfterValidator

from sessionrec import schema
from sessionrec.config import LAX, Config, nearest
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, joint_id, time_ms, weight_column
from sessionrec.logs.files import FILE, Format, about, find_files, format_of, require_columns, scan

TypeName = Literal["int", "float", "text"]

_Read = Callable[[Sequence[Path]], pl.LazyFrame]

_SEPARATED: Final = ("csv", "tsv")
# Which formats an option is for.
_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "separator": _SEPARATED,
    "quote": _SEPARATED,
    "encoding": _SEPARATED,
    "names": _SEPARATED,
    "types": (*_SEPARATED, "ndjson"),
}
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


def _one_sign(text: str) -> str:
    if len(text) != 1 or not text.isascii():
        raise ValueError("must be one ASCII character, such as ';'")
    return text


def _one_sign_or_none(text: str) -> str:
    return text and _one_sign(text)


class _Files(Config):
    """Files with a table in them, and how they are written."""

    path: RawPath
    """File, folder or glob; the files are read in the order of their names."""
    format: Format = "auto"
    """`csv`, `tsv`, `ndjson`, `parquet` or `ipc`; `auto` goes by the suffix."""
    separator: Annotated[str, AfterValidator(_one_sign)] | None = None
    """Of a CSV or TSV file: what stands between fields, such as `;`; none = the comma of `csv`, the tab of `tsv`."""
    quote: Annotated[str, AfterValidator(_one_sign_or_none)] = '"'
    """Of a CSV or TSV file: quote character; empty = quotes are ordinary text."""
    encoding: Literal["utf8", "utf8-lossy"] = "utf8"
    """Of a CSV or TSV file: `utf8-lossy` puts a replacement sign for what is no UTF-8, so two names can become one."""
    names: Annotated[tuple[str, ...], LAX] = ()
    """Column names of CSV or TSV files without a header line."""
    types: dict[str, TypeName] = {}
    """Types of columns of a text file, over what is guessed; `text` keeps leading zeros of ids."""


class ItemTable(_Files):
    """A second file with one row an item; of repeated items the first row counts."""

    item: str = "item"
    """Column of the item id."""
    title: str | None = None
    """Column of the readable name."""
    features: Annotated[tuple[Column, ...], LAX] = ()
    """Item features."""


class TableConfig(_Files):
    """A log in a table of your own, one row an event."""

    kind: Literal["table"] = "table"
    """Which reader."""
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
    session: str | Annotated[tuple[str, ...], LAX] | None = None
    """Column of the session id, or several columns that make the id together; none = sessions come from a rule."""
    positive: str = "true"
    """SQL condition of a positive event over the raw columns."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions."""
    weight: str | None = None
    """Column of a weight, finite and not negative; 0 = the event counts for nothing where weights count."""
    context: Annotated[tuple[Column, ...], LAX] = ()
    """Features of the event."""
    item_features: Annotated[tuple[Column, ...], LAX] = ()
    """Features of the item that stand in the log itself; the item's first value that is not missing counts."""
    items: ItemTable | None = None
    """A second table with the items."""

    def open(self) -> Log:
        """Describe the log; reads headers and the first rows only."""
        files, read, raw = _scan(self, "")
        types = require_columns(raw, self._needed(), files, read)
        session = (self.session,) if isinstance(self.session, str) else self.session or ()
        context = _distinct(self.context, "context")
        with about(files):
            events = raw.select(
                id_column(self.user, types[self.user], schema.USER),
                id_column(self.item, types[self.item], schema.ITEM),
                time_ms(self.time, types[self.time], self.time_unit, zone=self.zone),
                action_mask(self.positive, self.actions, raw),
                *_session(session, types),
                *([] if self.weight is None else [weight_column(self.weight, types[self.weight])]),
                *(feature_column(one.source, types[one.source], one.feature) for one in self.context),
            )
            from_log = self._items_of_the_log(raw, types)
        items, item_features, item_files = self._items(from_log, events.collect_schema()[schema.ITEM])
        raw_columns = {schema.USER: self.user, schema.ITEM: self.item, schema.TIME_MS: self.time}
        raw_columns |= {schema.SESSION: session[0]} if len(session) == 1 else {}
        raw_columns |= {} if self.weight is None else {schema.WEIGHT: self.weight}
        return Log(
            name=self.path.name,
            events=events,
            items=items,
            actions=tuple(self.actions),
            context_features=context,
            item_features=item_features,
            has_session=bool(session),
            has_weight=self.weight is not None,
            files=(*files, *item_files),
            raw=raw,
            raw_columns=raw_columns,
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

    def _items_of_the_log(self, raw: pl.LazyFrame, types: pl.Schema) -> pl.LazyFrame | None:
        if not self.item_features:
            return None
        key = id_column(self.item, types[self.item], schema.ITEM)
        columns = [feature_column(one.source, types[one.source], one.feature) for one in self.item_features]
        first = pl.exclude(schema.ITEM).drop_nulls().first()
        return raw.select(key, *columns).group_by(schema.ITEM, maintain_order=True).agg(first)

    def _items(
        self, from_log: pl.LazyFrame | None, expected: pl.DataType
    ) -> tuple[pl.LazyFrame | None, tuple[Feature, ...], tuple[Path, ...]]:
        if self.items is None:
            return from_log, _distinct(self.item_features, "item_features"), ()
        table, files = _item_table(self.items)
        features = _distinct((*self.items.features, *self.item_features), "items.features and item_features")
        got = table.collect_schema()[schema.ITEM]
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
    files, read, raw = _scan(config, "items.")
    needed = {"items.item": config.item}
    needed |= {} if config.title is None else {"items.title": config.title}
    needed |= {f"items.features[{number}].column": one.source for number, one in enumerate(config.features)}
    types = require_columns(raw, needed, files, read)
    with about(files):
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


def _scan(config: _Files, key: str) -> tuple[tuple[Path, ...], _Read, pl.LazyFrame]:
    """The files of a config, how they are read, and their rows; `key` leads to the config, such as `items.`."""
    files = find_files(config.path)
    kind = format_of(files, config.format)
    plain: dict[str, Any] = {name: _Files.model_fields[name].default for name in _OPTIONS}
    useless = [name for name in _OPTIONS if kind not in _OPTIONS[name] and getattr(config, name) != plain[name]]
    if useless:
        raise LogError(
            f"{files[0]}: `{key}{useless[0]}` is for {', '.join(_OPTIONS[useless[0]])}, and this is {kind}; drop it"
            + (", and store the column as the type it should have" if useless[0] == "types" else "")
        )
    read = partial(
        scan,
        format=kind,
        types={column: _TYPES[name] for column, name in config.types.items()},
        names=config.names or None,
        separator=config.separator,
        quote=config.quote or None,
        encoding=config.encoding,
    )
    raw = read(files)
    there = [name for name in raw.collect_schema() if name != FILE]
    unknown = next((column for column in config.types if column not in there), None)
    if unknown is not None:
        raise LogError(
            f"{files[0]}: `{key}types` names a column {unknown!r}, found {', '.join(there)}{nearest(unknown, there)}; "
            "name one that exists, or drop it"
        )
    return files, read, raw
