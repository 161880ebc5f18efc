"""The assembled model: against NumPy from the formulas, and what holds for any choice of parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from sessionrec.batch import Examples
from sessionrec.model.backbones import BackboneConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.backbones.transformer import TransformerConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender, request_times
from sessionrec.model.session_encoders import SessionEncoderConfig
from tests.model import reference
from tests.model.helpers import CODES_VF, NUM_ITEMS, User, a_user, batch_of, catalogue, examples_of, shake

WIDTH, LONGEST = 6, 9
USERS = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]
EVERY = [config(layers=2) for config in get_args(get_args(BackboneConfig)[0])]
BACKBONES = [config for config in EVERY if config.is_causal]
ENCODERS = [config() for config in get_args(get_args(SessionEncoderConfig)[0])]


def a_model(*, has_features: bool = True, seed: int = 0, **settings: Any) -> Recommender:
    usual: dict[str, Any] = {"width": WIDTH, "max_sessions": LONGEST, "backbone": HstuConfig(layers=2)}
    model = ModelConfig(**usual | settings).build(catalogue(has_features=has_features))
    shake(model, seed=seed)
    return model.double().eval()


def expected_states(model: Recommender, user: User, *, heads: int = 2) -> npt.NDArray[np.float64]:
    """[L, D] from the formulas."""
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    codes = CODES_VF.numpy()
    sessions = []
    for visit in user.visits:
        columns = zip(visit.items, visit.actions, visit.device, visit.hour, strict=True)
        sessions.append(np.mean([reference.token(weights, codes, i, a, (d, h)) for i, a, d, h in columns], axis=0))
    return reference.hstu(
        np.stack(sessions),
        reference.below(weights, "backbone."),
        layers=2,
        heads=heads,
        longest=LONGEST,
        time_ms=[visit.time_ms for visit in user.visits],
        request_ms=user.request_ms,
    )


def scores(model: Recommender, examples: Examples) -> Tensor:
    """[Q, V + 1] of the whole catalogue."""
    everything = torch.arange(NUM_ITEMS + 1)
    query_QD, vectors_UD, (places,) = model(examples, [everything])
    found: Tensor = query_QD @ vectors_UD[places].T
    return found


@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_scores_equal_the_formulas(score: str) -> None:
    model = a_model(score=score)
    found = scores(model, examples_of(USERS)).detach().numpy()

    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    items = np.stack([reference.candidate(weights, CODES_VF.numpy(), item) for item in range(NUM_ITEMS + 1)])
    states = np.concatenate([expected_states(model, user) for user in USERS])
    if score == "dot":
        normed = np.stack([reference.layer_norm(state, 1e-5) for state in states])
        expected = (normed * weights["norm.weight"] + weights["norm.bias"]) @ items.T
    else:
        states /= np.sqrt((states**2).sum(1, keepdims=True))
        items /= np.sqrt((items**2).sum(1, keepdims=True))
        expected = states @ items.T / 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_without_features_and_actions_tokens_and_candidates_are_id_rows() -> None:
    model = a_model(has_features=False, has_action=False)
    examples = examples_of(USERS)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    assert not any(name.startswith(("events.", "candidates.", "items.features")) for name in weights)
    states = []
    for user in USERS:
        x = np.stack([weights["items.weight"][list(visit.items)].mean(0) for visit in user.visits])
        time_ms = [visit.time_ms for visit in user.visits]
        inside = reference.below(weights, "backbone.")
        states.append(
            reference.hstu(x, inside, layers=2, heads=2, longest=9, time_ms=time_ms, request_ms=user.request_ms)
        )
    normed = np.stack([reference.layer_norm(state, 1e-5) for state in np.concatenate(states)])
    expected = (normed * weights["norm.weight"] + weights["norm.bias"]) @ weights["items.weight"].T
    np.testing.assert_allclose(scores(model, examples).detach().numpy(), expected, rtol=0, atol=1e-9)


def test_projecting_the_mean_equals_projecting_every_event() -> None:
    model, examples = a_model(), examples_of(USERS)
    fast = scores(model, examples)
    model.session_encoder.is_linear = False  # type: ignore[assignment]
    plain = scores(model, examples)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-10)
    parameters = list(model.parameters())
    fast_grads = torch.autograd.grad(fast.square().sum(), parameters, retain_graph=True)
    plain_grads = torch.autograd.grad(plain.square().sum(), parameters)
    torch.testing.assert_close(fast_grads, plain_grads, rtol=1e-9, atol=1e-9)


def test_sparse_and_dense_tables_have_the_same_gradients() -> None:
    examples = examples_of(USERS)
    grads = {}
    for is_sparse in (True, False):
        model = a_model(sparse_tables=is_sparse, dropout=0.0).train()
        others = [examples.targets.positives.values, examples.targets.negatives.values, torch.tensor([[3, 9], [9, 30]])]
        query_QD, vectors_UD, places = model(examples, others)
        loss = sum((vectors_UD[place].sin().sum() for place in places), (query_QD**2).sum())
        torch.autograd.backward(loss)
        assert model.items.weight.grad is not None
        assert model.items.weight.grad.is_sparse == is_sparse
        grads[is_sparse] = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    assert set(grads[True]) == set(grads[False])
    torch.testing.assert_close(grads[True], grads[False], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda part: part.kind)
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda part: part.kind)
def test_a_question_sees_what_was_known_when_it_was_asked(backbone: Any, encoder: Any) -> None:
    """Training asks after each session of a shared row; serving knows the sessions before alone. Same answer."""
    model = a_model(backbone=backbone, session_encoder=encoder)
    examples = examples_of(USERS)
    query_QD, _, _ = model(examples)
    served = []
    for user in USERS:
        prefixes = [user.before(sessions) for sessions in range(1, len(user.visits))]
        served.append(model.encode(*batch_of([*prefixes, user])))
    torch.testing.assert_close(query_QD, torch.cat(served), rtol=0, atol=1e-10)


@pytest.mark.parametrize("backbone", EVERY, ids=lambda part: part.kind)
@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda part: part.kind)
def test_padding_and_neighbours_change_nothing_in_single_precision(backbone: Any, encoder: Any) -> None:
    model = a_model(backbone=backbone, session_encoder=encoder, max_sessions=20).float()
    together = model.encode(*batch_of(USERS, extra_padding=7))
    for place, user in enumerate(USERS):
        torch.testing.assert_close(model.encode(*batch_of([user]))[0], together[place], rtol=1e-5, atol=1e-5)


def test_item_vectors_are_those_that_training_scores() -> None:
    for has_features in (True, False):
        for score in ("dot", "cosine"):
            model = a_model(has_features=has_features, score=score)
            _, vectors_UD, (places,) = model(examples_of(USERS), [torch.arange(NUM_ITEMS + 1)])
            torch.testing.assert_close(model.item_vectors(), vectors_UD[places].detach(), rtol=0, atol=1e-12)


def test_a_user_is_asked_for_at_the_last_question() -> None:
    examples = examples_of([USERS[0], USERS[2]])
    assert request_times(examples).tolist() == [USERS[0].request_ms, USERS[2].request_ms]


def test_a_history_longer_than_the_model_takes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a history has 9 sessions, the model takes 5"):
        a_model(max_sessions=5).encode(*batch_of(USERS))


def test_a_question_before_the_first_session_is_refused() -> None:
    """It used to be answered with the state of the user before: row `offset - 1` is somebody else's last session."""
    examples = examples_of(USERS)
    asked = replace(examples.targets, num_before_Q=examples.targets.num_before_Q - 1)
    with pytest.raises(ValueError, match="before a user's first session"):
        a_model()(Examples(examples.inputs, asked))


