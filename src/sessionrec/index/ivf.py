"""IVF-Flat: vectors in lists around centres; a search looks through the lists with the nearest centres. By Faiss.

The centres are directions (spherical k-means). Where vectors' lengths differ much (standard deviation of the logarithm
near 1) the best items lie all over the lists, and HNSW serves better. Figures: `benchmarks/index.py`.
"""

from __future__ import annotations

import math
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

_FILE = "ivf.faiss"
_CLASS = "IndexIVFFlat"
_BLOCK = 1 << 16
_ROWS_A_THREAD = 10_000


class IvfConfig(Config):
    """Lists around centres (Faiss): quick to build, 16 bytes an item beside the vector, slower than HNSW to search."""

    kind: Literal["ivf"] = "ivf"
    """Lists around centres."""
    lists: int | None = Field(default=None, ge=1)
    """Number of lists; `2 * sqrt(items)` if not given."""
    probe_share: float = Field(default=0.25, gt=0, le=1)
    """Share of the lists that a search looks through. More: better and slower; 1 is exact."""
    training_vectors: int = Field(default=64, ge=1)
    """Vectors a list, drawn by the seed, from which the centres are made."""
    exact_below: int = Field(default=20_000, ge=0)
    """A search that no more items than this may answer looks at all of them; more in catalogues above 250,000."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the centres. The same seed and number of threads give the same lists."""
    num_threads: int | None = Field(default=None, ge=1)
    """Threads of build and search; all that the process may use if not given."""

    def build(
        self, items_N: npt.NDArray[Any], vectors_ND: npt.NDArray[Any], *, features: Features | None = None
    ) -> ApproximateIndex:
        """See `HnswConfig.build`."""
        faiss = library.faiss()
        holdings, vectors = prepare(items_N, vectors_ND, features)
        num_lists = min(self.lists or math.ceil(2 * math.sqrt(len(vectors))), len(vectors))
        centres = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(centres, vectors.shape[1], num_lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = self.seed
        index.cp.max_points_per_centroid = self.training_vectors
        # Else Faiss writes to stderr that small catalogues are small.
        index.cp.min_points_per_centroid = 1
        with library.threads(self.num_threads, len(vectors) // _ROWS_A_THREAD):
            index.train(vectors)
            index.add(vectors)
        # The index refers to the centres, and Python would free them.
        index.own_fields = True
        centres.this.disown()
        return self._index(holdings, index)

    def read(self, folder: Path, holdings: Holdings) -> ApproximateIndex:
        """Read what `write` wrote."""
        return self._index(holdings, library.read(folder / _FILE, _CLASS, holdings.num_items))

    def _index(self, holdings: Holdings, index: Any) -> ApproximateIndex:
        index.set_direct_map_type(library.faiss().DirectMap.Array)
        num_probes = max(1, round(index.nlist * self.probe_share))
        return ApproximateIndex(self, holdings, IvfEngine(index, num_probes, self.num_threads), self.exact_below)


class IvfEngine:
    """See `approximate.Engine`."""

    def __init__(self, index: Any, num_probes: int, num_threads: int | None) -> None:
        self._index, self._num_probes, self._num_threads = index, num_probes, num_threads

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._index.d)

    @property
    def size_bytes(self) -> int:
        """Vectors, their rows, where each row lies, and the centres."""
        width = 4 * self.dimension
        return int(self.num_rows * (width + 8 + 8) + self._index.nlist * width)

    @cached_property
    def max_length(self) -> float:
        """Length of the longest vector."""
        starts = range(0, self.num_rows, _BLOCK)
        return max(float(lengths(self.between(at, min(at + _BLOCK, self.num_rows))).max()) for at in starts)

    def take(self, rows: IntArray) -> Vectors:
        """Some vectors, copied out of the lists."""
        with library.threads(1):
            vectors: Vectors = self._index.reconstruct_batch(rows)
        return vectors

    def between(self, start: int, stop: int) -> Vectors:
        """Neighbouring vectors, copied out of the lists."""
        return self.take(np.arange(start, stop))

    def fetch(self, queries_QD: Vectors, count: int, effort: float, is_allowed_N: Mask | None) -> IntArray:
        """Look through the lists with the nearest centres."""
        chosen = library.selector(is_allowed_N)
        # More lists under a filter, so that as many vectors are compared as without one.
        allowed = 1.0 if is_allowed_N is None else np.count_nonzero(is_allowed_N) / self.num_rows
        num_probes = min(math.ceil(self._num_probes * effort / allowed), self._index.nlist)
        options = library.faiss().SearchParametersIVF(nprobe=num_probes, sel=chosen)
        with library.threads(self._num_threads, len(queries_QD)):
            _, rows_QF = self._index.search(queries_QD, count, params=options)
        rows: IntArray = rows_QF
        return rows

    def write(self, file: Callable[[str], Path]) -> None:
        """Lists and centres in Faiss's own format."""
        library.write(self._index, file(_FILE))
