"""The loss of a batch against loops over questions, positives and negatives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from sessionrec.batch import Targets
from sessionrec.data.loader import collate
from sessionrec.data.view import View, look
from sessionrec.losses.objective import (
    Bce,
    Draw,
    FullCrossEntropy,
    Gbce,
    LossOutput,
    Objective,
    ObjectiveConfig,
    SampledCrossEntropy,
)
from sessionrec.losses.samplers import Popular, Uniform
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import Part
from tests.helpers import T0, Row, log_of
from tests.losses.helpers import score, softmax_loss, targets_of

V, D = 12, 3
EVENTS = torch.arange(1, V + 1)
TARGETS = targets_of(
    user_Q=[0, 0, 1, 3, 3, 3],
    positives=[[1, 2, 3], [4], [5, 6], [1], [12, 7], [2]],
    negatives=[[4, 5], [], [1, 2, 3, 4], [], [1], []],
)
NUM_USERS = 4
"""User 2 is asked nothing."""

SHARES: list[tuple[int, Any]] = [(5, "user"), (7, "batch"), (4, "question"), (40, "user")]
RETRIEVALS: list[Any] = [
    *(
        kind(negatives=draws(number=number, shared=shared))
        for kind in (SampledCrossEntropy, Bce, Gbce)
        for draws in (Uniform, Popular)
        for number, shared in SHARES
    ),
    FullCrossEntropy(),
    Gbce(negatives=Uniform(number=3), strength=0.0),
]


def random_weights(num_questions: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """[Q, D] queries and [V + 1, D] vectors of the whole catalogue."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(num_questions, D, dtype=torch.float64, generator=generator)
    return query, torch.randn(V + 1, D, dtype=torch.float64, generator=generator)


def loss_of(objective: Objective, targets: Targets, draw: Draw, query_QD: Tensor, vectors_VD: Tensor) -> LossOutput:
    """With the whole catalogue as the distinct items, the place of an item is its index."""
    return objective.loss(query_QD, vectors_VD, objective.items(targets, draw), targets, draw)


def brute(
    config: ObjectiveConfig, targets: Targets, draw: Draw, query_QD: Tensor, vectors_VD: Tensor
) -> tuple[float, float]:
    """Retrieval and rank."""
    pair_scores, drawn, exposed, positives_by_question = [], [], [], []
    for q in range(targets.num_questions):
        positives = targets.positives.row(q).tolist()
        positives_by_question.append(positives)
        pair_scores += [score(query_QD, vectors_VD, q, item) for item in positives]
        row = int(draw.row_Q[q])
        scores = []
        for column, item in enumerate(draw.items_RC[row].tolist()):
            if item in positives:
                continue
            corrected = score(query_QD, vectors_VD, q, item)
            if draw.log_expected_RC is not None:
                corrected -= float(draw.log_expected_RC[row, column])
            scores.append(corrected)
        drawn.append(scores)
        exposed.append([score(query_QD, vectors_VD, q, item) for item in targets.negatives.row(q).tolist()])
    rank = softmax_loss(pair_scores, exposed, positives_by_question) if config.alpha else 0.0
    if isinstance(config.retrieval, SampledCrossEntropy | FullCrossEntropy):
        return softmax_loss(pair_scores, drawn, positives_by_question), rank
    beta = 1.0
    if isinstance(config.retrieval, Gbce):
        rate = min(1.0, config.retrieval.negatives.number / (V - 1))
        beta = rate * (config.retrieval.strength * (1 - 1 / rate) + 1 / rate)
    total, place = 0.0, 0
    for q, positives in enumerate(positives_by_question):
        for item in positives:
            positive = pair_scores[place]
            if isinstance(config.retrieval.negatives, Popular):
                # NCE: what tells positives from draws is corrected on both sides.
                weights = EVENTS.double() ** config.retrieval.negatives.beta
                positive -= math.log(config.retrieval.negatives.number * float(weights[item - 1] / weights.sum()))
            total += beta * math.log(1 + math.exp(-positive))
            total += sum(math.log(1 + math.exp(s)) for s in drawn[q])
            place += 1
    return total / place, rank


