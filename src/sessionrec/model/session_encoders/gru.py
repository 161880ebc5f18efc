"""A GRU over the events of a session; the session is its last state (paper, Table 4: `gru`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.model.session_encoders.padding import pad_events


class GruEncoderConfig(Config):
    """GRU over the events, last state."""

    kind: Literal["gru"] = "gru"
    """GRU over the events in their order, last state."""
    layers: int = Field(default=1, ge=1)
    """GRU layers."""

    def build(self, width: int) -> nn.Module:
        """The module; `width` is D."""
        return GruEncoder(width, layers=self.layers)


class GruEncoder(nn.Module):
    """Costs a padded [S, longest session, D] copy and one step of the GRU an event."""

    is_linear = False

    def __init__(self, width: int, *, layers: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, layers, batch_first=True)

    def forward(self, tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> Tensor:
        """[S, D]."""
        padded_SLD, is_there_SL = pad_events(tokens_ED, session_offsets, max_events)
        states_SLD, _ = self.gru(padded_SLD)
        last_S = is_there_SL.sum(1).clamp(min=1) - 1
        last: Tensor = states_SLD.gather(1, last_S[:, None, None].expand(-1, 1, states_SLD.shape[2]))
        return last[:, 0]
