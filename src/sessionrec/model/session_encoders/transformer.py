"""A small Transformer over the events of a session, then their mean (paper, Table 4: `trans`)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
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


_MOST_CELLS = 1 << 22
"""Attention weights of a chunk of sessions, padding included."""


class TransformerEncoder(nn.Module):
    """Attention of every event to every other of its session, over padded copies. Where sessions x longest^2 is large,
    sessions of like length are taken together, so that one long session does not pad all others."""

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
        lengths_S = session_offsets[1:] - session_offsets[:-1]
        if len(lengths_S) * max_events**2 <= _MOST_CELLS:
            return self._encode(tokens_ED, session_offsets, max_events)
        order_S = lengths_S.argsort(stable=True)
        sorted_S = lengths_S[order_S]
        encoded = []
        start, longest = 0, sorted_S.tolist()
        while start < len(longest):
            stop = start + 1
            while stop < len(longest) and (stop + 1 - start) * longest[stop] ** 2 <= _MOST_CELLS:
                stop += 1
            offsets = F.pad(sorted_S[start:stop].cumsum(0), (1, 0))
            begin = session_offsets[order_S[start:stop]] - offsets[:-1]
            event_E = torch.repeat_interleave(begin, sorted_S[start:stop])
            event_E += torch.arange(len(event_E), device=event_E.device)
            encoded.append(self._encode(tokens_ED.index_select(0, event_E), offsets, longest[stop - 1]))
            start = stop
        return torch.cat(encoded).index_select(0, order_S.argsort())

    def _encode(self, tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> Tensor:
        padded_SLD, is_there_SL = pad_events(tokens_ED, session_offsets, max_events)
        mixed_SLD = self.layers(padded_SLD, src_key_padding_mask=~is_there_SL)
        kept = mixed_SLD.masked_fill(~is_there_SL[:, :, None], 0.0)
        mean: Tensor = kept.sum(1) / is_there_SL.sum(1).clamp(min=1)[:, None]
        return mean
