"""Events of sessions as a padded block, for the encoders that need one."""

from __future__ import annotations

import torch
from torch import Tensor


def pad_events(tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> tuple[Tensor, Tensor]:
    """[S, L, D] the events of each session, zeros behind them, and [S, L] which cells are events."""
    lengths_S = session_offsets[1:] - session_offsets[:-1]
    session_E = torch.repeat_interleave(lengths_S, output_size=len(tokens_ED))
    cell_E = session_E * max_events + torch.arange(len(tokens_ED), device=tokens_ED.device) - session_offsets[session_E]
    padded = tokens_ED.new_zeros(len(lengths_S) * max_events, tokens_ED.shape[1]).index_copy(0, cell_E, tokens_ED)
    is_there = torch.arange(max_events, device=tokens_ED.device) < lengths_S[:, None]
    return padded.view(len(lengths_S), max_events, -1), is_there
