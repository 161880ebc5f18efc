"""A small Transformer over the events of a session, then their mean (paper, Table 4: `trans`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.session_encoders.padding import pad_events


class TransformerEncoderConfig(Config):
    """Transformer over the events, then mean."""

    kind: Literal["transformer"] = "transformer"
    """Transformer over the events, then mean."""
    layers: int = Field(default=1, ge=1)
    """Transformer layers."""
    heads: int = Field(default=1, ge=1)
    """Attention heads; must divide the width."""

    def build(self, width: int) -> nn.Module:
        """The module; `width` is D."""
        return TransformerEncoder(width, layers=self.layers, heads=self.heads)


class TransformerEncoder(nn.Module):
    """Costs a padded [S, longest session, D] copy and attention of every event to every other of its session."""

    is_linear = False

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"`heads` must divide the width {width}, got {heads}")
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="relu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> Tensor:
        """[S, D]."""
        padded_SLD, is_there_SL = pad_events(tokens_ED, session_offsets, max_events)
        mixed_SLD = self.layers(padded_SLD, src_key_padding_mask=~is_there_SL)
        kept = mixed_SLD.masked_fill(~is_there_SL[:, :, None], 0.0)
        mean: Tensor = kept.sum(1) / is_there_SL.sum(1).clamp(min=1)[:, None]
        return mean
