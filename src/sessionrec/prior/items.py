"""What is known of items at a time, whoever asks: faded counts, click rate, age.

Features are 0 for an item without an event, so nothing is said of what nothing is known of:

    acted h, shown h    max(log2 count_h(v, t), lowest) - lowest
    click rate h        log2 (acted_h / r + m) / (shown_h + m)     r = the log's own rate, m = smoothing
    age                 log2 (1 + minutes since the first event)

Letters: V candidates, P pairs of item and time, F features.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sessionrec.dynamics import FadedCounts, ItemEvents, ItemState
from sessionrec.jagged import IntArray
from sessionrec.prior.config import PriorConfig

Floats = npt.NDArray[np.float32]
_DAY_S = 86_400.0


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

    def scheme(self, config: PriorConfig) -> ItemScheme:
        """Which features items of this log have."""
        counts = len(self.acted.time_ms_N), len((self.shown or self.acted).time_ms_N)
        rate = max(counts[0], 1) / max(counts[1], 1)
        return ItemScheme(config=config, span_s=self.span_s, rate=rate, has_shown=self.shown is not None)


class ItemSource(Protocol):
    """Features of items at a time: from all that happened before it (`ItemFeatures`), or from how they stand now
    (`LiveItems`)."""

    @property
    def scheme(self) -> ItemScheme:
        """What its columns are."""
        ...

    @property
    def changes(self) -> int:
        """How often what is known has changed; what was found before may not hold any more."""
        ...

    def meant(self, time_ms_P: IntArray) -> IntArray:
        """[P] the times that features are of when these are asked for."""
        ...

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> Floats:
        """[P, F] of single items (1..V) at some times."""
        ...

    def sweep(self, time_ms_Q: IntArray) -> Iterator[tuple[int, Floats]]:
        """Each question's place and [V, F] at its time, in the order of time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScheme:
    """Which features items have; weights belong to one scheme."""

    config: PriorConfig
    span_s: float
    """Of the log that the weights were fitted on."""
    rate: float
    """Acted on of what was shown in that log, r."""
    has_shown: bool
    """Whether it has exposures."""

    @property
    def acted_s(self) -> tuple[float, ...]:
        """Half-lives of what was acted on."""
        return _within(self.config.acted_half_lives_s, self.span_s)

    @property
    def shown_s(self) -> tuple[float, ...]:
        """Half-lives of what was shown."""
        return _within(self.config.shown_half_lives_s, self.span_s) if self.has_shown else ()

    @property
    def rated_s(self) -> tuple[float, ...]:
        """Half-lives of click rates; a rate does not grow with the log, so none is too long."""
        return self.config.rate_half_lives_s if self.has_shown else ()

    @property
    def names(self) -> tuple[str, ...]:
        """[F] what each column says."""
        return (
            *(f"acted {words(half_life)}" for half_life in self.acted_s),
            *(f"shown {words(half_life)}" for half_life in self.shown_s),
            *(f"click rate {words(half_life)}" for half_life in self.rated_s),
            *(("age",) if self.config.has_age else ()),
        )

    @property
    def horizon_ms(self) -> int:
        """The longest half-life of what all users do: after it nothing stands as it did."""
        # A prior without counts of either kind has rates, or no more than ages.
        return int(max(self.acted_s + self.shown_s or self.rated_s, default=_DAY_S) * 1000)

    @property
    def counted_s(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Half-lives that acted and shown are counted at, for the rates too; those of `acted_s` and `shown_s` first."""
        acted, shown = (tuple(dict.fromkeys((*own, *self.rated_s))) for own in (self.acted_s, self.shown_s))
        return acted, shown

    def of(self, acted_PH: Floats, shown_PH: Floats | None, time_ms_P: IntArray | int, first_ms_P: IntArray) -> Floats:
        """[P, F] of log2 of the counts at `counted_s`, and of when an item was first seen; 0 = never."""
        lowest = np.float32(self.config.lowest)
        columns = [np.maximum(acted_PH[:, : len(self.acted_s)], lowest) - lowest]
        if shown_PH is not None:
            columns.append(np.maximum(shown_PH[:, : len(self.shown_s)], lowest) - lowest)
            if self.rated_s:
                m = np.float32(self.config.smoothing)
                of_acted, of_shown = ([counted.index(h) for h in self.rated_s] for counted in self.counted_s)
                acted_PR, shown_PR = np.exp2(acted_PH[:, of_acted]), np.exp2(shown_PH[:, of_shown])
                columns.append(np.log2((acted_PR / np.float32(self.rate) + m) / (shown_PR + m)))
        if self.config.has_age:
            is_known_P = (first_ms_P > 0) & (first_ms_P < time_ms_P)
            minutes_P = np.where(is_known_P, (time_ms_P - first_ms_P) / 60_000, 0.0)
            columns.append(np.log2(1 + minutes_P).astype(np.float32)[:, None])
        return np.concatenate(columns, axis=1)


class ItemFeatures:
    """Features of items at any time, from all events before it.

    Args:
        known: Events that may be known; of them a question uses those strictly before it.
        scheme: That weights belong to; by default of these events.
        config: Which features, where there is no scheme yet.
    """

    changes = 0

    def __init__(self, known: Known, config: PriorConfig | None = None, *, scheme: ItemScheme | None = None) -> None:
        self.known = known
        self.scheme = scheme or known.scheme(config or PriorConfig())
        acted_s, shown_s = self.scheme.counted_s
        self._acted = FadedCounts(known.acted, acted_s)
        self._shown = None if known.shown is None else FadedCounts(known.shown, shown_s)

    def meant(self, time_ms_P: IntArray) -> IntArray:
        """See `ItemSource`; any time is itself."""
        return time_ms_P

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> Floats:
        """See `ItemSource`."""
        events = self.known.shown or self.known.acted
        begin_P, end_P = events.offsets[item_P - 1], events.offsets[item_P]
        first_P = np.zeros(len(item_P), np.int64)
        has_P = end_P > begin_P
        first_P[has_P] = events.time_ms_N[begin_P[has_P]]
        shown_PH = None if self._shown is None else self._shown.at(time_ms_P, item_P)
        return self.scheme.of(self._acted.at(time_ms_P, item_P), shown_PH, time_ms_P, first_P)

    def sweep(self, time_ms_Q: IntArray) -> Iterator[tuple[int, Floats]]:
        """See `ItemSource`."""
        if self._shown is None:
            for place, state in self._acted.sweep(time_ms_Q):
                time_ms = int(time_ms_Q[place])
                yield place, self.scheme.of(state.at(time_ms), None, time_ms, state.first_ms_V)
            return
        for (place, acted), (_, shown) in zip(self._acted.sweep(time_ms_Q), self._shown.sweep(time_ms_Q), strict=True):
            time_ms = int(time_ms_Q[place])
            yield place, self.scheme.of(acted.at(time_ms), shown.at(time_ms), time_ms, shown.first_ms_V)


class LiveItems:
    """Features of items as they stand now; an event changes one row (`add`), so a stream can carry them along.

    A question of a time before the newest event is answered as if it were asked just after it, since counts only fade;
    and one of long after, as if it were asked a half-life after it, the longest: a state that nobody feeds any more
    shall not lose all differences between its items.

    Args:
        scheme: That weights belong to.
        acted: Of what was acted on, at the scheme's `counted_s`.
        shown: Of what was shown, where the log has exposures.
    """

    def __init__(self, scheme: ItemScheme, acted: ItemState, shown: ItemState | None) -> None:
        if (shown is not None) != scheme.has_shown:
            raise ValueError("the scheme and the state do not agree on whether there are exposures")
        self.scheme, self.acted, self.shown = scheme, acted, shown
        self._adding = threading.Lock()
        # What was acted on was shown.
        self._newest_ms = int((shown or acted).time_ms_V.max(initial=0))
        self._horizon_ms = scheme.horizon_ms
        self.changes = 0

    def with_items(self, number: int, *, as_least: bool = False) -> LiveItems:
        """A copy with so many items more, of which nothing has happened. The two count apart from then on.

        Args:
            number: Of items.
            as_least: Whether they begin with the least count of any item, and as old as the youngest, instead of with
                nothing: for weights that were fitted where something had happened to every item.
        """
        with self._adding:
            acted, shown = self.acted.with_items(number), self.shown and self.shown.with_items(number)
            if as_least:
                for state in (acted, shown):
                    if state is not None:
                        _begin_as_least(state, number, self._newest_ms)
            return LiveItems(self.scheme, acted, shown)

    def add(self, item: int, time_ms: int, *, is_acted: bool) -> None:
        """Take an event of an item (1..V); an exposure of a log without them counts nothing. Several threads may.

        Raises:
            ValueError: There is no such item, or the time is not after 1970.
        """
        # Two events of an item at once would count as one.
        with self._adding:
            if is_acted:
                self.acted.add(item, time_ms)
            if self.shown is not None:
                self.shown.add(item, time_ms)
            elif not is_acted:
                return
            self._newest_ms = max(self._newest_ms, time_ms)
            self.changes += 1

    def add_all(self, item_N: IntArray, time_ms_N: IntArray, is_acted_N: npt.NDArray[np.bool_]) -> None:
        """Take many events at once, in any order: the same as `add` of each; who asks meanwhile may see some."""
        with self._adding:
            self.acted.add_all(item_N[is_acted_N], time_ms_N[is_acted_N])
            if self.shown is not None:
                self.shown.add_all(item_N, time_ms_N)
            counted = time_ms_N if self.shown is not None else time_ms_N[is_acted_N]
            self._newest_ms = max(self._newest_ms, int(counted.max(initial=0)))
            self.changes += 1

    def at(self, time_ms_P: IntArray, item_P: IntArray) -> Floats:
        """See `ItemSource`."""
        now_P, columns = self.meant(time_ms_P), item_P - 1
        shown_PH = None if self.shown is None else self.shown.at(now_P, columns)
        first_P = (self.shown or self.acted).first_ms_V[columns]
        return self.scheme.of(self.acted.at(now_P, columns), shown_PH, now_P, first_P)

    def sweep(self, time_ms_Q: IntArray) -> Iterator[tuple[int, Floats]]:
        """See `ItemSource`."""
        now_Q = self.meant(time_ms_Q)
        for place in np.argsort(time_ms_Q, kind="stable").tolist():
            now_ms = int(now_Q[place])
            shown_VH = None if self.shown is None else self.shown.at(now_ms)
            first_V = (self.shown or self.acted).first_ms_V
            yield place, self.scheme.of(self.acted.at(now_ms), shown_VH, now_ms, first_V)

    def meant(self, time_ms_P: IntArray) -> IntArray:
        """See `ItemSource`."""
        return np.clip(time_ms_P, self._newest_ms + 1, self._newest_ms + self._horizon_ms)


def _begin_as_least(state: ItemState, number: int, now_ms: int) -> None:
    """Let the last items stand as the least known of the others do at a time, not before the newest event."""
    (known,) = np.nonzero(state.is_known_V)
    if not len(known):
        return
    fresh = slice(state.num_candidates - number, None)
    state.after_VH[fresh] = state.at(now_ms, known).min(axis=0)
    state.time_ms_V[fresh], state.first_ms_V[fresh] = now_ms, state.first_ms_V[known].max()


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
