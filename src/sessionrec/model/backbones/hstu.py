"""HSTU (Zhai et al. 2024, research version), the paper's backbone.

Letters: S sessions, D width, H heads, K width of a head. A layer, on x in R^{S x D}:

    z = LN(x)                                 no affine, eps 1e-6
    [U | V | Q | K] = SiLU(z W)               no bias, W ~ N(0, 0.02)
    A_ij = SiLU(q_i . k_j + b_ij) / N         N = the configured longest history, never the batch's; then causal mask
    x' = x + W_o dropout(U * LN(concat_h A V)) + b_o
    b_ij = p[j - i] + w[bucket(t_{i+1} - t_j)]      shared by the heads, each layer its own

`t_{i+1}` is the start of the next session, which a server knows: it is the time of the request. Cost of a layer: 5 D^2
multiplications a session, and 2 D a pair within the padded length L. On the host attention runs in blocks, by hand
(`hstu_attention`); elsewhere the plain operations below are taken.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.grouped import Grouping, is_fast_here, take
from sessionrec.model.attention import NUM_TIME_BUCKETS, lookup, silu_attention, time_buckets
from sessionrec.model.dropout import Dropout, dropout
from sessionrec.model.embed import lookup_table
from sessionrec.model.hstu_attention import Plan, gated_attention, plan
from sessionrec.model.sequence import SessionSequence

_INIT_STD = 0.02
_EPS = 1e-6


class HstuConfig(Config):
    """Hierarchical sequential transduction unit."""

    is_causal: ClassVar[bool] = True
    kind: Literal["hstu"] = "hstu"
    """HSTU, the paper's best."""
    layers: int = Field(default=4, ge=1)
    """Layers (paper: 4)."""
    heads: int = Field(default=2, ge=1)
    """Heads (paper: 2); must divide the width."""
    time_bias: Literal["next", "same", "none"] = "next"
    """Time in the bias: since each session until the `next` one begins, until the `same` one began, or `none`."""
    position_bias: bool = True
    """Whether the distance in sessions is in the bias."""
    absolute_position: bool = True
    """Whether a learned position, counted from the oldest kept session, is added to the input."""
    divisor: int | None = Field(default=None, ge=1)
    """N, by which attention weights are divided, a constant; none = `fit` takes the length of the data set's median
    history, and elsewhere it is `model.max_sessions`. Far above the usual length it leaves attention below the epsilon
    of the LayerNorm after it, and the model learns little from earlier sessions."""

    def build(self, width: int, max_sessions: int, dropout: float) -> nn.Module:
        """The module.

        Args:
            width: D.
            max_sessions: N, the longest history.
            dropout: Rate.
        """
        return Hstu(self, width, max_sessions, dropout)


class Hstu(nn.Module):
    """Stack of HSTU layers."""

    def __init__(self, config: HstuConfig, width: int, max_sessions: int, dropout: float) -> None:
        super().__init__()
        if width % config.heads:
            raise ValueError(f"`heads` must divide the width {width}, got {config.heads}")
        self.max_sessions, self.scale = max_sessions, width**0.5
        self._heads, self._time = config.heads, config.time_bias
        self._divisor = max_sessions if config.divisor is None else config.divisor
        self.position: nn.Embedding | None = None
        if config.absolute_position:
            self.position = lookup_table(max_sessions, width)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            HstuLayer(width, config.heads, max_sessions, dropout, config.time_bias != "none", config.position_bias)
            for _ in range(config.layers)
        )

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D] the state after each session."""
        x_SD = x_SD * self.scale
        if self.position is not None:
            x_SD = x_SD + take(self.position.weight, Grouping(sequence.position_S, self.max_sessions))
        x_SD = self.dropout(x_SD)
        cut: Plan | None = None
        if is_fast_here(x_SD):
            cut = plan(
                sequence, heads=self._heads, max_sessions=self.max_sessions, divisor=self._divisor, time_bias=self._time
            )
        else:
            sequence.once("hstu mask", lambda: sequence.causal_BLL().to(x_SD.dtype) / self._divisor)
            sequence.once("distance", lambda: self._distance_LL(sequence))
            if self._time != "none":
                sequence.once("time buckets", lambda: self._buckets_BLL(sequence))
        for layer in self.layers:
            x_SD = layer(x_SD, sequence, cut)
        return x_SD

    def _distance_LL(self, sequence: SessionSequence) -> Tensor:
        order = torch.arange(sequence.length, device=sequence.user_S.device)
        return order[None, :] - order[:, None] + self.max_sessions - 1

    def _buckets_BLL(self, sequence: SessionSequence) -> Tensor:
        own = sequence.pad(sequence.time_ms_S)
        until = own if self._time == "same" else sequence.pad(sequence.next_time_ms_S)
        return time_buckets(until[:, :, None], own[:, None, :])


class HstuLayer(nn.Module):
    """One layer; see the module."""

    def __init__(
        self, width: int, heads: int, max_sessions: int, dropout: float, has_time: bool, has_position: bool
    ) -> None:
        super().__init__()
        self._heads, self._dropout = heads, dropout
        self.uvqk = nn.Parameter(torch.empty(width, 4 * width).normal_(std=_INIT_STD))
        self.output = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.position: nn.Parameter | None = None
        if has_position:
            self.position = nn.Parameter(torch.empty(2 * max_sessions - 1).normal_(std=_INIT_STD))
        self.time: nn.Parameter | None = None
        if has_time:
            self.time = nn.Parameter(torch.empty(NUM_TIME_BUCKETS).normal_(std=_INIT_STD))

    def forward(self, x_SD: Tensor, sequence: SessionSequence, cut: Plan | None) -> Tensor:
        """[S, D]; without `cut`, plain operations on padded blocks."""
        width = x_SD.shape[1]
        mixed_SX = F.layer_norm(x_SD, (width,), eps=_EPS) @ self.uvqk
        if cut is None:
            gate_SD, attended_SD = self._plain(mixed_SX, sequence)
        else:
            gate_SD, attended_SD = gated_attention(mixed_SX, self.position, self.time, cut)
        gated = gate_SD * F.layer_norm(attended_SD, (width,), eps=_EPS)
        update: Tensor = self.output(dropout(gated, self._dropout, self.training))
        return x_SD + update

    def _plain(self, mixed_SX: Tensor, sequence: SessionSequence) -> tuple[Tensor, Tensor]:
        """What `gated_attention` says, by operations that every device and precision has."""
        width = mixed_SX.shape[1] // 4
        gate_SD, vqk = torch.split(F.silu(mixed_SX), [width, 3 * width], dim=1)
        padded = sequence.pad(vqk).view(sequence.num_users, sequence.length, 3, self._heads, -1)
        v_BHLK, q_BHLK, k_BHLK = padded.permute(2, 0, 3, 1, 4)
        mask_BLL = sequence.once("hstu mask", _never)
        attended = silu_attention(q_BHLK, k_BHLK, v_BHLK, self._bias(sequence), mask_BLL)
        return gate_SD, sequence.unpad(attended.transpose(1, 2).reshape(sequence.num_users, sequence.length, width))

    def _bias(self, sequence: SessionSequence) -> Tensor | None:
        """[B, L, L], or [1, L, L] without times."""
        bias: Tensor | None = None
        if self.position is not None:
            bias = lookup(self.position, sequence.once("distance", _never))[None]
        if self.time is not None:
            by_time = lookup(self.time, sequence.once("time buckets", _never))
            bias = by_time if bias is None else by_time + bias
        return bias


def _never() -> Tensor:
    raise AssertionError("made by the stack before its layers run")
