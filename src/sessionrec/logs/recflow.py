"""RecFlow: what one pipeline of a short-video service showed 42,000 users in 37 days, 2024-01-13 to 2024-02-18.

In: the folder with `realshow/<date>.feather`, one row a shown video (the other folders are not needed). Out: a `Log`;
session = `request_id` (at most 6 shown videos), positive = `effective_view = 1` (watched at least 30 % of it).

Source: github.com/RecFlow-ICLR/RecFlow, "RecFlow: An Industrial Full Flow Recommendation Dataset", ICLR 2025, licence
CC BY-SA 4.0. Stated there: 38 M shown videos, 9 M videos, 9.3 M requests. Arxiv 2502.10157, Table 1, keeps after its
filters 28,257 users, 1,482,117 items and 22,896,181 events: 810.28 events and 404.11 positives a user.

Traps: `all_stage/` has the same columns but mostly videos that were never shown, hence not one of ours; rows of a
request share one timestamp; `request_timestamp` is in milliseconds, `upload_timestamp` in seconds; ids begin at 0.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import model_validator

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_files, require_columns, scan

_RAW: Final = {
    schema.USER: "user_id",
    schema.ITEM: "video_id",
    schema.TIME_MS: "request_timestamp",
    schema.SESSION: "request_id",
}
_ITEM_FEATURES: Final = (
    Feature(name="author_id", kind="category"),
    Feature(name="category_level_one", kind="category"),
    Feature(name="category_level_two", kind="category"),
    Feature(name="upload_type", kind="category"),
    Feature(name="duration", kind="number"),
)


class RecflowConfig(Config):
    """RecFlow's exposed stage."""

    kind: Literal["recflow"] = "recflow"
    """Which reader."""
    path: RawPath
    """The folder with `realshow` in it, `realshow` itself, or one daily file."""
    positive: str = "effective_view = 1"
    """SQL condition of a positive event over the raw columns; a stricter one is `long_view = 1 OR "like" = 1`."""
    actions: dict[str, str] = {
        "long_view": "long_view = 1",
        "like": '"like" = 1',
        "follow": "follow = 1",
        "forward": "forward = 1",
        "comment": "comment = 1",
    }
    """Name and SQL condition of further actions."""
    from_date: datetime.date | None = None
    """First daily file to read; the first there is if none."""
    to_date: datetime.date | None = None
    """Last daily file to read, itself included; the last there is if none."""

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> RecflowConfig:
        if self.from_date and self.to_date and self.from_date > self.to_date:
            raise ValueError(f"from_date {self.from_date} must not be after to_date {self.to_date}")
        return self

    def open(self) -> Log:
        """Describe the log; reads only the ends of the files.

        Raises:
            LogError: If files or columns are missing.
        """
        files = self._files()
        raw = scan(files, "ipc")
        needed = [*_RAW.values(), *(feature.name for feature in _ITEM_FEATURES)]
        types = require_columns(raw, {name: name for name in needed}, files)
        with about(files):
            events = raw.select(
                id_column("user_id", types["user_id"], schema.USER),
                id_column("video_id", types["video_id"], schema.ITEM),
                time_ms("request_timestamp", types["request_timestamp"], "ms"),
                action_mask(self.positive, self.actions, raw),
                id_column("request_id", types["request_id"], schema.SESSION),
            )
        # Features stand in the rows of the log. Grouping them here would hold every video of the raw log in memory
        # (half a kilobyte each); the catalogue takes the first row of those that are kept.
        with about(files):
            items = raw.select(
                id_column("video_id", types["video_id"], schema.ITEM),
                *(feature_column(feature.name, types[feature.name], feature) for feature in _ITEM_FEATURES),
            )
        return Log(
            name="RecFlow",
            events=events,
            items=items,
            actions=tuple(self.actions),
            context_features=(),
            item_features=_ITEM_FEATURES,
            has_session=True,
            has_weight=False,
            files=files,
            raw=raw,
            raw_columns=_RAW,
        )

    def _files(self) -> tuple[Path, ...]:
        found = find_files(self.path, "realshow/*.feather", "*.feather")
        if self.from_date is None and self.to_date is None:
            return found
        first, last = self.from_date or datetime.date.min, self.to_date or datetime.date.max
        files = tuple(file for file in found if first <= _date_of(file) <= last)
        if not files:
            raise LogError(
                f"{self.path}: expected daily files from {self.from_date or 'the first'} to "
                f"{self.to_date or 'the last'}, found {found[0].stem} to {found[-1].stem}; change the dates"
            )
        return files


def _date_of(file: Path) -> datetime.date:
    try:
        return datetime.date.fromisoformat(file.stem)
    except ValueError:
        raise LogError(f"{file}: expected a name such as 2024-01-13.feather; rename it or drop the dates") from None
