"""SASRec's own block (Kang and McAuley 2018), whose residuals add normalised inputs: queries, not what they came from.

Letters: S sessions, D width. A layer, on x in R^{S x D}, with a causal mask:

    q = LN(x)
    h = q + Attention(q, x, x)                  softmax, scaled by the root of a head's width
    z = LN(h)
    x' = z + W_2 relu(W_1 z + b_1) + b_2        D -> D -> D

The input is `sqrt(D) e + position`, matrices begin as N(0, 0.02), every LayerNorm has eps 1e-8. Dropout falls on the
input, inside the feed-forward layer and on its output, not on the attention weights, where it costs the fused kernel.
Cost of a layer: 6 D^2 multiplications a session and 2 D a pair within the padded length L.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.attention import softmax_attention
from sessionrec.model.embed import INIT_STD, lookup_table
from sessionrec.model.sequence import SessionSequence

_EPS = 1e-8


class SasRecConfig(Config):
    """SASRec's block."""

    is_causal: ClassVar[bool] = True
    kind: Literal["sasrec"] = "sasrec"
    """SASRec, with its normalised residual."""
    layers: int = Field(default=4, ge=1)
    """Layers (SASRec: 2, here as in the paper's comparison: 4)."""
    heads: int = Field(default=2, ge=1)
    """Heads (SASRec: 1, the paper's comparison: 2); must divide the width."""

    def build(self, width: int, max_sessions: int, dropout: float) -> nn.Module:
        """The module; see `HstuConfig.build`."""
        return SasRec(self, width, max_sessions, dropout)


class SasRec(nn.Module):
    """Stack of SASRec layers; the LayerNorm after the last one is the model's own."""

    def __init__(self, config: SasRecConfig, width: int, max_sessions: int, dropout: float) -> None:
        super().__init__()
        if width % config.heads:
            raise ValueError(f"`heads` must divide the width {width}, got {config.heads}")
        self.max_sessions, self.scale = max_sessions, width**0.5
        self.position = lookup_table(max_sessions, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(SasRecLayer(width, config.heads, dropout) for _ in range(config.layers))
        for matrix in (module for module in self.layers.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(matrix.weight, std=INIT_STD)
            nn.init.zeros_(matrix.bias)

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D] the state after each session."""
        x_SD = self.dropout(x_SD * self.scale + self.position(sequence.position_S))
        for layer in self.layers:
            x_SD = layer(x_SD, sequence)
        return x_SD


class SasRecLayer(nn.Module):
    """One layer; see the module."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, width), nn.Dropout(dropout)
        )

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D]."""
        normed_SD = self.attention_norm(x_SD)
        padded = sequence.pad(torch.cat([self.query(normed_SD), self.key_value(x_SD)], dim=1))
        split = padded.view(sequence.num_users, sequence.length, 3, self._heads, -1)
        q_BHLK, k_BHLK, v_BHLK = split.permute(2, 0, 3, 1, 4)
        attended = softmax_attention(q_BHLK, k_BHLK, v_BHLK, sequence.causal_BLL())
        h_SD = normed_SD + self.mix(sequence.unpad(attended.transpose(1, 2).flatten(2)))
        z_SD = self.feed_norm(h_SD)
        after_SD: Tensor = z_SD + self.feed(z_SD)
        return after_SD
