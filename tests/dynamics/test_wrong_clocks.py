"""Events of years later: a few are not believed, since by them nothing would be left of all counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.dynamics import ItemState, events, newest_ms
from sessionrec.sessions.filters import Filters
from sessionrec.sessions.prepare import Preparation, prepare
from sessionrec.sessions.rule import NativeRule
from tests.helpers import T0, Row, log_of

DAY_MS = 86_400_000
USERS, SESSIONS = 40, 8
LAST = T0 + (SESSIONS - 1) * DAY_MS + USERS * 1000
FAR = T0 + 4000 * DAY_MS


def dataset_of(path: Path, num_wrong: int) -> Dataset:
    """A session a day; the first users come once more, years later."""
    rows = [
        Row(user=user, item=session, time_ms=T0 + session * DAY_MS + (user + 1) * 1000, session=session)
        for user in range(USERS)
        for session in range(SESSIONS)
    ]
    rows += [Row(user=user, item=3, time_ms=FAR + user, session=SESSIONS) for user in range(num_wrong)]
    loose = Filters(min_item_events=1, min_user_events=1, min_user_sessions=1)
    with prepare(log_of(rows), Preparation(session=NativeRule(), filter=loose)) as prepared:
        write_dataset(path, prepared, Storage(events_per_row_group=70), {})
    return Dataset(path)


@pytest.mark.parametrize(("wrong", "gap_days", "is_believed"), [(3, 30, False), (4, 30, True), (3, 5000, True)])
def test_a_few_events_long_after_all_others_are_not_believed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: int,
    gap_days: int,
    is_believed: bool,
) -> None:
    """Fewer than one in a hundred of 323."""
    monkeypatch.setattr(events, "_WRONG_CLOCKS", 100)
    dataset = dataset_of(tmp_path / "data", wrong)
    with caplog.at_level("WARNING"):
        newest = newest_ms(dataset, gap_days * DAY_MS)
    if is_believed:
        assert newest == FAR + wrong - 1
        assert not caplog.text
        return
    assert LAST <= newest < T0 + SESSIONS * DAY_MS
    assert "3 of 323 events lie more than 30 days after all others" in caplog.text
    state, clean = (
        ItemState.collect(of, (60.0, 1e6), before=None, kind="shown", num_candidates=of.num_items, until_ms=until)
        for of, until in ((dataset, newest), (dataset_of(tmp_path / "clean", 0), FAR))
    )
    assert state.time_ms_V.max() == LAST
    # Items may be numbered otherwise.
    assert sorted(state.time_ms_V) == sorted(clean.time_ms_V)
    np.testing.assert_allclose(np.sort(state.after_VH, axis=0), np.sort(clean.after_VH, axis=0))


def test_a_log_without_events_of_years_later_ends_where_it_ends(tmp_path: Path) -> None:
    assert newest_ms(dataset_of(tmp_path / "data", 0), DAY_MS // 2) == LAST
