"""What every index owes its caller; runs on every kind in the union, so a new one is tested the day it is named."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionrec import schema
from sessionrec.config import Config, parse
from sessionrec.errors import ArtifactError, ConfigError
from sessionrec.index import Answer, Filter, Index, IndexConfig, load, recall, save
from sessionrec.jagged import Jagged, offsets_from_lengths

KINDS = {config.model_fields["kind"].default: config for config in get_args(get_args(IndexConfig)[0])}
# Small catalogues are scanned otherwise, and the structure would never be seen.
ALWAYS = {"exact": {}, "hnsw": {"exact_below": 0}, "ivf": {"exact_below": 0}}
N, WIDTH, QUERIES = 4000, 24, 40


class Root(Config):
    index: IndexConfig
    """Any."""


def configured(kind: str, **settings: Any) -> Any:
    assert kind in ALWAYS, f"say in ALWAYS how the index {kind!r} is made to use its structure on small catalogues"
    return KINDS[kind](**ALWAYS[kind], **settings)


def clustered(num_items: int = N, num_queries: int = QUERIES, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(num_items // 100, 2), WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def around(count: int) -> Any:
        noise = 0.6 / WIDTH**0.5 * random.standard_normal((count, WIDTH))
        return centres[random.integers(0, len(centres), count)] + noise

    vectors = around(num_items) * np.exp(0.3 * random.standard_normal((num_items, 1)))
    return vectors.astype(np.float32), around(num_queries).astype(np.float32)


VECTORS, ASKED = clustered()
ITEMS = np.random.default_rng(1).permutation(np.arange(1, 2 * N))[:N]
"""Half of a catalogue, in no order."""
TOPIC = np.random.default_rng(2).integers(0, 5, N)
BRAND = np.random.default_rng(3).integers(0, 400, N)
FEATURES = {"topic": TOPIC, "brand": BRAND}
BUILT: dict[str, Index] = {}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def index(kind: str) -> Index:
    if kind not in BUILT:
        BUILT[kind] = configured(kind).build(ITEMS, VECTORS, features=FEATURES)
    return BUILT[kind]


def brute_force(
    queries: npt.NDArray[Any], k: int, banned: list[set[int]] | None = None, allowed: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """[Q, k] by float64 and a sort of everything; shares nothing with the package."""
    scores = queries.astype(np.float64) @ VECTORS.astype(np.float64).T
    answers = np.full((len(queries), k), -1)
    for row, row_scores in enumerate(scores):
        ranked = ITEMS[np.lexsort((ITEMS, -row_scores))]
        fits = np.ones(N, np.bool_) if allowed is None else np.isin(ranked, ITEMS[allowed])
        if banned is not None:
            fits &= ~np.isin(ranked, list(banned[row]))
        best = ranked[fits][:k]
        answers[row, : len(best)] = best
    return answers


def overlap(found: npt.NDArray[Any], true: npt.NDArray[Any]) -> float:
    hits = sum(len(set(a) & set(b) - {-1}) for a, b in zip(found.tolist(), true.tolist(), strict=True))
    return hits / np.count_nonzero(true != -1)


def rows(lists: list[list[int]]) -> Jagged[npt.NDArray[Any]]:
    values = np.array([item for row in lists for item in row], np.int64)
    return Jagged(values=values, offsets=offsets_from_lengths(np.array([len(row) for row in lists])))


def check_form(answer: Answer, num_queries: int, k: int) -> None:
    items, scores = answer.items_QC, answer.scores_QC
    assert items.shape == scores.shape == (num_queries, k)
    assert items.dtype == np.int64
    assert scores.dtype == np.float32
    assert np.array_equal(items == schema.NO_ITEM, np.isneginf(scores))
    assert not np.isnan(scores).any()
    assert not (items == schema.UNKNOWN).any()
    for row_items, row_scores in zip(items, scores, strict=True):
        there = row_items[row_items != schema.NO_ITEM]
        assert len(set(there.tolist())) == len(there)
        assert np.array_equal(row_items[: len(there)], there), "items first, then nothing"
        keys = list(zip(-row_scores[: len(there)], there, strict=True))
        assert keys == sorted(keys), "best first, among equals the lower item index"


def same(left: Answer, right: Answer) -> bool:
    return np.array_equal(left.items_QC, right.items_QC) and np.array_equal(left.scores_QC, right.scores_QC)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_nine_of_ten_of_the_best_items_are_found(index: Index, kind: str, k: int) -> None:
    answer = index.search(ASKED, k)
    check_form(answer, QUERIES, k)
    true = brute_force(ASKED, k)
    assert overlap(answer.items_QC, true) >= (1.0 if kind == "exact" else 0.9)


def test_scores_are_the_inner_products_and_equal_those_of_exact_search(index: Index) -> None:
    answer = index.search(ASKED, 50)
    vector_of = np.zeros((2 * N, WIDTH))
    vector_of[ITEMS] = VECTORS
    expected = np.einsum("qcd,qd->qc", vector_of[answer.items_QC], ASKED.astype(np.float64))
    np.testing.assert_allclose(answer.scores_QC, expected, rtol=1e-5, atol=1e-6)
    exact = KINDS["exact"]().build(ITEMS, VECTORS).search(ASKED, N)
    for items, scores, all_items, all_scores in zip(
        answer.items_QC, answer.scores_QC, exact.items_QC, exact.scores_QC, strict=True
    ):
        score_of = dict(zip(all_items.tolist(), all_scores.tolist(), strict=True))
        assert [score_of[item] for item in items.tolist()] == scores.tolist()


def test_excluded_items_never_come_back_and_the_answer_still_has_k_items(index: Index, kind: str) -> None:
    # Each query excludes its own best: none, few, hundreds, most; and items that the index never had.
    true = brute_force(ASKED, N)
    counts = [0, 1, 5, 30, 300, 2000, N - 15, N]
    strangers = [0, -1, 2 * N + 5, 10**12]
    banned = [true[row, : counts[row % len(counts)]].tolist() for row in range(QUERIES)]
    answer = index.search(ASKED, 20, exclude=rows([[*row, *row[:2], *strangers] for row in banned]))
    check_form(answer, QUERIES, 20)
    for row, items in enumerate(answer.items_QC):
        assert not set(items.tolist()) & set(banned[row])
        assert np.count_nonzero(items != schema.NO_ITEM) == min(20, N - len(banned[row]))
    expected = brute_force(ASKED, 20, banned=[set(row) for row in banned])
    assert overlap(answer.items_QC, expected) >= (1.0 if kind == "exact" else 0.9)


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ({"topic": 3}, TOPIC == 3),
        ({"topic": (0, 4)}, np.isin(TOPIC, [0, 4])),
        ({"topic": 1, "brand": tuple(range(40))}, (TOPIC == 1) & (BRAND < 40)),
        ({"brand": 7}, BRAND == 7),
        ({"brand": ()}, np.zeros(N, np.bool_)),
        ({"brand": 1000}, np.zeros(N, np.bool_)),
        ({}, np.ones(N, np.bool_)),
    ],
)
def test_only_items_that_fit_the_filter_come_back(index: Index, kind: str, where: Any, fits: Any) -> None:
    by_filter = index.search(ASKED, 30, allow=Filter(where=where))
    check_form(by_filter, QUERIES, 30)
    mask = np.zeros(2 * N, np.bool_)
    mask[ITEMS[fits]] = True
    mask[0] = True
    assert same(by_filter, index.search(ASKED, 30, allow=mask))
    counts = np.count_nonzero(by_filter.items_QC != schema.NO_ITEM, axis=1)
    assert (counts == min(30, fits.sum())).all()
    assert mask[by_filter.items_QC[by_filter.items_QC != schema.NO_ITEM]].all()
    if fits.any():
        found = overlap(by_filter.items_QC, brute_force(ASKED, 30, allowed=fits))
        assert found >= (1.0 if kind == "exact" else 0.9)


def test_filter_and_exclusion_together(index: Index, kind: str) -> None:
    fits = TOPIC == 2
    banned = brute_force(ASKED, 50, allowed=fits)
    answer = index.search(ASKED, 25, exclude=rows(banned.tolist()), allow=Filter(where={"topic": 2}))
    check_form(answer, QUERIES, 25)
    expected = brute_force(ASKED, 25, banned=[set(row) for row in banned.tolist()], allowed=fits)
    assert (answer.items_QC != schema.NO_ITEM).all()
    assert overlap(answer.items_QC, expected) >= (1.0 if kind == "exact" else 0.9)
    few = Filter(where={"brand": 7})
    all_of_them = ITEMS[BRAND == 7]
    nothing = index.search(ASKED[:1], 5, exclude=rows([all_of_them.tolist()]), allow=few)
    assert (nothing.items_QC == schema.NO_ITEM).all()


def test_k_above_the_catalogue_gives_all_items_and_then_none(index: Index) -> None:
    answer = index.search(ASKED[:3], N + 7)
    check_form(answer, 3, N + 7)
    assert np.array_equal(np.sort(answer.items_QC[0, :N]), np.sort(ITEMS))
    # Further down, float32 and float64 disagree on which of two nearly equal items is the better.
    assert np.array_equal(answer.items_QC[:, :5], brute_force(ASKED[:3], 5))


def test_no_query_gives_no_answer(index: Index) -> None:
    none = np.zeros((0, WIDTH), np.float32)
    check_form(index.search(none, 5), 0, 5)
    check_form(index.search(none, 5, exclude=rows([]), allow=Filter(where={"topic": 1})), 0, 5)


def test_a_query_alone_gets_the_answer_that_it_gets_in_a_batch(index: Index) -> None:
    # Lists of 0 to 390 items: how far one query has to look must not change what another finds.
    banned = [brute_force(ASKED[row, None], 10 * row)[0].tolist() for row in range(QUERIES)]
    for lists in (None, banned):
        together = index.search(ASKED, 10, exclude=None if lists is None else rows(lists))
        for row in range(QUERIES):
            exclude = None if lists is None else rows([lists[row]])
            alone = index.search(ASKED[row, None], 10, exclude=exclude)
            assert alone.items_QC[0].tolist() == together.items_QC[row].tolist()
            assert alone.scores_QC[0].tolist() == together.scores_QC[row].tolist()


def test_float64_and_lists_of_queries_are_taken(index: Index) -> None:
    assert same(index.search(ASKED.astype(np.float64), 3), index.search(ASKED, 3))
    assert same(index.search(ASKED.tolist(), 3), index.search(ASKED, 3))


def test_duplicate_vectors_have_one_score_and_stand_in_order_of_their_items(kind: str) -> None:
    # 40 distinct vectors, 25 items each; a GEMM gives some of the copies another last bit.
    distinct, queries = clustered(40, 10)
    built = [configured(kind).build(np.arange(1, 1001), np.tile(distinct, (25, 1))) for _ in range(2)]
    answer = built[0].search(queries, 60)
    check_form(answer, 10, 60)
    assert same(answer, built[1].search(queries, 60))
    assert all(len(set(row[:25].tolist())) == 1 for row in answer.scores_QC)
    all_equal = configured(kind).build(np.arange(1, 501), np.ones((500, WIDTH)))
    answer = all_equal.search(np.ones((2, WIDTH)), 600)
    assert answer.items_QC[0].tolist() == [*range(1, 501)] + [-1] * 100
    nothing = configured(kind).build(np.arange(1, 501), np.zeros((500, WIDTH)))
    check_form(nothing.search(queries, 20), 10, 20)
    assert (nothing.search(queries, 20).scores_QC == 0).all()


def test_two_builds_give_the_same_answers_with_any_number_of_threads(kind: str, index: Index) -> None:
    fields = KINDS[kind].model_fields
    counts = [{"num_threads": 1}, {"num_threads": 2}] if "num_threads" in fields else [{}]
    answers = [configured(kind, **count).build(ITEMS, VECTORS).search(ASKED, 30) for count in counts]
    assert all(same(answer, index.search(ASKED, 30)) for answer in answers)


def test_searches_from_several_threads_give_the_same_answers(index: Index) -> None:
    banned = rows([[int(item)] for item in ITEMS[:QUERIES]])

    def ask(number: int) -> Answer:
        if number % 3 == 0:
            return index.search(ASKED, 15)
        if number % 3 == 1:
            return index.search(ASKED, 15, exclude=banned)
        return index.search(ASKED, 15, allow=Filter(where={"topic": 1}))

    expected = [ask(number) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for number, answer in enumerate(pool.map(ask, range(30))):
            assert same(answer, expected[number % 3])


def test_what_the_caller_does_to_its_arrays_later_does_not_matter(kind: str) -> None:
    vectors, items = VECTORS[:300].copy(), np.arange(1, 301)
    index = configured(kind).build(items, vectors)
    before = index.search(ASKED, 5)
    vectors[:], items[:] = 0, 1
    assert same(before, index.search(ASKED, 5))


@pytest.mark.parametrize("num_items", [1, 2, 7])
def test_a_tiny_catalogue_is_an_index_too(kind: str, num_items: int) -> None:
    index = configured(kind).build(np.arange(1, num_items + 1) * 10, VECTORS[:num_items])
    answer = index.search(ASKED, 3)
    check_form(answer, QUERIES, 3)
    assert np.count_nonzero(answer.items_QC[0] != -1) == min(3, num_items)
    assert index.size_bytes >= num_items * (4 * WIDTH + 8)


def test_a_saved_index_gives_the_same_answers(index: Index, kind: str, tmp_path: Path) -> None:
    manifest = save(index, tmp_path / "index", model="abc", more={"recall": 0.97})
    assert {"dimension": WIDTH, "num_items": N, "model": "abc", "recall": 0.97}.items() <= manifest.body.items()
    again = load(tmp_path / "index", model="abc")
    assert again.config == index.config
    assert (again.dimension, again.size_bytes) == (index.dimension, index.size_bytes)
    banned = rows([[int(item)] for item in index.search(ASKED, 1).items_QC[:, 0]])
    limits: dict[str, Any]
    for limits in ({}, {"exclude": banned}, {"allow": Filter(where={"topic": 1, "brand": tuple(range(200))})}):
        assert same(index.search(ASKED, 12, **limits), again.search(ASKED, 12, **limits))
    save(again, tmp_path / "index", model="def")
    assert same(load(tmp_path / "index").search(ASKED, 12), index.search(ASKED, 12))


def test_an_index_of_another_model_or_cut_short_is_refused(index: Index, tmp_path: Path) -> None:
    manifest = save(index, tmp_path, model="abc")
    with pytest.raises(ArtifactError, match="is of model abc, the queries of xyz; make the index again"):
        load(tmp_path, model="xyz")
    for name in manifest.files:
        file = tmp_path / manifest.content / name
        whole = file.read_bytes()
        file.write_bytes(b"\x07" * len(whole))
        with pytest.raises(ArtifactError, match="make the index again") as caught:
            load(tmp_path)
        assert name in str(caught.value)
        file.write_bytes(whole[:-8])
        with pytest.raises(ArtifactError, match="missing or not the"):
            load(tmp_path)
        file.write_bytes(whole)
    load(tmp_path)


def test_a_vector_that_is_not_finite_is_named(kind: str, index: Index) -> None:
    for wrong in (np.nan, np.inf, -np.inf, 1e30, 1e300):
        vectors, queries = VECTORS.astype(np.float64), ASKED.astype(np.float64)
        vectors[17, 3] = queries[4, 0] = wrong
        with pytest.raises(ValueError, match=r"`vectors_ND` must be finite .* row 17 is not \(1 such rows\)"):
            configured(kind).build(ITEMS, vectors)
        with pytest.raises(ValueError, match=r"`queries_QD` must be finite .* row 4 is not"):
            index.search(queries, 5)


def test_wrong_shapes_are_named(kind: str, index: Index) -> None:
    build = configured(kind).build
    with pytest.raises(ValueError, match=r"`queries_QD` must be \[N, 24\], got shape \(40, 23\)"):
        index.search(ASKED[:, :-1], 5)
    with pytest.raises(ValueError, match=r"`queries_QD` must be \[N, 24\], got shape \(24,\)"):
        index.search(ASKED[0], 5)
    with pytest.raises(ValueError, match=r"a row for each of 4000 items, got 3999"):
        build(ITEMS, VECTORS[1:])
    with pytest.raises(ValueError, match=r"at least one"):
        build(ITEMS[:0], VECTORS[:0])
    with pytest.raises(ValueError, match=r"from 1 on, got 0; 0 is the unknown item"):
        build(np.arange(N), VECTORS)
    with pytest.raises(ValueError, match=r"distinct, but item 5 stands there twice"):
        build(np.array([5, 3, 5]), VECTORS[:3])
    with pytest.raises(ValueError, match=r"feature 'topic' must be \[4000\] integer codes"):
        build(ITEMS, VECTORS, features={"topic": TOPIC[1:]})
    for k in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="`k` must be a whole number from 1 on"):
            index.search(ASKED, k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a row for each of 40 queries, got 1"):
        index.search(ASKED, 5, exclude=rows([[1]]))
    with pytest.raises(ValueError, match=r"`allow` must be a filter or a mask of booleans by item index"):
        index.search(ASKED, 5, allow=np.ones(10, np.bool_))
    with pytest.raises(ValueError, match=r"asks for feature 'colour'; the index has: brand, topic"):
        index.search(ASKED, 5, allow=Filter(where={"colour": 1}))


def test_an_unknown_kind_or_key_is_a_config_error_and_every_key_is_explained(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"index\.kind: expected one of .*'exact', 'hnsw', 'ivf'.* got 'annoy'"):
        parse(Root, {"index": {"kind": "annoy"}}, "test")
    with pytest.raises(ConfigError, match=r"unknown key"):
        parse(Root, {"index": {"kind": kind, "trees": 3}}, "test")
    config = KINDS[kind]()
    assert parse(Root, {"index": json.loads(config.model_dump_json())}, "test").index == config
    assert [name for name, field in KINDS[kind].model_fields.items() if not field.description] == []


def test_recall_against_exact_search_is_what_brute_force_counts(index: Index) -> None:
    exact = KINDS["exact"]().build(ITEMS, VECTORS)
    answer = index.search(ASKED, 100)
    assert recall(answer, exact.search(ASKED, 100)) == pytest.approx(overlap(answer.items_QC, brute_force(ASKED, 100)))


@settings(max_examples=25)
@given(data=st.data())
def test_any_small_question_is_answered_as_by_hand(data: st.DataObject) -> None:
    # Small whole numbers: float32 sums are exact, ties are many, and exact search must equal a sort of everything.
    num_items, k = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 70))
    random = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    items = np.sort(random.choice(np.arange(1, 200), num_items, replace=False))
    vectors, queries = random.integers(-2, 3, (num_items, 3)), random.integers(-2, 3, (4, 3))
    banned = [random.choice(np.arange(200), random.integers(0, 30)).tolist() for _ in range(4)]
    mask = random.random(200) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    for kind in KINDS:
        index = configured(kind).build(items, vectors)
        answer = index.search(queries, k, exclude=rows(banned), allow=mask)
        check_form(answer, 4, k)
        for row in range(4):
            fit = [
                (-int(queries[row] @ vectors[place]), int(item))
                for place, item in enumerate(items)
                if item not in banned[row] and mask[item]
            ]
            expected = [item for _, item in sorted(fit)][:k]
            found = answer.items_QC[row]
            assert np.count_nonzero(found != -1) == len(expected)
            if kind == "exact":
                assert found[: len(expected)].tolist() == expected
