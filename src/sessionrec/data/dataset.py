"""A data set on disk, opened: its manifest, its catalogue, and its users one row group at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sessionrec.artifacts import Manifest, read_manifest
from sessionrec.data import layout
from sessionrec.data.writer import ITEMS, VOCABULARIES
from sessionrec.errors import ArtifactError, HistoryError
from sessionrec.sessions.filters import Counts
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.prepare import Summary
from sessionrec.sessions.tally import PartCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroup:
    """Some whole users that are read at once."""

    file: str
    row_group: int
    users: int
    sessions: int
    events: int
    first_user: int
    """Users of the data set before it: with a user's place in the group, the user's index."""


class Dataset:
    """A finished data set.

    Args:
        path: Folder of the artifact.

    Raises:
        ArtifactError: There is no whole data set of this version at `path`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path, kind=layout.KIND, format=layout.FORMAT)

    @property
    def body(self) -> dict[str, Any]:
        """What the manifest says of this data set."""
        return self.manifest.body

    @cached_property
    def digest(self) -> str:
        """What the users, sessions and their order follow from: equal for a data set made again of the same log."""
        tree = {name: self.body[name] for name in ("inputs", "summary", "row_groups")}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def content(self) -> str:
        """Hash of the users, sessions, events and items themselves, which are all read: equal for equal data in row
        groups of one size, whatever code or raw format it came from."""
        mark = hashlib.sha256(json.dumps([self.actions, self.context_features, self.item_features]).encode())
        for histories in self.histories():
            mark.update(histories.user_U.hash(seed=0).to_numpy().tobytes())
            arrays = [histories.user_offsets, histories.session_time_ms_S, histories.part_S, histories.session_offsets]
            arrays += [histories.item_E, histories.action_E, histories.time_ms_E, *histories.features.values()]
            arrays += [] if histories.weight_E is None else [histories.weight_E]
            for array in arrays:
                mark.update(np.ascontiguousarray(array).tobytes())
        mark.update(self.items.hash_rows(seed=0).to_numpy().tobytes())
        return mark.hexdigest()[:16]

    @property
    def num_items(self) -> int:
        """Items; their indices are 1 to this, and index 0 is `unknown`."""
        return int(self.body["num_items"])

    @property
    def num_candidates(self) -> int:
        """Items with a training event; their indices are 1 to this."""
        return int(self.body["num_candidates"])

    @property
    def num_users(self) -> int:
        """Users of all parts."""
        return self.summary.kept.users

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of bits 1, 2, ... of an event's action; bit 0 is `positive`."""
        return tuple(self.body["log"]["actions"])

    @property
    def context_features(self) -> dict[str, int]:
        """Context features of an event, and the rows an embedding table of each needs."""
        return {entry["name"]: entry["size"] for entry in self.body["features"] if entry["role"] == "context"}

    @property
    def item_features(self) -> dict[str, int]:
        """Features of an item, and the rows an embedding table of each needs."""
        return {entry["name"]: entry["size"] for entry in self.body["features"] if entry["role"] == "item"}

    @cached_property
    def summary(self) -> Summary:
        """What was read, dropped and kept."""
        tree = dict(self.body["summary"])
        return Summary(
            **tree
            | {
                "passes": tuple(Counts(**counts) for counts in tree["passes"]),
                "kept": Counts(**tree["kept"]),
                "parts": {name: PartCounts(**counts) for name, counts in tree["parts"].items()},
                "time_borders": tuple(tree["time_borders"]) if tree["time_borders"] else None,
            }
        )

    @cached_property
    def items(self) -> pl.DataFrame:
        """The catalogue, one row an index, 1 to `num_items`; see `sessions.catalogue`."""
        with self._reading():
            return pl.read_parquet(self._content / ITEMS)

    @cached_property
    def vocabularies(self) -> pl.DataFrame:
        """Values of all categorical features: `role`, `feature`, `index`, `value`, `train_events`."""
        with self._reading():
            return pl.read_parquet(self._content / VOCABULARIES)

    @cached_property
    def row_groups(self) -> tuple[RowGroup, ...]:
        """All row groups, in the order of the users."""
        groups, first = [], 0
        for entry in self.body["row_groups"]:
            groups.append(RowGroup(**entry, first_user=first))
            first += entry["users"]
        return tuple(groups)

    def read(self, group: RowGroup) -> Histories:
        """The users of one row group; arrays are views of what Parquet decoded."""
        with self._reading(), pq.ParquetFile(self._content / group.file, memory_map=True) as file:
            table = file.read_row_group(group.row_group, use_threads=False)
        return layout.from_arrow(table, list(self.context_features))

    def histories(self) -> Iterator[Histories]:
        """All users, one row group after the other."""
        return map(self.read, self.row_groups)

    def find_users(self, users: Sequence[Any]) -> Histories:
        """The whole histories of some users, in the order asked for; every row group may be read.

        Args:
            users: Ids as in the log; text is taken for a number where ids are numbers.

        Raises:
            HistoryError: A user is not there, or comes twice.
        """
        wanted = {str(user): place for place, user in enumerate(users)}
        if len(wanted) < len(users):
            raise HistoryError("`users` names a user twice")
        found: dict[int, Histories] = {}
        for histories in self.histories():
            ids = histories.user_U.cast(pl.String)
            for row in ids.is_in(list(wanted)).arg_true():
                found[wanted[ids[row]]] = histories.users(row, row + 1)
            if len(found) == len(wanted):
                break
        if not wanted:
            raise HistoryError("`users` names nobody; give at least one id")
        missing = [user for user, place in wanted.items() if place not in found]
        if missing:
            raise HistoryError(f"{self.path}: there is no user {missing[0]!r} in this data set")
        return Histories.concat([found[place] for place in range(len(found))])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            if not self._content.exists():
                raise ArtifactError(f"{self.path}: was replaced while it was open; open it again") from None
            what = str(error).splitlines()[0]
            raise ArtifactError(f"{self.path}: damaged, cannot be read: {what}; prepare it again") from error

    @property
    def _content(self) -> Path:
        return self.path / self.manifest.content
