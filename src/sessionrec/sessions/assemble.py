"""From the events of some users, in the order of the log, to their `Histories`: sort, cut into sessions, merge repeats.

Engine-free: whatever engine brought the users' events together, this is what happens to them. Everything is one pass of
array operations; nothing loops over users, sessions or events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from sessionrec.hashing import hash_ids
from sessionrec.jagged import IntArray, offsets_from_lengths
from sessionrec.logs.base import Feature
from sessionrec.schema import ACTION, ITEM, SESSION, TIME_MS, USER, WEIGHT
from sessionrec.sessions.histories import Array, Histories
from sessionrec.sessions.rule import Rule
from sessionrec.sessions.vocabulary import Codes, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the local codes of some histories stand for, and what was merged on the way."""

    items: pl.Series
    """[I] item id of each local item code."""
    categories: dict[str, pl.Series]
    """Per categorical context feature: value of each local code."""
    exact_repeats: int
    """Rows with the user, session, item and time of an earlier row."""
    merged: int
    """Further rows with the user, session and item of an earlier row, at another time."""


def assemble(
    events: pl.DataFrame, rule: Rule, context_features: tuple[Feature, ...], repeats_ignore_session: bool = False
) -> tuple[Histories, Found]:
    """Build the histories of some users, in local codes.

    Args:
        events: All events of these users, `schema` columns, in the order of the log; no nulls in user, item and time.
        rule: What ends a session.
        context_features: The columns beyond the schema's.
        repeats_ignore_session: Whether one event may stand in the log under two session ids, see `Log`.
    """
    users, user_E = _users_by_hash(events[USER])
    item_codes, items = encode(events[ITEM])
    time_ms = events[TIME_MS].to_numpy()
    order = sort_order(user_E, time_ms)
    # Event columns in the order of the histories; `row` leads back to the log.
    columns: dict[str, Array] = {
        "row": order,
        "user": user_E[order],
        "time_ms": time_ms[order],
        "item": item_codes[order],
        "action": events[ACTION].to_numpy()[order],
    }
    if WEIGHT in events.columns:
        columns["weight"] = events[WEIGHT].to_numpy()[order]

    repeats = 0
    if repeats_ignore_session or rule.has_row_order:
        # Where every row is a session, no session brings the two rows of an event that was logged twice together.
        columns, repeats, _ = _merge(columns, _moments(columns), len(items))
    columns["session"], moved = _sessions(columns, events, rule)
    if moved is not None:
        columns = {name: values[moved] for name, values in columns.items()}
    columns, more_repeats, merged = _merge(columns, columns["session"], len(items))
    row_E = columns["row"]

    features: dict[str, Array] = {}
    values: dict[str, pl.Series] = {}
    for feature in context_features:
        column = events[feature.name]
        if feature.kind == "category":
            codes, values[feature.name] = encode(column.cast(pl.String) if column.dtype == pl.Boolean else column)
            features[feature.name] = codes[row_E]
        else:
            features[feature.name] = column.cast(pl.Float32).fill_null(float("nan")).to_numpy()[row_E]

    session_offsets = offsets_from_lengths(np.bincount(columns["session"]))
    first_E = session_offsets[:-1]
    histories = Histories(
        user_U=users,
        user_offsets=offsets_from_lengths(np.bincount(columns["user"][first_E], minlength=len(users))),
        session_time_ms_S=columns["time_ms"][first_E],
        part_S=np.zeros(len(first_E), np.uint8),
        session_offsets=session_offsets,
        item_E=columns["item"],
        action_E=columns["action"],
        time_ms_E=columns["time_ms"],
        weight_E=columns.get("weight"),
        features=features,
    )
    return histories, Found(items=items, categories=values, exact_repeats=repeats + more_repeats, merged=merged)


def _users_by_hash(users: pl.Series) -> tuple[pl.Series, Codes]:
    """The distinct users in the order of their hash (then id), and the place of each row's user among them."""
    codes, values = encode(users)
    hashes = hash_ids(values)
    order = np.argsort(hashes)
    if np.any(hashes[order][1:] == hashes[order][:-1]):
        order = pl.DataFrame({"hash": hashes, "id": values}).select(pl.arg_sort_by("hash", "id")).to_series().to_numpy()
    place = np.empty(len(values), np.int32)
    place[order] = np.arange(len(values), dtype=np.int32)
    return values.gather(order).alias(USER), place[codes]


def sort_order(user_E: Codes, time_ms_E: IntArray) -> IntArray:
    """[E] row numbers by user, then time, then row: two plain sorts, the less significant key first.

    NumPy sorts plain int64 with vector instructions, about five times as fast as it finds the order of int64 values. So
    each step packs its key and the row into one word and sorts that; the row in it makes the step stable.
    """
    num_events = len(user_E)
    if num_events == 0:
        return np.zeros(0, np.int64)
    bits = num_events.bit_length()
    start = int(time_ms_E.min())
    if (int(time_ms_E.max()) - start).bit_length() + bits > 63 or int(user_E.max()).bit_length() + bits > 63:
        return np.lexsort((time_ms_E, user_E))
    by_time = _stable_order(time_ms_E - start, bits)
    return by_time[_stable_order(user_E[by_time].astype(np.int64), bits)]


