"""The figures of an index: recall worked by hand, the rest for sense."""

from __future__ import annotations

import numpy as np
import pytest

from sessionrec.index import Answer, ExactConfig, HnswConfig, build_and_measure, recall

NONE = -np.inf


def answer(items: list[list[int]], scores: list[list[float]]) -> Answer:
    return Answer(items_QC=np.array(items), scores_QC=np.array(scores, np.float32))


def test_recall_counts_items_as_good_as_the_last_true_one() -> None:
    true = answer([[1, 2, 3], [4, 5, -1]], [[9, 8, 7], [2, 1, NONE]])
    # First query: 1 and 8 of three (8 ties with 3), 6 is too low. Second: 4 of two.
    found = answer([[1, 8, 6], [4, -1, -1]], [[9, 7, 6.5], [2, NONE, NONE]])
    assert recall(found, true) == (2 + 1) / (3 + 2)
    assert recall(true, true) == 1
    nothing = answer([[-1]], [[NONE]])
    assert recall(nothing, nothing) == 1


def test_the_figures_of_an_index() -> None:
    vectors = np.random.default_rng(0).standard_normal((2000, 8))
    items = np.arange(1, 2001)
    config = HnswConfig(exact_below=0)
    index, quality = build_and_measure(config, items, vectors, vectors[:30], k=10, num_single=20)
    assert (quality.kind, quality.num_items, quality.dimension, quality.num_queries) == ("hnsw", 2000, 8, 30)
    true = ExactConfig().build(items, vectors).search(vectors[:30], 10)
    assert quality.recall == recall(index.search(vectors[:30], 10), true) > 0.9
    # 32 bytes of vector, 8 of item, about 8 a link.
    assert 32 + 8 + 8 * 32 < quality.bytes_per_item < 32 + 8 + 10 * 32
    assert 0 < quality.latency_median_ms <= quality.latency_p99_ms
    assert quality.build_s > 0
    assert quality.batch_queries_per_s > 0
    _, exact = build_and_measure(ExactConfig(), items, vectors, vectors[:3], k=5000)
    assert (exact.recall, exact.k, exact.bytes_per_item) == (1, 2000, 40)


def test_no_query_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        build_and_measure(ExactConfig(), np.arange(1, 5), np.eye(4), np.zeros((0, 4)))
