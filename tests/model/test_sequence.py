from __future__ import annotations

import torch

from sessionrec.batch import SessionBatch
from sessionrec.model.sequence import SessionSequence, sequence_of
from tests.model.helpers import offsets


def a_sequence() -> SessionSequence:
    """Users of two, no, one and no sessions."""
    batch = SessionBatch(
        user_index_B=torch.arange(4),
        user_offsets=offsets([2, 0, 1, 0]),
        session_offsets=offsets([1, 1, 1]),
        session_time_ms_S=torch.tensor([10, 20, 15]),
        item_E=torch.tensor([1, 2, 3]),
        action_E=torch.tensor([1, 1, 1]),
        time_ms_E=torch.tensor([10, 20, 15]),
        features={},
        max_sessions=2,
        max_events=1,
    )
    return sequence_of(batch, torch.tensor([100, 200, 300, 400]))


def test_every_session_knows_its_user_its_place_and_when_the_next_begins() -> None:
    sequence = a_sequence()
    assert sequence.user_S.tolist() == [0, 0, 2]
    assert sequence.position_S.tolist() == [0, 1, 0]
    assert sequence.next_time_ms_S.tolist() == [20, 100, 300]


def test_padding_puts_zeros_behind_and_unpadding_undoes_it() -> None:
    sequence = a_sequence()
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    padded = sequence.pad(values)
    assert padded.tolist() == [[[1, 2], [3, 4]], [[0, 0], [0, 0]], [[5, 6], [0, 0]], [[0, 0], [0, 0]]]
    assert torch.equal(sequence.unpad(padded), values)


def test_a_row_may_look_at_itself_and_earlier_sessions_of_the_same_user() -> None:
    causal = a_sequence().causal_BLL().int()
    nothing = [[0, 0], [0, 0]]
    assert causal.tolist() == [[[1, 0], [1, 1]], nothing, [[1, 0], [0, 0]], nothing]
