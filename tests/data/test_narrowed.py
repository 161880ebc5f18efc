"""What a model is shown of whole histories is what its own view shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from sessionrec.batch import Examples
from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.request import narrowed
from sessionrec.data.view import EvalTargets, View, evaluation_view, whole_view
from sessionrec.pipeline import DataConfig, prepare
from tests.shop import write_shop

Split = Literal["leave_last_session", "global_time"]


@pytest.fixture(scope="module", params=["leave_last_session", "global_time"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("shop")
    config = load(DataConfig, write_shop(folder), [f"split.kind={request.param}"])
    return prepare(config, folder / "data")


def rows(examples: Examples) -> list[tuple[Any, ...]]:
    """Of each question the user, when it is asked, and each position of its history."""
    inputs, targets = examples
    users, sessions = inputs.user_offsets.tolist(), inputs.session_offsets.tolist()
    columns = [inputs.item_E, inputs.action_E, inputs.time_ms_E, *inputs.features.values()]
    events = list(zip(*(column.tolist() for column in columns), strict=True))
    times = inputs.session_time_ms_S.tolist()
    found = []
    for row, before, time in zip(*(column.tolist() for column in targets_of(targets)), strict=True):
        first = users[row]
        history = [
            (times[place], events[sessions[place] : sessions[place + 1]]) for place in range(first, first + before)
        ]
        found.append((int(inputs.user_index_B[row]), time, history))
    return sorted(found, key=lambda one: one[:2])


def targets_of(targets: Any) -> tuple[Any, Any, Any]:
    return targets.user_Q, targets.num_before_Q, targets.time_ms_Q


@pytest.mark.parametrize("targets", ["session", "last_item", "last_item_partial"])
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"truncation": {"max_positives": 4}},
        {"truncation": {"max_sessions": 2}},
        {"truncation": {"max_events_per_session": 2}},
        {"max_positions": 2},
        {"events": "positives", "truncation": {"max_positives": 3}},
        {"unit": "event"},
        {"unit": "event", "max_positions": 5},
        {"unit": "event", "events": "positives", "truncation": {"max_positives": 4}},
        {"unit": "event", "truncation": {"max_sessions": 3}, "max_positions": 4},
    ],
    ids=str,
)
def test_a_model_is_shown_the_same_of_whole_histories(
    dataset: Dataset, shown: dict[str, Any], targets: EvalTargets
) -> None:
    view = View.model_validate(shown)
    loading = Loading(shuffle=False, batch_users=10_000)
    whole, own = (
        next(iter(Loader(dataset, evaluation_view(of, "test", targets), loading, seed=0)))
        for of in (whole_view(view), view)
    )
    found = narrowed(view, whole)
    assert np.array_equal(found.targets.time_ms_Q, whole.targets.time_ms_Q)
    assert rows(found) == rows(own)
    assert view.shows_all == (shown == {})
    if view.shows_all:
        assert rows(whole) == rows(own)
