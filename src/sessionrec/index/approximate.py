"""What the approximate indexes share: how a fast guess at the nearest becomes an answer that keeps its promises.

An engine fetches more rows than were asked for; excluded ones are dropped, the others scored (`face.dots`) and sorted.
A query that is left with too few is fetched again, four times as many with four times the effort, and in the end
scanned exactly: an answer has k items whenever k items may be returned. A filter that leaves few items is scanned at
once, since a structure over all items finds rare ones badly.

Letters: Q queries, C answers a query, F rows fetched a query, D width, N items.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sessionrec.config import Config
from sessionrec.index.exact import to_answer
from sessionrec.index.face import Answer, Mask, Source, Vectors, check_count, check_vectors, no_answer, pair_scores
from sessionrec.index.holdings import Excluded, Filter, Holdings
from sessionrec.index.scan import scan
from sessionrec.jagged import IntArray, Jagged
from sessionrec.schema import NO_ITEM

_QUERIES = 1024
_SLACK = 256
_GROWTH = 4
_MEASURED = 250_000


class Engine(Source, Protocol):
    """A structure that guesses the nearest rows; also gives the vectors back, for scoring and scanning."""

    @property
    def dimension(self) -> int:
        """D."""
        ...

    @property
    def size_bytes(self) -> int:
        """Memory of vectors and structure."""
        ...

    def fetch(self, queries_QD: Vectors, count: int, effort: float, is_allowed_N: Mask | None) -> IntArray:
        """Rows that are probably the best.

        Args:
            queries_QD: [Q, D] checked.
            count: F, at most the number of rows.
            effort: 1 for what the config says; 4 to look at four times as much.
            is_allowed_N: [N] the rows that may be fetched, at least one; all if None. The fewer, the farther the
                engine has to look.

        Returns:
            [Q, F] rows in any order, no row twice; -1 where nothing was found.
        """
        ...

    def write(self, file: Callable[[str], Path]) -> None:
        """See `face.Index.write`."""
        ...


class ApproximateIndex:
    """See `face.Index`.

    Args:
        config: What it was built by.
        holdings: The items.
        engine: Their vectors in a structure, rows in the order of the holdings.
        exact_below: A search that no more items than this may answer is a scan. A scan's cost grows with the allowed
            items, that of a structure as the allowed get rarer, so in a great catalogue the border lies higher: it is
            for `_MEASURED` items and grows with the square root of their number.
    """

    def __init__(self, config: Config, holdings: Holdings, engine: Engine, exact_below: int) -> None:
        self._config, self._holdings, self._engine = config, holdings, engine
        self._scanned = exact_below * max(1.0, math.sqrt(holdings.num_items / _MEASURED))

    @property
    def config(self) -> Config:
        """What it was built by."""
        return self._config

    @property
    def holdings(self) -> Holdings:
        """Which items it has."""
        return self._holdings

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return self._engine.dimension

    @property
    def size_bytes(self) -> int:
        """Vectors, structure and item indices."""
        return self._engine.size_bytes + self._holdings.items_N.nbytes

    @property
    def is_scanned(self) -> bool:
        """Whether there are so few items that every search looks at all of them."""
        return self._holdings.num_items <= self._scanned

    def search(
        self,
        queries_QD: npt.NDArray[Any],
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Mask | Filter | None = None,
    ) -> Answer:
        """See `face.Index.search`."""
        queries, k = check_vectors("queries_QD", queries_QD, self.dimension), check_count(k)
        rows_R = self._holdings.allowed(allow)
        excluded = self._holdings.excluded(exclude, len(queries))
        num_allowed = self._holdings.num_items if rows_R is None else len(rows_R)
        # Half of the items and more are found sooner by looking at all.
        if num_allowed <= max(self._scanned, 2 * k):
            rows_QC, scores_QC = scan(queries, self._engine, k, rows_R=rows_R, excluded=excluded)
            return to_answer(self._holdings, rows_QC, scores_QC)
        is_allowed_N = None
        if rows_R is not None:
            is_allowed_N = np.zeros(self._holdings.num_items, np.bool_)
            is_allowed_N[rows_R] = True
            kept = is_allowed_N[excluded.row_P]
            excluded = Excluded(query_P=excluded.query_P[kept], row_P=excluded.row_P[kept])
        answer = no_answer(len(queries), k)
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            found = self._search(queries[part], k, excluded.of(start, start + _QUERIES), rows_R, is_allowed_N)
            part_answer = to_answer(self._holdings, *found)
            answer.items_QC[part], answer.scores_QC[part] = part_answer.items_QC, part_answer.scores_QC
        return answer

    def write(self, file: Callable[[str], Path]) -> None:
        """See `face.Index.write`."""
        self._engine.write(file)

    def _search(
        self, queries_QD: Vectors, k: int, excluded: Excluded, rows_R: IntArray | None, is_allowed_N: Mask | None
    ) -> tuple[IntArray, Vectors]:
        num_queries = len(queries_QD)
        num_allowed = self._holdings.num_items if rows_R is None else len(rows_R)
        rows_QC = np.full((num_queries, k), NO_ITEM, np.int64)
        scores_QC = np.full((num_queries, k), -np.inf, np.float32)
        excluded_Q = excluded.counts(num_queries)
        wanted_Q = np.minimum(k, num_allowed - excluded_Q)
        # A user's own items are near the query, so that most of a short list is lost; of a long one, who knows. Rounded
        # up to powers of two: few groups, and what a query is given does not depend on the others of its batch.
        slack_Q = np.minimum(excluded_Q, k + _SLACK)
        count_Q = k + np.where(slack_Q > 0, 2 ** np.ceil(np.log2(np.maximum(slack_Q, 1))), 0).astype(np.int64)
        short = []
        for first in np.unique(count_Q):
            open_Q, count, effort = np.flatnonzero(count_Q == first), int(first), 1
            while len(open_Q) and 2 * count < num_allowed:
                fetched_QF = self._engine.fetch(queries_QD[open_Q], count, effort, is_allowed_N)
                rows, scores = _best(queries_QD[open_Q], self._engine, fetched_QF, excluded.take(open_Q))
                rows_QC[open_Q], scores_QC[open_Q] = rows[:, :k], scores[:, :k]
                open_Q = open_Q[np.count_nonzero(rows_QC[open_Q] != NO_ITEM, axis=1) < wanted_Q[open_Q]]
                count, effort = count * _GROWTH, effort * _GROWTH
            short.append(open_Q)
        short_Q = np.sort(np.concatenate(short))
        if len(short_Q):
            rest = excluded.take(short_Q)
            found = scan(queries_QD[short_Q], self._engine, k, rows_R=rows_R, excluded=rest)
            rows_QC[short_Q], scores_QC[short_Q] = found
        return rows_QC, scores_QC


def _best(queries_QD: Vectors, source: Source, rows_QF: IntArray, excluded: Excluded) -> tuple[IntArray, Vectors]:
    """[Q, F] the fetched rows without the excluded ones, best first, and their scores."""
    keep_QF = rows_QF != NO_ITEM
    if len(excluded.row_P):
        keys_P = excluded.query_P * source.num_rows + excluded.row_P
        keys_QF = np.arange(len(queries_QD))[:, None] * source.num_rows + rows_QF
        place = np.minimum(np.searchsorted(keys_P, keys_QF), len(keys_P) - 1)
        keep_QF &= keys_P[place] != keys_QF
    scores_QF = np.full(rows_QF.shape, -np.inf, np.float32)
    query_P, place_P = np.nonzero(keep_QF)
    scores_QF[keep_QF] = pair_scores(queries_QD, source, query_P, rows_QF[query_P, place_P])
    rows_QF = np.where(keep_QF, rows_QF, NO_ITEM)
    order = np.lexsort((rows_QF, -scores_QF), axis=1)
    return np.take_along_axis(rows_QF, order, axis=1), np.take_along_axis(scores_QF, order, axis=1)
