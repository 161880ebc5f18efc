"""Small histories as plain Python, and the batches made of them.

Letters: B users, S sessions, E events, Q questions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.jagged import Jagged, offsets_from_lengths
from sessionrec.model.config import Catalogue

# Tiny tensors: a second thread costs more than it brings.
torch.set_num_threads(1)

T0 = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""
NUM_ITEMS = 30
CONTEXT = {"device": 4, "hour": 6}
ITEM_FEATURES = {"brand": 5, "price": 3}
CODES_VF = torch.tensor([[item % 5, item % 3] for item in range(NUM_ITEMS + 1)])

TORCH_NAMES = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj.weight": "mix.weight",
    "self_attn.out_proj.bias": "mix.bias",
    "linear1.weight": "feed.0.weight",
    "linear1.bias": "feed.0.bias",
    "linear2.weight": "feed.2.weight",
    "linear2.bias": "feed.2.bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "feed_norm.weight",
    "norm2.bias": "feed_norm.bias",
}
"""Weights of torch's own Transformer layer, and what ours call them."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A session."""

    time_ms: int
    items: tuple[int, ...]
    actions: tuple[int, ...]
    device: tuple[int, ...]
    hour: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class User:
    """A history, and when the next session begins."""

    visits: tuple[Visit, ...]
    request_ms: int

    def before(self, visit: int) -> User:
        """What was known when a visit began."""
        return User(visits=self.visits[:visit], request_ms=self.visits[visit].time_ms)


def a_user(seed: int, sessions: int, *, longest: int = 4, num_items: int = NUM_ITEMS) -> User:
    """A user with so many sessions of 1 to `longest` events, from a second to a month apart."""
    random = np.random.default_rng(seed)
    time_ms, visits = T0, []

    def codes(size: int, count: int, first: int = 0) -> tuple[int, ...]:
        return tuple(random.integers(first, size, count).tolist())

    for _ in range(sessions):
        count = int(random.integers(1, longest + 1))
        visits.append(
            Visit(
                time_ms=time_ms,
                items=codes(num_items + 1, count),
                actions=codes(4, count),
                device=codes(CONTEXT["device"], count),
                hour=codes(CONTEXT["hour"], count),
            )
        )
        time_ms += int(np.exp(random.uniform(np.log(1e3), np.log(3e9))))
    return User(visits=tuple(visits), request_ms=time_ms)


def batch_of(users: Sequence[User], *, extra_padding: int = 0) -> tuple[SessionBatch, Tensor]:
    """The batch, and [B] the times of the requests."""
    visits = [visit for user in users for visit in user.visits]

    def column(name: str) -> Tensor:
        return torch.tensor([value for visit in visits for value in getattr(visit, name)], dtype=torch.int64)

    times = [visit.time_ms for visit in visits for _ in visit.items]
    batch = SessionBatch(
        user_index_B=torch.arange(len(users)),
        user_offsets=offsets([len(user.visits) for user in users]),
        session_offsets=offsets([len(visit.items) for visit in visits]),
        session_time_ms_S=torch.tensor([visit.time_ms for visit in visits], dtype=torch.int64),
        item_E=column("items"),
        action_E=column("actions"),
        time_ms_E=torch.tensor(times, dtype=torch.int64),
        features={"device": column("device"), "hour": column("hour")},
        max_sessions=max((len(user.visits) for user in users), default=0) + extra_padding,
        max_events=max((len(visit.items) for visit in visits), default=0) + extra_padding,
    )
    return batch, torch.tensor([user.request_ms for user in users], dtype=torch.int64)


def offsets(lengths: Sequence[int]) -> Tensor:
    return torch.from_numpy(offsets_from_lengths(np.array(lengths, np.int64)))


def jagged(rows: Sequence[Sequence[int]]) -> Jagged[Tensor]:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return Jagged(values=values, offsets=offsets([len(row) for row in rows]))


def examples_of(users: Sequence[User]) -> Examples:
    """All visits are there; after each but the last a question, and one for what comes at the request."""
    batch, _ = batch_of(users)
    asked = [(row, place) for row, user in enumerate(users) for place in range(1, len(user.visits) + 1)]
    times = [
        users[row].visits[place].time_ms if place < len(users[row].visits) else users[row].request_ms
        for row, place in asked
    ]
    targets = Targets(
        user_Q=torch.tensor([row for row, _ in asked]),
        num_before_Q=torch.tensor([place for _, place in asked]),
        time_ms_Q=torch.tensor(times),
        positives=jagged([[1 + (7 * row + place) % NUM_ITEMS] for row, place in asked]),
        negatives=jagged([[1 + (7 * row + place + 3) % NUM_ITEMS] * (place % 2) for row, place in asked]),
    )
    return Examples(batch, targets)


def catalogue(*, has_features: bool = True) -> Catalogue:
    return Catalogue(
        num_items=NUM_ITEMS,
        num_actions=1,
        context_features=CONTEXT if has_features else {},
        item_features=ITEM_FEATURES if has_features else {},
        codes_VF=CODES_VF if has_features else CODES_VF[:, :0],
    )


def shake(module: nn.Module, *, std: float = 0.4, seed: int = 0) -> None:
    """Weights large enough that every part of a formula can be seen in the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * std)
