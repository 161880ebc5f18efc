"""A backbone that sees both ways, and the mask by which it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sessionrec.batch import Examples, Targets
from sessionrec.losses.cloze import draw_hidden
from sessionrec.model.backbones.bert4rec import Bert4Rec, Bert4RecConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.model.sequence import sequence_of
from tests.model.helpers import TORCH_NAMES, User, a_user, batch_of, catalogue, examples_of, jagged, shake

WIDTH, LONGEST = 8, 9
USERS = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]


def a_model(**settings: Any) -> Recommender:
    usual: dict[str, Any] = {"width": WIDTH, "max_sessions": LONGEST, "backbone": Bert4RecConfig(layers=2)}
    model = ModelConfig(**usual | settings).build(catalogue())
    shake(model)
    return model.double().eval()


def cloze_of(users: list[User], asked: list[tuple[int, int]]) -> Examples:
    """What stands at some places of some users?"""
    batch, _ = batch_of(users)
    targets = Targets(
        user_Q=torch.tensor([row for row, _ in asked]),
        num_before_Q=torch.tensor([place for _, place in asked]),
        time_ms_Q=torch.tensor([users[row].visits[place].time_ms for row, place in asked]),
        positives=jagged([list(users[row].visits[place].items) for row, place in asked]),
        negatives=jagged([[] for _ in asked]),
        cloze=True,
    )
    return Examples(batch, targets)


def test_the_backbone_equals_torch_layers() -> None:
    module = Bert4RecConfig(layers=2, heads=2).build(WIDTH, 9, 0.3).double().eval()
    shake(module)
    assert isinstance(module, Bert4Rec)
    batch, request = batch_of(USERS)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(x_SD, sequence_of(batch, request))
    weights = module.state_dict()
    begin = 0
    for user in USERS:
        length = len(user.visits)
        x = module.norm(x_SD[begin : begin + length] + weights["position.weight"][:length])[None]
        for place in range(2):
            layer = nn.TransformerEncoderLayer(
                WIDTH, 2, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True
            ).double()
            layer.load_state_dict({theirs: weights[f"layers.{place}.{ours}"] for theirs, ours in TORCH_NAMES.items()})
            x = layer(x)
        torch.testing.assert_close(found[begin : begin + length], x[0], rtol=0, atol=1e-9)
        begin += length


def test_what_is_hidden_is_not_seen_and_what_is_not_is() -> None:
    model = a_model()
    examples = cloze_of(USERS, [(0, 4), (2, 0)])
    other = list(USERS)
    visits = list(USERS[0].visits)
    visits[4] = replace(visits[4], items=tuple((item + 1) % 30 for item in visits[4].items))
    other[0] = replace(USERS[0], visits=tuple(visits))
    asked, _, _ = model(examples)
    torch.testing.assert_close(model(cloze_of(other, [(0, 4), (2, 0)]))[0], asked, rtol=0, atol=0)
    visits[7] = replace(visits[7], items=tuple((item + 1) % 30 for item in visits[7].items))
    other[0] = replace(USERS[0], visits=tuple(visits))
    later, _, _ = model(cloze_of(other, [(0, 4), (2, 0)]))
    assert not torch.allclose(later[0], asked[0])
    assert torch.equal(later[1], asked[1])


def test_asking_for_the_next_session_is_hiding_one_more_at_the_end() -> None:
    """What is learnt is what is asked: a mask behind the history is the mask in the last place of a longer one."""
    model = a_model()
    user = USERS[0]
    hidden, _, _ = model(cloze_of([user], [(0, 8)]))
    torch.testing.assert_close(model.encode(*batch_of([user.before(8)])), hidden.detach(), rtol=0, atol=1e-12)


def test_a_user_without_a_session_is_asked_by_the_mask_alone() -> None:
    model, nobody = a_model(), User(visits=(), request_ms=1)
    alone = model.encode(*batch_of([nobody]))
    among = model.encode(*batch_of([USERS[0], nobody, USERS[2]]))
    torch.testing.assert_close(among[1], alone[0], rtol=0, atol=1e-12)


def test_the_mask_learns() -> None:
    model = a_model(dropout=0.0)
    query_QD, _, _ = model(cloze_of(USERS, [(0, 4), (2, 0)]))
    torch.autograd.backward((query_QD * torch.arange(WIDTH)).sum())
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()]
    assert without == [
        "candidates.mlp.0.weight",
        "candidates.mlp.0.bias",
        "candidates.mlp.2.weight",
        "candidates.mlp.2.bias",
    ]


def test_questions_inside_a_history_are_refused() -> None:
    """A state in the middle has seen what comes after it."""
    with pytest.raises(ValueError, match="asked for a hidden session, or for what follows all"):
        a_model()(examples_of([USERS[0]]))
    with pytest.raises(ValueError, match="asked for a hidden session"):
        inside = cloze_of(USERS, [(0, 4)])
        a_model()(Examples(inside.inputs, replace(inside.targets, num_before_Q=torch.tensor([9]))))
    with pytest.raises(ValueError, match="its backbone is causal"):
        ModelConfig(width=WIDTH).build(catalogue())(cloze_of(USERS, [(0, 4)]))
    with pytest.raises(ValueError, match="asked by a mask"):
        a_model(start_token=True)


def test_a_draw_hides_a_share_and_somewhere_in_every_history() -> None:
    users = [a_user(seed, 1 + seed % 40, longest=1) for seed in range(300)]
    places = [(row, place) for row, user in enumerate(users) for place in range(len(user.visits))]
    everything = cloze_of(users, places).targets
    generator = torch.Generator().manual_seed(1)
    drawn = draw_hidden(everything, 0.2, generator)
    counts = torch.bincount(drawn.user_Q, minlength=300)
    assert int(counts.min()) == 1
    lengths = torch.bincount(everything.user_Q)
    # Where the user is long, the one that is hidden at least is hardly ever needed.
    assert 0.17 < float((counts / lengths)[lengths > 20].mean()) < 0.23
    known = {place: everything.positives.row(at).tolist() for at, place in enumerate(places)}
    for at, place in enumerate(zip(drawn.user_Q.tolist(), drawn.num_before_Q.tolist(), strict=True)):
        assert drawn.positives.row(at).tolist() == known[place]
    again = draw_hidden(everything, 0.2, generator)
    assert not torch.equal(again.num_before_Q, drawn.num_before_Q)
