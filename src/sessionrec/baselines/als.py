"""ALS: matrix factorisation of implicit feedback (Hu, Koren & Volinsky, 2008), by the library `implicit`.

Training counts in how many sessions each user acted on each item, and finds vectors of users and items whose products
are near 1 where that is above 0, and near 0 elsewhere; a cell's weight is 1 + alpha * count.

A question's user is not looked up: her vector is solved for anew from the history that the question shows. So users who
were never trained on have one too, and nothing of a user after the question is known. A user without a history has a
vector of zeros, and all items tie.

Letters: Q questions, V candidates, D factors.
"""

from __future__ import annotations

import numpy as np
import torch

from sessionrec.baselines.history import Past
from sessionrec.baselines.library import als, blas_threads, sparse
from sessionrec.baselines.sessions import KnownSessions
from sessionrec.batch import Examples
from sessionrec.scoring import DotScorer


class Als:
    """Scores by the dot products of users solved for and items learned.

    The same arguments give the same vectors, on one machine and with whatever number of threads.

    Args:
        sessions: What may be known.
        factors: D.
        alpha: Weight of a session, above 0.
        regularization: Of the vectors' squares.
        iterations: Times that users and items are solved for in turn.
        num_threads: Of the library.
        seed: Of the vectors at the beginning.
    """

    def __init__(
        self,
        sessions: KnownSessions,
        *,
        factors: int = 64,
        alpha: float = 10,
        regularization: float = 0.1,
        iterations: int = 15,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        if factors < 1:
            raise ValueError(f"`factors` must be at least 1, got {factors}")
        if not alpha > 0:
            raise ValueError(f"`alpha` must be above 0, got {alpha}")
        library = als()
        # Threads of the linear algebra below those of the library only wait for each other; the library warns of them.
        with blas_threads(1):
            self._model = library.AlternatingLeastSquares(
                factors=factors,
                alpha=alpha,
                regularization=regularization,
                iterations=iterations,
                num_threads=num_threads,
                random_state=seed,
            )
            self._model.fit(_matrix(sessions.by_user()), show_progress=False)
        self.items_VD = torch.from_numpy(self._model.item_factors)
        """[V, D] float32; row 0 is item 1."""

    @property
    def num_candidates(self) -> int:
        """V."""
        return len(self.items_VD)

    def scorer(self, examples: Examples) -> DotScorer:
        """See `scoring.Ranker`. Costs a system of D equations a question."""
        past = Past.of(examples, self.num_candidates)
        # Once a session however often it is acted on there, as in training.
        once_Z = np.unique(np.stack([past.question_Y, past.ago_Y, past.column_Y]), axis=1)
        shape = (past.num_questions, self.num_candidates)
        ones_Z = np.ones(once_Z.shape[1], np.float32)
        history_QV = _matrix(sparse().csr_array((ones_Z, (once_Z[0], once_Z[2])), shape=shape))
        with blas_threads(1):
            queries_QD = self._model.recalculate_user(np.arange(past.num_questions), history_QV)
        return DotScorer(torch.from_numpy(queries_QD), self.items_VD)


def _matrix(array: object) -> object:
    """What the library takes: SciPy's older kind of sparse matrix, with duplicates summed and 32-bit places."""
    matrix = sparse().csr_matrix(array)
    matrix.sum_duplicates()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix
