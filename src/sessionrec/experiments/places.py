"""What lies where in the folder that experiments write to.

tables/EXPERIMENT.json    which result belongs to which data set, row and seed
results/KEY               a `Result`, without its model
data/NAME, raw/NAME       data sets as they were prepared; raw files that were generated
work/KEY                  a run that has not ended: its job, its checkpoints
logs/KEY.log              what a run said
models/KEY                trained models, where `--keep-models` was asked for
locks                     empty files, one for each thing that only one process may make
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below the folder of experiments."""

    out: Path

    def index(self, experiment: str) -> Path:
        """Of one experiment: data set, row and seed -> key."""
        return self.out / "tables" / f"{experiment}.json"

    def result(self, key: str) -> Path:
        """A finished one."""
        return self.out / "results" / key

    def work(self, key: str) -> Path:
        """Of a run that has not ended."""
        return self.out / "work" / key

    def run(self, key: str) -> Path:
        """Folder of the training run, in its work."""
        return self.work(key) / "run"

    def log(self, key: str) -> Path:
        """What a run said."""
        return self.out / "logs" / f"{key}.log"

    def model(self, key: str) -> Path:
        """A trained model that is kept."""
        return self.out / "models" / key

    def data(self, name: str) -> Path:
        """A data set."""
        return self.out / "data" / name

    def made_by(self, name: str) -> Path:
        """What a data set was made by, beside it."""
        return self.out / "data" / f"{name}.json"

    def raw(self, name: str) -> Path:
        """Generated raw files."""
        return self.out / "raw" / name

    def lock(self, name: str) -> Path:
        """Held while a thing is made; the file stays, since unlinking it would let two lock two files."""
        return self.out / "locks" / name


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock while inside; ends with the process, whatever ends it.

    Args:
        path: File of the lock.
        wait: Until it is free; otherwise False is given if it is not.
    """
    handle = acquire(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def acquire(path: Path, *, wait: bool) -> int | None:
    """Take a lock to hand on.

    Args:
        path: File of the lock.
        wait: Until it is free; otherwise None is given if it is not.

    Returns:
        A descriptor. A child that inherits it holds the lock with us; it is free when all have closed it, or ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        # A stop while it waits, or a file system without locks: nobody else knows the descriptor.
        os.close(handle)
        raise
    return handle


def write_text(path: Path, text: str) -> None:
    """Replace a small file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