def of_kind(retrieval: Any) -> str:
    negatives = getattr(retrieval, "negatives", None)
    drawn = "" if negatives is None else f"-{negatives.kind}-{negatives.number}-{negatives.shared}"
    return f"{retrieval.kind}{drawn}"


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("retrieval", RETRIEVALS, ids=of_kind)
def test_every_loss_equals_loops(retrieval: Any, alpha: float) -> None:
    config = ObjectiveConfig(retrieval=retrieval, alpha=alpha)
    objective = Objective(config, EVENTS, torch.Generator().manual_seed(3))
    query_QD, vectors_VD = random_weights(6)
    for _ in range(3):
        draw = objective.draw(TARGETS, NUM_USERS)
        found = loss_of(objective, TARGETS, draw, query_QD, vectors_VD)
        expected, rank = brute(config, TARGETS, draw, query_QD, vectors_VD)
        assert float(found.retrieval) == pytest.approx(expected, abs=1e-6)
        assert float(found.rank) == pytest.approx(rank, abs=1e-9)
        assert float(found.total) == pytest.approx(expected + alpha * rank, abs=1e-6)
        assert found.num_pairs == 10


@pytest.mark.parametrize("retrieval", RETRIEVALS, ids=of_kind)
def test_gradients_are_right(retrieval: Any) -> None:
    objective = Objective(ObjectiveConfig(retrieval=retrieval), EVENTS, torch.Generator().manual_seed(3))
    query_QD, vectors_VD = random_weights(6)
    draw = objective.draw(TARGETS, NUM_USERS)
    inputs = query_QD.requires_grad_(), vectors_VD.requires_grad_()
    assert torch.autograd.gradcheck(lambda q, v: loss_of(objective, TARGETS, draw, q, v).total, inputs)


@given(
    user_Q=st.lists(st.integers(0, 2), min_size=1, max_size=6).map(sorted),
    positives=st.lists(st.sets(st.integers(1, V), min_size=1), min_size=6, max_size=6),
    shown=st.lists(st.sets(st.integers(1, V)), min_size=6, max_size=6),
    shared=st.sampled_from(["user", "batch", "question"]),
    draws=st.sampled_from([Uniform, Popular]),
    number=st.integers(1, 15),
)
def test_any_questions_equal_loops(
    user_Q: list[int], positives: list[set[int]], shown: list[set[int]], shared: Any, draws: Any, number: int
) -> None:
    count = len(user_Q)
    targets = targets_of(
        user_Q,
        [sorted(items) for items in positives[:count]],
        [sorted(s - p) for s, p in zip(shown[:count], positives, strict=False)],
    )
    config = ObjectiveConfig(retrieval=SampledCrossEntropy(negatives=draws(number=number, shared=shared)))
    objective = Objective(config, EVENTS, torch.Generator().manual_seed(3))
    query_QD, vectors_VD = random_weights(count)
    query_QD.requires_grad_()
    draw = objective.draw(targets, 3)
    found = loss_of(objective, targets, draw, query_QD, vectors_VD)
    expected, rank = brute(config, targets, draw, query_QD, vectors_VD)
    assert float(found.retrieval) == pytest.approx(expected, abs=1e-6)
    assert float(found.rank) == pytest.approx(rank, abs=1e-9)
    (grad,) = torch.autograd.grad(found.total, query_QD)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("user_Q", [[0, 0, 0], [0, 2, 2], [1, 1, 2], [0, 1, 2]])
def test_as_many_users_as_questions_but_not_one_each(user_Q: list[int]) -> None:
    """Question 1 used to be scored against the negatives of user 1, whoever asked it, and masked by its own user's."""
    targets = targets_of(user_Q, [[1], [2, 3], [4]])
    config = ObjectiveConfig(retrieval=SampledCrossEntropy(negatives=Uniform(number=4)))
    objective = Objective(config, EVENTS, torch.Generator().manual_seed(3))
    query_QD, vectors_VD = random_weights(3)
    draw = objective.draw(targets, 3)
    expected, _ = brute(config, targets, draw, query_QD, vectors_VD)
    assert float(loss_of(objective, targets, draw, query_QD, vectors_VD).retrieval) == pytest.approx(expected, abs=1e-9)