def test_a_query_of_a_user_without_a_session_is_refused() -> None:
    """It used to be answered with the state of the user before."""
    nobody = User(visits=(), request_ms=1)
    with pytest.raises(ValueError, match="at least one session"):
        a_model().encode(*batch_of([USERS[0], nobody, USERS[1]]))


def test_an_unknown_item_in_a_history_has_a_row_of_its_own() -> None:
    model = a_model()
    user = USERS[1]
    known = replace(user.visits[0], items=(5,) * len(user.visits[0].items))
    unknown = replace(known, items=(0,) * len(known.items))
    queries = model.encode(*batch_of([replace(user, visits=(known,)), replace(user, visits=(unknown,))]))
    assert torch.isfinite(queries).all()
    assert not torch.allclose(queries[0], queries[1])


def test_a_model_takes_from_the_catalogue_what_its_config_wants() -> None:
    names = set(a_model().state_dict())
    without = set(a_model(has_features=False, has_action=False).state_dict())
    plain = ModelConfig(width=WIDTH, has_features=False, has_action=False).build(catalogue())
    assert without == {name for name in plain.state_dict() if "layers.2" not in name and "layers.3" not in name}
    assert without < names
    assert set(a_model(backbone=TransformerConfig(layers=1)).state_dict()) != names
