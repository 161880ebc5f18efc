from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule
from tests.helpers import CONTEXT, Plain, Row, log_of, plain_histories, row_lists


def made(rows: list[Row]) -> tuple[Histories, Plain]:
    log = log_of(rows, context=CONTEXT, has_weight=True)
    histories, found = assemble(log.events.collect(), NativeRule(), CONTEXT)
    return histories, plain_histories(histories, found.items.to_list())


def flags(data: st.DataObject, size: int) -> np.ndarray:
    return np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)


def back(histories: Histories, like: Histories, rows: list[Row]) -> Plain:
    _, found = assemble(log_of(rows).events.collect(), NativeRule(), ())
    return plain_histories(histories, found.items.to_list())


@given(row_lists(max_size=30), st.data())
def test_keeping_users_sessions_and_events_is_filtering_nested_lists(rows: list[Row], data: st.DataObject) -> None:
    histories, plain = made(rows)
    keep_U, keep_S, keep_E = (
        flags(data, size) for size in (histories.num_users, histories.num_sessions, histories.num_events)
    )
    users = [user for user, keep in zip(plain, keep_U, strict=True) if keep]
    assert back(histories.keep_users(keep_U), histories, rows) == users
    session = iter(keep_S.tolist())
    sessions = [(user, [one for one in visits if next(session)]) for user, visits in plain]
    assert back(histories.keep_sessions(keep_S), histories, rows) == sessions
    event = iter(keep_E.tolist())
    events = [
        (user, [(part, at, [e for e in some if next(event)]) for part, at, some in visits]) for user, visits in plain
    ]
    assert back(histories.keep_events(keep_E), histories, rows) == events


@given(row_lists(max_size=30), st.data())
def test_a_range_of_users_is_a_slice_without_a_copy(rows: list[Row], data: st.DataObject) -> None:
    histories, plain = made(rows)
    start = data.draw(st.integers(0, len(plain)))
    stop = data.draw(st.integers(start, len(plain)))
    some = histories.users(start, stop)
    assert back(some, histories, rows) == plain[start:stop]
    assert some.num_events == 0 or np.shares_memory(some.item_E, histories.item_E)


@pytest.mark.parametrize("num_rows", [1, 2000])
def test_what_was_saved_is_loaded(tmp_path: Path, num_rows: int) -> None:
    rows = [
        Row(user=f"u{n % 7}", item=n % 11, time_ms=n, session=n % 3, device="phone" if n % 2 else None, price=n / 4)
        for n in range(num_rows)
    ]
    histories, plain = made(rows)
    histories.save(tmp_path / "some")
    loaded = Histories.load(tmp_path / "some")
    assert back(loaded, histories, rows) == plain
    for name, values in histories.features.items():
        assert np.array_equal(values, loaded.features[name], equal_nan=values.dtype.kind == "f")
        assert values.dtype == loaded.features[name].dtype


def test_two_threads_never_read_a_header_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # NumPy reads a header by `ast.parse`; in two threads at once that fails now and then, seen on CPython 3.11.7
    # ("AST constructor recursion depth mismatch"), and with it a preparation through partitions on disk.
    histories, _ = made([Row(user=n, item=n, time_ms=n) for n in range(5)])
    histories.save(tmp_path / "some")
    real, inside, most = np.load, 0, 0

    def load(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)
        inside -= 1
        return real(*args, **kwargs)

    monkeypatch.setattr(np, "load", load)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(Histories.load, [tmp_path / "some"] * 8))) == 8
    assert most == 1


def test_empty_histories_are_saved_and_loaded(tmp_path: Path) -> None:
    histories, _ = assemble(log_of([]).events.collect(), NativeRule(), ())
    histories.save(tmp_path / "none")
    loaded = Histories.load(tmp_path / "none")
    assert (loaded.num_users, loaded.num_sessions, loaded.num_events) == (0, 0, 0)
    assert loaded.weight_E is None
