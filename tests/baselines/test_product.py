"""Evidence with recency: as a product, and ahead of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionrec.baselines import (
    Ahead,
    Evidence,
    ItemKnn,
    ItemSimilarity,
    Postings,
    Product,
    RecencyPopularity,
    SessionKnn,
)
from sessionrec.baselines.evidence import Cells, Remembered
from sessionrec.batch import Examples
from sessionrec.scoring import Ranker
from tests.baselines.plain import (
    ITEMS,
    Question,
    Users,
    all_questions,
    dense,
    drawn_users,
    end_of,
    examples_of,
    filled,
    known_events,
    known_sessions,
    positives,
)

LOG: Users = [
    [(0, [(1, 1), (2, 1)])],
    [(10, [(1, 1), (3, 1)])],
    [(20, [(5, 1)])],
]


class Table:
    """The same evidence for every question."""

    def __init__(self, row: list[float]) -> None:
        self._row, self.num_candidates = row, len(row)

    def cells(self, examples: Examples) -> Cells:
        size = examples.targets.num_questions
        places = np.flatnonzero(self._row).astype(np.int32)
        return Cells(
            offsets=np.arange(size + 1) * len(places),
            column_C=np.tile(places, size),
            score_C=np.tile(np.array(self._row, np.float32)[places], size),
            num_candidates=self.num_candidates,
        )


def asked(time: int) -> Examples:
    return examples_of([[(0, [(1, 1)])]], [(0, 1, time)])


def best_first(scores: torch.Tensor) -> list[int]:
    return (scores.argsort(descending=True, stable=True) + 1).tolist()


def test_a_product_is_one_and_lifted_evidence_times_recency() -> None:
    recency = RecencyPopularity(known_events(LOG), half_life_s=10)
    found = filled(Product(Table([0.1, 0, 0.2, 0, 0, 0]), recency, lift=8, power=2).scorer(asked(30)))[0]
    # Positives at 0, 1, 10, 11 and 20 s; item 1 at 0 and 10 s.
    expected = [(1 + 4) * (2**-3 + 2**-2) ** 2, (2**-2.9) ** 2, (1 + 8) * (2**-1.9) ** 2]
    assert found[:3].exp2().tolist() == pytest.approx(expected, rel=1e-4)
    assert found[4].exp2().item() == pytest.approx(2**-2, rel=1e-4)


def test_what_nobody_acted_on_before_stands_behind_all_others_by_evidence() -> None:
    recency = RecencyPopularity(known_events(LOG), half_life_s=0.01)
    found = filled(Product(Table([0, 0, 0, 1, 0, 0.25]), recency, lift=1000).scorer(asked(30)))[0]
    assert best_first(found) == [5, 3, 1, 2, 4, 6]
    assert found[3] > found[5]


def test_without_evidence_or_lift_the_order_is_that_of_recency() -> None:
    recency = RecencyPopularity(known_events(LOG), half_life_s=10)
    alone = filled(recency.scorer(asked(30)))[0]
    for evidence, lift in ((Table([0] * 6), 1000), (Table([1, 0, 0, 2, 3, 4]), 0)):
        found = filled(Product(evidence, recency, lift=lift).scorer(asked(30)))[0]
        assert found[[0, 1, 2, 4]].tolist() == alone[[0, 1, 2, 4]].tolist()
        assert found[3] == found[5] < found.sort().values[2]


def test_evidence_goes_ahead_and_the_rest_follows_by_recency() -> None:
    recency = RecencyPopularity(known_events(LOG), half_life_s=10)
    found = filled(Ahead(Table([0, 1e-6, 0, 0.5, 0, 0]), recency).scorer(asked(30)))[0]
    assert best_first(found) == [4, 2, 5, 1, 3, 6]


def test_a_million_events_at_once_stay_behind_the_least_evidence() -> None:
    users: Users = [[(0, [(1, 1)] * 1_000)]]
    floor = Ahead(Table([0, 1e-30]), RecencyPopularity(known_events(users, 2), half_life_s=1e9))
    assert best_first(filled(floor.scorer(asked(5000)))[0]) == [2, 1]


def systems(log: Users, half_life_s: float, lift: float, power: float) -> dict[str, Ranker]:
    recency = RecencyPopularity(known_events(log), half_life_s=half_life_s)
    sessions = known_sessions(log)
    evidence: dict[str, Evidence] = {
        "item-kNN": ItemKnn(ItemSimilarity(sessions, shrink=1), decay=0.5),
        "V-SKNN": SessionKnn(Postings(sessions), is_vector=True, query_sessions=2),
    }
    products: dict[str, Ranker] = {
        f"{name} x recency": Product(one, recency, lift=lift, power=power) for name, one in evidence.items()
    }
    return products | {name: Ahead(one, recency) for name, one in evidence.items()}


@settings(max_examples=50)
@given(drawn_users(), drawn_users(), st.sampled_from([0.5, 30.0]), st.sampled_from([0.0, 3.0]), st.sampled_from([1, 2]))
def test_scores_equal_loops_and_pairs_equal_tables(
    log: Users, users: Users, half_life_s: float, lift: float, power: float
) -> None:
    questions = all_questions(users)
    examples = examples_of(users, questions)
    evidence = SessionKnn(Postings(known_sessions(log)), is_vector=False)
    recency = RecencyPopularity(known_events(log), half_life_s=half_life_s)
    found = filled(Product(evidence, recency, lift=lift, power=power).scorer(examples))
    ahead = filled(Ahead(evidence, recency).scorer(examples))
    for row, (own, (_, _, time)) in enumerate(zip(dense(evidence.cells(examples)), questions, strict=True)):
        for item in range(1, ITEMS + 1):
            ages = [
                time - at - place
                for user in log
                for at, visit in user
                for place, (one, action) in enumerate(visit)
                if one == item and action & 1 and at + place < time
            ]
            share = float(own[item - 1] / own.max()) if own.any() else 0
            popular = np.logaddexp2.reduce([-age / half_life_s for age in ages]) if ages else -(2**20)
            expected = np.log2(1 + lift * share) + power * popular
            assert found[row, item - 1].item() == pytest.approx(expected, rel=1e-5, abs=1e-4)
            if own[item - 1] > 0:
                assert ahead[row, item - 1] == own[item - 1]
            elif ages:
                assert ahead[row, item - 1].item() == pytest.approx(popular - 64, rel=1e-5)


@settings(max_examples=40)
@given(drawn_users(), drawn_users(), drawn_users(), st.integers(0, 60))
def test_nothing_at_or_after_the_question_changes_sessions_beside_recency(
    log: Users, later: Users, users: Users, time: int
) -> None:
    moved: Users = [[(at + time, visit) for at, visit in user] for user in later]
    questions: list[Question] = all_questions(users, time)
    # One event at the very beginning in both, from which half-lives are counted.
    first: Users = [[(-1, [(1, 1)])]]
    for name in ("V-SKNN", "V-SKNN x recency"):
        before, after = (
            filled(systems(some, 7, 10, 1)[name].scorer(examples_of(users, questions)))
            for some in (log + first, log + first + moved)
        )
        torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["V-SKNN", "V-SKNN x recency", "item-kNN x recency"])
def test_an_event_just_before_the_question_does_change_them(name: str) -> None:
    more: Users = [*LOG, [(28, [(1, 1), (6, 1)])]]
    before, after = (filled(systems(log, 7, 10, 1)[name].scorer(asked(30)))[0] for log in (LOG, more))
    assert before[5] < before[4]
    assert after[5] > after[4]


def test_the_same_questions_find_the_same_scores_whatever_is_asked_beside_them() -> None:
    users: Users = [[(0, [(1, 1)]), (10, [(3, 1), (2, 1)])], [(3, [(5, 1)])]]
    questions = all_questions(users, 25)
    for name, system in systems(LOG, 5, 100, 0.5).items():
        together = filled(system.scorer(examples_of(users, questions)))
        alone = [filled(system.scorer(examples_of(users, [question]))) for question in questions]
        assert torch.equal(together, torch.cat(alone)), name


def test_remembered_evidence_is_asked_for_once_a_batch() -> None:
    table = Table([0, 1, 0])
    remembered, batches = Remembered(table), [asked(1), asked(2)]
    first = [remembered.cells(batch) for batch in batches]
    assert [remembered.cells(batch) for batch in batches] == first
    assert first[0] is not first[1]
    assert dense(first[0]).tolist() == [[0, 1, 0]]


def test_cells_of_no_evidence() -> None:
    cells = Table([0, 0]).cells(asked(1))
    assert cells.at(np.array([0]), np.array([1])).tolist() == [0]
    assert len(cells.share_of_best()) == 0


def test_shares_are_of_the_question_s_best() -> None:
    cells = Cells(
        offsets=np.array([0, 2, 2, 3]),
        column_C=np.array([0, 1, 1], np.int32),
        score_C=np.array([1, 4, 3], np.float32),
        num_candidates=2,
    )
    assert cells.share_of_best().tolist() == [0.25, 1, 1]


def test_wrong_weights_are_refused() -> None:
    recency = RecencyPopularity(known_events(LOG), half_life_s=10)
    with pytest.raises(ValueError, match="`lift` must be at least 0"):
        Product(Table([1]), recency, lift=-1)
    with pytest.raises(ValueError, match="`power` must be above 0"):
        Product(Table([1]), recency, power=0)


def test_the_helper_knows_when_a_session_ends() -> None:
    assert end_of((10, [(1, 1), (2, 1), (3, 0), (7, 1)])) == 11
    assert positives((10, [(1, 1), (2, 3), (3, 0), (7, 1)])) == [1, 2]
