"""`prepare`: a raw log becomes a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from sessionrec.artifacts import fingerprint
from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.writer import Storage, dataset_writer, write_into
from sessionrec.errors import LogError
from sessionrec.logs import Log, LogConfig
from sessionrec.progress import Progress, silent
from sessionrec.sessions.prepare import Preparation
from sessionrec.sessions.prepare import prepare as prepare_sessions


class DataConfig(Preparation):
    """A data set: which log, and how it becomes sessions."""

    log: LogConfig = Field(...)
    """The raw log."""
    storage: Storage = Storage()
    """How the data set is cut into files."""


def load_data_config(path: Path, overrides: Sequence[str] = ()) -> DataConfig:
    """Read and check a data set's config; see `config.load`."""
    return load(DataConfig, path, overrides)


def prepare(config: DataConfig, out: Path | str, progress: Progress = silent) -> Dataset:
    """Make a data set of a raw log.

    Args:
        config: Which log, and how.
        out: Folder of the data set; an earlier one there is replaced once the new one is whole.
        progress: Called with stage, units done and units in all.

    Raises:
        LogError: The log is not what the config says.
        EmptyDatasetError: Nothing is left after the filters.
        ArtifactError: `out` cannot be written.
    """
    log = config.log.open()
    with dataset_writer(Path(out)) as writer:
        inputs, stamps = fingerprint(log.files), _stamps(log)
        with prepare_sessions(log, config, progress) as prepared:
            if _stamps(log) != stamps:
                raise LogError(f"{log.name}: its files changed while they were read; prepare again")
            write_into(
                writer,
                prepared,
                config.storage,
                config=config.model_dump(mode="json"),
                inputs=inputs,
                progress=progress,
            )
    return Dataset(out)


def _stamps(log: Log) -> list[tuple[int, int] | None]:
    """Size and time of change of each raw file, None where there is none any more."""
    return [(file.stat().st_size, file.stat().st_mtime_ns) if file.exists() else None for file in log.files]
