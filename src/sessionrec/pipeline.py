"""The stages, each reads one artifact and writes one: so far `prepare`, raw log -> data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.logs import LogConfig
from sessionrec.sessions.polars_engine import Progress
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


def prepare(config: DataConfig, out: Path | str, progress: Progress = lambda *_: None) -> Dataset:
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
    with prepare_sessions(log, config, progress) as prepared:
        write_dataset(Path(out), prepared, config.storage, config.model_dump(mode="json"), progress)
    return Dataset(out)
