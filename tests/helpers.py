"""Small logs, and the whole preparation once more in plain Python: dicts, lists and loops, from the description.

Nothing here imports the code it is compared with, beyond the types that travel.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import torch

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.logs.base import Feature, Log
from sessionrec.sessions.histories import Histories

T0 = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""

Id = int | str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a log."""

    user: Id
    item: Id
    time_ms: int
    action: int = 1
    session: Id = 0
    weight: float = 1.0
    device: str | None = None
    price: float | None = None


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A session in plain Python."""

    time_ms: int
    events: list[Row]
    part: int = 0

    @property
    def positives(self) -> int:
        return sum(event.action & 1 for event in self.events)

    def where(self, keep: Callable[[Row], bool]) -> Visit:
        return replace(self, events=[event for event in self.events if keep(event)])


Users = dict[Id, list[Visit]]

CONTEXT = (Feature(name="device", kind="category"), Feature(name="price", kind="number"))


def log_of(
    rows: Sequence[Row],
    *,
    context: tuple[Feature, ...] = (),
    has_session: bool = True,
    has_weight: bool = False,
    repeats_ignore_session: bool = False,
    items: pl.DataFrame | None = None,
    item_features: tuple[Feature, ...] = (),
) -> Log:
    """A log in memory."""
    columns = ["user", "item", "time_ms", "action"]
    columns += ["session"] * has_session + ["weight"] * has_weight + [feature.name for feature in context]
    text = {True: pl.String, False: pl.Int64}
    types: dict[str, Any] = {name: text[bool(rows) and isinstance(getattr(rows[0], name), str)] for name in columns}
    types |= {"time_ms": pl.Int64, "action": pl.UInt16, "weight": pl.Float32, "device": pl.String, "price": pl.Float64}
    data = {name: pl.Series(name, [getattr(row, name) for row in rows], dtype=types[name]) for name in columns}
    return Log(
        name="little",
        events=pl.DataFrame(data).lazy(),
        items=None if items is None else items.lazy(),
        actions=("liked", "bought"),
        context_features=context,
        item_features=item_features,
        has_session=has_session,
        has_weight=has_weight,
        files=(),
        repeats_ignore_session=repeats_ignore_session,
    )


@st.composite
def row_lists(draw: st.DrawFn, max_size: int = 60, *, as_text: bool | None = None, actions: int = 7) -> list[Row]:
    """Logs of a few users and items on few time stamps: many ties, repeats and sessions that take turns."""
    text = draw(st.booleans()) if as_text is None else as_text
    user: Callable[[int], Id] = (lambda n: f"u{n}\u00f8") if text else (lambda n: n * 1_000_003 - 2)
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3),
                st.integers(0, 4),
                st.integers(0, 12),
                st.integers(0, actions),
                st.integers(0, 3),
                st.integers(0, 4),
                st.sampled_from(["phone", "desk", None]),
                st.sampled_from([None, 0.5, 1.0, 2.0, 8.0]),
            ),
            min_size=1,
            max_size=max_size,
        )
    )
    return [
        Row(
            user=user(u),
            item=f"i{i}" if text else i - 1,
            time_ms=T0 + t * 1000,
            action=a,
            session=s,
            weight=w,
            device=d,
            price=p,
        )
        for u, i, t, a, s, w, d, p in drawn
    ]


def slow_hash(value: Id, seed: int = 0) -> int:
    """The hash of one id in big integers, from its description: polynomial of bytes, then SplitMix64's mixing."""
    size, gamma = 1 << 64, 0x9E3779B97F4A7C15
    if isinstance(value, str):
        data = value.encode()
        word = sum((byte + 1) * pow(0x100000001B3, place, size) for place, byte in enumerate(data)) + len(data) * gamma
    else:
        word = value
    word = (word + (seed + 1) * gamma) % size
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % size
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % size
    return word ^ (word >> 31)


# --- assemble ---------------------------------------------------------------------------------------------------------


