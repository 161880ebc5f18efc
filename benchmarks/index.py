"""How good is each index, how long does it take to build, how long to answer, and how much memory does an item need?

    python -m benchmarks.index [--items 100000 1000000] [--width 64] [--threads 2]

Vectors stand around random centres, one per 200 items, at a distance like that between the centres; their lengths
spread by 30 %, as those of trained item embeddings do. Queries are drawn the same way. Latency is that of one query
alone, 100 best items, unless it says otherwise.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks import machine
from sessionrec.index import ExactConfig, Filter, HnswConfig, Index, IvfConfig
from sessionrec.index.quality import build_and_measure, latency_ms, recall
from sessionrec.jagged import Jagged
from sessionrec.seeding import stream

QUERIES, K, SEEN, TOPICS = 1000, 100, 200, 50


def clustered(num_items: int, width: int, *, noise: float = 1.0, spread: float = 0.3) -> tuple[Any, Any, Any]:
    """Item vectors, queries, and the topic of each item, a coarse grouping of the centres."""
    random = stream(0, "benchmark", num_items)
    centres = random.standard_normal((num_items // 200, width), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def around(count: int) -> tuple[Any, Any]:
        centre = random.integers(0, len(centres), count)
        vectors = centres[centre] + noise / width**0.5 * random.standard_normal((count, width), np.float32)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), centre

    vectors, centre = around(num_items)
    vectors *= np.exp(spread * random.standard_normal((num_items, 1), np.float32))
    return vectors, around(QUERIES)[0], centre % TOPICS


def with_limits(index: Index, exact: Index, queries: Any) -> dict[str, Any]:
    """Latency and recall when each query excludes its own 200 best items, and under filters."""
    best = exact.search(queries, SEEN).items_QC
    seen = Jagged(values=best.ravel(), offsets=np.arange(0, best.size + 1, SEEN))
    one = Jagged(values=best[0], offsets=np.array([0, SEEN]))
    limits: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
        f"{SEEN} best excluded": (np.repeat(queries[:1], 100, axis=0), {"exclude": seen}, {"exclude": one})
    }
    for share, topics in (("2 % allowed", (7,)), ("20 % allowed", tuple(range(10)))):
        allow = {"allow": Filter(where={"topic": topics})}
        limits[share] = queries[:100], allow, allow
    figures = {}
    for label, (single, of_all, of_one) in limits.items():
        found, true = index.search(queries, K, **of_all), exact.search(queries, K, **of_all)
        figures[f"recall, {label}"] = round(recall(found, true), 4)
        figures[f"latency_median_ms, {label}"] = round(float(np.median(latency_ms(index, single, K, **of_one))), 3)
    return figures


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    figures: dict[str, Any] = {
        "faiss": metadata.version("faiss-cpu"),
        "threads": options.threads,
        "width": options.width,
        "k": K,
        "queries": QUERIES,
    }
    configs: dict[str, ExactConfig | HnswConfig | IvfConfig] = {
        "exact": ExactConfig(),
        "hnsw": HnswConfig(num_threads=options.threads),
        "hnsw, graph by inner product": HnswConfig(num_threads=options.threads, length_power=0),
        "ivf": IvfConfig(num_threads=options.threads),
    }
    for num_items in options.items:
        vectors, queries, topic = clustered(num_items, options.width)
        items = np.arange(1, num_items + 1)
        exact = ExactConfig().build(items, vectors, features={"topic": topic})
        for label, config in configs.items():
            if "by inner product" in label and num_items > options.items[0]:
                continue
            index, quality = build_and_measure(config, items, vectors, queries, k=K, features={"topic": topic})
            row = asdict(quality) | {"config": config.model_dump(mode="json")}
            row = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
            figures[f"{num_items} items, {label}"] = row | with_limits(index, exact, queries)
            print(num_items, label, figures[f"{num_items} items, {label}"], flush=True)
    figures["peak_gb"] = round(machine.peak_gb(), 2)
    machine.write("index", figures)


if __name__ == "__main__":
    main()
