"""What is special to the indexes by Faiss: the graph, the lists, threads, the missing package."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from sessionrec.errors import ArtifactError, MissingExtraError
from sessionrec.index import ExactConfig, HnswConfig, IvfConfig, library, load, recall, save
from sessionrec.index.approximate import ApproximateIndex
from sessionrec.jagged import Jagged


def clusters(num_items: int, spread: float, *, noise: float = 0.3, width: int = 16) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((num_items // 100, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    around = centres[random.integers(0, len(centres), num_items + 100)]
    vectors = around + noise / width**0.5 * random.standard_normal((num_items + 100, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = np.exp(spread * random.standard_normal((num_items, 1)))
    return (vectors[:num_items] * lengths).astype(np.float32), vectors[num_items:].astype(np.float32)


def test_a_graph_of_shortened_vectors_finds_what_a_graph_by_inner_product_misses() -> None:
    # Tight clusters, lengths spread by 50 %: by inner product nothing links to the short vectors.
    vectors, queries = clusters(3000, 0.5)
    items = np.arange(1, 3001)
    true = ExactConfig().build(items, vectors).search(queries, 50)
    found = {
        power: recall(
            HnswConfig(length_power=power, exact_below=0, ef_search=100).build(items, vectors).search(queries, 50), true
        )
        for power in (0.0, 1.5)
    }
    assert found[1.5] > 0.95
    assert found[1.5] > found[0.0]


def test_vectors_of_length_zero_are_items_like_others() -> None:
    vectors, queries = clusters(600, 0.0)
    vectors[::3] = 0
    for config in (HnswConfig(exact_below=0), IvfConfig(exact_below=0)):
        answer = config.build(np.arange(1, 601), vectors).search(queries, 600)
        assert (answer.items_QC > 0).all()


def test_looking_through_all_lists_is_exact() -> None:
    vectors, queries = clusters(3000, 0.5)
    items = np.arange(1, 3001)
    true = ExactConfig().build(items, vectors).search(queries, 40)
    answer = IvfConfig(probe_share=1.0, exact_below=0).build(items, vectors).search(queries, 40)
    assert np.array_equal(answer.items_QC, true.items_QC)
    assert np.array_equal(answer.scores_QC, true.scores_QC)


def test_more_lists_than_vectors_are_as_many_lists_and_faiss_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    IvfConfig(lists=500, exact_below=0).build(np.arange(1, 11), np.eye(10)).search(np.eye(10), 2)
    assert capfd.readouterr() == ("", "")


def test_another_seed_makes_other_lists_and_another_graph() -> None:
    vectors, queries = clusters(1500, 0.3, noise=1.5)
    items = np.arange(1, 1501)
    for config in (HnswConfig, IvfConfig):
        weak: dict[str, Any] = {"ef_search": 8, "links": 4} if config is HnswConfig else {"probe_share": 0.01}
        built = [config(seed=seed, exact_below=0, **weak).build(items, vectors) for seed in (0, 0, 1)]
        answers = [index.search(queries, 50).items_QC for index in built]
        assert np.array_equal(answers[0], answers[1])
        assert not np.array_equal(answers[0], answers[2])


class Stubborn:
    """An engine that finds nothing until it is asked for much."""

    num_rows, dimension, size_bytes, max_length = 400, 16, 0, 10.0

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors
        self.asked: list[tuple[int, int, float]] = []

    def take(self, rows: Any) -> Any:
        return self.vectors[rows]

    def between(self, start: int, stop: int) -> Any:
        return self.vectors[start:stop]

    def fetch(self, queries_QD: Any, count: int, effort: float, is_allowed_N: Any) -> Any:
        assert is_allowed_N is None
        self.asked.append((len(queries_QD), count, effort))
        rows = np.full((len(queries_QD), count), -1)
        if effort > 1:
            rows[queries_QD[:, 0] > 0, :count] = np.arange(count)
        return rows

    def write(self, file: Any) -> None:
        raise NotImplementedError


def test_a_query_short_of_items_is_asked_again_and_in_the_end_scanned() -> None:
    vectors, queries = clusters(400, 0.0)
    queries = queries[np.argsort(queries[:, 0])][[0, 1, -2, -1]]
    holdings = ExactConfig().build(np.arange(1, 401), vectors).holdings
    engine = Stubborn(vectors)
    index = ApproximateIndex(HnswConfig(), holdings, engine, exact_below=0)
    answer = index.search(queries, 10)
    # 10 for all four; 40 with four times the effort: enough for two; 160 for the others, who stay without: scanned.
    assert engine.asked == [(4, 10, 1), (4, 40, 4), (2, 160, 16)]
    true = ExactConfig().build(np.arange(1, 401), vectors).search(queries, 10)
    assert np.array_equal(answer.items_QC[:2], true.items_QC[:2])
    assert (answer.items_QC[2:] > 0).all()
    engine.asked.clear()
    seen = Jagged(values=np.arange(1, 31), offsets=np.array([0, 0, 0, 30, 30]))
    index.search(queries, 10, exclude=seen)
    assert engine.asked[0] == (3, 10, 1)
    assert (1, 42, 1) in engine.asked, "10, and the 30 that this one excludes, rounded up to 32"


def test_the_number_of_threads_holds_inside_and_not_after() -> None:
    faiss = library.faiss()
    before = faiss.omp_get_max_threads()
    with library.threads(3):
        assert faiss.omp_get_max_threads() == 3
        with library.threads(None, num_tasks=1):
            assert faiss.omp_get_max_threads() == 1
        assert faiss.omp_get_max_threads() == 3
    assert faiss.omp_get_max_threads() == before


def test_without_faiss_the_extra_is_named_and_exact_search_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    vectors = np.eye(4)
    save(IvfConfig().build(np.arange(1, 5), vectors), tmp_path, model="m")
    monkeypatch.setitem(sys.modules, "faiss", None)
    ExactConfig().build(np.arange(1, 5), vectors).search(vectors, 1)
    for config in (HnswConfig(), IvfConfig()):
        with pytest.raises(MissingExtraError, match=r'pip install "sessionrec\[index\]"'):
            config.build(np.arange(1, 5), vectors)
    with pytest.raises(MissingExtraError, match="sessionrec"):
        load(tmp_path)


def test_a_faiss_file_of_another_kind_or_size_is_refused(tmp_path: Any) -> None:
    hnsw = HnswConfig().build(np.arange(1, 5), np.eye(4))
    hnsw.write(lambda name: tmp_path / name)
    (tmp_path / "hnsw.faiss").rename(tmp_path / "ivf.faiss")
    with pytest.raises(ArtifactError, match="expected IndexIVFFlat by inner product with 4 items, found IndexHNSWFlat"):
        IvfConfig().read(tmp_path, hnsw.holdings)
    with pytest.raises(ArtifactError, match="make the index again"):
        HnswConfig().read(tmp_path, hnsw.holdings)