def test_sampled_is_full_when_the_negatives_are_the_catalogue() -> None:
    query_QD, vectors_VD = random_weights(6)
    query_QD.requires_grad_()
    losses, grads = [], []
    retrievals: list[Any] = [SampledCrossEntropy(negatives=Uniform(number=number)) for number in (V, 500)]
    for retrieval in [FullCrossEntropy(), *retrievals]:
        objective = Objective(ObjectiveConfig(retrieval=retrieval), EVENTS, torch.Generator())
        found = loss_of(objective, TARGETS, objective.draw(TARGETS, NUM_USERS), query_QD, vectors_VD)
        losses.append(float(found.total.detach()))
        grads.append(torch.autograd.grad(found.total, query_QD)[0])
    assert losses[1] == pytest.approx(losses[0], abs=1e-12) and losses[2] == pytest.approx(losses[0], abs=1e-12)
    torch.testing.assert_close(grads[1:], grads[:1] * 2, rtol=0, atol=1e-12)


def test_full_is_the_plain_cross_entropy_where_every_question_has_one_positive() -> None:
    """Against torch's own."""
    targets = targets_of([0, 1, 2], [[3], [12], [1]])
    query_QD, vectors_VD = random_weights(3)
    objective = Objective(ObjectiveConfig(retrieval=FullCrossEntropy()), EVENTS, torch.Generator())
    found = loss_of(objective, targets, objective.draw(targets, 3), query_QD, vectors_VD)
    logits = query_QD @ vectors_VD[1:].T
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([2, 11, 0]))
    assert float(found.total) == pytest.approx(float(expected), abs=1e-12)


def test_repeated_draws_of_a_positive_are_all_masked() -> None:
    """Popular draws with repetition; what is left is one item, twice."""
    targets = targets_of([0], [[2, 5]])
    config = ObjectiveConfig(retrieval=SampledCrossEntropy(negatives=Popular(number=6)))
    objective = Objective(config, EVENTS, torch.Generator())
    draw = Draw(
        items_RC=torch.tensor([[2, 2, 5, 5, 7, 7]]), log_expected_RC=torch.zeros(1, 6), row_Q=torch.zeros(1).long()
    )
    query_QD, vectors_VD = random_weights(1)
    s2, s5, s7 = (score(query_QD, vectors_VD, 0, item) for item in (2, 5, 7))
    e7 = 2 * math.exp(s7)
    expected = -(math.log(math.exp(s2) / (math.exp(s2) + e7)) + math.log(math.exp(s5) / (math.exp(s5) + e7))) / 2
    found = loss_of(objective, targets, draw, query_QD, vectors_VD)
    assert float(found.retrieval) == pytest.approx(expected, abs=1e-12)


def test_both_parts_are_divided_by_all_pairs() -> None:
    """Scores of zero: a pair costs ln(1 + C), and ln(1 + exposures) where there are any; the mean is over 4 pairs."""
    targets = targets_of([0, 0, 1], [[1, 2], [3], [4]], [[5, 6, 7], [], []])
    config = ObjectiveConfig(retrieval=SampledCrossEntropy(negatives=Uniform(number=V)), alpha=0.5)
    objective = Objective(config, EVENTS, torch.Generator())
    found = loss_of(
        objective, targets, objective.draw(targets, 2), torch.zeros(3, D).double(), torch.zeros(V + 1, D).double()
    )
    retrieval = (2 * math.log(1 + V - 2) + 2 * math.log(1 + V - 1)) / 4
    rank = 2 * math.log(1 + 3) / 4
    assert float(found.retrieval) == pytest.approx(retrieval, abs=1e-12)
    assert float(found.rank) == pytest.approx(rank, abs=1e-12)
    assert float(found.total) == pytest.approx(retrieval + 0.5 * rank, abs=1e-12)


