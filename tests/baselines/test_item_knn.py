from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessionrec.baselines import item_knn
from sessionrec.baselines.item_knn import ItemKnn, ItemSimilarity
from tests.baselines.plain import (
    ITEMS,
    Users,
    all_questions,
    dense,
    drawn_users,
    examples_of,
    known_sessions,
    positives,
)

SHOP: Users = [
    [(0, [(1, 1)]), (10, [(2, 1)])],
    [(0, [(1, 1), (2, 1)])],
    [(0, [(1, 1), (3, 1)])],
    [(0, [(4, 0), (3, 1)])],
]


def slow_similarity(users: Users, by: str, shrink: float, neighbours: int) -> dict[int, dict[int, float]]:
    baskets = [set(positives(visit)) for user in users for visit in user]
    if by == "user":
        baskets = [{item for visit in user for item in positives(visit)} for user in users]
    acts = Counter(item for basket in baskets for item in basket)
    both = Counter((one, other) for basket in baskets for one in basket for other in basket if one != other)
    similar: dict[int, dict[int, float]] = {}
    for one in range(1, ITEMS + 1):
        row = {
            other: number / (math.sqrt(acts[one] * acts[other]) + shrink)
            for (first, other), number in both.items()
            if first == one
        }
        # Rounded as float32 is, so that what ties there ties here.
        best = sorted(row, key=lambda other: (-float(np.float32(row[other])), other))[:neighbours]
        similar[one] = {other: row[other] for other in best}
    return similar


def test_similarity_is_the_cosine_of_users() -> None:
    found = ItemSimilarity(known_sessions(SHOP), shrink=0).matrix.toarray()
    # Items 1 and 2: two users have both, three and two have each. Item 4 was only shown.
    assert found[0, 1] == found[1, 0] == pytest.approx(2 / math.sqrt(3 * 2))
    assert found[0, 2] == pytest.approx(1 / math.sqrt(3 * 2))
    assert found[1, 2] == 0
    assert not found[3].any()
    assert not found.diagonal().any()
    shrunk = ItemSimilarity(known_sessions(SHOP), shrink=10).matrix.toarray()
    assert shrunk[0, 1] == pytest.approx(2 / (math.sqrt(3 * 2) + 10))


def test_by_sessions_only_what_one_session_holds_is_together() -> None:
    found = ItemSimilarity(known_sessions(SHOP), by="session", shrink=0).matrix.toarray()
    assert found[0, 1] == pytest.approx(1 / math.sqrt(3 * 2))


def test_newer_sessions_speak_louder_and_own_items_only_if_they_may() -> None:
    similarity = ItemSimilarity(known_sessions(SHOP), shrink=0)
    asked = examples_of([[(0, [(2, 1)]), (10, [(4, 0)]), (20, [(3, 1)])]], [(0, 3, 30), (0, 0, 30)])
    near = 1 / math.sqrt(3 * 2)
    found = dense(ItemKnn(similarity, decay=0.5).cells(asked))
    # The session in which nothing was acted on does not count.
    assert found[0].tolist() == pytest.approx([0.5 * 2 * near + near, 0, 0, 0, 0, 0])
    assert not found[1].any()
    found = dense(ItemKnn(similarity, decay=0.5, own=1).cells(asked))
    assert found[0].tolist() == pytest.approx([0.5 * 2 * near + near, 0.5, 1, 0, 0, 0])


@given(
    drawn_users(),
    st.sampled_from(["user", "session"]),
    st.sampled_from([0.0, 1.0, 10.0]),
    st.integers(1, 6),
    st.sampled_from([1, 5, 1000]),
)
def test_similarities_equal_loops(users: Users, by: str, shrink: float, neighbours: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_knn, "_CHUNK_PAIRS", chunk)
        found = ItemSimilarity(known_sessions(users), by=by, shrink=shrink, neighbours=neighbours).matrix  # type: ignore[arg-type]
    expected = np.zeros((ITEMS, ITEMS))
    for one, row in slow_similarity(users, by, shrink, neighbours).items():
        for other, value in row.items():
            expected[one - 1, other - 1] = value
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5)


def test_of_many_items_the_nearest_are_kept_and_of_equals_the_lower() -> None:
    rng = np.random.default_rng(0)
    users: Users = [[(0, [(int(item), 1) for item in rng.integers(1, 41, 12)])] for _ in range(200)]
    whole = ItemSimilarity(known_sessions(users, 40), shrink=1, neighbours=40).matrix.toarray()
    found = ItemSimilarity(known_sessions(users, 40), shrink=1, neighbours=7).matrix.toarray()
    for row, kept in zip(whole, found, strict=True):
        best = np.lexsort((np.arange(40), -row))[:7]
        assert kept[best].tolist() == row[best].tolist()
        assert np.count_nonzero(kept) == 7


@given(drawn_users(), drawn_users(), st.sampled_from([0.5, 1.0]), st.sampled_from([0.0, 0.3, 1.0]))
def test_evidence_equals_loops(users: Users, others: Users, decay: float, own: float) -> None:
    similar = slow_similarity(others, "user", 1, 200)
    questions = all_questions(users)
    cells = ItemKnn(ItemSimilarity(known_sessions(others), shrink=1), decay=decay, own=own)
    found = dense(cells.cells(examples_of(users, questions)))
    for row, (user, before, _) in zip(found, questions, strict=True):
        expected = np.zeros(ITEMS)
        history = [positives(visit) for visit in users[user][:before] if positives(visit)]
        for ago, items in enumerate(reversed(history)):
            for item in items:
                for other, value in similar[item].items():
                    expected[other - 1] += decay**ago * value
                expected[item - 1] += decay**ago * own
        if own == 0:
            expected[[item - 1 for items in history for item in items]] = 0
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_a_catalogue_of_one_item_has_no_neighbours() -> None:
    users: Users = [[(0, [(1, 1)])], [(0, [(1, 1), (2, 1)])]]
    floor = ItemKnn(ItemSimilarity(known_sessions(users, 1)))
    assert dense(floor.cells(examples_of(users, all_questions(users)))).shape == (4, 1)
    assert torch.count_nonzero(dense(floor.cells(examples_of(users, all_questions(users))))) == 0


def test_wrong_parameters_are_refused() -> None:
    sessions = known_sessions(SHOP)
    with pytest.raises(ValueError, match="`shrink` must be at least 0"):
        ItemSimilarity(sessions, shrink=-1)
    with pytest.raises(ValueError, match="`neighbours` must be at least 1"):
        ItemSimilarity(sessions, neighbours=0)
    with pytest.raises(ValueError, match="`decay` must be above 0"):
        ItemKnn(ItemSimilarity(sessions), decay=0)
    with pytest.raises(ValueError, match="`own` must be at least 0"):
        ItemKnn(ItemSimilarity(sessions), own=-1)
