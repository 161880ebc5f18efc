"""Training by masks: any positive position of a history may be asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, look
from sessionrec.logs import PlantedConfig
from sessionrec.pipeline import DataConfig, prepare
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import Part


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = PlantedConfig(num_users=30, num_groups=6, group_size=3, sessions_per_user=7, exposures_per_session=2)
    return prepare(DataConfig(log=log, session=NativeRule()), Path(tmp_path_factory.mktemp("planted")) / "data")


@pytest.mark.parametrize("most", [None, 1, 4, 11])
@pytest.mark.parametrize("unit", ["event", "session"])
@pytest.mark.parametrize("events", ["all", "positives"])
def test_it_asks_for_every_positive_position_that_has_another(
    dataset: Dataset, unit: str, events: str, most: int | None
) -> None:
    known = dataset.read(dataset.row_groups[0])
    view = View.model_validate({"unit": unit, "events": events, "cloze": True, "max_positions": most})
    window = look(view, known, np.arange(known.num_users))
    assert window.cloze
    asked: dict[tuple[int, int], tuple[int, list[int], list[int]]] = {}
    expected: dict[tuple[int, int], tuple[int, list[int], list[int]]] = {}
    for user in range(known.num_users):
        positions = []
        for session in range(int(known.user_offsets[user]), int(known.user_offsets[user + 1])):
            if known.part_S[session] != Part.TRAIN:
                continue
            first, stop = int(known.session_offsets[session]), int(known.session_offsets[session + 1])
            rows = [
                (int(known.time_ms_E[event]), int(known.item_E[event]), bool(known.action_E[event] & 1))
                for event in range(first, stop)
                if known.action_E[event] & 1 or events == "all"
            ]
            positions += [[row] for row in rows] if unit == "event" else [rows]
        # What is asked for is one of them, so that it has as many others in sight as a held-out question.
        for place, rows in enumerate(positions[-(most + 1 if most else len(positions)) :]):
            positives = [item for _, item, is_positive in rows if is_positive]
            if positives and len(positions) > 1:
                negatives = [item for _, item, is_positive in rows if not is_positive]
                expected[user, place] = (rows[0][0], positives, negatives)
    for row, user in enumerate(window.user_index_U.tolist()):
        for question in range(int(window.question_offsets[row]), int(window.question_offsets[row + 1])):
            sides = [
                items[int(offsets[question]) : int(offsets[question + 1])].tolist()
                for items, offsets in (
                    (window.positive_items, window.positive_offsets),
                    (window.negative_items, window.negative_offsets),
                )
            ]
            place = int(window.num_before_Q[question])
            asked[user, place] = (int(window.time_ms_Q[question]), sides[0], sides[1])
    assert asked == expected
    assert (np.diff(window.question_offsets) > 0).all()


def test_held_out_it_changes_nothing(dataset: Dataset) -> None:
    known, users = dataset.read(dataset.row_groups[0]), np.arange(30)
    for part in ("validation", "test"):
        plain = View.model_validate({"unit": "event", "part": part})
        one, other = look(plain, known, users), look(plain.model_copy(update={"cloze": True}), known, users)
        assert not other.cloze
        assert one.num_before_Q.tolist() == other.num_before_Q.tolist()
        assert one.positive_items.tolist() == other.positive_items.tolist()


def test_batches_say_that_they_are_a_cloze(dataset: Dataset) -> None:
    for examples in Loader(dataset, View(cloze=True), Loading(batch_users=7), seed=1):
        assert examples.targets.cloze


def test_a_share_of_the_users_is_a_beginning_of_each_row_group(dataset: Dataset) -> None:
    groups = list(dataset.row_groups)
    for share in (0.01, 0.3, 0.5, 1.0):
        loader = Loader(dataset, View(), Loading(users_share=share, shuffle=False), seed=1)
        seen = [int(user) for examples in loader for user in examples.inputs.user_index_B]
        expected = [
            group.first_user + place for group in groups for place in range(group.users) if place < group.users * share
        ]
        assert seen == expected
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="users_share"):
            Loading(users_share=wrong)
