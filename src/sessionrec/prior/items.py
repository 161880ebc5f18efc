"""What is known of items at a time, whoever asks: faded counts, click rate, age.

Features are 0 for an item without an event, so nothing is said of what nothing is known of:

    acted h, shown h    max(log2 count_h(v, t), lowest) - lowest
    click rate          log2 (acted_h / r + m) / (shown_h + m)     r = the log's own rate, m = smoothing
    age                 log2 (1 + minutes since the first event)

Letters: V candidates, P pairs of item and time, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sessionrec.dynamics import FadedCounts, ItemEvents
from sessionrec.jagged import IntArray
from sessionrec.prior.config import PriorConfig

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Events of all users that may be known."""

    acted: ItemEvents
    """Positive events."""
    shown: ItemEvents | None
    """All events; None where there are no others."""

    @property
    def num_candidates(self) -> int:
        """V."""
        return self.acted.num_candidates

    @property
    def span_s(self) -> float:
        """From the first event to the last."""
        times = (self.shown or self.acted).time_ms_N
        return float(np.ptp(times)) / 1000 if len(times) else 0.0


class ItemFeatures:
    """Features of items at any time.

    Args:
        known: Events that may be known; of them a question uses those strictly before it.
        config: Which features.
        span_s: Of the log that the weights belong to; by default of this one.
        rate: Acted on of what was shown, r; by default of this log.
    """

    def __init__(
        self, known: Known, config: PriorConfig, *, span_s: float | None = None, rate: float | None = None
    ) -> None:
        self.known, self._config = known, config
        self.span_s = known.span_s if span_s is None else span_s
        acted = _within(config.acted_half_lives_s, self.span_s)
        shown = _within(config.shown_half_lives_s, self.span_s) if known.shown is not None else ()
        self._acted = FadedCounts(known.acted, acted)
        self._shown = None if known.shown is None else FadedCounts(known.shown, shown)
        counts = len(known.acted.time_ms_N), len((known.shown or known.acted).time_ms_N)
        self.rate = (max(counts[0], 1) / max(counts[1], 1)) if rate is None else rate
        both = sorted(set(acted) & set(shown))
        self._rated = (acted.index(both[-1]), shown.index(both[-1])) if both and config.has_rate else None
        self.names: tuple[str, ...] = (
            *(f"acted {words(half_life)}" for half_life in acted),
            *(f"shown {words(half_life)}" for half_life in shown),
            *(("click rate",) if self._rated else ()),
            *(("age",) if config.has_age else ()),
        )

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> Floats:
        """[P, F] of single items (1..V) at some times."""
        events = self.known.shown or self.known.acted
        begin_P, end_P = events.offsets[item_P - 1], events.offsets[item_P]
        first_P = np.zeros(len(item_P), np.int64)
        has_P = end_P > begin_P
        first_P[has_P] = events.time_ms_N[begin_P[has_P]]
        shown_PH = None if self._shown is None else self._shown.at(time_ms_P, item_P)
        return self._of(self._acted.at(time_ms_P, item_P), shown_PH, time_ms_P, first_P)

    def sweep(self, time_ms_Q: IntArray) -> Iterator[tuple[int, Floats]]:
        """Each question's place and [V, F] at its time, in the order of time."""
        if self._shown is None:
            for place, state in self._acted.sweep(time_ms_Q):
                time_ms = int(time_ms_Q[place])
                yield place, self._of(state.at(time_ms), None, time_ms, state.first_ms_V)
            return
        for (place, acted), (_, shown) in zip(self._acted.sweep(time_ms_Q), self._shown.sweep(time_ms_Q), strict=True):
            time_ms = int(time_ms_Q[place])
            yield place, self._of(acted.at(time_ms), shown.at(time_ms), time_ms, shown.first_ms_V)

    def _of(self, acted_PH: Floats, shown_PH: Floats | None, time_ms_P: IntArray | int, first_ms_P: IntArray) -> Floats:
        lowest = np.float32(self._config.lowest)
        columns = [np.maximum(acted_PH, lowest) - lowest]
        if shown_PH is not None:
            columns.append(np.maximum(shown_PH, lowest) - lowest)
            if self._rated is not None:
                m = np.float32(self._config.smoothing)
                acted_P, shown_P = (np.exp2(x[:, h]) for x, h in zip((acted_PH, shown_PH), self._rated, strict=True))
                columns.append(np.log2((acted_P / np.float32(self.rate) + m) / (shown_P + m))[:, None])
        if self._config.has_age:
            is_known_P = (first_ms_P > 0) & (first_ms_P < time_ms_P)
            minutes_P = np.where(is_known_P, (time_ms_P - first_ms_P) / 60_000, 0.0)
            columns.append(np.log2(1 + minutes_P).astype(np.float32)[:, None])
        return np.concatenate(columns, axis=1)


def words(seconds: float) -> str:
    """A length of time for people: `15 min`, `4 h`, `28 d`."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _within(half_lives_s: tuple[float, ...], span_s: float) -> tuple[float, ...]:
    """Those that a log is long enough for, at least the shortest."""
    kept = tuple(sorted({half_life for half_life in half_lives_s if 2 * half_life <= span_s}))
    return kept or tuple(sorted(half_lives_s))[:1]
