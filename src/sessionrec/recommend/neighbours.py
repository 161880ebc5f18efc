"""`Neighbours`: what the prior knows of items that the same users act on; the floor item-kNN as a feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.baselines import ItemKnn, ItemSimilarity, KnownSessions
from sessionrec.baselines.item_knn import StoredSimilarity
from sessionrec.baselines.library import sparse
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.dynamics import Before
from sessionrec.jagged import IntArray
from sessionrec.prior.store import SimilarItems

_SHRINK, _DECAY = 10.0, 0.8


class Neighbours:
    """Items that the same users acted on as the items of the history, newer sessions counting more.

    Args:
        matrix: [V, V] similarity, sparse by rows; see `ItemSimilarity`.
    """

    name = "neighbours"

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self._evidence = ItemKnn(StoredSimilarity(matrix), decay=_DECAY, own=True)

    @classmethod
    def collect(cls, dataset: Dataset, before: Before, num_candidates: int) -> Neighbours:
        """Of a data set.

        Args:
            dataset: Whose events.
            before: Of which parts: all before this one, whatever their time, as for the floor.
            num_candidates: V.
        """
        sessions = KnownSessions.collect(dataset, before=before, num_candidates=num_candidates)
        return cls(ItemSimilarity(sessions, by="user", shrink=_SHRINK).matrix)

    @classmethod
    def of(cls, similar: SimilarItems) -> Neighbours:
        """From what was stored."""
        size = len(similar.offsets) - 1
        return cls(sparse().csr_array((similar.score_C, similar.column_C, similar.offsets), shape=(size, size)))

    def similar(self) -> SimilarItems:
        """To be stored."""
        return SimilarItems(
            offsets=self._matrix.indptr.astype(np.int64),
            column_C=self._matrix.indices.astype(np.int32),
            score_C=self._matrix.data.astype(np.float32),
        )

    def found(self, examples: Examples) -> tuple[IntArray, IntArray, npt.NDArray[np.float32]]:
        """See `prior.own.Other`."""
        cells = self._evidence.cells(examples)
        question, column, score = cells.of_questions(slice(0, cells.num_questions))
        return question.numpy(), column.numpy(), score.numpy()
