"""Write a prepared log as a data set: shards of Parquet, the catalogue, the vocabularies, and the manifest last."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from pydantic import Field

from sessionrec.artifacts import ArtifactWriter, Manifest, fingerprint
from sessionrec.config import Config
from sessionrec.data import layout
from sessionrec.progress import Progress, silent
from sessionrec.sessions.catalogue import FeatureTable
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.prepare import Prepared

ITEMS = "items.parquet"
VOCABULARIES = "vocabularies.parquet"


class Storage(Config):
    """How a data set is cut into files."""

    events_per_row_group: int = Field(default=262_144, gt=0)
    """Events of whole users that are read at once; a loader shuffles row groups and the users of several."""
    events_per_shard: int = Field(default=16_777_216, gt=0)
    """Events after which a new file is begun."""
    compression_level: int = Field(default=1, ge=1, le=22)
    """Of Zstandard."""


def dataset_writer(path: Path) -> ArtifactWriter:
    """The context in which a data set is written; whatever stood at `path` before stays until the last byte is there.

    Raises:
        ArtifactError: On entering, the folder holds something else or is being written; later, the disk is full.
    """
    return ArtifactWriter(path, kind=layout.KIND, format=layout.FORMAT)


def write_dataset(
    path: Path, prepared: Prepared, storage: Storage, config: dict[str, Any], progress: Progress = silent
) -> Manifest:
    """Write a prepared log as a data set at `path`; see `write_into`."""
    with dataset_writer(path) as writer:
        inputs = fingerprint(prepared.log.files)
        return write_into(writer, prepared, storage, config=config, inputs=inputs, progress=progress)


def write_into(
    writer: ArtifactWriter,
    prepared: Prepared,
    storage: Storage,
    *,
    config: dict[str, Any],
    inputs: list[dict[str, Any]],
    progress: Progress = silent,
) -> Manifest:
    """Write a data set and commit it.

    Args:
        writer: Entered, see `dataset_writer`.
        prepared: What `sessions.prepare` made.
        storage: How to cut it.
        config: The whole config, for the manifest.
        inputs: Fingerprint of the raw files, for the manifest.
        progress: Called as the work goes on.
    """
    features = [table.name for table in prepared.features]
    with _Shards(writer, storage, features) as shards:
        for histories in prepared.histories():
            shards.add(histories)
            progress("write", shards.num_events, prepared.summary.kept.events)
        shards.finish()
        progress("write", shards.num_events, prepared.summary.kept.events)
    _write_table(prepared.catalogue.frame, writer.file(ITEMS))
    tables = (*prepared.features, *prepared.catalogue.features)
    _write_table(_vocabularies(tables), writer.file(VOCABULARIES))
    log = prepared.log
    return writer.commit(
        {
            "config": config,
            "log": {"name": log.name, "notes": log.notes, "actions": list(log.actions)},
            "inputs": inputs,
            "summary": dataclasses.asdict(prepared.summary),
            "num_items": len(prepared.catalogue.frame),
            "num_candidates": prepared.catalogue.num_candidates,
            "features": [_describe(table) for table in tables],
            "row_groups": shards.row_groups,
        }
    )


def _write_table(frame: pl.DataFrame, file: Path) -> None:
    try:
        frame.write_parquet(file, statistics=False)
    except pl.exceptions.PolarsError as error:
        # Polars has an error of its own for a full disk; the artifact's writer knows the system's.
        raise OSError(str(error).splitlines()[0]) from error


class _Shards:
    """Parquet files of whole users, row groups of about equal size."""

    def __init__(self, writer: ArtifactWriter, storage: Storage, features: list[str]) -> None:
        self._writer, self._storage = writer, storage
        self._dictionary = layout.dictionary_columns(features)
        self._file: pq.ParquetWriter | None = None
        self._name = ""
        self._num_files = self._events_in_file = self._groups_in_file = 0
        self._waiting: Histories | None = None
        self.num_events = 0
        self.row_groups: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, histories: Histories) -> None:
        """Append users. The last ones wait for the next, so that no row group shows where a partition ended."""
        if self._waiting is not None:
            histories = Histories.concat([self._waiting, histories])
        ends, most = histories.event_offsets[1:], self._storage.events_per_row_group
        start = 0
        while start < histories.num_users and ends[-1] - histories.event_offsets[start] > most:
            stop = int(np.searchsorted(ends, histories.event_offsets[start] + most, "right"))
            stop = max(stop, start + 1)
            self._write(histories.users(start, stop))
            start = stop
        self._waiting = histories.users(start, histories.num_users) if start < histories.num_users else None

    def finish(self) -> None:
        """Write the users that still wait."""
        if self._waiting is not None:
            self._write(self._waiting)

    def _write(self, histories: Histories) -> None:
        table = layout.to_arrow(histories)
        if self._file is None or self._events_in_file >= self._storage.events_per_shard:
            if self._file is not None:
                self._file.close()
            self._name = f"users-{self._num_files:05d}.parquet"
            self._file = pq.ParquetWriter(
                self._writer.file(self._name),
                table.schema,
                compression="zstd",
                compression_level=self._storage.compression_level,
                use_dictionary=self._dictionary,
                column_encoding=dict.fromkeys(layout.TIME_COLUMNS, "DELTA_BINARY_PACKED"),
                write_statistics=False,
            )
            self._num_files += 1
            self._events_in_file = self._groups_in_file = 0
        self._file.write_table(table, row_group_size=max(len(table), 1))
        self._events_in_file += histories.num_events
        self.num_events += histories.num_events
        self.row_groups.append(
            {
                "file": self._name,
                "row_group": self._groups_in_file,
                "users": histories.num_users,
                "sessions": histories.num_sessions,
                "events": histories.num_events,
            }
        )
        self._groups_in_file += 1


def _vocabularies(tables: tuple[FeatureTable, ...]) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "role": table.role,
                "feature": table.name,
                "index": np.arange(1, len(table.vocabulary.values) + 1, dtype=np.int32),
                "value": table.vocabulary.values.cast(pl.String),
                "train_events": table.vocabulary.train_events,
            }
        )
        for table in tables
        if table.vocabulary is not None
    ]
    types = {"role": pl.String, "feature": pl.String, "index": pl.Int32, "value": pl.String, "train_events": pl.Int64}
    return pl.concat(frames) if frames else pl.DataFrame(schema=types)


def _describe(table: FeatureTable) -> dict[str, Any]:
    entry = {"name": table.name, "role": table.role, "size": table.size}
    if table.vocabulary is None:
        return entry | {"kind": "number", "edges": list(table.edges)}
    values = "text" if table.vocabulary.values.dtype == pl.String else "integer"
    return entry | {"kind": "category", "values": values}
