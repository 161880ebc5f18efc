"""The assembly (paper 3.2): embed events, encode sessions, encode the sequence, score items by dot product.

Letters: B users, S sessions, E events, Q questions, N items, D width, V catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.batch import Examples, SessionBatch
from sessionrec.grouped import Grouping, take
from sessionrec.model.embed import INIT_STD, CandidateEmbedder, EventEmbedder, ItemRows, ItemTable
from sessionrec.model.sequence import add_end, add_start, sequence_of
from sessionrec.model.session_encoders.pooling import Mean

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
        has_start: Whether a learned vector stands before each first session, so that it can be asked for too; the
            backbone then takes `max_sessions + 1` positions.
        has_mask: Whether the backbone sees both ways, so that it is asked by a learned mask: in place of the sessions
            that a cloze hides, else behind the last one; the backbone then takes `max_sessions + 1` positions.
        norm_eps: Of the last LayerNorm.
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
        has_start: bool = False,
        has_mask: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if has_start and has_mask:
            raise ValueError("`start_token` is for causal backbones; one that sees both ways is asked by a mask")
        self.items, self.events, self.candidates = items, events, candidates
        self.session_encoder, self.backbone = session_encoder, backbone
        self.norm = nn.LayerNorm(items.width, eps=norm_eps) if score == "dot" else nn.Identity()
        self._score, self._temperature = score, temperature
        self.max_sessions = max_sessions
        self.start: nn.Parameter | None = None
        if has_start:
            self.start = nn.Parameter(torch.empty(items.width).normal_(std=INIT_STD))
        self.mask: nn.Parameter | None = None
        if has_mask:
            self.mask = nn.Parameter(torch.empty(items.width).normal_(std=INIT_STD))

    def states(
        self,
        inputs: SessionBatch,
        request_time_ms_B: Tensor,
        rows: ItemRows,
        place_E: Tensor,
        hidden_Q: Tensor | None = None,
    ) -> Tensor:
        """[S, D] what is known after each session, ready to be compared with candidates; with a start, [S + B, D], each
        user's own before any session in front; with a mask and nothing hidden, [S + B, D], each user's own behind.

        Args:
            inputs: Histories.
            request_time_ms_B: [B] int64, when each user's next session begins.
            rows: The distinct items, `items.gather`.
            place_E: [E] place of each event's item in them.
            hidden_Q: [Q] sessions in whose place the mask stands, each once.

        Raises:
            ValueError: A history is longer than `max_sessions`.
        """
        # In a cloze what is asked for is one of them.
        if inputs.max_sessions > self.max_sessions + (hidden_Q is not None):
            raise ValueError(
                f"a history has {inputs.max_sessions} sessions, the model takes {self.max_sessions}; "
                "cap it with `truncation.max_sessions` or train with a larger `max_sessions`"
            )
        tokens = self.events.tokens(rows, place_E, inputs.action_E, inputs.features)
        encode, offsets = self.session_encoder, inputs.session_offsets
        if isinstance(encode, Mean) and encode.is_linear:
            x_SD = self.events.project(encode.pool(tokens.values_TD, tokens.grouping, offsets))
        else:
            x_SD = encode(tokens.each(self.events.project(tokens.values_TD)), offsets, inputs.max_events)
        has_end = self.mask is not None and hidden_Q is None
        sequence = sequence_of(inputs, request_time_ms_B, has_start=self.start is not None, has_end=has_end)
        if self.start is not None:
            x_SD = add_start(inputs.user_offsets, x_SD, self.start.to(x_SD.dtype).expand(inputs.num_users, -1))
        elif self.mask is not None and hidden_Q is None:
            x_SD = add_end(inputs.user_offsets, x_SD, self.mask.to(x_SD.dtype).expand(inputs.num_users, -1))
        elif self.mask is not None and hidden_Q is not None:
            x_SD = x_SD.index_copy(0, hidden_Q, self.mask.to(x_SD.dtype).expand(len(hidden_Q), -1))
        states_SD: Tensor = self.norm(self.backbone(x_SD, sequence))
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
            ValueError: A question is asked before the user's first session and the model has no start, or after more
                sessions than there are; or, with a mask, after fewer, or of a session that is not there.
        """
        inputs, targets = examples
        self._expect_states(inputs, targets.user_Q, targets.num_before_Q, cloze=targets.cloze)
        rows, (place_E, *places) = self.items.gather(inputs.item_E, *others)
        if targets.cloze:
            state_Q = inputs.user_offsets[targets.user_Q] + targets.num_before_Q
            states_SD = self.states(inputs, request_times(examples), rows, place_E, hidden_Q=state_Q)
        else:
            states_SD = self.states(inputs, request_times(examples), rows, place_E)
            state_Q = self._state_of(inputs, targets.user_Q, targets.num_before_Q)
        return take(states_SD, Grouping(state_Q, len(states_SD))), self.vectors(rows), tuple(places)

    @torch.inference_mode()
    def encode(self, inputs: SessionBatch, request_time_ms_B: Tensor) -> Tensor:
        """[B, D] the query of each user after the whole history; without a start every user needs a session."""
        user_B = torch.arange(inputs.num_users, device=inputs.user_offsets.device)
        has_B = inputs.user_offsets[1:] - inputs.user_offsets[:-1]
        self._expect_states(inputs, user_B, has_B)
        rows, (place_E,) = self.items.gather(inputs.item_E)
        states_SD = self.states(inputs, request_time_ms_B, rows, place_E)
        return states_SD[self._state_of(inputs, user_B, has_B)]

    @torch.inference_mode()
    def item_vectors(self, first: int = 0) -> Tensor:
        """[V + 1 - first, D] candidates of the whole catalogue from an index on; index 0 is the unknown item."""
        ids = torch.arange(first, self.items.num_items + 1, device=self.items.weight.device)
        return torch.cat([self.vectors(self.items.rows(chunk)) for chunk in torch.split(ids, _CHUNK)])

    @torch.no_grad()
    def fill_untrained(self, num_trained: int) -> None:
        """After training, give items that it never saw, all after the first `num_trained`, the mean id row of the rest:
        their own are still as they were drawn, and only features shall tell such items apart."""
        self.items.weight[num_trained + 1 :] = self._untrained_row(num_trained)

    @torch.no_grad()
    def with_items(self, codes_NF: Tensor, num_trained: int) -> Recommender:
        """This model over N items more, which are as if training had never seen them. All other weights are shared.

        Args:
            codes_NF: [N, F] int, the item features of the new ones.
            num_trained: Items with a training event, the first ones.
        """
        larger = copy(self)
        larger._modules = dict(self._modules)
        larger.items = self.items.with_items(codes_NF, self._untrained_row(num_trained))
        return larger

    def _untrained_row(self, num_trained: int) -> Tensor:
        """[D] id row of an item that training never saw."""
        return self.items.weight[1 : num_trained + 1].mean(0)

    def _state_of(self, inputs: SessionBatch, user_Q: Tensor, num_before_Q: Tensor) -> Tensor:
        """[Q] row of the state that a question is asked of."""
        place_Q = inputs.user_offsets[user_Q] + num_before_Q
        return place_Q - 1 if self.start is None and self.mask is None else place_Q + user_Q

    def _expect_states(
        self, inputs: SessionBatch, user_Q: Tensor, num_before_Q: Tensor, *, cloze: bool = False
    ) -> None:
        """Without a session there is no state, and the row in its place is another user's. On the host only."""
        if cloze and self.mask is None:
            raise ValueError("a cloze hides sessions by a mask, and the model has none; its backbone is causal")
        if num_before_Q.device.type != "cpu":
            return
        has_Q = (inputs.user_offsets[1:] - inputs.user_offsets[:-1])[user_Q]
        if self.mask is not None:
            is_there_Q = (num_before_Q >= 0) & (num_before_Q < has_Q) if cloze else num_before_Q == has_Q
            if not bool(is_there_Q.all()):
                raise ValueError(
                    "a model that sees both ways is asked for a hidden session, or for what follows all it is shown; "
                    "give each question a history of its own, as `view.max_positions` does"
                )
            return
        is_wrong_Q = (num_before_Q < (1 if self.start is None else 0)) | (num_before_Q > has_Q)
        if bool(is_wrong_Q.any()):
            first = int(is_wrong_Q.nonzero()[0])
            raise ValueError(
                f"user {int(user_Q[first])} of the batch has {int(has_Q[first])} sessions and is asked for after "
                f"{int(num_before_Q[first])}; a query needs at least one session and no more than there are: the model "
                "has no state before a user's first session unless it is built with `start_token`, so leave such users "
                "to a popularity baseline and `ask_first` off"
            )


def request_times(examples: Examples) -> Tensor:
    """[B] int64, when each user's last question is asked."""
    inputs, targets = examples
    times = inputs.user_index_B.new_zeros(inputs.num_users)
    return times.scatter_reduce(0, targets.user_Q, targets.time_ms_Q, "amax", include_self=True)
