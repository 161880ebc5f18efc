"""BERT4Rec's encoder (Sun et al. 2019): every position sees every other, what is to be found is hidden by a mask.

Letters: S sessions, D width. A layer, on x in R^{S x D}, post-norm:

    h = LN(x + dropout(Attention(x, x, x)))     softmax over all of the user's positions
    x' = LN(h + dropout(W_2 gelu(W_1 h)))       D -> 4 D -> D

The input is `LN(e + position)`. A state here knows what comes after it, so the model may ask only about what is hidden
(`Recommender`): in training some positions, when answering one more position behind the last. Cost of a layer: 12 D^2
multiplications a session and 2 D a pair within the padded length L.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.attention import softmax_attention
from sessionrec.model.embed import INIT_STD, lookup_table
from sessionrec.model.sequence import SessionSequence


class Bert4RecConfig(Config):
    """Bidirectional Transformer, trained by masking."""

    is_causal: ClassVar[bool] = False
    kind: Literal["bert4rec"] = "bert4rec"
    """BERT4Rec: sees both ways, learns to fill what is masked."""
    layers: int = Field(default=4, ge=1)
    """Layers (BERT4Rec: 2, here as in the paper's comparison: 4)."""
    heads: int = Field(default=2, ge=1)
    """Heads; must divide the width."""
    expansion: int = Field(default=4, ge=1)
    """Width of the feed-forward layer, in widths."""

    def build(self, width: int, max_sessions: int, dropout: float) -> nn.Module:
        """The module; see `HstuConfig.build`."""
        return Bert4Rec(self, width, max_sessions, dropout)


class Bert4Rec(nn.Module):
    """Stack of bidirectional layers."""

    def __init__(self, config: Bert4RecConfig, width: int, max_sessions: int, dropout: float) -> None:
        super().__init__()
        if width % config.heads:
            raise ValueError(f"`heads` must divide the width {width}, got {config.heads}")
        self.max_sessions = max_sessions
        self.position = lookup_table(max_sessions, width)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            Bert4RecLayer(width, config.heads, config.expansion, dropout) for _ in range(config.layers)
        )
        for matrix in (module for module in self.layers.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(matrix.weight, std=INIT_STD)
            nn.init.zeros_(matrix.bias)

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D] what is known of each session from all others."""
        x_SD = self.dropout(self.norm(x_SD + self.position(sequence.position_S)))
        for layer in self.layers:
            x_SD = layer(x_SD, sequence)
        return x_SD


class Bert4RecLayer(nn.Module):
    """One layer; see the module."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D]."""
        padded = sequence.pad(self.qkv(x_SD))
        split = padded.view(sequence.num_users, sequence.length, 3, self._heads, -1)
        q_BHLK, k_BHLK, v_BHLK = split.permute(2, 0, 3, 1, 4)
        attended = softmax_attention(q_BHLK, k_BHLK, v_BHLK, sequence.both_BLL())
        attended_SD = sequence.unpad(attended.transpose(1, 2).flatten(2))
        h_SD = self.attention_norm(x_SD + self.dropout(self.mix(attended_SD)))
        after_SD: Tensor = self.feed_norm(h_SD + self.dropout(self.feed(h_SD)))
        return after_SD
