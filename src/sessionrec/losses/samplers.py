"""Negative samples, drawn from the candidates 1..V.

Letters: B users, Q questions, C negatives, V candidates.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from sessionrec.config import Config


class Uniform(Config):
    """Every candidate equally likely."""

    kind: Literal["uniform"] = "uniform"
    """Every candidate equally likely, none twice in a row."""
    number: int = Field(default=128, ge=1)
    """Negatives (paper: 128)."""
    shared: Literal["user", "batch", "question"] = "user"
    """Who shares one draw: all questions of a `user`, the whole `batch`, or nobody (`question`)."""


class Popular(Config):
    """By training frequency, with repetition; the loss corrects for it (logQ). In cross-entropy the draws stand for the
    catalogue, so their scores alone are corrected; binary losses tell positives from draws, so both are (NCE)."""

    kind: Literal["popular"] = "popular"
    """In proportion to training events ^ beta; the correction makes the sum over draws estimate the catalogue's."""
    number: int = Field(default=128, ge=1)
    """Negatives."""
    shared: Literal["user", "batch", "question"] = "user"
    """Who shares one draw."""
    beta: float = Field(default=1.0, ge=0, le=1)
    """Exponent: 0 is uniform, 1 is the training frequency."""


Negatives = Annotated[Uniform | Popular, Field(discriminator="kind")]


class NegativeSampler:
    """Draws rows of negatives.

    Args:
        config: How.
        train_events_V: [V] training events of candidates 1..V.
        generator: Where the randomness comes from.
    """

    def __init__(self, config: Uniform | Popular, train_events_V: Tensor, generator: torch.Generator) -> None:
        self._config, self.generator = config, generator
        self._num_candidates = len(train_events_V)
        self._log_expected_V: Tensor | None = None
        self._cumulative_V: Tensor | None = None
        if isinstance(config, Popular):
            weights = train_events_V.double() ** config.beta
            probability = weights / weights.sum()
            self._log_expected_V = (probability * config.number).log().float()
            cumulative_V = probability.cumsum(0)
            # Ends in exactly 1, or a point could fall behind the last candidate.
            self._cumulative_V = cumulative_V / cumulative_V[-1]

    @property
    def shared(self) -> str:
        """Who shares one draw."""
        return self._config.shared

    def log_expected(self, item_P: Tensor) -> Tensor | None:
        """[P] log of how often a row is expected to draw each item, or None if all are equally likely; 0, that is no
        correction, for what is no candidate."""
        if self._log_expected_V is None:
            return None
        table = F.pad(self._log_expected_V, (1, 0)).to(item_P.device)
        is_candidate = (item_P >= 1) & (item_P <= self._num_candidates)
        return table[item_P.where(is_candidate, 0)]

    def draw(self, num_rows: int) -> tuple[Tensor, Tensor | None]:
        """Negatives of some rows.

        Returns:
            [num_rows, C] item indices, ascending in each row; and [num_rows, C] the log of how often a row is expected
            to have each one, C times its probability, or None if all are equally likely.
        """
        if self._cumulative_V is None or self._log_expected_V is None:
            return distinct_uniform(num_rows, self._config.number, self._num_candidates, self.generator), None
        points = torch.rand(num_rows, self._config.number, dtype=torch.float64, generator=self.generator)
        # From the right: an item without weight has no width, and is passed over.
        drawn = torch.searchsorted(self._cumulative_V, points, right=True).sort(dim=1).values
        return drawn + 1, self._log_expected_V[drawn]


def distinct_uniform(num_rows: int, number: int, num_candidates: int, generator: torch.Generator) -> Tensor:
    """[num_rows, min(number, V)] distinct candidates 1..V in each row, every set equally likely; ascending.

    Draws with repetition and draws the repeats again until none is left, which is the same as drawing one by one and
    passing over what is there. Where most of the catalogue is wanted, it ranks random keys instead.
    """
    if number >= num_candidates:
        return torch.arange(1, num_candidates + 1).expand(num_rows, -1)
    if number * 4 >= num_candidates:
        keys = torch.rand(num_rows, num_candidates, generator=generator)
        return keys.argsort(dim=1)[:, :number].sort(dim=1).values + 1
    drawn = torch.randint(1, num_candidates + 1, (num_rows, number), generator=generator)
    # NumPy sorts plain integers with vector instructions. Later only the rows that had a repeat are looked at.
    drawn.numpy().sort(axis=1)
    row_K, rows = torch.arange(num_rows), drawn
    while True:
        is_repeat = rows[:, 1:] == rows[:, :-1]
        has_repeat = is_repeat.any(1)
        if not bool(has_repeat.any()):
            return drawn
        row_K, rows, is_repeat = row_K[has_repeat], rows[has_repeat], is_repeat[has_repeat]
        count = int(is_repeat.sum())
        rows[:, 1:][is_repeat] = torch.randint(1, num_candidates + 1, (count,), generator=generator)
        rows.numpy().sort(axis=1)
        drawn[row_K] = rows
