"""What every session encoder owes its caller; runs on every kind in the union."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sessionrec.model.config import ModelConfig
from sessionrec.model.session_encoders import SessionEncoderConfig
from tests.contracts.test_backbones import long_visit
from tests.model.helpers import User, a_user, batch_of, catalogue, examples_of, offsets, shake

KINDS = {config.model_fields["kind"].default: config for config in get_args(get_args(SessionEncoderConfig)[0])}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "mean": [{}],
    "max": [{}],
    "max_relu": [{}],
    "gru": [{"layers": 1}, {"layers": 2}],
    "transformer": [{"layers": 1}, {"layers": 2, "heads": 2}],
}
CASES = [(kind, settings) for kind in sorted(KINDS) for settings in SETTINGS.get(kind, [{}])]
every_encoder = pytest.mark.parametrize(("kind", "settings"), CASES, ids=[f"{kind}-{s}" for kind, s in CASES])
WIDTH = 8


def built(kind: str, settings: dict[str, Any], *, seed: int = 0) -> nn.Module:
    module: nn.Module = KINDS[kind](**settings).build(WIDTH)
    shake(module, seed=seed)
    return module.double().eval()


def a_session(seed: int, events: int) -> Tensor:
    return torch.randn(events, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(module: nn.Module, sessions: Sequence[Tensor], *, extra_padding: int = 0) -> Tensor:
    """[S, D]."""
    lengths = [len(session) for session in sessions]
    encoded: Tensor = module(torch.cat(list(sessions)), offsets(lengths), max(lengths) + extra_padding)
    assert encoded.shape == (len(sessions), WIDTH) and encoded.dtype == sessions[0].dtype
    return encoded


def test_every_kind_has_its_settings_here() -> None:
    assert set(SETTINGS) == set(KINDS), "say in SETTINGS under which settings the new kind takes another path"


@every_encoder
def test_a_session_alone_is_the_same_session_among_others(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    sessions = [a_session(seed, events) for seed, events in enumerate([3, 1, 9, 1, 4])]
    together = run(module, sessions)
    for session, encoded in zip(sessions, together, strict=True):
        torch.testing.assert_close(run(module, [session])[0], encoded, rtol=0, atol=1e-12)
    # In single precision, and on the path that torch takes where no gradient is wanted.
    with torch.inference_mode():
        single = run(module.float(), [session.float() for session in sessions])
    torch.testing.assert_close(single.double(), together, rtol=1e-5, atol=1e-5)


@every_encoder
def test_a_vector_depends_on_its_own_events_alone(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    tokens = torch.cat([a_session(0, 3), a_session(1, 2), a_session(2, 4)]).requires_grad_()
    encoded = module(tokens, offsets([3, 2, 4]), 4)
    (grad,) = torch.autograd.grad((encoded[1] * torch.arange(1, WIDTH + 1)).sum(), tokens)
    is_touched = (grad != 0).any(1)
    assert is_touched[3:5].any()
    assert not is_touched[:3].any() and not is_touched[5:].any()


@every_encoder
def test_later_sessions_change_nothing(kind: str, settings: dict[str, Any]) -> None:
    module, sessions = built(kind, settings), [a_session(seed, 1 + seed % 4) for seed in range(6)]
    whole = run(module, sessions)
    for count in range(1, 6):
        torch.testing.assert_close(run(module, sessions[:count]), whole[:count], rtol=0, atol=1e-12)


@every_encoder
def test_the_amount_of_padding_changes_nothing(kind: str, settings: dict[str, Any]) -> None:
    module, sessions = built(kind, settings), [a_session(0, 3), a_session(1, 1)]
    torch.testing.assert_close(run(module, sessions, extra_padding=9), run(module, sessions), rtol=0, atol=1e-12)


@every_encoder
def test_sessions_of_one_event_are_told_apart(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    encoded = run(module, [a_session(seed, 1) for seed in range(3)])
    assert torch.isfinite(encoded).all()
    assert len(torch.unique(encoded, dim=0)) == 3


@every_encoder
def test_long_sessions_and_many_events_are_finite(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings).float()
    lengths = [1 + place % 31 for place in range(511)]
    sessions = [a_session(seed, events).float() for seed, events in enumerate([*lengths, 40])]
    assert sum(lengths) + 40 >= 8000
    with torch.inference_mode():
        encoded = run(module, sessions)
        long = run(module, [a_session(7, 8192).float(), sessions[3]]) if kind != "transformer" else encoded
    assert torch.isfinite(encoded).all() and torch.isfinite(long).all()
    torch.testing.assert_close(run(module, sessions[3:4])[0], encoded[3], rtol=1e-5, atol=1e-5)


@every_encoder
def test_gradients_are_right(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    tokens = torch.cat([a_session(0, 3), a_session(1, 1)]).requires_grad_()
    assert torch.autograd.gradcheck(lambda tokens_ED: module(tokens_ED, offsets([3, 1]), 3), tokens)


@every_encoder
def test_every_parameter_gets_a_gradient(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings).train()
    encoded = run(module, [a_session(0, 3), a_session(1, 5)])
    if list(module.parameters()):
        torch.autograd.backward((encoded * torch.arange(1, WIDTH + 1)).square().sum())
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_encoder
def test_one_that_calls_itself_linear_commutes_with_affine_maps(kind: str, settings: dict[str, Any]) -> None:
    """The model projects after a linear encoder instead of before it: S rows instead of E."""
    module = built(kind, settings)
    if not module.is_linear:
        return
    project = nn.Linear(WIDTH, WIDTH).double()
    sessions = [a_session(0, 3), a_session(1, 1), a_session(2, 4)]
    before = run(module, [project(session) for session in sessions])
    torch.testing.assert_close(project(run(module, sessions)), before, rtol=0, atol=1e-12)


@every_encoder
def test_saved_and_loaded_it_answers_the_same(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    module, sessions = built(kind, settings), [a_session(0, 3), a_session(1, 1)]
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    other = built(kind, settings, seed=1)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(run(other, sessions), run(module, sessions))


@every_encoder
def test_answers_repeat_in_evaluation(kind: str, settings: dict[str, Any]) -> None:
    module, sessions = built(kind, settings), [a_session(0, 3), a_session(1, 1)]
    assert torch.equal(run(module, sessions), run(module, sessions))


@every_encoder
def test_in_a_whole_model_every_parameter_gets_a_gradient(kind: str, settings: dict[str, Any]) -> None:
    config = ModelConfig(width=WIDTH, session_encoder=KINDS[kind](**settings), sparse_tables=False)
    model = config.build(catalogue())
    shake(model, std=0.2)
    examples = examples_of([a_user(1, 5), a_user(2, 3)])
    query_QD, vectors_UD, (places,) = model(examples, [examples.targets.positives.values])
    torch.autograd.backward((query_QD * vectors_UD[places]).sum().square())
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_encoder
def test_a_whole_model_takes_eight_thousand_events(kind: str, settings: dict[str, Any]) -> None:
    model = ModelConfig(width=WIDTH, session_encoder=KINDS[kind](**settings)).build(catalogue()).eval()
    visits = tuple(long_visit(visit, 16) for visit in a_user(3, 512, longest=1).visits)
    long, short = User(visits=visits, request_ms=visits[-1].time_ms + 1000), a_user(4, 3)
    queries = model.encode(*batch_of([long, short]))
    assert torch.isfinite(queries).all()
    torch.testing.assert_close(model.encode(*batch_of([short]))[0], queries[1], rtol=1e-5, atol=1e-5)
