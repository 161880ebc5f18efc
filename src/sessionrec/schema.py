"""The names, types and units of the columns that travel through the house; each is written down here and nowhere else.

`Events`, the table a reader in `logs/` hands on, has one row an event, in the order of the raw file:

    user     Int64 or String   as in the log
    item     Int64 or String   as in the log
    time_ms  Int64             UTC epoch, milliseconds
    action   UInt16            bit set: bit 0 = positive, bit 1.. = the log's named actions; 0 = exposure only
    session  Int64 or String   the log's own session id; only if it has one
    weight   Float32           only if the log has one
    ...                        context features, one column each
"""

from __future__ import annotations

from typing import Final

USER: Final = "user"
ITEM: Final = "item"
TIME_MS: Final = "time_ms"
ACTION: Final = "action"
SESSION: Final = "session"
WEIGHT: Final = "weight"

TITLE: Final = "title"
"""Readable name of an item in the item table; optional, never a feature."""

INDEX: Final = "index"
TRAIN_EVENTS: Final = "train_events"
TRAIN_POSITIVES: Final = "train_positives"
FIRST_SEEN_MS: Final = "first_seen_ms"
"""What the catalogue of a data set says of an item, beside `item`, `title` and its features."""

RESERVED: Final = frozenset(
    {USER, ITEM, TIME_MS, ACTION, SESSION, WEIGHT, TITLE, INDEX, TRAIN_EVENTS, TRAIN_POSITIVES, FIRST_SEEN_MS}
)
"""Names a context or item feature cannot take."""

POSITIVE: Final = 1
"""Bit 0 of `action`: the user acted positively."""

MAX_ACTIONS: Final = 15
"""Named actions a log can have beside the positive rule (bits 1 to 15)."""

UNKNOWN: Final = 0
"""Index 0 of every vocabulary: a value never seen in training."""

NO_ITEM: Final = -1
"""In answers only: there is no such item."""

DAY_MS: Final = 86_400_000
"""A day of the UTC clock."""

MIN_TIME_MS: Final = 315_532_800_000
"""1980-01-01 UTC. An earlier time is taken for a wrong unit."""

MAX_TIME_MS: Final = 4_102_444_800_000
"""2100-01-01 UTC. A later time is taken for a wrong unit."""