def _stable_order(key_E: IntArray, bits: int) -> IntArray:
    """[E] places by key, then place; `bits` hold a place. `key_E` is used up."""
    if np.all(key_E[1:] >= key_E[:-1]):
        return np.arange(len(key_E))
    key_E <<= bits
    key_E |= np.arange(len(key_E))
    key_E.sort()
    key_E &= (1 << bits) - 1
    return key_E


def _moments(columns: dict[str, Array]) -> IntArray:
    """[E] number of the (user, time) of each event; equal moments stand together."""
    user_E, time_ms_E = columns["user"], columns["time_ms"]
    is_new = np.ones(len(user_E), np.bool_)
    is_new[1:] = (user_E[1:] != user_E[:-1]) | (time_ms_E[1:] != time_ms_E[:-1])
    return np.cumsum(is_new, dtype=np.int64) - 1


def _sessions(columns: dict[str, Array], events: pl.DataFrame, rule: Rule) -> tuple[IntArray, IntArray | None]:
    """[E] number of each event's session, oldest first within a user; and the order to bring events into, if new."""
    frame = pl.DataFrame({USER: columns["user"], TIME_MS: columns["time_ms"]})
    if not rule.needs_session:
        starts = frame.select(rule.starts()).to_series().to_numpy()
        return np.cumsum(starts, dtype=np.int64) - 1, None
    frame = frame.with_columns(events[SESSION].gather(columns["row"]).alias(SESSION))
    # Only where user or id change can a session start, so the rule needs to see only the first row of each run; and of
    # these only those whose id stands in several runs, for any other run is the only one of its session.
    is_run = (pl.col(USER) != pl.col(USER).shift()) | pl.col(SESSION).ne_missing(pl.col(SESSION).shift())
    is_run_E = frame.select(is_run.fill_null(True)).to_series()
    runs = frame.filter(is_run_E).with_row_index("run")
    run_E = np.cumsum(is_run_E.to_numpy(), dtype=np.int64) - 1
    shared = runs.filter(pl.col(SESSION).is_duplicated())
    starts = np.ones(len(runs), np.bool_)
    starts[shared["run"].to_numpy()] = shared.select(rule.starts()).to_series().to_numpy()
    if starts.all():
        return run_E, None
    # A session came back after another one: its later runs move to where it began.
    first = np.arange(len(runs))
    first[shared["run"].to_numpy()] = shared.select(pl.col("run").min().over(USER, SESSION)).to_series().to_numpy()
    session_of_run = (np.cumsum(starts, dtype=np.int64) - 1)[first]
    session_E = session_of_run[run_E]
    return session_E, np.argsort(session_E, kind="stable")


def _merge(columns: dict[str, Array], group_E: IntArray, num_items: int) -> tuple[dict[str, Array], int, int]:
    """Merge the events of one item in one group into the first of them: union of actions, sum of weights.

    Everything else stays that of the first. An event at the same time as one before it is that event logged twice, so
    its weight does not count again.

    Args:
        columns: Event columns, each [E].
        group_E: [E] ascending; the times ascend within a group.
        num_items: Number of item codes.

    Returns:
        The columns without the merged events; how many of these were exact repeats, and how many others.
    """
    # Only events that share their group with another can repeat one.
    shares = group_E[1:] == group_E[:-1]
    rows = np.flatnonzero(np.append(shares, False) | np.append(False, shares))
    key = group_E[rows] * num_items + columns["item"][rows]
    in_order = np.sort(key)
    is_repeated = in_order[1:] == in_order[:-1]
    if not is_repeated.any():
        return columns, 0, 0
    repeated = np.unique(in_order[1:][is_repeated])
    place = np.minimum(np.searchsorted(repeated, key), len(repeated) - 1)
    rows, key = rows[repeated[place] == key], key[repeated[place] == key]
    # The rows of one key together, each key's in the order of time.
    by_key = np.argsort(key, kind="stable")
    rows, key = rows[by_key], key[by_key]
    is_later = np.append(False, key[1:] == key[:-1])
    time_ms = columns["time_ms"][rows]
    is_exact = is_later & np.append(False, time_ms[1:] == time_ms[:-1])
    starts = np.flatnonzero(~is_later)
    first = rows[starts]
    columns["action"][first] = np.bitwise_or.reduceat(columns["action"][rows], starts)
    if "weight" in columns:
        counted = np.where(is_exact, np.float32(0), columns["weight"][rows])
        columns["weight"][first] = np.add.reduceat(counted, starts)
    keep_E = np.ones(len(group_E), np.bool_)
    keep_E[rows[is_later]] = False
    exact = int(np.count_nonzero(is_exact))
    return {name: values[keep_E] for name, values in columns.items()}, exact, int(np.count_nonzero(is_later)) - exact
