"""Globo.com (G1), "News Portal User Interactions", version 2: clicks of a news portal in October 2017.

Source: kaggle.com/datasets/gspmoreira/news-portal-user-interactions-by-globocom, by Moreira et al. (DLRS 2018, arXiv
1904.10367), which ask to be cited. Licence: academic use only.

Expected, whole source: 2,988,181 clicks, 322,897 users, 1,048,594 sessions, 46,033 items.

Session: native, `session_id` (mean 2.85 clicks). Positive: every row, for the log has clicks only; there is no exposure
without a click, so no rank loss and no in-session ranking.

Traps: one of the hourly files is empty, which is no damage. News live for hours: leave-last-session-out lets other
users' later clicks on the same items into training, so show a global-time split beside it.
"""

from __future__ import annotations

from typing import Final, Literal

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, feature_column, id_column, time_ms
from sessionrec.logs.files import about, find_first, require_columns, scan

_CONTEXT: Final = {
    "environment": "click_environment",
    "device_group": "click_deviceGroup",
    "os": "click_os",
    "country": "click_country",
    "region": "click_region",
    "referrer_type": "click_referrer_type",
}
_RAW: Final = {
    schema.USER: "user_id",
    schema.ITEM: "click_article_id",
    schema.TIME_MS: "click_timestamp",
    schema.SESSION: "session_id",
}


class GloboConfig(Config):
    """Clicks of the Globo.com news portal."""

    kind: Literal["globo"] = "globo"
    """Which reader."""
    path: RawPath
    """Folder with `clicks_hour_*.csv` (or `clicks/clicks_hour_*.csv`), or the same rows as one Parquet file."""
    positive: str = "true"
    """SQL condition of a positive event over the raw columns. Every row is a click."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions."""

    def open(self) -> Log:
        """Describe the log; reads headers only."""
        csv = ("clicks_hour_*.csv", "clicks/clicks_hour_*.csv")
        files = find_first(self.path, csv, ("clicks*.parquet",), skip_empty=True)
        raw = scan(files)
        types = require_columns(raw, {name: name for name in (*_RAW.values(), *_CONTEXT.values())}, files)
        context = tuple(Feature(name=name, kind="category") for name in _CONTEXT)
        with about(files):
            events = raw.select(
                id_column(_RAW[schema.USER], types[_RAW[schema.USER]], schema.USER),
                id_column(_RAW[schema.ITEM], types[_RAW[schema.ITEM]], schema.ITEM),
                time_ms(_RAW[schema.TIME_MS], types[_RAW[schema.TIME_MS]], "ms"),
                action_mask(self.positive, self.actions, raw),
                id_column(_RAW[schema.SESSION], types[_RAW[schema.SESSION]], schema.SESSION),
                *(
                    feature_column(_CONTEXT[feature.name], types[_CONTEXT[feature.name]], feature)
                    for feature in context
                ),
            )
        return Log(
            name="Globo.com news clicks",
            events=events,
            items=None,
            actions=tuple(self.actions),
            context_features=context,
            item_features=(),
            has_session=True,
            has_weight=False,
            files=files,
            notes="Clicks only: there are no exposures without a click.",
            raw=raw,
            raw_columns=_RAW,
        )
