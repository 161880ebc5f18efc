"""Negative samples, drawn from the candidates 1..V.

Letters: B users, Q questions, C negatives, V candidates.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
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
    """By training frequency, with repetition; the loss corrects for it (logQ)."""

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
    drawn = torch.randint(1, num_candidates + 1, (num_rows, number), generator=generator).sort(dim=1).values
    while True:
        is_repeat = torch.zeros_like(drawn, dtype=torch.bool)
        is_repeat[:, 1:] = drawn[:, 1:] == drawn[:, :-1]
        count = int(is_repeat.sum())
        if not count:
            return drawn
        drawn[is_repeat] = torch.randint(1, num_candidates + 1, (count,), generator=generator)
        drawn = drawn.sort(dim=1).values
