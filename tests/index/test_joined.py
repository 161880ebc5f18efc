"""An index with later items beside it answers as one index of all."""

from __future__ import annotations

import numpy as np
import pytest

from sessionrec.index import ExactConfig, Filter, HnswConfig, IndexConfig, JoinedIndex
from sessionrec.index.face import Searchable
from sessionrec.jagged import Jagged

RANDOM = np.random.default_rng(5)
ITEMS = np.array([2, 3, 5, 8, 9, 12, 13, 20, 21])
VECTORS = RANDOM.integers(-2, 3, (9, 4)).astype(np.float32)
"""Small whole numbers: many ties."""
TOPICS = np.array([1, 2, 1, 1, 2, 1, 2, 2, 1])
QUERIES = RANDOM.integers(-2, 3, (7, 4)).astype(np.float32)
LATER = 6


def joined(config: IndexConfig) -> tuple[Searchable, Searchable]:
    whole = ExactConfig().build(ITEMS, VECTORS, features={"topic": TOPICS})
    first = config.build(ITEMS[:LATER], VECTORS[:LATER], features={"topic": TOPICS[:LATER]})
    return JoinedIndex(first, ITEMS[LATER:], VECTORS[LATER:], features={"topic": TOPICS[LATER:]}), whole


@pytest.mark.parametrize(
    "config", [ExactConfig(), HnswConfig(), HnswConfig(exact_below=0)], ids=["exact", "few", "hnsw"]
)
@pytest.mark.parametrize("k", [1, 3, 9, 14])
def test_all_are_searched(config: IndexConfig, k: int) -> None:
    both, whole = joined(config)
    exclude = Jagged(values=np.array([2, 20, 99, 13, 12, 9, 21]), offsets=np.array([0, 2, 3, 3, 5, 6, 7, 7]))
    mask = np.isin(np.arange(22), [3, 9, 13, 20])
    for limits in ({}, {"exclude": exclude}, {"allow": Filter(where={"topic": 2})}, {"allow": mask}):
        found, wanted = (index.search(QUERIES, k, **limits) for index in (both, whole))
        assert np.array_equal(found.items_QC, wanted.items_QC)
        assert np.array_equal(found.scores_QC, wanted.scores_QC)
    assert np.array_equal(both.holdings.items_N, ITEMS)
    assert np.array_equal(both.holdings.features["topic"], TOPICS)
    assert both.dimension == 4


def test_what_does_not_fit_is_refused() -> None:
    first = ExactConfig().build(ITEMS[:3], VECTORS[:3], features={"topic": TOPICS[:3]})
    with pytest.raises(ValueError, match="later items must come after item 5, got 5"):
        JoinedIndex(first, ITEMS[2:4], VECTORS[2:4], features={"topic": TOPICS[2:4]})
    with pytest.raises(ValueError, match=r"the index has features \['topic'\], later items \[\]"):
        JoinedIndex(first, ITEMS[3:], VECTORS[3:])
    with pytest.raises(ValueError, match=r"vectors must be \[N, 4\], got \[N, 3\]"):
        JoinedIndex(first, ITEMS[3:], VECTORS[3:, :3], features={"topic": TOPICS[3:]})
