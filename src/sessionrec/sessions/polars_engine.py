"""The batch engine of one machine: reads a log as a stream and brings the events of each user together.

A log of up to `rows_in_memory` events is one partition in memory. A longer one is cut by the users' hash into
partitions on disk, each worked on alone. Memory then holds a few partitions, the tables of items, and some bytes an
event, a session and a user for the filters: 6.4 GB at 229 million events. The result is the same either way: partitions
are ranges of the hash, and users stand in its order.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, field_validator

from sessionrec.config import LAX, Config
from sessionrec.errors import EmptyDatasetError, LogError
from sessionrec.logs.base import Log
from sessionrec.progress import Progress
from sessionrec.schema import SESSION
from sessionrec.sessions.assemble import Found, assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rows import check_rows, count_positives, reading
from sessionrec.sessions.rule import Rule
from sessionrec.sessions.scratch import Spill, scratch_folder, writing

logger = logging.getLogger(__name__)


class PolarsEngine(Config):
    """Polars and NumPy on one machine."""

    kind: Literal["polars"] = "polars"
    """Polars on one machine."""
    rows_in_memory: int = Field(default=8_000_000, gt=0)
    """Events up to which a log is held in memory; a longer one goes through partitions on disk."""
    num_partitions: int = Field(default=64, gt=0)
    """Partitions of a longer log, a power of two; memory falls with their number."""
    threads: int = Field(default=0, ge=0)
    """Partitions worked on at once; 0 = one a core. Memory grows with it."""
    scratch: Annotated[Path | None, LAX] = None
    """Folder for the partitions, about 60 bytes an event; None = the system's folder for temporary files."""

    @field_validator("num_partitions")
    @classmethod
    def _power_of_two(cls, number: int) -> int:
        if number & (number - 1):
            raise ValueError("must be a power of two, such as 64")
        return number

    @property
    def num_threads(self) -> int:
        """Threads to use on this machine."""
        return self.threads or os.cpu_count() or 1


@dataclass(slots=True, kw_only=True)
class Gathered:
    """A log by users: partitions of `Histories` in local codes, in memory or on disk."""

    rows_read: int
    positives_read: int
    pool: ThreadPoolExecutor
    threads: int
    exact_repeats: int = 0
    merged: int = 0
    found: Sequence[Found] = ()
    """Per partition, what its codes stand for."""
    _where: Sequence[Histories] | Path = ()

    def keep(self, where: Sequence[Histories] | Path, found: Sequence[Found]) -> None:
        """Say where the partitions are: in memory, or in a folder on disk."""
        self._where, self.found = where, found
        self.exact_repeats = sum(one.exact_repeats for one in found)
        self.merged = sum(one.merged for one in found)

    def take_items(self) -> list[pl.Series]:
        """Per partition, the id of each local item code; given away, since together they can outweigh the rest."""
        items = [one.items for one in self.found]
        self.found = [replace(one, items=one.items.clear()) for one in self.found]
        return items

    @property
    def num_partitions(self) -> int:
        """Number of partitions."""
        return len(self.found)

    def load(self, partition: int) -> Histories:
        """The histories of one partition; mapped from disk if they are there."""
        if isinstance(self._where, Path):
            return Histories.load(self._where / f"{partition:05d}")
        return self._where[partition]

    def replace(self, partition: int, histories: Histories) -> None:
        """Put other histories in a partition's place."""
        if isinstance(self._where, Path):
            fresh, old = self._where / f"{partition:05d}.new", self._where / f"{partition:05d}"
            with writing(self._where):
                histories.save(fresh)
                shutil.rmtree(old)
                fresh.rename(old)
        else:
            self._where = [*self._where[:partition], histories, *self._where[partition + 1 :]]

    def each(self, function: Callable[[int], Any], partitions: Iterable[int], /) -> Iterator[Any]:
        """Map over partition numbers, results in order; at most `threads` are worked on or wait to be taken."""
        numbers = list(partitions)
        if self.threads == 1 or len(numbers) == 1:
            yield from map(function, numbers)
            return
        waiting = [self.pool.submit(function, number) for number in numbers[: self.threads]]
        for ahead in range(len(numbers)):
            result = waiting.pop(0).result()
            if ahead + self.threads < len(numbers):
                waiting.append(self.pool.submit(function, numbers[ahead + self.threads]))
            yield result


@contextmanager
def gather(log: Log, rule: Rule, engine: PolarsEngine, progress: Progress) -> Iterator[Gathered]:
    """Read a log and assemble its users' histories; what lies on disk is gone when the context ends.

    Raises:
        LogError: A row is no event, or the log has no session ids and the rule needs them.
        EmptyDatasetError: The log has no rows, or no positive ones.
        ArtifactError: The partitions cannot be written.
    """
    if rule.needs_session and not log.has_session:
        raise LogError(
            f"{log.name}: the session rule `native` needs session ids and this log has none; "
            "name a session column, or choose `gap`, `equal_time` or `window` under [session]"
        )
    with scratch_folder(engine.scratch) as folder, ThreadPoolExecutor(engine.num_threads) as pool:
        yield _gather(log, rule, engine, progress, folder, pool)


def _gather(
    log: Log, rule: Rule, engine: PolarsEngine, progress: Progress, folder: Path, pool: ThreadPoolExecutor
) -> Gathered:
    held: list[pl.DataFrame] = []
    spill: Spill | None = None
    rows = positives = 0
    for batch in _batches(log, rule):
        check_rows(log, batch, rows)
        rows += len(batch)
        positives += count_positives(batch)
        progress("read", rows, None)
        held.append(batch)
        if spill is None and rows > engine.rows_in_memory:
            logger.info("%s: more than %d events, going through partitions on disk", log.name, engine.rows_in_memory)
            with writing(folder):
                spill = Spill(folder / "events", engine.num_partitions, batch.schema)
        if spill is not None:
            with writing(folder):
                for part in held:
                    spill.add(part)
            held.clear()
    if rows == 0:
        raise EmptyDatasetError(f"{log.name}: the log has no rows")
    if positives == 0:
        raise EmptyDatasetError(
            f"{log.name}: none of its {rows} events is positive, so there is nothing to predict; check `positive`"
        )

    gathered = Gathered(rows_read=rows, positives_read=positives, pool=pool, threads=engine.num_threads)
    if spill is None:
        histories, found = _assemble(log, rule, pl.concat(held, rechunk=True))
        held.clear()
        gathered.keep([histories], [found])
        return gathered
    with writing(folder):
        spill.close()
    target = folder / "histories"

    def to_disk(partition: int) -> Found:
        histories, found = _assemble(log, rule, spill.take(partition))
        with writing(target):
            histories.save(target / f"{partition:05d}")
        return found

    everything = []
    for found in gathered.each(to_disk, range(engine.num_partitions)):
        everything.append(found)
        progress("sessions", len(everything), engine.num_partitions)
    gathered.keep(target, everything)
    return gathered


def _assemble(log: Log, rule: Rule, events: pl.DataFrame) -> tuple[Histories, Found]:
    return assemble(events, rule, log.context_features, log.repeats_ignore_session)


def _batches(log: Log, rule: Rule) -> Iterator[pl.DataFrame]:
    events = log.events
    if log.has_session and not rule.needs_session:
        events = events.drop(SESSION)
    with reading(log):
        yield from events.collect_batches(chunk_size=1_000_000, maintain_order=True, engine="streaming")