def test_an_item_shown_and_acted_on_in_one_session_is_no_exposure() -> None:
    """Its two rows of the log become one event before a question is made, so the loss need not look again."""
    first = [Row(user=1, item=item, time_ms=T0, session=0) for item in (1, 2)]
    rows = [(5, 0), (5, 1), (6, 0), (7, 1), (7, 0), (8, 0)]
    second = [Row(user=1, item=item, time_ms=T0 + 1, session=1, action=action) for item, action in rows]
    histories, found = assemble(log_of([*first, *second]).events.collect(), NativeRule(), ())
    histories = replace(histories, part_S=np.full_like(histories.part_S, Part.TRAIN))
    targets = collate(look(View(), histories, np.arange(1)), np.arange(1)).targets
    items = found.items.to_list()
    assert [items[item] for item in targets.positives.values.tolist()] == [5, 7]
    assert [items[item] for item in targets.negatives.values.tolist()] == [6, 8]


@pytest.mark.parametrize("shown", [[[], [], []], [[5], [], []]], ids=["none", "some"])
def test_questions_without_exposures_have_no_rank_loss_and_finite_gradients(shown: list[list[int]]) -> None:
    targets = targets_of([0, 0, 1], [[1, 2], [3], [4]], shown)
    objective = Objective(ObjectiveConfig(alpha=1.0), EVENTS, torch.Generator().manual_seed(0))
    query_QD, vectors_VD = random_weights(3)
    query_QD.requires_grad_()
    places = objective.items(targets, draw := objective.draw(targets, 2))
    found = objective.loss(query_QD, vectors_VD, places, targets, draw)
    retrieval_only = Objective(ObjectiveConfig(alpha=0.0), EVENTS, torch.Generator())
    plain = loss_of(retrieval_only, targets, draw, query_QD, vectors_VD)
    rank_grad = torch.autograd.grad(found.total - plain.total, query_QD)[0]
    assert (float(found.rank) > 0) == bool(shown[0])
    assert torch.isfinite(rank_grad).all()
    assert (rank_grad.abs() > 1e-12).any(1).tolist() == [bool(shown[0]), False, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", [SampledCrossEntropy, FullCrossEntropy, Bce, Gbce])
def test_where_all_negatives_are_masked_loss_and_gradient_are_numbers(kind: Any, dtype: torch.dtype) -> None:
    """A question that acts on every drawn item used to turn the whole gradient into NaN."""
    everything = list(range(1, V + 1))
    targets = targets_of([0, 1], [everything, [3]])
    settings = {} if kind is FullCrossEntropy else {"negatives": Uniform(number=4)}
    objective = Objective(ObjectiveConfig(retrieval=kind(**settings)), EVENTS, torch.Generator().manual_seed(0))
    query_QD, vectors_VD = (tensor.to(dtype).requires_grad_() for tensor in random_weights(2))
    found = loss_of(objective, targets, objective.draw(targets, 2), query_QD, vectors_VD)
    torch.autograd.backward(found.total)
    assert torch.isfinite(found.total)
    assert query_QD.grad is not None and vectors_VD.grad is not None
    assert torch.isfinite(query_QD.grad).all() and torch.isfinite(vectors_VD.grad).all()
    assert query_QD.grad[0].any() == (kind in (Bce, Gbce))
    assert query_QD.grad[1].any()


def test_who_shares_a_draw() -> None:
    rows = {}
    for shared in ("user", "batch", "question"):
        config = ObjectiveConfig(retrieval=SampledCrossEntropy(negatives=Uniform(number=3, shared=shared)))
        draw = Objective(config, EVENTS, torch.Generator()).draw(TARGETS, NUM_USERS)
        rows[shared] = (len(draw.items_RC), draw.row_Q.tolist())
    assert rows == {"user": (4, [0, 0, 1, 3, 3, 3]), "batch": (1, [0] * 6), "question": (6, [0, 1, 2, 3, 4, 5])}


def test_exposures_are_looked_up_only_if_they_count() -> None:
    for alpha, parts in ((0.0, 2), (0.2, 3)):
        objective = Objective(ObjectiveConfig(alpha=alpha), EVENTS, torch.Generator())
        assert len(objective.items(TARGETS, objective.draw(TARGETS, NUM_USERS))) == parts
