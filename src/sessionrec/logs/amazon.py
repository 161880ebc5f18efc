"""Amazon reviews as the sequential-recommendation papers use them: a text file with one `user item` pair a line.

Source: the preprocessed files of the SASRec and BERT4Rec code (`Beauty.txt`, `Steam.txt`, `Video_Games.txt`, also
`ml-1m.txt`), made from J. McAuley's Amazon review data. Licence: the reviews are for research; see the source.

There are no times: the lines of a user are in order of time, and that is all the file says. The reader makes times up:
the n-th line of a user (n = 0, 1, ...) is 2000-01-01 UTC plus n steps of `step_s`. So order inside a user is right,
every event is a session of its own under a gap rule, and anything that compares the times of two users (a global-time
split, recency popularity, a time bias) is meaningless here.

Session: none. Positive: every row.
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl
from pydantic import Field

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.logs.base import Log, RawPath
from sessionrec.logs.columns import action_mask, id_column
from sessionrec.logs.files import about, find_files, require_columns, scan

FIRST_MS: Final = 946_684_800_000
"""2000-01-01 UTC: the made-up time of every user's first event."""

_RAW: Final = {schema.USER: "user", schema.ITEM: "item"}


class AmazonConfig(Config):
    """Pairs of user and item, one a line, in order of time for each user; times are made up."""

    kind: Literal["amazon"] = "amazon"
    """Which reader."""
    path: RawPath
    """The text file, or a folder of `*.txt`."""
    step_s: int = Field(default=86_400, ge=1)
    """Made-up seconds between two events of a user; a day leaves room for 36,525 events a user before the year 2100."""
    positive: str = "true"
    """SQL condition of a positive event over `user` and `item`."""

    def open(self) -> Log:
        """Describe the log; reads the first rows for the types only."""
        files = find_files(self.path, "*.txt")
        raw = scan(files, "csv", names=(schema.USER, schema.ITEM), separator=" ", quote=None)
        types = require_columns(raw, _RAW, files)
        position = pl.int_range(pl.len(), dtype=pl.Int64).over(schema.USER)
        with about(files):
            events = raw.select(
                id_column(schema.USER, types[schema.USER], schema.USER),
                id_column(schema.ITEM, types[schema.ITEM], schema.ITEM),
                (FIRST_MS + position * (self.step_s * 1000)).alias(schema.TIME_MS),
                action_mask(self.positive, {}, raw),
            )
        return Log(
            name=f"Amazon pairs ({files[0].stem})",
            events=events,
            items=None,
            actions=(),
            context_features=(),
            item_features=(),
            has_session=False,
            has_weight=False,
            files=files,
            notes="The source has no times: they are made up from the order of each user's lines.",
            raw=raw,
            raw_columns=_RAW,
        )
