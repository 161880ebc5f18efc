"""`Histories`: users, their sessions and the events of these, as flat arrays; what the steps of `prepare` pass on.

    user_offsets     [0,      2, 3]            cut sessions into users
    session_offsets  [0,   3, 4,      6]       cut events into sessions

Sessions of a user stand oldest first, events of a session in the order time, then row of the log.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.jagged import IntArray, offsets_from_lengths, shrink_rows, take_rows
from sessionrec.schema import POSITIVE

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_USERS = "users.parquet"
_OFFSETS = ("user_offsets", "session_offsets")
_COLUMNS = ("session_time_ms_S", "part_S", "item_E", "action_E", "time_ms_E", "weight_E")

_HEADER = threading.Lock()
"""`np.load` reads its header by `ast.parse`, which fails now and then in two threads at once, seen on CPython 3.11.7
(python/cpython#106905, `SystemError: AST constructor recursion depth mismatch`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """Letters: U users, S sessions of all users, E events of all sessions."""

    user_U: pl.Series
    """[U] user ids as in the log, Int64 or String, in the order of their hash."""
    user_offsets: IntArray
    """[U + 1] cuts sessions into users."""
    session_time_ms_S: IntArray
    """[S] time of the session's first event."""
    part_S: npt.NDArray[np.uint8]
    """[S] part of the split (`sessions.split.Part`); all 0 before the split."""
    session_offsets: IntArray
    """[S + 1] cuts events into sessions."""
    item_E: npt.NDArray[np.int32]
    """[E] item codes; which numbering depends on the step, see `vocabulary`."""
    action_E: npt.NDArray[np.uint16]
    """[E] bit set of actions, `schema.ACTION`."""
    time_ms_E: IntArray
    """[E] UTC epoch."""
    weight_E: npt.NDArray[np.float32] | None
    """[E] weight, if the log has one."""
    features: dict[str, Array]
    """[E] context features by name: int32 codes, or float32 numbers before binning."""

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.user_offsets) - 1

    @property
    def num_sessions(self) -> int:
        """S."""
        return len(self.session_offsets) - 1

    @property
    def num_events(self) -> int:
        """E."""
        return len(self.item_E)

    @property
    def event_offsets(self) -> IntArray:
        """[U + 1] cuts events into users."""
        return self.session_offsets[self.user_offsets]

    def is_positive_E(self) -> Mask:
        """[E] whether the event is positive."""
        return (self.action_E & POSITIVE).astype(np.bool_)

    def map_columns(self, index_E: Array | slice, **changed: Any) -> Histories:
        """The histories with every event column indexed by `index_E`; `changed` gives the offsets that go with it."""
        return replace(
            self,
            item_E=self.item_E[index_E],
            action_E=self.action_E[index_E],
            time_ms_E=self.time_ms_E[index_E],
            weight_E=None if self.weight_E is None else self.weight_E[index_E],
            features={name: values[index_E] for name, values in self.features.items()},
            **changed,
        )

    def keep_sessions(self, keep_S: Mask) -> Histories:
        """Without the sessions that are not kept; users stay, some perhaps without sessions."""
        if keep_S.all():
            return self
        rows = np.flatnonzero(keep_S)
        index_E, session_offsets = take_rows(self.session_offsets, rows)
        kept_before = np.zeros(len(keep_S) + 1, np.int64)
        np.cumsum(keep_S, out=kept_before[1:])
        return self.map_columns(
            index_E,
            user_offsets=kept_before[self.user_offsets],
            session_time_ms_S=self.session_time_ms_S[rows],
            part_S=self.part_S[rows],
            session_offsets=session_offsets,
        )

    def keep_users(self, keep_U: Mask) -> Histories:
        """Without the users that are not kept, and their sessions."""
        if keep_U.all():
            return self
        kept = self.keep_sessions(np.repeat(keep_U, np.diff(self.user_offsets)))
        return replace(
            kept, user_U=self.user_U.filter(pl.Series(keep_U)), user_offsets=shrink_rows(self.user_offsets, keep_U)
        )

    def keep_events(self, keep_E: Mask) -> Histories:
        """Without the events that are not kept; sessions stay, some perhaps without events."""
        if keep_E.all():
            return self
        kept_before = np.zeros(len(keep_E) + 1, np.int64)
        np.cumsum(keep_E, out=kept_before[1:])
        return self.map_columns(np.flatnonzero(keep_E), session_offsets=kept_before[self.session_offsets])

    def users(self, start: int, stop: int) -> Histories:
        """Users `start` to `stop`, views of the arrays."""
        sessions = slice(int(self.user_offsets[start]), int(self.user_offsets[stop]))
        events = slice(int(self.session_offsets[sessions.start]), int(self.session_offsets[sessions.stop]))
        return self.map_columns(
            events,
            user_U=self.user_U[start:stop],
            user_offsets=self.user_offsets[start : stop + 1] - sessions.start,
            session_time_ms_S=self.session_time_ms_S[sessions],
            part_S=self.part_S[sessions],
            session_offsets=self.session_offsets[sessions.start : sessions.stop + 1] - events.start,
        )

    @staticmethod
    def concat(parts: Sequence[Histories]) -> Histories:
        """The users of several histories, one after the other; of one, the same arrays."""
        if len(parts) == 1:
            return parts[0]

        def values(name: str) -> Array:
            return np.concatenate([getattr(part, name) for part in parts])

        def offsets(name: str) -> IntArray:
            return offsets_from_lengths(np.concatenate([np.diff(getattr(part, name)) for part in parts]))

        first = parts[0]
        columns = [name for name in _COLUMNS if getattr(first, name) is not None]
        arrays: dict[str, Any] = {name: values(name) for name in columns} | {name: offsets(name) for name in _OFFSETS}
        return replace(
            first,
            user_U=pl.concat([part.user_U for part in parts]),
            features={name: np.concatenate([part.features[name] for part in parts]) for name in first.features},
            **arrays,
        )

    def save(self, folder: Path) -> None:
        """Write to a folder of plain arrays, for a step that does not fit in memory; not the dataset's format."""
        folder.mkdir(parents=True, exist_ok=True)
        self.user_U.rename("user").to_frame().write_parquet(folder / _USERS, compression="uncompressed")
        for name in (*_OFFSETS, *_COLUMNS):
            if getattr(self, name) is not None:
                np.save(folder / f"{name}.npy", getattr(self, name))
        for number, values in enumerate(self.features.values()):
            np.save(folder / f"feature-{number}.npy", values)
        (folder / "features.json").write_text(json.dumps(list(self.features)), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Histories:
        """Read back what `save` wrote; the arrays are mapped, not read."""

        def mapped(name: str) -> Array:
            file = folder / f"{name}.npy"
            # An empty array cannot be mapped.
            mode: Literal["r"] | None = "r" if file.stat().st_size > 1024 else None
            with _HEADER:
                return np.load(file, mmap_mode=mode, allow_pickle=False)  # type: ignore[no-any-return]

        names = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {name: mapped(name) for name in (*_OFFSETS, *_COLUMNS) if name != "weight_E"}
        return Histories(
            user_U=pl.read_parquet(folder / _USERS).to_series(),
            weight_E=mapped("weight_E") if (folder / "weight_E.npy").exists() else None,
            features={name: mapped(f"feature-{number}") for number, name in enumerate(names)},
            **arrays,
        )
