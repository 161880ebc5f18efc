"""A learned vector before the first session: who has seen nothing yet has a state too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from sessionrec.batch import Examples, Targets
from sessionrec.data.loader import collate
from sessionrec.data.view import View, look
from sessionrec.losses.objective import Objective, ObjectiveConfig
from sessionrec.model.backbones import BackboneConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.sessions.assemble import assemble
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import Part
from sessionrec.train.optim import OptimConfig, Optimizer
from tests.helpers import T0, Row, log_of
from tests.model.helpers import User, a_user, batch_of, catalogue, examples_of, jagged, shake

LONGEST = 9
USERS = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]
NOBODY = User(visits=(), request_ms=USERS[0].visits[0].time_ms + 5)
BACKBONES = [config(layers=2) for config in get_args(get_args(BackboneConfig)[0]) if config.is_causal]
every_backbone = pytest.mark.parametrize("backbone", BACKBONES, ids=lambda part: part.kind)


def a_model(**settings: Any) -> Recommender:
    usual: dict[str, Any] = {"width": 6, "max_sessions": LONGEST, "start_token": True}
    model = ModelConfig(**usual | settings).build(catalogue())
    shake(model)
    return model.double().eval()


def asked_from_the_start(users: list[User]) -> Examples:
    """One question after each number of sessions, none included."""
    batch, _ = batch_of(users)
    asked = [(row, place) for row, user in enumerate(users) for place in range(len(user.visits) + 1)]
    times = [[*(visit.time_ms for visit in user.visits), user.request_ms] for user in users]
    targets = Targets(
        user_Q=torch.tensor([row for row, _ in asked]),
        num_before_Q=torch.tensor([place for _, place in asked]),
        time_ms_Q=torch.tensor([times[row][place] for row, place in asked]),
        positives=jagged([[1]] * len(asked)),
        negatives=jagged([[]] * len(asked)),
    )
    return Examples(batch, targets)


@every_backbone
def test_a_question_sees_what_was_known_when_it_was_asked_from_the_first_on(backbone: Any) -> None:
    model = a_model(backbone=backbone)
    query_QD, _, _ = model(asked_from_the_start(USERS))
    served: list[Tensor] = []
    for user in USERS:
        prefixes = [user.before(sessions) for sessions in range(len(user.visits))]
        served.append(model.encode(*batch_of([*prefixes, user])))
    torch.testing.assert_close(query_QD, torch.cat(served), rtol=0, atol=1e-10)


@every_backbone
def test_who_has_no_session_has_the_state_of_the_start_and_neighbours_change_nothing(backbone: Any) -> None:
    model = a_model(backbone=backbone)
    together = model.encode(*batch_of([NOBODY, USERS[0], NOBODY, USERS[2]]))
    alone = model.encode(*batch_of([NOBODY]))
    torch.testing.assert_close(together[[0, 2]], alone.expand(2, -1), rtol=0, atol=1e-10)
    torch.testing.assert_close(together[1:2], model.encode(*batch_of([USERS[0]])), rtol=0, atol=1e-10)


def test_later_sessions_do_not_reach_the_state_of_the_start() -> None:
    model, examples = a_model(), asked_from_the_start(USERS)
    query_QD, _, _ = model(examples)
    first = (examples.targets.num_before_Q == 0).nonzero()[:, 0]
    assert model.start is not None
    grads = torch.autograd.grad(query_QD[first].sin().sum(), [model.start, model.items.weight], allow_unused=True)
    assert grads[0] is not None and grads[0].any()
    assert grads[1] is None or not grads[1].any()


def test_without_it_nothing_is_added_and_with_it_a_vector_and_a_position() -> None:
    with_it, without = a_model().state_dict(), a_model(start_token=False).state_dict()
    assert set(with_it) - set(without) == {"start"}
    position = "backbone.position.weight"
    assert with_it[position].shape[0] == without[position].shape[0] + 1 == LONGEST + 1
    assert ModelConfig().start_token is False


def test_more_sessions_than_there_are_stay_refused() -> None:
    examples = examples_of(USERS)
    asked = replace(examples.targets, num_before_Q=examples.targets.num_before_Q + 1)
    with pytest.raises(ValueError, match="has 9 sessions and is asked for after 10"):
        a_model()(Examples(examples.inputs, asked))


def test_data_that_asks_for_first_sessions_trains() -> None:
    """Everybody's first session holds item 1 or 2 alike; later ones hold 3. The start learns the former."""
    rows = [
        Row(user=user, item=item, time_ms=T0 + session * 10**7, session=session)
        for user in range(8)
        for session in range(4)
        for item in ([1, 2] if session == 0 else [3])
    ]
    histories, found = assemble(log_of(rows).events.collect(), NativeRule(), ())
    histories = replace(histories, part_S=np.full_like(histories.part_S, Part.TRAIN))
    window = look(View(ask_first=True), histories, np.arange(8))
    examples = collate(window, np.arange(8))
    assert (examples.targets.num_before_Q == 0).sum() == 8
    names = found.items.to_list()
    num_items = len(names) - 1
    torch.manual_seed(0)
    settings = {"width": 8, "max_sessions": 4, "start_token": True, "dropout": 0.0, "has_features": False}
    plain = replace(catalogue(has_features=False), num_items=num_items, codes_VF=torch.zeros(num_items + 1, 0))
    model = ModelConfig.model_validate(settings).build(plain).train()
    objective = Objective(ObjectiveConfig(), torch.ones(num_items), torch.Generator().manual_seed(0))
    optimizer = Optimizer(model, [], OptimConfig(learning_rate=0.02))
    for _ in range(40):
        draw = objective.draw(examples.targets, 8)
        query_QD, vectors_UD, places = model(examples, objective.items(examples.targets, draw))
        output = objective.loss(query_QD, vectors_UD, places, examples.targets, draw)
        torch.autograd.backward(output.total)
        optimizer.step()
    model.eval()
    query_BD = model.encode(*batch_of([NOBODY]))
    best = (query_BD @ model.item_vectors().T)[0].topk(2).indices
    assert {names[item] for item in best.tolist()} == {1, 2}
