"""Partitions of a log on disk while it is prepared: a folder that goes away, and the events of each partition in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from sessionrec.errors import ArtifactError
from sessionrec.hashing import hash_ids
from sessionrec.schema import USER
from sessionrec.sessions.vocabulary import encode

_PREFIX, _LOCK = "sessionrec-", ".sessionrec-scratch"


@contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """A folder for partitions, removed at the end; what a killed process left beside it is removed too.

    Args:
        parent: Where to make it; None = the system's folder for temporary files.

    Raises:
        ArtifactError: It cannot be made.
    """
    where = parent or Path(tempfile.gettempdir())
    with writing(where):
        _sweep(where)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Held before it has the name that a sweep looks for, so that no other process takes the folder for a dead one.
        (folder / "lock").rename(folder / _LOCK)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    for lock_file in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            lock = os.open(lock_file, os.O_RDWR)
        except OSError:
            continue  # another user's, or gone by now
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its process lives
        else:
            shutil.rmtree(lock_file.parent, ignore_errors=True)
        finally:
            os.close(lock)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Where partitions are written: a full disk or a missing folder becomes an `ArtifactError` that names it."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArtifactError(
            f"{folder}: the partitions of the log cannot be written there: {why}; "
            "free some space or name another folder as `engine.scratch`"
        ) from error


class Spill:
    """Events by partition on disk, as Arrow streams; the rows of a user stay in the order of the log.

    Args:
        folder: Made here.
        num_partitions: A power of two; a partition is a range of the users' hash.
        schema: Of the events.
    """

    def __init__(self, folder: Path, num_partitions: int, schema: pl.Schema) -> None:
        folder.mkdir(parents=True)
        self._folder, self._num = folder, num_partitions
        self._schema: Any = pl.DataFrame(schema=schema).to_arrow().schema
        self._writers = [pa.ipc.new_stream(str(self._file(p)), self._schema) for p in range(num_partitions)]

    def add(self, batch: pl.DataFrame) -> None:
        """Append events."""
        part_E = self._partition_of(batch[USER])
        # Partition and row in one word: a plain sort groups the rows and keeps their order.
        packed = np.sort((part_E << 32) | np.arange(len(batch)))
        table: Any = batch[packed & 0xFFFFFFFF].to_arrow().cast(self._schema).combine_chunks()
        bounds = np.searchsorted(packed, np.arange(self._num + 1) << 32)
        for partition in np.flatnonzero(np.diff(bounds)):
            start, stop = int(bounds[partition]), int(bounds[partition + 1])
            self._writers[partition].write_table(table.slice(start, stop - start))

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers:
            writer.close()

    def take(self, partition: int) -> pl.DataFrame:
        """All events of a partition; its file is removed."""
        with pa.ipc.open_stream(str(self._file(partition))) as stream:
            frame = pl.DataFrame(stream.read_all()).rechunk()
        self._file(partition).unlink()
        return frame

    def _partition_of(self, users: pl.Series) -> Any:
        if self._num == 1:
            return np.zeros(len(users), np.int64)
        # Each user once: hashing text costs by the letter.
        codes, values = encode(users)
        return (hash_ids(values) >> np.uint64(64 - (self._num.bit_length() - 1))).astype(np.int64)[codes]

    def _file(self, partition: int) -> Path:
        return self._folder / f"{partition:05d}.arrows"
