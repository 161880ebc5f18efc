"""How a data set lies on disk, and nothing else: `Histories` <-> Arrow.

One row a user, nested lists; Arrow's list offsets are the jagged layout, so reading makes no copy:

    user_id: int64 | string
    sessions: list<struct<
        time_ms: int64, part: uint8,
        events: list<struct<item: int32, action: uint16, time_ms: int64, [weight: float32], [features: int32 ...]>>>>

Nothing is nullable. An engine other than ours writes the same columns and is read the same way; 32-bit list offsets,
which other writers use, are widened on reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from sessionrec.errors import ArtifactError
from sessionrec.jagged import IntArray
from sessionrec.sessions.histories import Histories

KIND = "dataset"
FORMAT = 1

USER_ID = "user_id"
SESSIONS = "sessions"
_EVENT = "sessions.list.element.events.list.element"


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _list_of(values: pa.Array, offsets: IntArray) -> pa.Array:
    kind = pa.large_list(_required("element", values.type))
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, type=kind)


def _struct(columns: dict[str, Any]) -> pa.Array:
    arrays = [pa.array(values) if isinstance(values, np.ndarray) else values for values in columns.values()]
    fields = [_required(name, array.type) for name, array in zip(columns, arrays, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def to_arrow(histories: Histories) -> pa.Table:
    """One row a user; the arrays are shared, not copied."""
    columns: dict[str, Any] = {
        "item": histories.item_E,
        "action": histories.action_E,
        "time_ms": histories.time_ms_E,
    }
    if histories.weight_E is not None:
        columns["weight"] = histories.weight_E
    events = _list_of(_struct(columns | _prefixed(histories.features)), histories.session_offsets)
    session = {"time_ms": histories.session_time_ms_S, "part": histories.part_S, "events": events}
    sessions = _list_of(_struct(session), histories.user_offsets)
    users: Any = histories.user_U.to_arrow()
    users = users.cast(pa.int64() if histories.user_U.dtype == pl.Int64 else pa.large_string())
    schema = pa.schema([_required(USER_ID, users.type), _required(SESSIONS, sessions.type)])
    return pa.Table.from_arrays([users, sessions], schema=schema)


def _prefixed(features: dict[str, Any]) -> dict[str, Any]:
    # A feature may be called `item` in the log; the prefix keeps the two apart.
    return {f"feature.{name}": values for name, values in features.items()}


def from_arrow(table: pa.Table, feature_names: Sequence[str]) -> Histories:
    """The histories of a table that `to_arrow` made, views of its buffers."""
    users, sessions = _single(table.column(USER_ID)), _single(table.column(SESSIONS))
    user_offsets, session = _open_list(sessions)
    session_offsets, event = _open_list(_field(session, "events"))
    names = [field.name for field in event.type]
    return Histories(
        user_U=pl.Series(USER_ID, users),
        user_offsets=user_offsets,
        session_time_ms_S=_values(session, "time_ms", np.int64),
        part_S=_values(session, "part", np.uint8),
        session_offsets=session_offsets,
        item_E=_values(event, "item", np.int32),
        action_E=_values(event, "action", np.uint16),
        time_ms_E=_values(event, "time_ms", np.int64),
        weight_E=_values(event, "weight", np.float32) if "weight" in names else None,
        features={name: _values(event, f"feature.{name}", np.int32) for name in feature_names},
    )


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _open_list(array: pa.Array) -> tuple[IntArray, pa.Array]:
    """Offsets from 0, and the elements they cut; both views unless the list is a slice or has narrow offsets."""
    if array.null_count:
        raise ArtifactError("a list in the data set is null; it was not written by this package")
    offsets = array.offsets.to_numpy().astype(np.int64, copy=False)
    values = array.values
    if offsets[0] != 0 or offsets[-1] != len(values):
        values = values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
        offsets = offsets - offsets[0]
    return offsets, values


def _field(struct: pa.Array, name: str) -> pa.Array:
    index = struct.type.get_field_index(name)
    if index < 0:
        raise ArtifactError(f"the data set has no column {name!r}; make it again")
    return struct.field(index)


def _values(struct: pa.Array, name: str, kind: type[np.generic]) -> Any:
    values = _field(struct, name).to_numpy(zero_copy_only=True)
    if values.dtype != kind:
        raise ArtifactError(f"column {name!r} of the data set must be {np.dtype(kind)}, is {values.dtype}; write it so")
    return values


TIME_COLUMNS = (f"{SESSIONS}.list.element.time_ms", f"{_EVENT}.time_ms")
"""Parquet columns of times, ascending within a user: stored as differences they are smaller and faster to write."""


def dictionary_columns(feature_names: Sequence[str]) -> list[str]:
    """Parquet columns worth a dictionary: few distinct values. Item and time are not, and cost half of the writing."""
    small = [f"{_EVENT}.action", f"{SESSIONS}.list.element.part"]
    return small + [f"{_EVENT}.feature.{name}" for name in feature_names]
