"""The loss of a prior against a loop over its formula, whatever batches the questions came in."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sessionrec.prior.problem import Problem

WEIGHTS = torch.tensor([0.7, -0.4, 0.2])

Question = tuple[int, list[list[float]], list[tuple[list[float], float]]]
"""User, features of positives, (features, expected draws) of candidates."""

QUESTIONS: list[Question] = [
    (5, [[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]], [([0.0, 1.0, 1.0], 0.5), ([1.0, 1.0, 0.0], 2.0)]),
    (5, [[0.0, 0.0, 1.0]], [([2.0, 0.0, 0.0], 1.0)]),
    (9, [], [([1.0, 0.0, 0.0], 1.0)]),
    (9, [[1.0, 1.0, 1.0]], []),
    (2, [[0.0, 2.0, 0.0]], [([0.0, 0.0, 3.0], 0.1)]),
]


def problem(questions: list[Question]) -> Problem:
    positives = [(place, features) for place, (_, some, _) in enumerate(questions) for features in some]
    draws = [(place, *draw) for place, (_, _, some) in enumerate(questions) for draw in some]
    return Problem(
        positive_PX=torch.tensor([features for _, features in positives]).reshape(-1, 3),
        draw_DX=torch.tensor([features for _, features, _ in draws]).reshape(-1, 3),
        log_expected_D=torch.tensor([math.log(expected) for *_, expected in draws]),
        question_P=torch.tensor([place for place, _ in positives], dtype=torch.int64),
        question_D=torch.tensor([place for place, *_ in draws], dtype=torch.int64),
        user_Q=torch.tensor([user for user, *_ in questions]),
    )


def score(features: list[float]) -> float:
    return float(np.dot(WEIGHTS.numpy(), features))


def plain(questions: list[Question]) -> float:
    users: dict[int, list[float]] = {}
    for user, positives, draws in questions:
        others = sum(math.exp(score(features)) / expected for features, expected in draws)
        losses = [math.log(math.exp(score(features)) + others) - score(features) for features in positives]
        if losses:
            users.setdefault(user, []).append(sum(losses) / len(losses))
    return sum(sum(found) / len(found) for found in users.values()) / len(users)


def loss(asked: Problem) -> float:
    return float(asked.loss(lambda features: features @ WEIGHTS, asked.weights()))


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 1, 3, 0, 2]])
@pytest.mark.parametrize("cuts", [[5], [2, 3], [1, 1, 1, 1, 1]])
def test_the_loss_is_that_of_a_loop_however_a_user_s_questions_are_spread(order: list[int], cuts: list[int]) -> None:
    questions, start, parts = [QUESTIONS[place] for place in order], 0, []
    for size in cuts:
        parts.append(problem(questions[start : start + size]))
        start += size
    assert loss(Problem.join(parts)) == pytest.approx(plain(QUESTIONS), rel=1e-5)


@pytest.mark.parametrize("places", [[0], [1, 4], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_some_questions_are_a_problem_of_their_own(places: list[int]) -> None:
    found = problem(QUESTIONS).some(np.array(places))
    assert loss(found) == pytest.approx(plain([QUESTIONS[place] for place in places]), rel=1e-5)


def test_weights_are_users_alike() -> None:
    weights = problem(QUESTIONS).weights()
    torch.testing.assert_close(weights, torch.tensor([1 / 4, 1 / 4, 1 / 2, 1.0, 1.0]) / 3)
    alone = replace(problem(QUESTIONS), user_Q=torch.arange(5))
    torch.testing.assert_close(alone.weights(), torch.tensor([1 / 2, 1 / 2, 1.0, 1.0, 1.0]) / 4)