def plain_users(
    rows: Sequence[Row], rule: str, gap_ms: int = 0, *, repeats_ignore_session: bool = False
) -> tuple[Users, int, int]:
    """Users in the order of their hash, their sessions, and the numbers of exact repeats and of other merged rows."""
    by_user: dict[Id, list[Row]] = defaultdict(list)
    for row in rows:
        by_user[row.user].append(row)
    users: Users = {}
    repeats = merged = 0
    for user in sorted(by_user, key=lambda name: (slow_hash(name), name)):
        own = sorted(by_user[user], key=lambda row: row.time_ms)
        if repeats_ignore_session or rule == "event":
            distinct: dict[tuple[Id, int], Row] = {}
            for row in own:
                known = distinct.setdefault((row.item, row.time_ms), row)
                if known is not row:
                    distinct[row.item, row.time_ms] = replace(known, action=known.action | row.action)
                    repeats += 1
            own = list(distinct.values())
        users[user] = []
        for group in _cut(own, rule, gap_ms):
            first: dict[Id, Row] = {}
            times: set[tuple[Id, int]] = set()
            for row in group:
                known = first.setdefault(row.item, row)
                if known is not row:
                    # The same item at the same time is the same event logged twice: its weight does not count again.
                    is_exact = (row.item, row.time_ms) in times
                    weight = known.weight + (0 if is_exact else row.weight)
                    first[row.item] = replace(known, action=known.action | row.action, weight=weight)
                    repeats, merged = repeats + is_exact, merged + (not is_exact)
                times.add((row.item, row.time_ms))
            users[user].append(Visit(time_ms=group[0].time_ms, events=list(first.values())))
    return users, repeats, merged


def _cut(rows: list[Row], rule: str, gap_ms: int) -> list[list[Row]]:
    if rule == "native":
        groups: dict[Id, list[Row]] = {}
        for row in rows:
            groups.setdefault(row.session, []).append(row)
        return list(groups.values())
    if rule == "event":
        return [[row] for row in rows]
    longest = gap_ms if rule == "gap" else 0
    cut: list[list[Row]] = []
    for row in rows:
        if cut and row.time_ms - cut[-1][-1].time_ms <= longest:
            cut[-1].append(row)
        else:
            cut.append([row])
    return cut


# --- filter, truncate, split ------------------------------------------------------------------------------------------


def plain_filter(
    users: Users,
    *,
    min_item_events: int,
    min_user_events: int,
    min_user_sessions: int,
    drop: bool = True,
    once: bool = False,
) -> Users:
    """Items, then sessions without positives, then users; over and over."""
    while True:
        counts = Counter(event.item for visits in users.values() for visit in visits for event in visit.events)
        poor = {item for item, count in counts.items() if count < min_item_events}
        after: Users = {}
        for user, visits in users.items():
            cut = [_without(visit, poor) for visit in visits]
            cut = [visit for visit in cut if visit.events and (visit.positives or not drop)]
            events = sum(len(visit.events) for visit in cut)
            if events >= min_user_events and sum(visit.positives > 0 for visit in cut) >= min_user_sessions:
                after[user] = cut
        if once or after == users:
            return after
        users = after


def _without(visit: Visit, items: set[Id]) -> Visit:
    return visit.where(lambda event: event.item not in items)


def plain_newest(visits: list[Visit], max_positives: int | None = None, max_sessions: int | None = None) -> list[Visit]:
    """Walk back from the newest session until a cap is reached; the session that reaches it is in."""
    kept: list[Visit] = []
    for visit in reversed(visits):
        if max_positives is not None and sum(one.positives for one in kept) >= max_positives:
            break
        if max_sessions is not None and len(kept) >= max_sessions:
            break
        kept.append(visit)
    return kept[::-1]


def plain_cap(events: Sequence[Any], cap: int | None, is_positive: Callable[[Any], bool]) -> list[Any]:
    """All positives of a session, and of its exposures the newest that fit beside them."""
    if cap is None:
        return list(events)
    kept = [event for event in events if is_positive(event)]
    room = cap - len(kept)
    exposures = [place for place, event in enumerate(events) if not is_positive(event)]
    newest = set(exposures[-room:] if room > 0 else [])
    return [event for place, event in enumerate(events) if is_positive(event) or place in newest]


def plain_split(visits: list[Visit], borders: tuple[int, int] | None, *, has_row_order: bool = False) -> list[Visit]:
    """Give every session of one user its part; sessions without one are left out, and so are late events.

    With `has_row_order` an event at the very start of a later target is not late: it stands in an earlier row.
    """
    targets = [visit for visit in visits if visit.positives]
    part_of: dict[int, int | None] = {}
    for place, visit in enumerate(targets):
        if borders is None:
            part_of[id(visit)] = max(2 - (len(targets) - 1 - place), 0)
        else:
            periods = {sum(event.time_ms >= border for border in borders) for event in visit.events}
            periods.add(sum(visit.time_ms >= border for border in borders))
            part_of[id(visit)] = periods.pop() if len(periods) == 1 else None
    lent: int | None = None
    parted: list[Visit] = []
    for visit in reversed(visits):
        part = part_of[id(visit)] if visit.positives else lent
        if visit.positives and part is not None:
            lent = part
        if part is not None:
            parted.append(replace(visit, part=part))
    parted.reverse()
    timely = []
    for place, visit in enumerate(parted):
        # What is held out, and later in the history, must not be seen before it begins.
        later = [other.time_ms for other in parted[place + 1 :] if other.part > 0 and other.positives]
        later = [time_ms + has_row_order for time_ms in later]
        later += [] if borders is None else borders[visit.part :]
        timely.append(visit.where(lambda event, later=later: not later or event.time_ms < min(later)))  # type: ignore[misc]
    return [visit for visit in timely if visit.events]


