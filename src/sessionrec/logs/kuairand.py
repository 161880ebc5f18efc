"""KuaiRand: exposures and feedback of a short-video app, 2022-04-08 to 2022-05-08 (Pure, 1K, 27K).

Source: kuairand.com, github.com/chongminggao/KuaiRand (Gao et al., CIKM 2022). Licence: CC BY-SA 4.0, with attribution.

Reads the official `log_*.csv`, or the same rows as `train.parquet`, `val.parquet`, `test.parquet`.

Expected, KuaiRand-Pure standard log of 04-25 to 05-08: 228,329 rows (222,444 different triples of user, video, time),
25,156 users, 6,361 videos, is_click 44.2 %, long_view 31.1 %.

Session: `native` is the day of Beijing that the log's own column `date` names (120,471 sessions, mean 1.85; it rounds
to the hour, so the 1,975 rows of a day's last half hour count to the next; a `window` of 86,400 s cuts at midnight to
the second); or a gap. Positive: `is_click = 1`, which in the single-column interface means a valid play: over 7 s, or
the whole video if it is shorter.

Traps: the rows of `log_random_*.csv` are shown at random, under another policy, and are left out by default. Exact
repeats of a row stay; the batch engine merges and counts them. Pure keeps 7,583 candidate videos only, so its sequences
are incomplete by design. The first of several tags of a video is its `tag`.

Prefix (`prefix = true`): a published derivative of Pure gives, in `user_sequences.parquet`, the last 50 videos each
user was shown before 04-25, without times: `watch_seq`, oldest first (817,187 events of 26,469 users). They become
events before those of the log: cut from the end into pseudo-sessions of `prefix_session_size`, the newest one day
before the user's `last_time_ms`, each older one a day earlier, 1 ms between the events of one; the oldest may be short.
The lists count 1,208,280 showings before the cut to 50, about as many as the log has rows in those days, and 39 % of
the uncut lists stand in `long_watch_seq`, near the 31 % long views of the log: so they hold *exposures*, not clicks.
Taking all for positives (`prefix_positive = "all"`) adds true context and wrong labels; `"long_view"` labels what the
user watched long, once or more, and misses the shorter clicks. Many users have a list and little else: they would pass
the filters by their lists alone, and be asked for a session that was made up. `prefix_min_days` leaves them out:
with 3, of 11,476 users none is asked for such a session in the test, and 7 are in validation, as filters drop days.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_files, find_first, require_columns, scan

_DAY_MS: Final = 86_400_000
_RAW: Final = {
    schema.USER: "user_id",
    schema.ITEM: "video_id",
    schema.TIME_MS: "time_ms",
    schema.SESSION: "date",
}
_CONTEXT: Final = (Feature(name="tab", kind="category"),)
_ITEM_FEATURES: Final = {
    "author_id": Feature(name="author_id", kind="category"),
    "video_type": Feature(name="video_type", kind="category"),
    "upload_type": Feature(name="upload_type", kind="category"),
    "tag": Feature(name="tag", kind="category"),
    "video_duration": Feature(name="duration_ms", kind="number"),
}


class KuairandConfig(Config):
    """Exposures of KuaiRand with the feedback to each."""

    kind: Literal["kuairand"] = "kuairand"
    """Which reader."""
    path: RawPath
    """Folder with the official `log_*.csv` (also inside `data/`) or with `train.parquet`, `val.parquet`,
    `test.parquet`; item features come from its `video_features_basic_*.csv`, if that is there."""
    positive: str = "is_click = 1"
    """SQL condition of a positive event over the raw columns."""
    actions: dict[str, str] = {
        "long_view": "long_view = 1",
        "like": "is_like = 1",
        "follow": "is_follow = 1",
        "comment": "is_comment = 1",
        "forward": "is_forward = 1",
        "hate": "is_hate = 1",
    }
    """Name and SQL condition of further actions."""
    include_random: bool = False
    """Whether to read `log_random_*.csv` too: videos shown at random, another policy."""
    prefix: bool = False
    """Whether to put the lists of `user_sequences.parquet` before the log, as pseudo-sessions with made-up times."""
    prefix_session_size: int = Field(default=6, ge=1)
    """Events of one pseudo-session."""
    prefix_positive: Literal["all", "long_view"] = "all"
    """Which prefix events count as positive: all, or those that also stand in `long_watch_seq`."""
    prefix_min_days: int = Field(default=0, ge=0)
    """Days with a positive event in the log itself that a user needs for a prefix, so that lists alone bring nobody
    through the filters: 3, as these ask for. Still more users and videos are left than without a prefix (of Pure 11,476
    and 4,189; 9,192 and 3,029), since each counts more events."""
    prefix_min_events: int = Field(default=0, ge=0)
    """Events in the log itself that a video of a prefix needs, likewise."""

    @model_validator(mode="after")
    def _has_a_prefix_to_cut(self) -> Self:
        if not self.prefix and (self.prefix_min_days or self.prefix_min_events):
            raise ValueError(
                "`prefix_min_days` and `prefix_min_events` say what of a prefix is kept; set `prefix = true`"
            )
        return self

    def open(self) -> Log:
        """Describe the log; reads headers only."""
        logs = ["log_standard_*.csv", *(["log_random_*.csv"] if self.include_random else [])]
        splits = ("train.parquet", "val.parquet", "test.parquet")
        files = find_first(self.path, logs, [f"data/{name}" for name in logs], splits)
        raw = scan(files)
        types = require_columns(raw, {name: name for name in (*_RAW.values(), "tab")}, files)
        with about(files):
            events = raw.select(
                id_column("user_id", types["user_id"], schema.USER),
                id_column("video_id", types["video_id"], schema.ITEM),
                time_ms("time_ms", types["time_ms"], "ms"),
                action_mask(self.positive, self.actions, raw),
                id_column("date", types["date"], schema.SESSION),
                feature_column("tab", types["tab"], _CONTEXT[0]),
            )
        if self.prefix:
            lists = find_files(files[0].parent, "user_sequences.parquet")
            files = (*files, *lists)
            events = pl.concat([self._of_the_log(self._prefix(lists, events.collect_schema()), events), events])
        items, item_features, item_files = _items(files[0].parent)
        return Log(
            name="KuaiRand",
            events=events,
            items=items,
            actions=tuple(self.actions),
            context_features=_CONTEXT,
            item_features=item_features,
            has_session=True,
            # Repeated rows round to different hours, and so to different dates.
            repeats_ignore_session=True,
            has_weight=False,
            files=(*files, *item_files),
            notes="With a prefix of watched lists: its times are made up." if self.prefix else "",
            raw=None if self.prefix else raw,
            raw_columns={} if self.prefix else _RAW,
        )

    def _of_the_log(self, prefix: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
        """What of a prefix is of users and videos that the log itself knows well enough."""
        if self.prefix_min_days:
            acted = events.filter(pl.col(schema.ACTION) & schema.POSITIVE != 0)
            days = acted.group_by(schema.USER).agg(pl.col(schema.SESSION).n_unique())
            known = days.filter(pl.col(schema.SESSION) >= self.prefix_min_days)
            prefix = prefix.join(known, on=schema.USER, how="semi", maintain_order="left")
        if self.prefix_min_events:
            known = events.group_by(schema.ITEM).len().filter(pl.col("len") >= self.prefix_min_events)
            prefix = prefix.join(known, on=schema.ITEM, how="semi", maintain_order="left")
        return prefix

    def _prefix(self, files: tuple[Path, ...], types: pl.Schema) -> pl.LazyFrame:
        raw = scan(files)
        require_columns(raw, {n: n for n in ("user_id", "last_time_ms", "watch_seq", "long_watch_seq")}, files)
        size, length = self.prefix_session_size, pl.col("watch_seq").list.len().cast(pl.Int64)
        from_end = length - 1 - pl.int_ranges(0, length)
        rows = (
            raw.filter(length > 0)
            .with_columns(from_end.alias("from_end"))
            .explode("watch_seq", "from_end")
            .with_columns(pl.col("watch_seq").is_in(pl.col("long_watch_seq")).fill_null(False).alias("is_long"))
        )
        positive = pl.lit(True) if self.prefix_positive == "all" else pl.col("is_long")
        names = list(self.actions)
        long_bit = 1 << (names.index("long_view") + 1) if "long_view" in names else 0
        action = positive.cast(pl.UInt16) * schema.POSITIVE | pl.col("is_long").cast(pl.UInt16) * pl.lit(
            long_bit, pl.UInt16
        )
        sessions_back = 1 + pl.col("from_end") // size
        inside = size - 1 - pl.col("from_end") % size
        prefix = rows.select(
            id_column("user_id", raw.collect_schema()["user_id"], schema.USER),
            id_column("watch_seq", rows.collect_schema()["watch_seq"], schema.ITEM),
            (pl.col("last_time_ms") - sessions_back * _DAY_MS + inside).alias(schema.TIME_MS),
            action.cast(pl.UInt16).alias(schema.ACTION),
            # Dates are positive: a negative number is no day of the log.
            (-sessions_back).alias(schema.SESSION),
            pl.lit(None, types["tab"]).alias("tab"),
        )
        got = prefix.collect_schema()
        if got != types:
            raise LogError(
                f"{files[0]}: expected the types of the log, {dict(types)}, got {dict(got)}; rewrite the file"
            )
        return prefix


def _items(folder: Path) -> tuple[pl.LazyFrame | None, tuple[Feature, ...], tuple[Path, ...]]:
    patterns = ("video_features_basic*.csv", "video_features_basic*.csv.gz")
    if not any(file for pattern in patterns for file in folder.glob(pattern)):
        return None, (), ()
    files = find_files(folder, *patterns)
    raw = scan(files, "csv", types={"tag": pl.String, "music_type": pl.Float64, "video_duration": pl.Float64})
    types = require_columns(raw, {name: name for name in ("video_id", *_ITEM_FEATURES)}, files)
    first_tag = raw.with_columns(pl.col("tag").str.split(",").list.first())
    with about(files):
        items = first_tag.select(
            id_column("video_id", types["video_id"], schema.ITEM),
            *(feature_column(column, types[column], feature) for column, feature in _ITEM_FEATURES.items()),
        )
    return items.unique(schema.ITEM, keep="first", maintain_order=True), tuple(_ITEM_FEATURES.values()), files
