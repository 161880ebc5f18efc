"""What users acted on before each question, flat: one row a positive event of a history.

    question_Y    [0, 0, 0, 1]    question 0 knows three positive events, question 1 one
    column_Y      [6, 1, 1, 4]    of items 7, 2, 2 and 5
    ago_Y         [1, 0, 0, 0]    item 7 in the session before the newest, item 2 twice in the newest

Letters: Q questions, Y positive events of all questions' histories. Sessions in which nothing was acted on are skipped:
they are not counted in `ago_Y`. In an item-level view a session is an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sessionrec.baselines.library import sparse
from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, offsets_from_lengths, row_of_element, sum_by_row, take_rows
from sessionrec.schema import POSITIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Positive events before Q questions, by question, then oldest session first."""

    question_Y: IntArray
    """[Y] whose history."""
    column_Y: IntArray
    """[Y] item index less 1, in 0..V-1; others are left out."""
    ago_Y: IntArray
    """[Y] sessions with a positive event after this one and before the question."""
    num_questions: int
    """Q."""

    @classmethod
    def of(cls, examples: Examples, num_candidates: int, *, newest: int | None = None) -> Past:
        """Histories of a batch's questions; an event stands once for each question after it.

        Args:
            examples: The batch, on any device.
            num_candidates: V.
            newest: Sessions looked at, the newest with a positive event; None = all.
        """
        inputs, targets = examples
        session_offsets, item_E = inputs.session_offsets.cpu().numpy(), inputs.item_E.cpu().numpy()
        is_known_E = (inputs.action_E.cpu().numpy() & POSITIVE) != 0
        is_known_E &= (item_E >= 1) & (item_E <= num_candidates)
        # Only sessions with something known are left, in their order.
        kept_before = offsets_from_lengths(sum_by_row(is_known_E, session_offsets) > 0)
        kept = np.flatnonzero(np.diff(kept_before))
        first_Q = inputs.user_offsets.cpu().numpy()[targets.user_Q.cpu().numpy()]
        end_Q = kept_before[first_Q + targets.num_before_Q.cpu().numpy()]
        begin_Q = kept_before[first_Q]
        if newest is not None:
            begin_Q = np.maximum(begin_Q, end_Q - newest)
        cuts = offsets_from_lengths(end_Q - begin_Q)
        session_X = np.repeat(begin_Q - cuts[:-1], np.diff(cuts)) + np.arange(cuts[-1])
        ago_X = np.repeat(end_Q, np.diff(cuts)) - 1 - session_X
        event_Y, event_cuts = take_rows(session_offsets, kept[session_X])
        own_Y = row_of_element(event_cuts)
        is_known_Y = is_known_E[event_Y]
        own_Y, event_Y = own_Y[is_known_Y], event_Y[is_known_Y]
        return cls(
            question_Y=row_of_element(cuts)[own_Y],
            column_Y=item_E[event_Y] - 1,
            ago_Y=ago_X[own_Y],
            num_questions=len(first_Q),
        )


def without(evidence_QV: Any, past: Past) -> Any:
    """[Q, V] evidence, sparse by rows, less that of items acted on before; what was there is 0."""
    ones_Y = np.ones(len(past.question_Y), np.float32)
    seen_QV = sparse().csr_array((ones_Y, (past.question_Y, past.column_Y)), shape=evidence_QV.shape)
    seen_QV.data[:] = 1  # events of one item were added up
    return evidence_QV - evidence_QV.multiply(seen_QV)