def plain_items(users: Users) -> list[Id]:
    """Items by training events, most first, then id."""
    kept = {event.item for visits in users.values() for visit in visits for event in visit.events}
    train = train_counts(users)
    return sorted(kept, key=lambda item: (-train[item], item))


def train_counts(users: Users) -> Counter[Id]:
    """Training events of each item."""
    return Counter(
        event.item for visits in users.values() for visit in visits if visit.part == 0 for event in visit.events
    )


# --- what the package made, in the same words -------------------------------------------------------------------------

Plain = list[tuple[Id, list[tuple[int, int, list[tuple[Any, ...]]]]]]
"""Per user: id, and per session: part, start, and per event: item, action, time, weight."""


def plain_histories(histories: Histories, items: Sequence[Id]) -> Plain:
    """Unfold histories; `items[code]` is the item of a code."""
    users: Plain = []
    for place, user in enumerate(histories.user_U.to_list()):
        sessions = []
        for session in range(int(histories.user_offsets[place]), int(histories.user_offsets[place + 1])):
            start, stop = int(histories.session_offsets[session]), int(histories.session_offsets[session + 1])
            events = [
                (
                    items[int(histories.item_E[event])],
                    int(histories.action_E[event]),
                    int(histories.time_ms_E[event]),
                    None if histories.weight_E is None else float(histories.weight_E[event]),
                )
                for event in range(start, stop)
            ]
            sessions.append((int(histories.part_S[session]), int(histories.session_time_ms_S[session]), events))
        users.append((user, sessions))
    return users


def plain_expected(users: Users, has_weight: bool = False) -> Plain:
    """The same for what the loops above made."""
    return [
        (
            user,
            [
                (
                    visit.part,
                    visit.time_ms,
                    [(e.item, e.action, e.time_ms, e.weight if has_weight else None) for e in visit.events],
                )
                for visit in visits
            ],
        )
        for user, visits in users.items()
    ]


def histories_of(sessions: Iterable[tuple[Id, int, int, list[tuple[int, int, int]]]]) -> Histories:
    """Histories by hand: (user, part, start, [(item, action, time)]) a session; users stand together."""
    listed = list(sessions)
    users = list(dict.fromkeys(user for user, *_ in listed))
    per_user = [sum(user == name for user, *_ in listed) for name in users]
    events = [event for *_, some in listed for event in some]
    return Histories(
        user_U=pl.Series("user", users),
        user_offsets=np.cumsum([0, *per_user], dtype=np.int64),
        session_time_ms_S=np.array([start for _, _, start, _ in listed], np.int64),
        part_S=np.array([part for _, part, _, _ in listed], np.uint8),
        session_offsets=np.cumsum([0, *(len(some) for *_, some in listed)], dtype=np.int64),
        item_E=np.array([item for item, _, _ in events], np.int32),
        action_E=np.array([action for _, action, _ in events], np.uint16),
        time_ms_E=np.array([time for _, _, time in events], np.int64),
        weight_E=None,
        features={},
    )


def batch_keys(batches: Iterable[Examples]) -> list[tuple[Any, ...]]:
    """All that each batch holds, comparable."""
    return [_key(*batch) for batch in batches]


def _key(inputs: SessionBatch, targets: Targets) -> tuple[Any, ...]:
    tensors = [getattr(inputs, name) for name in inputs.__dataclass_fields__]
    tensors += list(inputs.features.values())
    tensors += [targets.user_Q, targets.num_before_Q, targets.time_ms_Q]
    for side in (targets.positives, targets.negatives):
        tensors += [side.values, side.offsets]
    return tuple(tuple(t.tolist()) if torch.is_tensor(t) else t for t in tensors if not isinstance(t, dict))


def tree_of(path: Path) -> list[str]:
    """Everything below a folder, relative, sorted."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*"))
