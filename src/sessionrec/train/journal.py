"""`metrics.jsonl`: a line an epoch, written after the epoch and before its checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sessionrec.errors import ArtifactError


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Add the line of an epoch.

    Raises:
        ArtifactError: It cannot be written.
    """
    with _writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def drop_later(file: Path, epochs: int) -> None:
    """Take out what is ahead of the checkpoint: a run killed between the two runs that epoch again.

    Args:
        file: Perhaps not there.
        epochs: Of the checkpoint.

    Raises:
        ArtifactError: It is a file of something else, or cannot be written.
    """
    if not file.is_file():
        return
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    if any(_epoch_of(line) == math.inf for line in lines[:-1]):
        raise ArtifactError(
            f"{file}: not the metrics of a run of this package; name another folder, or move the file away if it is "
            "damaged"
        )
    kept = [line for line in lines if _epoch_of(line) <= epochs]
    if len(kept) < len(lines):
        fresh = file.with_suffix(".new")
        with _writing(file):
            fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            fresh.replace(file)


def _epoch_of(line: str) -> float:
    """Of a line; one cut short by a kill belongs to no epoch that ended."""
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"{file}: could not be written: {error.strerror or error}; free some space and run the same command again, "
            "which goes on"
        ) from error
