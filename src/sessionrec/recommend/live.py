"""Events as callers have them -> counts of a model's prior."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from sessionrec.errors import HistoryError
from sessionrec.prior import LiveItems
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.coding import IS_POSITIVE, event_times, expect_column, expect_ids, expect_times, flags
from sessionrec.recommend.histories import HistoryCoder, time_ms
from sessionrec.schema import ITEM

_CLOCKS_DIFFER_MS = 3_600_000
"""An event may come with a clock that is ahead; it is counted as of now, since nothing is answered as of later."""


def count(model: TrainedModel, coder: HistoryCoder, events: pl.DataFrame) -> int:
    """See `SessionRec.add_all`."""
    live = _live_of(model)
    expect_column(events, ITEM)
    if not len(events):
        return 0
    times = event_times(events)
    try:
        expect_ids(events, ITEM)
        latest_ms = _now_ms() + _CLOCKS_DIFFER_MS
        expect_times(events, times, latest_ms, "the time of an event that happened, from 1980 on")
    except HistoryError as error:
        raise HistoryError(f"{error}; nothing was counted") from None
    is_acted_N = flags(events, IS_POSITIVE, default=True)
    item_N = coder.item_indices(events[ITEM]).astype(np.int64)
    is_known_N = item_N > 0
    time_ms_N = np.minimum(times.to_numpy(), _now_ms())
    live.add_all(item_N[is_known_N], time_ms_N[is_known_N], is_acted_N[is_known_N])
    return int(is_known_N.sum())


def count_one(model: TrainedModel, coder: HistoryCoder, item: object, time: datetime, *, is_acted: bool) -> None:
    """See `SessionRec.add`."""
    live = _live_of(model)
    (code,) = coder.item_indices([item]).tolist()
    if not code:
        raise HistoryError(f"the model does not know item {item!r}, so nothing can be counted of it; see `with_items`")
    if time_ms(time) > _now_ms() + _CLOCKS_DIFFER_MS:
        raise HistoryError(f"expected the time of an event that happened, got {time.isoformat()}; look at its zone")
    live.add(code, min(time_ms(time), _now_ms()), is_acted=is_acted)


def _live_of(model: TrainedModel) -> LiveItems:
    if model.prior is None:
        raise HistoryError("this model has no prior and keeps no counts; fit one with the preset `sessionrec`")
    return model.prior.live


def _now_ms() -> int:
    return time_ms(datetime.now(UTC))
