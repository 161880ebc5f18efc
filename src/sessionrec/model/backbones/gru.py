"""A GRU over sessions; no positions, no attention, one step a session.

Letters: S sessions, D width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.sequence import SessionSequence


class GruConfig(Config):
    """Gated recurrent unit."""

    is_causal: ClassVar[bool] = True
    kind: Literal["gru"] = "gru"
    """GRU."""
    layers: int = Field(default=4, ge=1)
    """Layers (paper: 4)."""

    def build(self, width: int, max_sessions: int, dropout: float) -> nn.Module:
        """The module; any length of history will do, so `max_sessions` is not used."""
        return Gru(width, self.layers, dropout)


class Gru(nn.Module):
    """Costs a padded [B, L, D] copy and L steps, one after the other."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x_SD: Tensor, sequence: SessionSequence) -> Tensor:
        """[S, D] the state after each session."""
        states, _ = self.gru(sequence.pad(self.dropout(x_SD)))
        return sequence.unpad(states)
