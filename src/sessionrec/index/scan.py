"""The exact answer: every allowed vector is looked at, in memory that does not grow with the catalogue.

Blocks of queries meet blocks of rows in a GEMM. A GEMM rounds an inner product differently at the edge of a tile than
inside, so it only proposes: whatever comes within the rounding error of a query's k-th best so far is scored again, in
one order of summation, and that score decides. Equal vectors so have equal scores, and ties fall by row.

Cost: the GEMM, one comparison a score, and about `k * ln(rows / block)` proposals a query that are scored and sorted.
"""

from __future__ import annotations

import numpy as np

from sessionrec.index.face import Source, Vectors, lengths, pair_scores
from sessionrec.index.holdings import NOTHING_EXCLUDED, Excluded
from sessionrec.jagged import IntArray, position_in_row
from sessionrec.schema import NO_ITEM

BLOCK_SCORES = 1 << 22
"""Scores made at once, 4 bytes each."""
_QUERIES = 256
_MIN_ROWS = 4096
_ROWS = 1 << 17


def scan(
    queries_QD: Vectors,
    source: Source,
    k: int,
    *,
    rows_R: IntArray | None = None,
    excluded: Excluded = NOTHING_EXCLUDED,
) -> tuple[IntArray, Vectors]:
    """The k rows with the greatest inner product.

    Args:
        queries_QD: [Q, D] checked.
        source: The vectors.
        k: Length of an answer.
        rows_R: [R] the only rows to look at, ascending; all if None.
        excluded: Pairs to leave out.

    Returns:
        [Q, k] rows, best first, ties by lower row, -1 where there is none; [Q, k] scores, -inf there.
    """
    rows_QC = np.full((len(queries_QD), k), NO_ITEM, np.int64)
    scores_QC = np.full((len(queries_QD), k), -np.inf, np.float32)
    num_rows = source.num_rows if rows_R is None else len(rows_R)
    if rows_R is not None:
        excluded = excluded.within(rows_R)
    for start in range(0, len(queries_QD), _QUERIES):
        stop = min(start + _QUERIES, len(queries_QD))
        best = _Best(queries_QD[start:stop], source, rows_R, min(k, num_rows))
        best.look_at_all(num_rows, excluded.of(start, stop))
        rows_QC[start:stop, : best.k], scores_QC[start:stop, : best.k] = best.rows_QC, best.scores_QC
    return rows_QC, scores_QC


class _Best:
    """The best rows so far of some queries. Places count the rows that are looked at: 0 to `num_rows` - 1."""

    def __init__(self, queries_QD: Vectors, source: Source, rows_R: IntArray | None, k: int) -> None:
        self._queries_QD, self._source, self._rows_R, self.k = queries_QD, source, rows_R, k
        num_queries, width = queries_QD.shape
        self.rows_QC = np.full((num_queries, k), NO_ITEM, np.int64)
        self.scores_QC = np.full((num_queries, k), -np.inf, np.float32)
        # Two orders of summation differ by at most this: Higham 2002, eq. 3.5, for each of the two.
        unit = 2.0**-24 * (width + 1)
        self._error_Q = 2 * unit / (1 - unit) * lengths(queries_QD) * source.max_length + 1e-30
        self._pending: list[tuple[IntArray, IntArray]] = []
        self._num_pending = 0

    def look_at_all(self, num_rows: int, excluded: Excluded) -> None:
        """Look at all rows, a block at a time."""
        if not self.k:
            return
        num_queries = len(self._queries_QD)
        block = min(max(BLOCK_SCORES // num_queries, _MIN_ROWS), _ROWS)
        by_row = np.argsort(excluded.row_P, kind="stable")
        row_P, query_P = excluded.row_P[by_row], excluded.query_P[by_row]
        cuts = np.searchsorted(row_P, np.arange(0, num_rows + block, block))
        for number, start in enumerate(range(0, num_rows, block)):
            stop = min(start + block, num_rows)
            if self._rows_R is None:
                vectors_BD = self._source.between(start, stop)
            else:
                vectors_BD = self._source.take(self._rows_R[start:stop])
            scores_QB = self._queries_QD @ vectors_BD.T
            out = slice(cuts[number], cuts[number + 1])
            scores_QB[query_P[out], row_P[out] - start] = -np.inf
            self._propose(scores_QB, start)
        self._settle()

    def _propose(self, scores_QB: Vectors, start: int) -> None:
        num_queries, width = scores_QB.shape
        floor_Q = self.scores_QC[:, -1] - self._error_Q
        if np.isneginf(floor_Q).any() and width >= self.k:
            # The k-th of this block alone: it may be too great by the error, and so may each score compared with it.
            kth_Q = np.partition(scores_QB, width - self.k, axis=1)[:, width - self.k]
            floor_Q = np.maximum(floor_Q, kth_Q - 2 * self._error_Q)
        # Rounding to float32 must not raise the floor.
        floor_Q = np.nextafter(floor_Q.astype(np.float32), np.float32(-np.inf))
        found = np.flatnonzero(scores_QB > floor_Q[:, None])
        query_P, place_P = np.divmod(found, width)
        self._pending.append((query_P, place_P + start))
        self._num_pending += len(found)
        if self._num_pending > num_queries * self.k:
            self._settle()

    def _settle(self) -> None:
        """Score what was proposed and keep the k best of each query."""
        if not self._num_pending:
            return
        num_queries = len(self._queries_QD)
        query_P = np.concatenate([query for query, _ in self._pending])
        row_P = np.concatenate([place for _, place in self._pending])
        if self._rows_R is not None:
            row_P = self._rows_R[row_P]
        self._pending, self._num_pending = [], 0
        score_P = pair_scores(self._queries_QD, self._source, query_P, row_P)
        old = np.nonzero(self.rows_QC != NO_ITEM)
        query_P = np.concatenate([old[0], query_P])
        row_P = np.concatenate([self.rows_QC[old], row_P])
        score_P = np.concatenate([self.scores_QC[old], score_P])
        # Stable, and rows came in ascending order: ties need no key of their own.
        order = np.lexsort((-score_P, query_P))
        query_P = query_P[order]
        place_P = position_in_row(np.searchsorted(query_P, np.arange(num_queries + 1)))
        keep = place_P < self.k
        at = query_P[keep], place_P[keep]
        self.rows_QC[at], self.scores_QC[at] = row_P[order][keep], score_P[order][keep]
