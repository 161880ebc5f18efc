"""What every reader hands on: a `Log`, that is the `Events` of `sessionrec.schema` as a lazy table, and its item table.

Nothing is read before the batch engine asks; a reader only describes how raw columns become ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import BeforeValidator

from sessionrec.config import LAX


def _named(path: object) -> object:
    # An empty text would be the current folder, and whatever lies there would be read in silence.
    if path == "":
        raise ValueError("must name a file, a folder or a glob")
    return path


RawPath = Annotated[Path, LAX, BeforeValidator(_named)]
"""Where a raw log is; never empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One discrete or continuous attribute of an event (context) or of an item."""

    name: str
    """Column name; not one of `schema.RESERVED`."""
    kind: Literal["category", "number"]
    """`category`: integers, text or booleans, one embedding row a value. `number`: quantile bins fitted on
    training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A raw log, described in the house's own terms; lazy."""

    name: str
    """Short name of the source, for reports."""
    events: pl.LazyFrame
    """`schema` columns in the order of the raw files; then the context features."""
    items: pl.LazyFrame | None
    """`item`, optional `title`, then the item features; of an item's rows the first counts, so it may be as long as the
    log. None if the log says nothing of its items."""
    actions: tuple[str, ...]
    """Names of bits 1, 2, ... of `action`."""
    context_features: tuple[Feature, ...]
    """Columns of `events` beyond the schema's."""
    item_features: tuple[Feature, ...]
    """Columns of `items` beyond `item` and `title`."""
    has_session: bool
    """Whether `events` has the log's own session id."""
    has_weight: bool
    """Whether `events` has a weight."""
    files: tuple[Path, ...]
    """The raw files behind it, for the fingerprint; empty for a generated log."""
    repeats_ignore_session: bool = False
    """Whether one event may stand in the log under two session ids, so that user, item and time alone show a repeat."""
    notes: str = ""
    """What a report must say beside the numbers, such as that the data is simulated."""
    raw: pl.LazyFrame | None = None
    """The raw rows, one for each row of `events` and in the same order, so that a message can show the value behind a
    bad row; None where events are joined or unfolded. `logs.files.FILE` is the column with the path of the file."""
    raw_columns: Mapping[str, str] = field(default_factory=dict)
    """For each schema column, the raw column it comes from."""
