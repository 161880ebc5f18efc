"""How good an index is and what it costs: recall against exact search, build time, memory, latency."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.index.exact import ExactConfig
from sessionrec.index.face import Answer, Index, check_vectors
from sessionrec.index.holdings import Features
from sessionrec.index.kinds import IndexConfig
from sessionrec.schema import NO_ITEM

_WARM_UP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Figures of one index, on one set of queries."""

    kind: str
    """Of the index."""
    is_scanned: bool
    """Whether so few items were looked at one by one, as exact search does: the structure had no say in the recall."""
    num_items: int
    dimension: int
    num_queries: int
    """Queries that were searched in a batch."""
    k: int
    recall: float
    """Share of the k best items that the index finds; an item as good as the k-th counts as one of them."""
    build_s: float
    bytes_per_item: float
    """Memory of vectors, structure and item indices."""
    latency_median_ms: float
    """Of one query alone, the k best."""
    latency_p99_ms: float
    exact_latency_median_ms: float
    """The same queries, by exact search."""
    batch_queries_per_s: float
    """All queries in one call."""


def build_and_measure(
    config: IndexConfig,
    items_N: npt.NDArray[Any],
    vectors_ND: npt.NDArray[Any],
    queries_QD: npt.NDArray[Any],
    *,
    k: int = 100,
    features: Features | None = None,
    num_single: int = 500,
) -> tuple[Index, Quality]:
    """Build an index and compare it with exact search.

    Args:
        config: The index.
        items_N: See `HnswConfig.build`.
        vectors_ND: See `HnswConfig.build`.
        queries_QD: [Q, D] queries as the index will see them; those of real histories, not items.
        k: Length of an answer; at most the number of items is looked at.
        features: See `HnswConfig.build`.
        num_single: Queries that are also searched one at a time, for the latency.

    Raises:
        ValueError: No query, or what `build` refuses.
    """
    queries = check_vectors("queries_QD", queries_QD)
    if not len(queries):
        raise ValueError("`queries_QD` must have at least one query to measure an index")
    started = time.perf_counter()
    index: Index = config.build(items_N, vectors_ND, features=features)
    build_s = time.perf_counter() - started
    k = min(k, index.holdings.num_items)
    exact = ExactConfig().build(items_N, vectors_ND)
    index.search(queries[:_WARM_UP], k)
    started = time.perf_counter()
    answer = index.search(queries, k)
    batch_s = time.perf_counter() - started
    single_ms = latency_ms(index, queries[:num_single], k)
    quality = Quality(
        kind=config.kind,
        is_scanned=getattr(index, "is_scanned", True),
        num_items=index.holdings.num_items,
        dimension=index.dimension,
        num_queries=len(queries),
        k=k,
        recall=recall(answer, exact.search(queries, k)),
        build_s=build_s,
        bytes_per_item=index.size_bytes / index.holdings.num_items,
        latency_median_ms=float(np.median(single_ms)),
        latency_p99_ms=float(np.quantile(single_ms, 0.99)),
        exact_latency_median_ms=float(np.median(latency_ms(exact, queries[: min(num_single, 50)], k))),
        batch_queries_per_s=len(queries) / batch_s,
    )
    return index, quality


def recall(answer: Answer, truth: Answer) -> float:
    """Share of the items of exact search that an answer finds, over all queries.

    A found item counts if its score is at least that of the last true one: scores of an item are the same from every
    index, and which of several equally good items is shown is not the index's fault.
    """
    num_true_Q = np.count_nonzero(truth.items_QC != NO_ITEM, axis=1)
    last_Q = np.where(np.isneginf(truth.scores_QC), np.inf, truth.scores_QC).min(axis=1)
    is_found_QC = (answer.items_QC != NO_ITEM) & (answer.scores_QC >= last_Q[:, None])
    num_found_Q = np.minimum(np.count_nonzero(is_found_QC, axis=1), num_true_Q)
    num_true = int(num_true_Q.sum())
    return float(num_found_Q.sum() / num_true) if num_true else 1.0


def latency_ms(index: Index, queries_QD: npt.NDArray[Any], k: int, **limits: Any) -> npt.NDArray[np.float64]:
    """[Q] milliseconds that each query takes alone, after some that do not count.

    Args:
        index: Any index.
        queries_QD: [Q, D].
        k: Length of an answer.
        limits: `exclude` of one row, `allow`: given to every search.
    """
    for number in range(min(_WARM_UP, len(queries_QD))):
        index.search(queries_QD[number, None], k, **limits)
    taken_ms = np.empty(len(queries_QD))
    for number in range(len(queries_QD)):
        started = time.perf_counter()
        index.search(queries_QD[number, None], k, **limits)
        taken_ms[number] = (time.perf_counter() - started) * 1e3
    return taken_ms
