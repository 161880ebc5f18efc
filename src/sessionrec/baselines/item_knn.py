"""Item-kNN: items that the same users act on are alike; a question asks for items like those of its history.

    sim(i, v)      = both(i, v) / (sqrt(acts(i) acts(v)) + shrink)          i != v;  sim(i, i) = own
    evidence(q, v) = sum over positive events of items i in q's history: decay^ago(i) * sim(i, v)

`acts(i)` counts the users, or with `by="session"` the sessions, that acted on an item in the parts that may be known,
whatever the time and order; `both(i, v)` those that acted on both items. `ago` counts the sessions between the event's
and the question. `shrink` takes away what rests on a few users; `own` is how much an item speaks for itself. Where
people do not come back to an item, `own` is 0, and no item that was acted on before has evidence.

An item keeps its `neighbours` most similar items, of equals the lower indices. Others' sessions after a question may be
among what is known, as for `popularity`; `session_knn` does not do that.

Letters: V candidates, Q questions, R users or sessions, C pairs of items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sessionrec.baselines.evidence import Cells
from sessionrec.baselines.history import Past, without
from sessionrec.baselines.library import sparse
from sessionrec.baselines.sessions import KnownSessions
from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, position_in_row, row_of_element

NEIGHBOURS = 200
"""Similar items kept of each item."""

_CHUNK_PAIRS = 1_000_000
"""Pairs of items counted at once, about 80 bytes each; at least those of one item. More of them are slower, too."""


class ItemSimilarity:
    """The most similar items of every item: 8 bytes a neighbour, at most 1.6 GB for a million items.

    Costs a step for each two items of a user: the squares of the histories' lengths.

    Args:
        sessions: What may be known.
        by: Who acts on both: a user, at whatever time, or a session.
        shrink: Users or sessions, at least 0.
        neighbours: Kept of each item.
    """

    def __init__(
        self,
        sessions: KnownSessions,
        *,
        by: Literal["user", "session"] = "user",
        shrink: float = 10,
        neighbours: int = NEIGHBOURS,
    ) -> None:
        if not shrink >= 0:
            raise ValueError(f"`shrink` must be at least 0, got {shrink}")
        if neighbours < 1:
            raise ValueError(f"`neighbours` must be at least 1, got {neighbours}")
        acts_RV = sessions.by_user() if by == "user" else sessions.matrix()
        acts_RV.data[:] = 1
        acts_VR = acts_RV.T.tocsr()
        root_V = np.sqrt(np.diff(acts_VR.indptr))
        rows = []
        for begin, end in _chunks(acts_VR @ np.diff(acts_RV.indptr).astype(np.float64)):
            both = acts_VR[begin:end] @ acts_RV
            row_C, column_C = row_of_element(both.indptr.astype(np.int64)), both.indices
            both.data /= (root_V[begin + row_C] * root_V[column_C] + shrink).astype(np.float32)
            both.data[column_C == begin + row_C] = 0
            both.eliminate_zeros()
            rows.append(_greatest(both, neighbours))
        self.matrix = sparse().vstack(rows, format="csr")
        """[V, V] float32, sparse by rows; nothing on the diagonal."""


@dataclass(frozen=True, slots=True)
class StoredSimilarity:
    """An `ItemSimilarity` that was found earlier."""

    matrix: Any
    """See there."""


class ItemKnn:
    """Evidence by what users acted on before.

    Args:
        similarity: Of the items.
        decay: What a session counts of the one after it, above 0, at most 1.
        own: How much an item that was acted on speaks for itself, where others speak for it by less than 1; at 0 it has
            no evidence at all.
    """

    def __init__(self, similarity: ItemSimilarity | StoredSimilarity, *, decay: float = 0.9, own: float = 0) -> None:
        if not 0 < decay <= 1:
            raise ValueError(f"`decay` must be above 0 and at most 1, got {decay}")
        if not own >= 0:
            raise ValueError(f"`own` must be at least 0, got {own}")
        self._similarity, self._decay, self._own = similarity.matrix, decay, own

    @property
    def num_candidates(self) -> int:
        """V."""
        return int(self._similarity.shape[0])

    def cells(self, examples: Examples) -> Cells:
        """See `Evidence`. Costs a step for each neighbour of each item of the histories."""
        past = Past.of(examples, self.num_candidates)
        # A decay of .3 after ninety sessions is below what float32 knows; nothing that counts is lost.
        weight_Y = np.maximum(self._decay ** past.ago_Y.astype(np.float64), 1e-30).astype(np.float32)
        shape = (past.num_questions, self.num_candidates)
        history_QV = sparse().csr_array((weight_Y, (past.question_Y, past.column_Y)), shape=shape)
        evidence_QV = history_QV @ self._similarity
        return Cells.of(evidence_QV + self._own * history_QV if self._own else without(evidence_QV, past))


def _chunks(pairs_V: Any) -> Iterator[tuple[int, int]]:
    """Ranges of items, each of which makes so many pairs at most, or is of one item."""
    through_V = np.cumsum(pairs_V)
    begin = 0
    while begin < len(through_V):
        done = through_V[begin - 1] if begin else 0
        end = max(int(np.searchsorted(through_V, done + _CHUNK_PAIRS, "right")), begin + 1)
        yield begin, end
        begin = end


def _greatest(matrix: Any, most: int) -> Any:
    """The greatest entries of each row, of equals those of lower columns."""
    offsets: IntArray = matrix.indptr.astype(np.int64)
    if np.diff(offsets).max(initial=0) <= most:
        return matrix
    row_C = row_of_element(offsets)
    # Bits of positive float32 stand in the order of the numbers.
    bits_C = matrix.data.view(np.int32)
    place_C = np.flatnonzero(_is_worth_sorting(row_C, bits_C, len(offsets) - 1, most))
    place_C = place_C[np.lexsort((matrix.indices[place_C], -bits_C[place_C], row_C[place_C]))]
    sorted_offsets = np.searchsorted(row_C[place_C], np.arange(len(offsets)))
    place_C = place_C[position_in_row(sorted_offsets) < most]
    cells = (matrix.data[place_C], (row_C[place_C], matrix.indices[place_C]))
    return sparse().csr_array(cells, shape=matrix.shape)


def _is_worth_sorting(row_C: IntArray, bits_C: Any, num_rows: int, most: int) -> npt.NDArray[np.bool_]:
    """[C] whether an entry can be among the greatest: most cannot, and counting is ten times as fast as sorting.

    Entries are counted in steps of an eighth of a power of two; of a row those steps stay that hold the greatest.
    """
    step_C = bits_C >> 20
    lowest = int(step_C.min(initial=0))
    width = int(step_C.max(initial=0)) - lowest + 1
    cell_C = row_C * width + (step_C - lowest)
    counts = np.bincount(cell_C, minlength=num_rows * width).reshape(num_rows, width)
    greater = counts[:, ::-1].cumsum(1)[:, ::-1] - counts
    is_kept: npt.NDArray[np.bool_] = (greater < most).ravel()[cell_C]
    return is_kept
