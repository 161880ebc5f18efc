"""Pooling of a session's events: mean (the paper's best), max, ReLU then max. No parameters.

Letters: E events, S sessions, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.config import Config
from sessionrec.grouped import Grouping, pool


class MeanConfig(Config):
    """Mean of the events."""

    kind: Literal["mean"] = "mean"
    """Mean of the events; the paper's choice."""

    def build(self, width: int) -> nn.Module:
        """The module; `width` is D."""
        return Mean()


class MaxConfig(Config):
    """Elementwise maximum of the events."""

    kind: Literal["max"] = "max"
    """Elementwise maximum of the events."""

    def build(self, width: int) -> nn.Module:
        """The module; `width` is D."""
        return Max()


class MaxReluConfig(Config):
    """Elementwise maximum of the events after a ReLU."""

    kind: Literal["max_relu"] = "max_relu"
    """ReLU, then the elementwise maximum."""

    def build(self, width: int) -> nn.Module:
        """The module; `width` is D."""
        return Max(is_rectified=True)


class Mean(nn.Module):
    """Mean over the events of each session. One pass over the events, without a copy of their tokens."""

    is_linear = True
    """An affine map of the events may as well be applied after it, to S rows instead of E."""

    def forward(self, tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> Tensor:
        """[S, D]."""
        return self.pool(tokens_ED, None, session_offsets)

    def pool(self, tokens_TD: Tensor, grouping: Grouping | None, session_offsets: Tensor) -> Tensor:
        """[S, D] from distinct tokens; `grouping` says which one each event is."""
        lengths_S = session_offsets[1:] - session_offsets[:-1]
        return pool(tokens_TD, grouping, session_offsets) / lengths_S.clamp(min=1)[:, None]


class Max(nn.Module):
    """Maximum over the events of each session, each dimension for itself."""

    is_linear = False

    def __init__(self, *, is_rectified: bool = False) -> None:
        super().__init__()
        self._is_rectified = is_rectified

    def forward(self, tokens_ED: Tensor, session_offsets: Tensor, max_events: int) -> Tensor:
        """[S, D]."""
        values = F.relu(tokens_ED) if self._is_rectified else tokens_ED
        # `segment_reduce` would split the gradient among ties; both do, and agree with a plain maximum elsewhere.
        return torch.segment_reduce(values, "max", offsets=session_offsets, axis=0)
