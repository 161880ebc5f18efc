from __future__ import annotations

from typing import Any

import pytest
import torch

from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading, by_length
from sessionrec.data.view import View
from tests.data.test_loader import dataset  # noqa: F401 - a fixture

Question = tuple[int, int, list[Any], list[int], list[int]]


def questions(examples: Examples) -> list[Question]:
    """Of each question: user, time, all that its user's history holds, positives, negatives."""
    inputs, targets = examples
    found: list[Question] = []
    for q, row in enumerate(targets.user_Q.tolist()):
        sessions = range(*inputs.user_offsets[row : row + 2].tolist())
        columns = [inputs.item_E, inputs.action_E, inputs.time_ms_E, *inputs.features.values()]
        history = [
            (
                int(inputs.session_time_ms_S[s]),
                *[c[slice(*inputs.session_offsets[s : s + 2])].tolist() for c in columns],
            )
            for s in sessions
        ]
        positives, negatives = targets.positives.row(q).tolist(), targets.negatives.row(q).tolist()
        found.append(
            (
                int(inputs.user_index_B[row]),
                int(targets.time_ms_Q[q]),
                [int(targets.num_before_Q[q]), history],
                positives,
                negatives,
            )
        )
    return found


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_smaller_batches_hold_what_the_whole_does(dataset: Dataset, part: Any, size: int) -> None:  # noqa: F811
    (whole,) = Loader(dataset, View(part=part), Loading(shuffle=False, batch_users=100, prefetch=0), seed=0)
    wanted = questions(whole)
    found: list[Question | None] = [None] * len(wanted)
    longest = 0
    for piece, places in by_length(whole, size):
        assert piece.inputs.num_users <= size
        assert longest <= int(piece.inputs.user_offsets.diff().min())
        longest = piece.inputs.max_sessions
        assert longest == int(piece.inputs.user_offsets.diff().max())
        assert piece.inputs.max_events == int(piece.inputs.session_offsets.diff().max())
        for place, question in zip(places.tolist(), questions(piece), strict=True):
            assert found[place] is None
            found[place] = question
    assert found == wanted


def test_a_loader_says_what_its_questions_show(dataset: Dataset) -> None:  # noqa: F811
    for partial in (False, True):
        loader = Loader(dataset, View(part="test", partial_session=partial), Loading(prefetch=0), seed=0)
        assert loader.has_partial_session == partial
        if partial:
            _, targets = next(iter(loader))
            assert torch.equal(targets.positives.lengths, torch.ones(targets.num_questions, dtype=torch.int64))
