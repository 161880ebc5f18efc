"""What lies where in the folder of a run.

run/.fit.lock         there while `fit` trains
run/metrics.jsonl     a line an epoch
run/last, run/best    checkpoints: to go on from, and of the best epoch
run/model             the trained model: all that answering needs
run/evaluation        figures of the model and the floors on whole test sessions, some users' answers
run/evaluation-...    the same for other questions, such as validation or leave-one-item-out
run/index             the items, ready to be searched
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sessionrec.errors import ArtifactError

_LOCK = ".fit.lock"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def model(self) -> Path:
        """Artifact `model`."""
        return self.path / "model"

    def evaluation(self, part: str, targets: str, seen: str, known: str) -> Path:
        """Artifact `evaluation`; each kind of question has its own, whole test sessions the one with the plain name."""
        if (part, targets, seen, known) == ("test", "session", "kept", "parts"):
            return self.path / "evaluation"
        return self.path / "-".join(["evaluation", part, targets, seen, *([] if known == "parts" else [known])])

    @property
    def index(self) -> Path:
        """Artifact `index`."""
        return self.path / "index"

    @property
    def is_run(self) -> bool:
        """Whether there is a trained model."""
        return (self.model / "manifest.json").is_file()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder while a model is trained in it; a folder that stays empty is taken away again.

        Artifacts have locks of their own, but only while one is written: two runs would take turns in one folder, and
        each go on from the other's checkpoints and log its epochs among the other's.

        Raises:
            ArtifactError: Another process holds it, or nothing can be written there.
        """
        try:
            is_new = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            lock = _lock(self.path / _LOCK)
        except OSError as error:
            raise ArtifactError(f"{self.path}: cannot write there: {error.strerror or error}") from error
        if lock is None:
            raise ArtifactError(
                f"{self.path}: another `sessionrec fit` trains here; wait for it or name another folder"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                (self.path / _LOCK).unlink()
                if is_new:
                    self.path.rmdir()
            os.close(lock)


def _lock(file: Path) -> int | None:
    """A handle that holds a lock, gone with its process whatever ends that; None if another has it."""
    while True:
        handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                return None
            raise
        # Who held it may have removed the file since it was opened here: a lock on it keeps nobody out.
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)
