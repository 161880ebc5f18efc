"""Exact search by blocks of a GEMM: the yardstick of the others, and enough for catalogues up to some 100,000 items.

Needs NumPy alone. Its threads are those of NumPy's BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sessionrec.config import Config
from sessionrec.errors import ArtifactError
from sessionrec.index.face import Answer, Mask, Vectors, check_count, check_vectors, lengths
from sessionrec.index.holdings import Features, Filter, Holdings, stock
from sessionrec.index.scan import scan
from sessionrec.jagged import IntArray, Jagged
from sessionrec.schema import NO_ITEM

_VECTORS = "vectors.npy"


class ExactConfig(Config):
    """Every vector is compared with every query."""

    kind: Literal["exact"] = "exact"
    """All vectors are looked at: nothing is missed."""

    def build(
        self, items_N: npt.NDArray[Any], vectors_ND: npt.NDArray[Any], *, features: Features | None = None
    ) -> ExactIndex:
        """See `HnswConfig.build`."""
        holdings, vectors = prepare(items_N, vectors_ND, features)
        return ExactIndex(self, holdings, vectors)

    def read(self, folder: Path, holdings: Holdings) -> ExactIndex:
        """Read what `write` wrote."""
        try:
            vectors = np.load(folder / _VECTORS, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{folder / _VECTORS}: not an array: {error}; make the index again") from None
        if vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != holdings.num_items:
            raise ArtifactError(f"{folder / _VECTORS}: not {holdings.num_items} vectors; make the index again")
        return ExactIndex(self, holdings, vectors)


class ExactIndex:
    """See `face.Index`."""

    def __init__(self, config: ExactConfig, holdings: Holdings, vectors_ND: Vectors) -> None:
        self._config, self._holdings, self._source = config, holdings, ArraySource(vectors_ND)

    @property
    def config(self) -> ExactConfig:
        """What it was built by."""
        return self._config

    @property
    def holdings(self) -> Holdings:
        """Which items it has."""
        return self._holdings

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return int(self._source.vectors_ND.shape[1])

    @property
    def size_bytes(self) -> int:
        """Vectors and item indices."""
        return self._source.vectors_ND.nbytes + self._holdings.items_N.nbytes

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
        rows_QC, scores_QC = scan(queries, self._source, k, rows_R=rows_R, excluded=excluded)
        return to_answer(self._holdings, rows_QC, scores_QC)

    def write(self, file: Callable[[str], Path]) -> None:
        """The vectors as one array."""
        np.save(file(_VECTORS), self._source.vectors_ND, allow_pickle=False)


class ArraySource:
    """Vectors that lie in one array; see `face.Source`."""

    def __init__(self, vectors_ND: Vectors) -> None:
        self.vectors_ND = vectors_ND
        self.max_length = float(lengths(vectors_ND).max())
        """Length of the longest vector."""

    @property
    def num_rows(self) -> int:
        """Number of vectors."""
        return len(self.vectors_ND)

    def take(self, rows: IntArray) -> Vectors:
        """Some rows, copied."""
        return self.vectors_ND[rows]

    def between(self, start: int, stop: int) -> Vectors:
        """Neighbouring rows, a view."""
        return self.vectors_ND[start:stop]


def prepare(
    items_N: npt.NDArray[Any], vectors_ND: npt.NDArray[Any], features: Features | None
) -> tuple[Holdings, Vectors]:
    """Check items and vectors of a new index and put both in the order of the item indices.

    Raises:
        ValueError: Items, vectors or features are not as `build` wants them.
    """
    vectors = check_vectors("vectors_ND", vectors_ND)
    holdings, order = stock(items_N, features)
    if len(vectors) != holdings.num_items:
        raise ValueError(f"`vectors_ND` must have a row for each of {holdings.num_items} items, got {len(vectors)}")
    # A copy even if sorted: the caller may write into its array later.
    return holdings, vectors.copy() if order is None else vectors[order]


def to_answer(holdings: Holdings, rows_QC: IntArray, scores_QC: Vectors) -> Answer:
    """Rows to item indices."""
    items_QC = np.where(rows_QC == NO_ITEM, NO_ITEM, holdings.items_N[rows_QC])
    return Answer(items_QC=items_QC, scores_QC=scores_QC)
