from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.baselines import Als
from sessionrec.errors import MissingExtraError
from tests.baselines.plain import Question, Users, examples_of, filled, known_sessions

SIZE = 20
"""Items of a block; there are two."""


def blocks() -> Users:
    """Sixty users, the even ones acting on ten of the first block, the odd ones of the second."""
    rng = np.random.default_rng(0)
    return [
        [(day, [(int(item) + 1 + SIZE * (user % 2), 1)]) for day, item in enumerate(rng.permutation(SIZE)[:10])]
        for user in range(60)
    ]


def floor(**more: Any) -> Als:
    return Als(known_sessions(blocks(), 2 * SIZE), **{"factors": 4, "alpha": 10, **more})


def scores_of(als: Als, users: Users, questions: list[Question]) -> torch.Tensor:
    return filled(als.scorer(examples_of(users, questions)), is_rounded=True)


def test_a_user_who_was_never_trained_on_is_known_by_her_block() -> None:
    users: Users = [[(0, [(3, 1), (5, 1)])], [(0, [(SIZE + 7, 1)])]]
    # As many factors as there are blocks.
    scores = scores_of(floor(factors=2), users, [(0, 1, 100), (1, 1, 100)])
    assert scores[0, :SIZE].min() > scores[0, SIZE:].max()
    assert scores[1, SIZE:].min() > scores[1, :SIZE].max()


def test_nothing_after_the_question_counts_and_nothing_that_was_only_shown() -> None:
    known: Users = [[(0, [(3, 1)])]]
    more: Users = [[(0, [(3, 1), (SIZE + 1, 0)]), (9, [(SIZE + 2, 1)])]]
    found = [scores_of(floor(), users, [(0, 1, 100)]) for users in (known, more)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], scores_of(floor(), more, [(0, 2, 100)]))


def test_without_a_history_all_items_tie() -> None:
    scores = scores_of(floor(), [[(0, [(3, 0)])], []], [(0, 1, 100), (1, 0, 100)])
    assert len(set(scores.flatten().tolist())) == 1


def test_a_users_vector_solves_the_normal_equations() -> None:
    als = floor(alpha=3, regularization=0.5)
    users: Users = [[(0, [(3, 1), (3, 1), (5, 1)]), (1, [(5, 1)])]]
    items_VD = als.items_VD.double().numpy()
    # In how many sessions: item 3 in one, item 5 in two; a cell weighs alpha times that, others 1.
    weight_V = np.ones(2 * SIZE)
    weight_V[[2, 4]] = 3 * 1, 3 * 2
    wanted_V = np.zeros(2 * SIZE)
    wanted_V[[2, 4]] = 1
    left = items_VD.T @ (weight_V[:, None] * items_VD) + 0.5 * np.eye(4)
    expected = items_VD @ np.linalg.solve(left, items_VD.T @ (weight_V * wanted_V))
    np.testing.assert_allclose(scores_of(als, users, [(0, 2, 100)])[0].numpy(), expected, rtol=1e-3, atol=1e-4)


def test_the_same_seed_finds_the_same_and_another_another() -> None:
    first, again, other = (scores_of(floor(seed=seed), [[(0, [(3, 1)])]], [(0, 1, 100)]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_item_and_no_users() -> None:
    alone = Als(known_sessions([[(0, [(1, 1)])]], 1), factors=2)
    assert scores_of(alone, [[(0, [(1, 1)])]], [(0, 1, 9)]).shape == (1, 1)
    assert alone.scorer(examples_of([], [])).num_questions == 0


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="`factors` must be at least 1, got 0"):
        floor(factors=0)
    with pytest.raises(ValueError, match="`alpha` must be above 0"):
        floor(alpha=0)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = known_sessions(blocks(), 2 * SIZE)
    real = importlib.import_module

    def no_library(name: str) -> Any:
        if name.partition(".")[0] == "implicit":
            raise ModuleNotFoundError("No module named 'implicit'", name="implicit")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", no_library)
    with pytest.raises(MissingExtraError, match=r'pip install "sessionrec\[floors\]"'):
        Als(sessions)
