"""The loss of a prior against a loop over its formula, whatever batches the questions came in."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from sessionrec.prior import problem as module
from sessionrec.prior.problem import Problem

WEIGHTS = torch.tensor([0.7, -0.4, 0.2])

Question = tuple[int, list[list[float]], list[tuple[list[float], float]], list[list[float]]]
"""User, features of positives, (features, expected draws) of candidates, features of what was passed over."""

QUESTIONS: list[Question] = [
    (5, [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], [([0.0, 1.0, 1.0], 0.5), ([1.0, 1.0, 0.0], 2.0)], [[3.0, 0.0, 0.0]]),
    (5, [[0.0, 0.0, 1.0]], [([2.0, 0.0, 0.0], 1.0)], [[0.0, 1.0, 0.0], [1.0, 0.0, 4.0]]),
    (9, [], [([1.0, 0.0, 0.0], 1.0)], [[1.0, 0.0, 0.0]]),
    (9, [[1.0, 1.0, 1.0]], [], []),
    (2, [[0.0, 2.0, 0.0]], [([0.0, 0.0, 3.0], 0.1)], [[0.0, 0.0, 9.0]]),
    (2, [[2.0, 0.0, 0.0]], [([0.0, 1.0, 0.0], 1.0)], []),
]


def problem(questions: list[Question]) -> Problem:
    positives = [(place, features) for place, (_, some, _, _) in enumerate(questions) for features in some]
    draws = [(place, *draw) for place, (_, _, some, _) in enumerate(questions) for draw in some]
    passed = [(place, features) for place, (*_, some) in enumerate(questions) for features in some]
    return Problem(
        positive_PX=torch.tensor([features for _, features in positives]).reshape(-1, 3),
        draw_DX=torch.tensor([features for _, features, _ in draws]).reshape(-1, 3),
        passed_NX=torch.tensor([features for _, features in passed]).reshape(-1, 3),
        log_expected_D=torch.tensor([math.log(expected) for *_, expected in draws]),
        question_P=torch.tensor([place for place, _ in positives], dtype=torch.int64),
        question_D=torch.tensor([place for place, *_ in draws], dtype=torch.int64),
        question_N=torch.tensor([place for place, _ in passed], dtype=torch.int64),
        user_Q=torch.tensor([user for user, *_ in questions]),
    )


def score(features: list[float]) -> float:
    return float(np.dot(WEIGHTS.numpy(), features))


def plain(questions: list[Question]) -> tuple[float, float]:
    """What it costs to find, and to order."""
    find: dict[int, list[float]] = {}
    order: dict[int, list[float]] = {}
    for user, positives, draws, passed in questions:
        drawn = sum(math.exp(score(features)) / expected for features, expected in draws)
        shown = sum(math.exp(score(features)) for features in passed)
        for costs, others, is_asked in ((find, drawn, True), (order, shown, bool(passed))):
            losses = [math.log(math.exp(score(features)) + others) - score(features) for features in positives]
            if losses and is_asked:
                costs.setdefault(user, []).append(sum(losses) / len(losses))
    first, second = (sum(sum(one) / len(one) for one in each.values()) / max(len(each), 1) for each in (find, order))
    return first, second


def costs(asked: Problem) -> tuple[float, float]:
    ordering = asked.ordering()
    found = [
        0.0 if cost is None else float(cost.of(lambda features: features @ WEIGHTS))
        for cost in (asked.finding(), ordering)
    ]
    return found[0], found[1]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 1, 3, 0, 2]])
@pytest.mark.parametrize("cuts", [[6], [2, 4], [1, 1, 1, 1, 1, 1]])
def test_the_loss_is_that_of_a_loop_however_a_user_s_questions_are_spread(order: list[int], cuts: list[int]) -> None:
    questions, start, parts = [QUESTIONS[place] for place in order], 0, []
    for size in cuts:
        parts.append(problem(questions[start : start + size]))
        start += size
    joined = Problem.join(iter(parts))
    assert joined is not None
    assert costs(joined) == pytest.approx(plain(QUESTIONS), rel=1e-5)
    assert joined.num_questions == 6


def test_no_part_is_no_problem() -> None:
    assert Problem.join([]) is None


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [2, 3, 5, 4, 1, 0]])
def test_a_cost_and_its_slope_do_not_depend_on_how_much_is_made_at_once(
    order: list[int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE_ROWS", rows)
    asked = problem([QUESTIONS[place] for place in order])
    for cost, expected in zip((asked.finding(), asked.ordering()), plain(QUESTIONS), strict=True):
        assert cost is not None
        assert (len(cost.pieces) > 1) == (rows < 4)
        weights = WEIGHTS.clone().requires_grad_()

        def score_of(features: torch.Tensor, weights: torch.Tensor = weights) -> torch.Tensor:
            return features @ weights

        found = cost.add_slopes(score_of)
        assert found == pytest.approx(expected, rel=1e-5)
        assert weights.grad is not None
        # The slope by differences of the plain loop.
        for place in range(3):
            ends = []
            for step in (1e-3, -1e-3):
                with monkeypatch.context() as other:
                    moved = WEIGHTS.double().clone()
                    moved[place] += step
                    other.setattr(sys.modules[__name__], "WEIGHTS", moved)
                    ends.append(plain(QUESTIONS)[0 if cost.pieces[0].log_expected_N is not None else 1])
            assert float(weights.grad[place]) == pytest.approx((ends[0] - ends[1]) / 2e-3, abs=1e-4)


@pytest.mark.parametrize("places", [[0], [1, 4], [0, 2, 3], [2, 3], [0, 1, 2, 3, 4, 5]])
def test_some_questions_are_a_problem_of_their_own(places: list[int]) -> None:
    found = problem(QUESTIONS).finding(np.array(places))
    expected, _ = plain([QUESTIONS[place] for place in places])
    assert float(found.of(lambda features: features @ WEIGHTS)) == pytest.approx(expected, rel=1e-5)
    assert found.has_positives == any(QUESTIONS[place][1] for place in places)


def test_without_exposures_there_is_no_order_to_learn() -> None:
    none = problem([(*question, []) for *question, _ in QUESTIONS])  # type: ignore[misc]
    assert none.ordering() is None
    assert costs(none)[0] == costs(problem(QUESTIONS))[0]


def test_an_order_needs_both_kinds() -> None:
    """Something passed over in a session of which nothing was acted on says nothing."""
    assert problem([QUESTIONS[2], QUESTIONS[3]]).ordering() is None
