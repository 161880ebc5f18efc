"""Retrieval: item vectors in an index that finds the greatest inner products, exactly or nearly, behind one face.

    index = HnswConfig().build(items, vectors, features={"topic": topics})
    answer = index.search(queries, 10, exclude=seen, allow=Filter(where={"topic": 3}))

`exact` needs NumPy alone; `hnsw` and `ivf` need the extra `index` (Faiss). Nothing here needs torch.
To add a kind: see `kinds`.
"""

from __future__ import annotations

from sessionrec.index.exact import ExactConfig
from sessionrec.index.face import Answer, Index, Searchable
from sessionrec.index.hnsw import HnswConfig
from sessionrec.index.holdings import Features, Filter, Holdings
from sessionrec.index.ivf import IvfConfig
from sessionrec.index.joined import JoinedIndex
from sessionrec.index.kinds import IndexConfig
from sessionrec.index.quality import Quality, build_and_measure, recall
from sessionrec.index.store import load, load_if_any, save

__all__ = [
    "Answer",
    "ExactConfig",
    "Features",
    "Filter",
    "HnswConfig",
    "Holdings",
    "Index",
    "IndexConfig",
    "IvfConfig",
    "JoinedIndex",
    "Quality",
    "Searchable",
    "build_and_measure",
    "load",
    "load_if_any",
    "recall",
    "save",
]
