"""What every index answers: the items with the greatest inner product, as item indices and scores.

In: query vectors, a count, items to leave out of each query's answer, a filter for all of them. Out: one answer type,
whatever the index. Cosine is the inner product of normalised vectors. An approximate index may miss an item; what it
returns has the right score, and it returns k items whenever k may be returned.

    items_QC    7  3  9 -1        best first; among equal scores the lower item index first
    scores_QC  .8 .5 .5 -inf      where fewer than k items may be returned: NO_ITEM and -inf at the end

The score of an item for a query is the same float32 from every kind of index, alone or in a batch, whatever the number
of threads: `dots` makes it, in one order of summation.

Letters: Q queries, C answers a query (k), D width, N items of the index, V catalogue, E elements of a ragged array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from sessionrec.config import Config
from sessionrec.index.holdings import Filter
from sessionrec.jagged import IntArray, Jagged
from sessionrec.schema import NO_ITEM

if TYPE_CHECKING:
    from sessionrec.index.holdings import Holdings

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MAX_LENGTH = 1e18
"""Longest vector taken: the product of two still is a float32."""

_PAIRS = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The best items of each query, best first."""

    items_QC: IntArray
    """[Q, k] int64 item indices; `schema.NO_ITEM` where there is none."""
    scores_QC: Vectors
    """[Q, k] float32 inner products; -inf where there is no item."""


class Searchable(Protocol):
    """Some items and their vectors, ready to be searched. Searches may run at once in several threads."""

    @property
    def holdings(self) -> Holdings:
        """Which items it has, and their features."""
        ...

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        ...

    def search(
        self,
        queries_QD: npt.NDArray[Any],
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Mask | Filter | None = None,
    ) -> Answer:
        """The k best items of each query.

        Args:
            queries_QD: [Q, D] finite; Q may be 0.
            k: Length of an answer, >= 1; may be more than there are items.
            exclude: Item indices to leave out, one row a query; those that the index does not hold do no harm.
            allow: The only items that may be returned, for all queries: [V + 1] by item index, or a filter on the
                features that the index was built with.

        Raises:
            ValueError: A wrong shape, a value that is not finite, k < 1, or a filter on a feature that is not there.
        """
        ...


class Index(Searchable, Protocol):
    """What a config builds, and what can be stored."""

    @property
    def config(self) -> Config:
        """What it was built by."""
        ...

    @property
    def size_bytes(self) -> int:
        """Memory of vectors, structure and item indices; features are not counted."""
        ...

    def write(self, file: Callable[[str], Path]) -> None:
        """Write the vectors and the structure; `file` says where a name is to lie. See `store.save`."""
        ...


class Source(Protocol):
    """Where a scan finds the vectors: rows 0 to N - 1, in the order of the item indices."""

    @property
    def num_rows(self) -> int:
        """N."""
        ...

    @property
    def max_length(self) -> float:
        """Length of the longest vector."""
        ...

    def take(self, rows: IntArray) -> Vectors:
        """[n, D] the vectors of some rows, in that order."""
        ...

    def between(self, start: int, stop: int) -> Vectors:
        """[stop - start, D] the vectors of neighbouring rows."""
        ...


def dots(left_ND: Vectors, right_ND: Vectors) -> Vectors:
    """[N] inner products row by row; a row's product does not depend on the other rows, as it would in a GEMM."""
    products: Vectors = np.einsum("nd,nd->n", left_ND, right_ND)
    return products


def pair_scores(queries_QD: Vectors, source: Source, query_P: IntArray, row_P: IntArray) -> Vectors:
    """[P] scores of (query, row) pairs, some pairs at a time."""
    scores_P = np.empty(len(row_P), np.float32)
    for start in range(0, len(row_P), _PAIRS):
        part = slice(start, start + _PAIRS)
        scores_P[part] = dots(queries_QD[query_P[part]], source.take(row_P[part]))
    return scores_P


def no_answer(num_queries: int, k: int) -> Answer:
    """Nothing found, for every query."""
    items_QC = np.full((num_queries, k), NO_ITEM, np.int64)
    return Answer(items_QC=items_QC, scores_QC=np.full((num_queries, k), -np.inf, np.float32))


def check_vectors(name: str, vectors: npt.NDArray[Any], dimension: int | None = None) -> Vectors:
    """The vectors as contiguous float32, after a look at shape and values.

    Raises:
        ValueError: Not [N, D], not of this dimension, or a value is not finite or too great.
    """
    array = np.asarray(vectors)
    expected = "[N, D]" if dimension is None else f"[N, {dimension}]"
    if array.ndim != 2 or array.shape[1] == 0 or (dimension is not None and array.shape[1] != dimension):
        raise ValueError(f"`{name}` must be {expected}, got shape {tuple(array.shape)}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"`{name}` must be numbers, got {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.ascontiguousarray(array, np.float32)
        is_wrong = ~(lengths(array) < MAX_LENGTH)
    if is_wrong.any():
        row = int(np.flatnonzero(is_wrong)[0])
        raise ValueError(
            f"`{name}` must be finite and shorter than {MAX_LENGTH:g}, but row {row} is not "
            f"({int(is_wrong.sum())} such rows); look at the model that made them"
        )
    return array


def check_count(k: int) -> int:
    """The count k, if it is one."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"`k` must be a whole number from 1 on, got {k!r}")
    return int(k)


def lengths(vectors_ND: Vectors) -> npt.NDArray[np.float64]:
    """[N] Euclidean lengths, summed in float64, some rows at a time."""
    lengths_N = np.empty(len(vectors_ND))
    for start in range(0, len(vectors_ND), _PAIRS):
        part = slice(start, start + _PAIRS)
        wide = vectors_ND[part].astype(np.float64)
        lengths_N[part] = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    return lengths_N
