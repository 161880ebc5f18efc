"""Three users, five candidates and an item without a training event, small enough to work every figure out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.config import parse
from sessionrec.errors import ArtifactError, ConfigError
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate, quality_of
from sessionrec.evaluate.evaluator import seen_items
from sessionrec.jagged import Jagged
from sessionrec.scoring import DotScorer, Scorer

FACTS = ItemFacts(num_candidates=5, train_positives_I=np.array([6, 3, 2, 1, 0, 0]))
PROTOCOL = EvalProtocol(ks=(1, 3), list_length=2)


def numbers(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def jagged(*rows: list[int]) -> Jagged[torch.Tensor]:
    return Jagged(values=numbers(*(v for row in rows for v in row)), offsets=numbers(0, *map(len, rows)).cumsum(0))


def examples(first_user: int = 0) -> Examples:
    """User 0 has a question after one and after two sessions, user 1 one after one."""
    inputs = SessionBatch(
        user_index_B=numbers(first_user, first_user + 1),
        user_offsets=numbers(0, 2, 3),
        session_offsets=numbers(0, 2, 3, 4),
        session_time_ms_S=numbers(10, 20, 30),
        item_E=numbers(1, 2, 3, 1),
        action_E=numbers(1, 0, 1, 1),
        time_ms_E=numbers(10, 11, 20, 30),
        features={},
        max_sessions=2,
        max_events=2,
    )
    targets = Targets(
        user_Q=numbers(0, 0, 1),
        num_before_Q=numbers(1, 2, 1),
        time_ms_Q=numbers(20, 40, 50),
        positives=jagged([3], [2, 5], [6, 1, 4]),
        negatives=jagged([4], [], [2]),
    )
    return Examples(inputs, targets)


class Descending:
    """Scores item 1 highest, then 2, ...: the rank of a target is its index."""

    def scorer(self, examples: Examples) -> Scorer:
        return DotScorer(torch.ones(examples.targets.num_questions, 1), torch.tensor([[5.0], [4], [3], [2], [1]]))


def report(protocol: EvalProtocol = PROTOCOL, **changed: Any) -> EvalReport:
    return evaluate(Descending(), [examples()], FACTS, protocol, name="descending", **changed)


def test_means_are_over_users_and_a_users_over_its_questions() -> None:
    found = report()
    # User 0: target 3 is third, of targets 2 and 5 one is in the first three. User 1: 6 is a miss, 1 is first.
    assert found.metrics["recall@3"] == pytest.approx(((1 / 1 + 1 / 2) / 2 + 1 / 3) / 2)
    assert found.metrics["recall@1"] == pytest.approx((0 + 1 / 3) / 2)
    assert found.metrics["mrr@3"] == pytest.approx(((1 / 3 + 1 / 2) / 2 + 1) / 2)
    assert (found.num_users, found.num_questions, found.num_targets, found.num_candidates) == (2, 3, 6, 5)
    assert found.target_coverage == 5 / 6
    assert found.users["num_before"].to_list() == [2, 1]
    assert found.values("recall@3").tolist() == pytest.approx([3 / 4, 1 / 3])


def test_micro_weighs_by_targets() -> None:
    found = report(PROTOCOL.model_copy(update={"average": "micro"}))
    assert found.metrics["recall@3"] == pytest.approx((1 + 1 + 1) / 6)
    assert found.interval("recall@3", seed=0, resamples=20).mean == pytest.approx(3 / 6)


def test_in_session_means_leave_out_who_has_no_negatives() -> None:
    found = report()
    # User 0: 3 before 4, its other question has no negative. User 1: of 6 (below all), 1 and 4 only 1 is before 2.
    assert found.metrics["in_session_auc"] == pytest.approx((1 + 1 / 3) / 2)
    assert found.num_in_session_users == 2
    without = report(PROTOCOL.model_copy(update={"in_session": False}))
    assert "in_session_auc" not in without.metrics
    assert without.num_in_session_users == 0


def test_last_item_asks_for_the_last_positive_alone() -> None:
    found = report(PROTOCOL.model_copy(update={"targets": "last_item"}))
    # Targets 3, 5 and 4.
    assert found.num_targets == 3
    assert found.metrics["recall@3"] == pytest.approx((1 / 2 + 0) / 2)


def test_seen_items_are_those_before_each_question() -> None:
    seen = seen_items(*examples())
    assert [seen.row(q).tolist() for q in range(3)] == [[1, 2], [1, 2, 3], [1]]


def test_filtered_seen_items_are_no_candidates_and_as_targets_misses() -> None:
    found = report(PROTOCOL.model_copy(update={"seen": "filtered"}))
    # User 0: 3 is first once 1 and 2 are gone; 2 is seen, 5 second. User 1: 1 is seen and 6 no candidate, 4 is third.
    assert found.metrics["mrr@3"] == pytest.approx(((1 + 1 / 2) / 2 + 1 / 3) / 2)
    assert found.target_coverage == 3 / 6


def test_lists_as_a_whole() -> None:
    found = report()
    # Every list is items 1 and 2, of 6 and 3 positives; smoothed shares are 7 / 17 and 4 / 17.
    assert found.lists["catalogue_coverage@2"] == 2 / 5
    assert found.lists["novelty@2"] == pytest.approx(-(math.log2(7 / 17) + math.log2(4 / 17)) / 2)
    # Targets 3; 2, 5; 6, 1, 4 have 2 + 3 + 0 + 0 + 6 + 1 positives.
    assert found.lists["popularity_bias@2"] == pytest.approx((6 + 3) / 2 / (12 / 6))
    assert report(PROTOCOL.model_copy(update={"list_length": 0})).lists == {}


def test_breakdowns_by_history_and_popularity() -> None:
    found = report()
    assert [(row["sessions"], row["users"]) for row in found.by_history] == [("1-2", 2)]
    assert found.by_history[0]["recall@3"] == pytest.approx(found.metrics["recall@3"])
    # Of 12 positives, item 1 begins the head (0 to 4), items 2 and 3 begin after 6 and 9, items 4 and 5 later.
    assert found.by_popularity == [
        {"items": "head", "num_items": 1, "targets": 1, "found@1": 1.0, "found@3": 1.0},
        {"items": "middle", "num_items": 1, "targets": 1, "found@1": 0.0, "found@3": 1.0},
        {"items": "tail", "num_items": 3, "targets": 3, "found@1": 0.0, "found@3": 1 / 3},
        {"items": "no training event", "num_items": 1, "targets": 1, "found@1": 0.0, "found@3": 0.0},
    ]


def test_batches_change_nothing() -> None:
    both = evaluate(Descending(), [examples(0), examples(2)], FACTS, PROTOCOL, name="descending")
    assert both.metrics == pytest.approx(report().metrics)
    assert both.users["user_index"].to_list() == [0, 1, 2, 3]


def test_a_user_may_have_a_row_a_question() -> None:
    """Capped histories of several test sessions: each question has a row of its own, in another batch perhaps."""
    whole = examples()
    parts = []
    for place, user in enumerate((0, 0, 1)):
        inputs = SessionBatch(
            user_index_B=numbers(user),
            user_offsets=numbers(0, 1),
            session_offsets=numbers(0, 1),
            session_time_ms_S=numbers(10),
            item_E=numbers(1),
            action_E=numbers(1),
            time_ms_E=numbers(10),
            features={},
            max_sessions=1,
            max_events=1,
        )
        targets = Targets(
            user_Q=numbers(0),
            num_before_Q=numbers(1),
            time_ms_Q=whole.targets.time_ms_Q[place : place + 1],
            positives=jagged(whole.targets.positives.row(place).tolist()),
            negatives=jagged(whole.targets.negatives.row(place).tolist()),
        )
        parts.append(Examples(inputs, targets))
    found = evaluate(Descending(), parts, FACTS, PROTOCOL, name="descending")
    assert found.metrics == pytest.approx(report().metrics)
    assert found.users["user_index"].to_list() == [0, 1]
    assert found.users["num_questions"].to_list() == [2, 1]


def test_users_of_no_data_set_are_each_their_own() -> None:
    unknown = examples()
    inputs = replace(unknown.inputs, user_index_B=numbers(-1, -1))
    found = evaluate(Descending(), [Examples(inputs, unknown.targets)] * 2, FACTS, PROTOCOL, name="descending")
    assert found.users["user_index"].to_list() == [-1] * 4
    assert found.metrics == pytest.approx(report().metrics)


def test_a_partial_session_and_the_protocol_must_agree() -> None:
    partial = PROTOCOL.model_copy(update={"targets": "last_item_partial"})
    with pytest.raises(ValueError, match="one a question, but 3 questions have 6 targets; make the view by"):
        report(partial)

    class Batches(list[Examples]):
        has_partial_session = False

    inputs, targets = examples()
    one = replace(targets, positives=jagged([3], [5], [4]))
    single = Batches([Examples(inputs, one)])
    with pytest.raises(ValueError, match="'last_item_partial', but the history of these questions has no part"):
        evaluate(Descending(), single, FACTS, partial, name="x")
    single.has_partial_session = True
    with pytest.raises(ValueError, match="'session', but the history of these questions has part"):
        evaluate(Descending(), single, FACTS, PROTOCOL, name="x")
    found = evaluate(Descending(), single, FACTS, partial, name="x")
    assert found.num_targets == 3
    assert found.protocol.words()["history"].endswith("the events before it in its own session")
    with pytest.raises(ValueError, match="not asked the same"):
        found.compare(report(PROTOCOL.model_copy(update={"targets": "last_item"})), "ndcg@3", seed=0)


def test_a_quality_is_one_metric_of_the_same_protocol() -> None:
    quality = quality_of(FACTS, PROTOCOL.model_copy(update={"targets": "last_item"}), "mrr@2")
    # Targets 3, 5 and 4: none is among the first two.
    assert quality(Descending(), [examples()]) == 0
    assert quality_of(FACTS, PROTOCOL, "ndcg@3")(Descending(), [examples()]) == report().metrics["ndcg@3"]
    for wrong in ("ndcg", "ndcg@0", "auc@3", "ndcg@x"):
        with pytest.raises(ValueError, match="K at least 1, got"):
            quality_of(FACTS, PROTOCOL, wrong)


def test_progress_counts_users() -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate(
        Descending(),
        [examples(0), examples(2)],
        FACTS,
        PROTOCOL,
        name="descending",
        num_users=4,
        progress=lambda *step: seen.append(step),
    )
    assert seen == [("evaluate", 2, 4), ("evaluate", 4, 4)]


def test_a_report_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    found = report(about={"seed": 3})
    found.save(tmp_path / "eval.json")
    back = EvalReport.load(tmp_path / "eval.json")
    assert back.users.equals(found.users)
    assert back.to_json() == found.to_json()
    assert back.protocol == PROTOCOL
    words = json.loads(found.to_json())["protocol_in_words"]
    assert "below every equal score" in words["ties"]
    assert words["seen items"] == "kept as candidates"


def test_a_missing_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no evaluation report"):
        EvalReport.load(tmp_path / "eval.json")
    (tmp_path / "eval.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no evaluation report"):
        EvalReport.load(tmp_path / "eval.json")


def test_two_systems_are_compared_on_the_same_users_only() -> None:
    found = report()
    assert found.compare(report(), "ndcg@3", seed=0, resamples=20).mean == 0
    other = evaluate(Descending(), [examples(5)], FACTS, PROTOCOL, name="other")
    with pytest.raises(ValueError, match="were not asked the same"):
        found.compare(other, "ndcg@3", seed=0)
    with pytest.raises(ValueError, match=r"no metric 'ndcg@7' in this report; there are recall@1"):
        found.values("ndcg@7")


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(ValueError, match="no question"):
        evaluate(Descending(), [], FACTS, PROTOCOL, name="x")
    with pytest.raises(ValueError, match="a question comes more than once"):
        evaluate(Descending(), [examples(), examples()], FACTS, PROTOCOL, name="x")
    fewer = ItemFacts(num_candidates=4, train_positives_I=FACTS.train_positives_I)
    with pytest.raises(ValueError, match="3 questions x 5 items, expected 3 x 4"):
        evaluate(Descending(), [examples()], fewer, PROTOCOL, name="x")
    with pytest.raises(ValueError, match=r"in 0..1, the items there are, got 2"):
        ItemFacts(num_candidates=2, train_positives_I=np.array([1]))


def test_a_protocol_is_strict() -> None:
    assert parse(EvalProtocol, {"ks": [5, 20]}, "x.toml").ks == (5, 20)
    for wrong in ([], [0], [10, 5], [5, 5]):
        with pytest.raises(ConfigError, match="ascending"):
            parse(EvalProtocol, {"ks": wrong}, "x.toml")
    with pytest.raises(ConfigError, match="unknown key"):
        parse(EvalProtocol, {"k": 10}, "x.toml")
