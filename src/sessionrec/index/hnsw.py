"""HNSW (Malkov and Yashunin 2018, arXiv 1603.09320): a graph of near neighbours that a search walks along. By Faiss.

Inner products make a poor graph: short vectors are nobody's nearest, nothing links to them, and whole clusters cannot
be reached once lengths differ (100,000 items, lengths spread by 30 %: recall@100 of 0.64 instead of 0.99). So the graph
is built by Euclidean distance between vectors divided by length^1.5 and searched by inner product on the vectors
themselves. The power 2 would be the Moebius transformation of Zhou et al. (NeurIPS 2019); 1 looks at directions alone.
For vectors of one length, cosine for instance, all of them are the plain graph. Figures: `benchmarks/index.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sessionrec.config import Config
from sessionrec.index import library
from sessionrec.index.approximate import ApproximateIndex
from sessionrec.index.exact import prepare
from sessionrec.index.face import Mask, Vectors, lengths
from sessionrec.index.holdings import Features, Holdings
from sessionrec.jagged import IntArray

_FILE = "hnsw.faiss"
_CLASS = "IndexHNSWFlat"
_SHORTEST = 1e-3
_RAREST = 1 / 64
_ROWS_A_THREAD = 10_000


class HnswConfig(Config):
    """A graph of neighbours (Faiss): quick to search, slow to build, `8 * links` bytes an item beside the vector."""

    kind: Literal["hnsw"] = "hnsw"
    """A graph of neighbours."""
    links: int = Field(default=32, ge=4, le=256)
    """Neighbours of an item in the graph's upper layers; twice as many in the lowest. More: better, larger, slower."""
    ef_build: int = Field(default=100, ge=8)
    """Candidates that are kept while an item is linked. More: a better graph, a slower build."""
    ef_search: int = Field(default=300, ge=8)
    """Candidates that are kept while a query walks; at least twice what it asks for. More: better and slower."""
    length_power: float = Field(default=1.5, ge=0, le=3)
    """The graph sees vectors divided by their length to this power; 0 leaves them as they are."""
    exact_below: int = Field(default=20_000, ge=0)
    """A search that no more items than this may answer looks at all of them; more in catalogues above 250,000."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the layers that items reach up to. The graph does not depend on the number of threads."""
    num_threads: int | None = Field(default=None, ge=1)
    """Threads of build and search; all that the process may use if not given."""

    def build(
        self, items_N: npt.NDArray[Any], vectors_ND: npt.NDArray[Any], *, features: Features | None = None
    ) -> ApproximateIndex:
        """Make the index.

        Args:
            items_N: [N] item indices, distinct, from 1 on, any order.
            vectors_ND: [N, D] finite; copied.
            features: [N] integer codes of each feature that filters may ask for.

        Raises:
            ValueError: A wrong shape, a value that is not finite, an item twice.
            MissingExtraError: Faiss is not installed.
        """
        faiss = library.faiss()
        holdings, vectors = prepare(items_N, vectors_ND, features)
        graph = faiss.IndexHNSWFlat(vectors.shape[1], self.links, faiss.METRIC_L2)
        graph.hnsw.efConstruction = self.ef_build
        graph.hnsw.rng = faiss.RandomGenerator(self.seed)
        with library.threads(self.num_threads, len(vectors) // _ROWS_A_THREAD):
            graph.add(_shortened(vectors, self.length_power))
        # The graph stays; what it is searched on are the true vectors.
        stored(graph)[:] = vectors
        graph.metric_type = graph.storage.metric_type = faiss.METRIC_INNER_PRODUCT
        return self._index(holdings, graph)

    def read(self, folder: Path, holdings: Holdings) -> ApproximateIndex:
        """Read what `write` wrote."""
        return self._index(holdings, library.read(folder / _FILE, _CLASS, holdings.num_items))

    def _index(self, holdings: Holdings, graph: Any) -> ApproximateIndex:
        graph.hnsw.is_similarity = True
        return ApproximateIndex(self, holdings, HnswEngine(graph, self.ef_search, self.num_threads), self.exact_below)


class HnswEngine:
    """See `approximate.Engine`."""

    def __init__(self, graph: Any, ef_search: int, num_threads: int | None) -> None:
        self._graph, self._ef_search, self._num_threads = graph, ef_search, num_threads
        self._vectors_ND = stored(graph)

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self._vectors_ND)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._vectors_ND.shape[1])

    @property
    def size_bytes(self) -> int:
        """Vectors, links, and where each item's links begin."""
        hnsw = self._graph.hnsw
        return int(self._vectors_ND.nbytes + 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * self.num_rows)

    @cached_property
    def max_length(self) -> float:
        """Length of the longest vector."""
        return float(lengths(self._vectors_ND).max())

    def take(self, rows: IntArray) -> Vectors:
        """Some vectors, copied."""
        return self._vectors_ND[rows]

    def between(self, start: int, stop: int) -> Vectors:
        """Neighbouring vectors, a view."""
        return self._vectors_ND[start:stop]

    def fetch(self, queries_QD: Vectors, count: int, effort: float, is_allowed_N: Mask | None) -> IntArray:
        """Walk the graph; it is walked over rows that are not allowed too, else it would fall to pieces."""
        chosen = library.selector(is_allowed_N)
        allowed = 1.0 if is_allowed_N is None else np.count_nonzero(is_allowed_N) / self.num_rows
        width = min(round(max(self._ef_search * effort, 2 * count) / max(allowed, _RAREST)), self.num_rows)
        options = library.faiss().SearchParametersHNSW(efSearch=width, sel=chosen)
        with library.threads(self._num_threads, len(queries_QD)):
            _, rows_QF = self._graph.search(queries_QD, count, params=options)
        rows: IntArray = rows_QF
        return rows

    def write(self, file: Callable[[str], Path]) -> None:
        """Graph and vectors in Faiss's own format."""
        library.write(self._graph, file(_FILE))


def stored(graph: Any) -> Vectors:
    """[N, D] the vectors inside the graph's memory, a view: it lives as long as the graph."""
    flat = library.faiss().downcast_index(graph.storage)
    vectors: Vectors = (
        library.faiss().rev_swig_ptr(flat.get_xb(), graph.ntotal * graph.d).reshape(graph.ntotal, graph.d)
    )
    return vectors


def _shortened(vectors_ND: Vectors, power: float) -> Vectors:
    length_N = lengths(vectors_ND)
    longest = length_N.max()
    if not power or not longest:
        return vectors_ND
    # Relative to the longest, so that nothing overflows; a zero vector stays zero.
    relative_N = np.maximum(length_N / longest, _SHORTEST)
    divisor_N = (longest * relative_N**power).astype(np.float32)
    shortened: Vectors = vectors_ND / divisor_N[:, None]
    return shortened
