"""The assembly (paper 3.2): embed events, encode sessions, encode the sequence, score items by dot product.

Letters: B users, S sessions, E events, Q questions, N items, D width, V catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.batch import Examples, SessionBatch
from sessionrec.model.embed import CandidateEmbedder, EventEmbedder, ItemRows, ItemTable
from sessionrec.model.sequence import sequence_of

_CHUNK = 65_536


class Recommender(nn.Module):
    """A next-session model made of parts that exist already.

    Args:
        items: Id rows and item features.
        events: Tokens of events.
        candidates: Vectors of candidates.
        session_encoder: Events of a session -> one vector (Eq. 5).
        backbone: Sessions -> the state after each (Eq. 6).
        score: `dot` after a LayerNorm (Eq. 7), or `cosine` over a temperature.
        temperature: Of `cosine`.
        max_sessions: Longest history the backbone takes.
    """

    def __init__(
        self,
        *,
        items: ItemTable,
        events: EventEmbedder,
        candidates: CandidateEmbedder,
        session_encoder: nn.Module,
        backbone: nn.Module,
        score: Literal["dot", "cosine"],
        temperature: float,
        max_sessions: int,
    ) -> None:
        super().__init__()
        self.items, self.events, self.candidates = items, events, candidates
        self.session_encoder, self.backbone = session_encoder, backbone
        self.norm = nn.LayerNorm(items.width) if score == "dot" else nn.Identity()
        self._score, self._temperature = score, temperature
        self.max_sessions = max_sessions

    def states(self, inputs: SessionBatch, request_time_ms_B: Tensor, rows: ItemRows, place_E: Tensor) -> Tensor:
        """[S, D] what is known after each session, ready to be compared with candidates.

        Args:
            inputs: Histories.
            request_time_ms_B: [B] int64, when each user's next session begins.
            rows: The distinct items, `items.gather`.
            place_E: [E] place of each event's item in them.

        Raises:
            ValueError: A history is longer than `max_sessions`.
        """
        if inputs.max_sessions > self.max_sessions:
            raise ValueError(
                f"a history has {inputs.max_sessions} sessions, the model takes {self.max_sessions}; "
                "cap it with `truncation.max_sessions` or train with a larger `max_sessions`"
            )
        hidden_ED = self.events.hidden(rows, place_E, inputs.action_E, inputs.features)
        encode, offsets = self.session_encoder, inputs.session_offsets
        if getattr(encode, "is_linear", False):
            x_SD = self.events.project(encode(hidden_ED, offsets, inputs.max_events))
        else:
            x_SD = encode(self.events.project(hidden_ED), offsets, inputs.max_events)
        states_SD: Tensor = self.norm(self.backbone(x_SD, sequence_of(inputs, request_time_ms_B)))
        return F.normalize(states_SD, dim=1) / self._temperature if self._score == "cosine" else states_SD

    def vectors(self, rows: ItemRows) -> Tensor:
        """[U, D] candidates of distinct items."""
        vectors_UD: Tensor = self.candidates(rows)
        return F.normalize(vectors_UD, dim=1) if self._score == "cosine" else vectors_UD

    def forward(self, examples: Examples, others: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Queries of all questions, and what is needed to score items against them.

        Args:
            examples: Histories and questions.
            others: Item indices of any shape that will be scored, such as positives and negatives.

        Returns:
            [Q, D] queries, [U, D] vectors of the distinct items, and for each of `others` the places of its items.

        Raises:
            ValueError: A question is asked before the user's first session, or after more sessions than there are.
        """
        inputs, targets = examples
        _expect_states(inputs, targets.user_Q, targets.num_before_Q)
        rows, (place_E, *places) = self.items.gather(inputs.item_E, *others)
        states_SD = self.states(inputs, request_times(examples), rows, place_E)
        query_S = inputs.user_offsets[targets.user_Q] + targets.num_before_Q - 1
        return states_SD[query_S], self.vectors(rows), tuple(places)

    @torch.inference_mode()
    def encode(self, inputs: SessionBatch, request_time_ms_B: Tensor) -> Tensor:
        """[B, D] the query of each user after the whole history; every user needs at least one session."""
        user_B = torch.arange(inputs.num_users, device=inputs.user_offsets.device)
        _expect_states(inputs, user_B, inputs.user_offsets[1:] - inputs.user_offsets[:-1])
        rows, (place_E,) = self.items.gather(inputs.item_E)
        states_SD = self.states(inputs, request_time_ms_B, rows, place_E)
        return states_SD[inputs.user_offsets[1:] - 1]

    @torch.inference_mode()
    def item_vectors(self) -> Tensor:
        """[V + 1, D] candidates of the whole catalogue, index 0 the unknown item."""
        ids = torch.arange(self.items.num_items + 1, device=self.items.weight.device)
        return torch.cat([self.vectors(self.items.rows(chunk)) for chunk in torch.split(ids, _CHUNK)])


def _expect_states(inputs: SessionBatch, user_Q: Tensor, num_before_Q: Tensor) -> None:
    """Without a session there is no state, and the row in its place is another user's. Looked at on the host only."""
    if num_before_Q.device.type != "cpu":
        return
    has_Q = (inputs.user_offsets[1:] - inputs.user_offsets[:-1])[user_Q]
    is_wrong_Q = (num_before_Q < 1) | (num_before_Q > has_Q)
    if bool(is_wrong_Q.any()):
        first = int(is_wrong_Q.nonzero()[0])
        raise ValueError(
            f"user {int(user_Q[first])} of the batch has {int(has_Q[first])} sessions and is asked for after "
            f"{int(num_before_Q[first])}; a query needs at least one session and no more than there are: the model has "
            "no state before a user's first session, so leave such users to a popularity baseline and `ask_first` off"
        )


def request_times(examples: Examples) -> Tensor:
    """[B] int64, when each user's last question is asked."""
    inputs, targets = examples
    times = inputs.user_index_B.new_zeros(inputs.num_users)
    return times.scatter_reduce(0, targets.user_Q, targets.time_ms_Q, "amax", include_self=True)
