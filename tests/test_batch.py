from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch

from sessionrec.batch import SessionBatch, Targets
from sessionrec.jagged import Jagged


def numbers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def little_batch() -> SessionBatch:
    """The drawing of the module: two users, three sessions, six events."""
    return SessionBatch(
        user_index_B=numbers(4, 9),
        user_offsets=numbers(0, 2, 3),
        session_offsets=numbers(0, 3, 4, 6),
        session_time_ms_S=numbers(10, 20, 30),
        item_E=numbers(7, 2, 2, 5, 9, 1),
        action_E=numbers(1, 0, 1, 1, 1, 0),
        time_ms_E=numbers(10, 11, 12, 20, 30, 31),
        features={"device": numbers(1, 1, 1, 2, 2, 0)},
        max_sessions=2,
        max_events=3,
    )


def little_targets() -> Targets:
    return Targets(
        user_Q=numbers(0, 0, 1),
        num_before_Q=numbers(1, 2, 1),
        time_ms_Q=numbers(20, 40, 50),
        positives=Jagged(values=numbers(5, 8, 8, 3), offsets=numbers(0, 1, 3, 4)),
        negatives=Jagged(values=numbers(6), offsets=numbers(0, 0, 1, 1)),
    )


def test_sizes_are_those_of_the_drawing() -> None:
    batch = little_batch()
    assert (batch.num_users, batch.num_sessions, batch.num_events) == (2, 3, 6)
    assert little_targets().num_questions == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user_index_B": numbers(4)}, "`user_index_B` must have one entry a user"),
        ({"session_time_ms_S": numbers(10)}, "`session_time_ms_S` must have one entry a session"),
        ({"action_E": numbers(1)}, "`action_E` must have one entry for each of the 6 events"),
        ({"time_ms_E": numbers(1)}, "`time_ms_E` must have one entry for each of the 6 events"),
        ({"features": {"device": numbers(1)}}, "`device` must have one entry for each of the 6 events"),
        ({"user_offsets": numbers(0, 2, 2)}, "from 0 to the 3 values"),
        ({"session_offsets": numbers(0, 4, 3, 6)}, "must never fall"),
        ({"session_offsets": numbers(0, 3, 4, 5)}, "from 0 to the 6 values"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(little_batch(), **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_before_Q": numbers(1)}, "`num_before_Q` must have one entry a question"),
        ({"time_ms_Q": numbers(1)}, "`time_ms_Q` must have one entry a question"),
        ({"positives": Jagged(values=numbers(1), offsets=numbers(0, 1))}, "`positives` must have one row a question"),
        ({"negatives": Jagged(values=numbers(1), offsets=numbers(0, 1))}, "`negatives` must have one row a question"),
    ],
)
def test_questions_that_do_not_fit_together_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(little_targets(), **changed)


def test_a_batch_without_users_is_legal() -> None:
    none = numbers()
    batch = SessionBatch(
        user_index_B=none,
        user_offsets=numbers(0),
        session_offsets=numbers(0),
        session_time_ms_S=none,
        item_E=none,
        action_E=none,
        time_ms_E=none,
        features={},
        max_sessions=0,
        max_events=0,
    )
    assert batch.num_users == 0


def test_moving_moves_every_tensor_and_nothing_else() -> None:
    # The meta device stands for any device: a look at a value there would fail.
    batch, targets = little_batch().to("meta"), little_targets().to("meta")
    tensors = [
        value for value in (getattr(batch, name) for name in batch.__dataclass_fields__) if torch.is_tensor(value)
    ]
    assert len(tensors) == 7
    tensors += [batch.features["device"], targets.user_Q, targets.num_before_Q, targets.time_ms_Q]
    tensors += [
        targets.positives.values,
        targets.positives.offsets,
        targets.negatives.values,
        targets.negatives.offsets,
    ]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (batch.max_sessions, batch.max_events) == (2, 3)


def test_moving_to_where_it_is_keeps_every_value() -> None:
    batch, moved = little_batch(), little_batch().to("cpu")
    assert torch.equal(batch.item_E, moved.item_E)
    assert torch.equal(batch.features["device"], moved.features["device"])
    targets = little_targets().to("cpu")
    assert [targets.positives.row(n).tolist() for n in range(3)] == [[5], [8, 8], [3]]


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        little_batch().max_events = 5  # type: ignore[misc]
