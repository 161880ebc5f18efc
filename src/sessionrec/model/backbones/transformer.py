"""A causal Transformer over sessions: pre-norm, learned absolute positions from the oldest kept session.

Letters: S sessions, D width. Cost of a layer: 12 D^2 multiplications a session and 2 D a pair within the
length L.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.attention import softmax_attention
from sessionrec.model.embed import lookup_table
from sessionrec.model.sequence import SessionSequence


class TransformerConfig(Config):
    """Causal Transformer."""

    is_causal: ClassVar[bool] = True
    kind: Literal["transformer"] = "transformer"
    """Causal Transformer with learned positions."""
    layers: int = Field(default=4, ge=1)
    """Layers (paper: 4)."""
    heads: int = Field(default=2, ge=1)
    """Heads (paper: 2); must divide the width."""
    expansion: int = Field(default=4, ge=1)
    """Width of the feed-forward layer, in widths."""

    def build(self, width: int, max_sessions: int, dropout: float) -> nn.Module:
        """The module; see `HstuConfig.build`."""
        return Transformer(self, width, max_sessions, dropout)


class Transformer(nn.Module):
    """Stack of Transformer layers."""

    def __init__(self, config: TransformerConfig, width: int, max_sessions: int, dropout: float) -> None:
        super().__init__()
        if width % config.heads:
            raise ValueError(f"`heads` must divide the width {width}, got {config.heads}")
        self.max_sessions, self.scale = max_sessions, width**0.5
        self.position = lookup_table(max_sessions, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(width, config.heads, config.expansion, dropout) for _ in range(config.layers)
        )

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D] the state after each session."""
        x_SD = self.dropout(x_SD * self.scale + self.position(sequence.position_S))
        for layer in self.layers:
            x_SD = layer(x_SD, sequence)
        return x_SD


class TransformerLayer(nn.Module):
    """Attention, then feed-forward, each on a normalised copy and added to its input."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, expansion * width), nn.ReLU(), nn.Linear(expansion * width, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D]."""
        padded = sequence.pad(self.qkv(self.attention_norm(x_SD)))
        split = padded.view(sequence.num_users, sequence.length, 3, self._heads, -1)
        q_BHLK, k_BHLK, v_BHLK = split.permute(2, 0, 3, 1, 4)
        attended = softmax_attention(q_BHLK, k_BHLK, v_BHLK, sequence.causal_BLL())
        attended_SD = sequence.unpad(attended.transpose(1, 2).flatten(2))
        x_SD = x_SD + self.dropout(self.mix(attended_SD))
        fed: Tensor = self.feed(self.feed_norm(x_SD))
        return x_SD + fed
