"""A cap on input positions: the newest stay, and what is asked before them is not asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.data.view import View, Window, look
from sessionrec.logs import PlantedConfig
from sessionrec.pipeline import DataConfig, prepare
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.rule import NativeRule


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Histories:
    log = PlantedConfig(num_users=30, num_groups=6, group_size=3, sessions_per_user=7, exposures_per_session=2)
    dataset = prepare(DataConfig(log=log, session=NativeRule()), Path(tmp_path_factory.mktemp("planted")) / "data")
    assert isinstance(dataset, Dataset)
    return dataset.read(dataset.row_groups[0])


def rows(window: Window) -> list[tuple[int, list[tuple[int, int]], int, list[int], list[int]]]:
    """User, (time, item) of the history, time, positives, negatives: of every question."""
    found = []
    inputs = window.inputs
    for row, user in enumerate(window.user_index_U.tolist()):
        for question in range(int(window.question_offsets[row]), int(window.question_offsets[row + 1])):
            first = int(inputs.user_offsets[row])
            stop = first + int(window.num_before_Q[question])
            events = slice(int(inputs.session_offsets[first]), int(inputs.session_offsets[stop]))
            history = list(zip(inputs.time_ms_E[events].tolist(), inputs.item_E[events].tolist(), strict=True))
            positives = slice(int(window.positive_offsets[question]), int(window.positive_offsets[question + 1]))
            negatives = slice(int(window.negative_offsets[question]), int(window.negative_offsets[question + 1]))
            answer = (window.positive_items[positives].tolist(), window.negative_items[negatives].tolist())
            found.append((user, history, int(window.time_ms_Q[question]), *answer))
    return found


@pytest.mark.parametrize("number", [1, 2, 4, 1000])
@pytest.mark.parametrize("unit", ["event", "session"])
@pytest.mark.parametrize("events", ["all", "positives"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_newest_positions_of_each_history_stay(
    known: Histories, number: int, unit: str, events: str, part: str
) -> None:
    view = View.model_validate({"unit": unit, "events": events, "part": part})
    users = np.arange(known.num_users)
    whole = look(view, known, users)
    capped = look(view.model_copy(update={"max_positions": number}), known, users)
    # An item comes once in a session.
    kept = {
        (user, time, *positives): (history, negatives) for user, history, time, positives, negatives in rows(capped)
    }
    for user, history, time, positives, negatives in rows(whole):
        if (user, time, *positives) not in kept:
            # In training a row is cut once; only questions that lie before the cut are gone.
            assert part == "train"
            continue
        short, same = kept[user, time, *positives]
        assert short == history[len(history) - len(short) :]
        assert short
        assert same == negatives
    lengths = np.diff(capped.inputs.user_offsets)
    assert lengths.max() <= number
    if part != "train":
        assert len(rows(capped)) == len(rows(whole))
        assert (lengths == np.minimum(np.diff(whole.inputs.user_offsets), number)).all()
    if number == 1000:
        assert rows(capped) == rows(whole)


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        View(max_positions=0)
