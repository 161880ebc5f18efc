"""What every backbone owes its caller; runs on every kind in the union, so a new one is tested the day it is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sessionrec.model.backbones import BackboneConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.sequence import sequence_of
from tests.model.helpers import User, Visit, a_user, batch_of, catalogue, shake

KINDS = {config.model_fields["kind"].default: config for config in get_args(get_args(BackboneConfig)[0])}
# Settings under which a kind takes another path.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "hstu": [
        {"layers": 2},
        {"layers": 2, "time_bias": "same"},
        {"layers": 2, "time_bias": "none"},
        {"layers": 2, "position_bias": False},
        {"layers": 2, "absolute_position": False},
        {"layers": 1, "time_bias": "none", "position_bias": False, "absolute_position": False},
    ],
    "transformer": [{"layers": 2}, {"layers": 1, "heads": 1, "expansion": 1}],
    "gru": [{"layers": 2}, {"layers": 1}],
    "sasrec": [{"layers": 2}, {"layers": 1, "heads": 1}],
    "bert4rec": [{"layers": 2}, {"layers": 1, "heads": 1, "expansion": 1}],
}
WIDTH, LONGEST = 8, 12


def named(kind: str, settings: dict[str, Any]) -> str:
    return "-".join([kind, *(f"{name}={value}" for name, value in settings.items())])


CASES = [(kind, settings) for kind in sorted(KINDS) for settings in SETTINGS.get(kind, [{}])]
every_backbone = pytest.mark.parametrize(("kind", "settings"), CASES, ids=[named(*case) for case in CASES])
CAUSAL = [case for case in CASES if KINDS[case[0]].is_causal]
every_causal = pytest.mark.parametrize(("kind", "settings"), CAUSAL, ids=[named(*case) for case in CAUSAL])
BOTH_WAYS = [case for case in CASES if not KINDS[case[0]].is_causal]
every_other = pytest.mark.parametrize(("kind", "settings"), BOTH_WAYS, ids=[named(*case) for case in BOTH_WAYS])


@dataclass(frozen=True, kw_only=True)
class Known:
    """One user: a history (of which the times count) and what the sessions became."""

    user: User
    x_LD: Tensor

    def before(self, session: int) -> Known:
        return Known(user=self.user.before(session), x_LD=self.x_LD[:session])


def a_sequence(seed: int, sessions: int, width: int = WIDTH) -> Known:
    x = torch.randn(sessions, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Known(user=a_user(seed, sessions, longest=1), x_LD=x)


def built(kind: str, settings: dict[str, Any], *, longest: int = LONGEST, seed: int = 0) -> nn.Module:
    module: nn.Module = KINDS[kind](**settings).build(WIDTH, longest, 0.3)
    shake(module, seed=seed)
    return module.double().eval()


def run(module: nn.Module, sequences: Sequence[Known], *, extra_padding: int = 0) -> list[Tensor]:
    """[L, D] for each user."""
    batch, request = batch_of([sequence.user for sequence in sequences], extra_padding=extra_padding)
    x_SD = torch.cat([sequence.x_LD for sequence in sequences])
    states: Tensor = module(x_SD, sequence_of(batch, request))
    assert states.shape == x_SD.shape and states.dtype == x_SD.dtype
    return list(torch.split(states, [len(sequence.x_LD) for sequence in sequences]))


def test_every_kind_has_its_settings_here() -> None:
    assert set(SETTINGS) == set(KINDS), "say in SETTINGS under which settings the new kind takes another path"


@every_causal
def test_what_comes_later_changes_nothing_earlier(kind: str, settings: dict[str, Any]) -> None:
    """A prefix of a history, asked when its next session began, gives what the whole history gives there."""
    module, whole = built(kind, settings), a_sequence(1, 9)
    (states,) = run(module, [whole])
    for sessions in range(1, 9):
        (prefix,) = run(module, [whole.before(sessions)])
        torch.testing.assert_close(prefix, states[:sessions], rtol=0, atol=1e-12)


@every_causal
def test_changing_later_sessions_and_their_times_changes_nothing_earlier(kind: str, settings: dict[str, Any]) -> None:
    module, whole = built(kind, settings), a_sequence(1, 9)
    other = a_sequence(2, 9)
    # Session 5 begins when it begins: that is when the question after session 4 is asked.
    since_5 = tuple(
        replace(visit, time_ms=visit.time_ms + (place > 5) * 10**9) for place, visit in enumerate(whole.user.visits)
    )
    changed = Known(
        user=User(visits=since_5, request_ms=whole.user.request_ms + 2 * 10**9),
        x_LD=torch.cat([whole.x_LD[:5], other.x_LD[5:]]),
    )
    (before,), (after,) = run(module, [whole]), run(module, [changed])
    torch.testing.assert_close(after[:5], before[:5], rtol=0, atol=1e-12)
    assert not torch.allclose(after[5:], before[5:])


@every_causal
def test_gradients_flow_from_a_state_to_its_own_and_earlier_sessions_alone(kind: str, settings: dict[str, Any]) -> None:
    module, sequences = built(kind, settings), [a_sequence(1, 6), a_sequence(2, 4)]
    x_SD = torch.cat([sequence.x_LD for sequence in sequences]).requires_grad_()
    batch, request = batch_of([sequence.user for sequence in sequences])
    states = module(x_SD, sequence_of(batch, request))
    (grad,) = torch.autograd.grad((states[3] * torch.arange(1, WIDTH + 1)).sum(), x_SD)
    is_touched = (grad != 0).any(1).tolist()
    assert is_touched == [True] * 4 + [False] * 6


@every_other
def test_gradients_flow_from_a_state_to_every_session_of_its_user_alone(kind: str, settings: dict[str, Any]) -> None:
    module, sequences = built(kind, settings), [a_sequence(1, 6), a_sequence(2, 4)]
    x_SD = torch.cat([sequence.x_LD for sequence in sequences]).requires_grad_()
    batch, request = batch_of([sequence.user for sequence in sequences])
    states = module(x_SD, sequence_of(batch, request))
    (grad,) = torch.autograd.grad((states[3] * torch.arange(1, WIDTH + 1)).sum(), x_SD)
    assert (grad != 0).any(1).tolist() == [True] * 6 + [False] * 4


@every_backbone
def test_a_user_alone_is_the_same_user_in_a_batch(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    sequences = [a_sequence(seed, sessions) for seed, sessions in enumerate([3, 12, 1, 7, 12])]
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        cast = [replace(sequence, x_LD=sequence.x_LD.to(dtype)) for sequence in sequences]
        together = run(module.to(dtype), cast)
        for sequence, states in zip(cast, together, strict=True):
            torch.testing.assert_close(run(module, [sequence])[0], states, rtol=tolerance, atol=tolerance)


@every_backbone
def test_the_amount_of_padding_changes_nothing(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings, longest=LONGEST + 5)
    sequences = [a_sequence(1, 5), a_sequence(2, 2)]
    exact, padded = run(module, sequences), run(module, sequences, extra_padding=12)
    for one, other in zip(exact, padded, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@every_backbone
def test_a_user_without_a_session_disturbs_nobody(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    nobody = Known(user=User(visits=(), request_ms=1), x_LD=torch.zeros(0, WIDTH, dtype=torch.float64))
    one, other = a_sequence(1, 5), a_sequence(2, 2)
    expected = run(module, [one, other])
    _, first, _, second, _ = run(module, [nobody, one, nobody, other, nobody])
    torch.testing.assert_close([first, second], expected, rtol=0, atol=1e-12)


@every_backbone
def test_histories_of_one_session_have_finite_states_and_gradients(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings)
    states = torch.cat(run(module, [a_sequence(seed, 1) for seed in range(3)]))
    torch.autograd.backward(states.sum())
    assert torch.isfinite(states).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
    assert not torch.allclose(states[0], states[1])


@every_backbone
def test_long_histories_are_finite_and_end_as_they_would_alone(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings, longest=512).float()
    sequences = [replace(s, x_LD=s.x_LD.float()) for s in (a_sequence(1, 500), a_sequence(2, 3))]
    states = run(module, sequences)
    assert all(torch.isfinite(state).all() for state in states)
    torch.testing.assert_close(run(module, sequences[1:])[0], states[1], rtol=1e-5, atol=1e-5)


@every_backbone
def test_every_parameter_gets_a_gradient(kind: str, settings: dict[str, Any]) -> None:
    module = built(kind, settings).train()
    weight = torch.arange(1, WIDTH + 1)
    loss = sum((states * weight).square().sum() for states in run(module, [a_sequence(1, 9), a_sequence(2, 4)]))
    assert isinstance(loss, Tensor)
    torch.autograd.backward(loss)
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_backbone
def test_saved_and_loaded_it_answers_the_same(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    module, sequences = built(kind, settings), [a_sequence(1, 9), a_sequence(2, 4)]
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    other = built(kind, settings, seed=1)
    assert not torch.equal(torch.cat(run(other, sequences)), torch.cat(run(module, sequences)))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(torch.cat(run(other, sequences)), torch.cat(run(module, sequences)))


@every_backbone
def test_answers_repeat_in_evaluation_and_dropout_varies_them_in_training(kind: str, settings: dict[str, Any]) -> None:
    module, sequences = built(kind, settings), [a_sequence(1, 9), a_sequence(2, 4)]

    def answer() -> Tensor:
        return torch.cat(run(module, sequences))

    assert torch.equal(answer(), answer())
    module.train()
    assert not torch.equal(answer(), answer())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_whole_model_takes_eight_thousand_events(kind: str) -> None:
    """512 sessions of 16 events, and a short history beside it that gives what it gives alone."""
    model = ModelConfig(width=8, backbone=KINDS[kind](layers=1)).build(catalogue()).eval()
    visits = tuple(long_visit(visit, 16) for visit in a_user(3, 512, longest=1).visits)
    long, short = User(visits=visits, request_ms=visits[-1].time_ms + 1000), a_user(4, 3)
    batch, request = batch_of([long, short])
    assert batch.num_events > 8192
    queries = model.encode(batch, request)
    assert torch.isfinite(queries).all()
    torch.testing.assert_close(model.encode(*batch_of([short]))[0], queries[1], rtol=1e-5, atol=1e-5)


def long_visit(visit: Visit, events: int) -> Visit:
    return Visit(
        time_ms=visit.time_ms,
        items=tuple((visit.items[0] + place) % 31 for place in range(events)),
        actions=visit.actions * events,
        device=visit.device * events,
        hour=visit.hour * events,
    )
