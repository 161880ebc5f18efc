"""What a prior looks at."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sessionrec.config import Config

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


class PriorConfig(Config):
    """Features of an item, of a user and an item, and how their weights are found. Half-lives are in seconds; those of
    what all users do that are longer than half of the log are left out, but for the shortest."""

    acted_half_lives_s: tuple[float, ...] = Field(
        default=(5 * _MINUTE_S, 15 * _MINUTE_S, _HOUR_S, 4 * _HOUR_S, _DAY_S, 3 * _DAY_S, 7 * _DAY_S, 28 * _DAY_S),
        strict=False,
    )
    """Of what all users acted on."""
    shown_half_lives_s: tuple[float, ...] = Field(
        default=(15 * _MINUTE_S, 4 * _HOUR_S, _DAY_S, 7 * _DAY_S), strict=False
    )
    """Of what all users were shown; none where the log has no exposures."""
    rate_half_lives_s: tuple[float, ...] = Field(default=(_DAY_S, 28 * _DAY_S), strict=False)
    """Of smoothed click rates; none where the log has no exposures."""
    has_age: bool = True
    """Whether the time since the item's first event counts."""
    session_decays: tuple[float, ...] = Field(default=(0.5, 0.9, 1.0), strict=False)
    """Of the user's own events with the item: what a session counts of the one after it."""
    own_half_lives_s: tuple[float, ...] = Field(default=(_DAY_S, 7 * _DAY_S, 84 * _DAY_S), strict=False)
    """Of the user's own events with the item, by time."""
    has_share: bool = True
    """Whether each event of the user also counts as its share of what was acted on in its session: a basket of twenty
    speaks less for each of its items, and where users count alike it is asked for less, too."""
    has_rhythm: bool = True
    """Whether it counts how often and how regularly the user comes back to the item, and to the service."""
    has_passed: bool = True
    """Whether the user's exposures to the item without action count: fatigue."""
    has_attributes: bool = True
    """Whether the user's own events with items of the same attributes count, one weight a feature of items."""
    has_neighbours: bool = False
    """Whether items count that the same users acted on as the items of the history, as in the floor
    item-kNN."""
    without: tuple[str, ...] = Field(default=(), strict=False)
    """Features that get no weight, by how their names begin: `own`, `shown 1 d`. To see what they bring."""
    smoothing: float = Field(default=10.0, gt=0)
    """Exposures of an average item that are added to each one's click rate."""
    lowest: float = Field(default=-12.0, le=0)
    """log2 of the least faded count of an item that is told from none."""
    own_lowest: float = Field(default=-8.0, le=0)
    """The same of the user's own."""
    questions: int = Field(default=2000, ge=1)
    """Validation questions that the weights are fitted to, the newest: what will be asked is newer still, and of the
    newest items a model has learnt the least, which older questions do not show."""
    lists: int = Field(default=10_000, ge=1)
    """Validation questions that the weights of a list are fitted to, the newest: these need no candidates and change
    less with time, so there may be more of them."""
    uniform: int = Field(default=256, ge=1)
    """Candidates a question drawn alike from the catalogue."""
    recent: int = Field(default=256, ge=0)
    """Candidates a question drawn from the newest `window` events before it."""
    best: int = Field(default=128, ge=0)
    """Candidates a question that the model scores best."""
    window: int = Field(default=2000, ge=1)
    """Events that `recent` draws from."""
    has_order: bool = True
    """Whether weights of their own order a list that is given, fitted to what was clicked and what was passed over; not
    where the log has no exposures."""
    hidden: int = Field(default=16, ge=0)
    """Units of a hidden layer, of which several are learnt and averaged, see `calibrate`; one that does not measure
    better is left out; 0 = a linear prior."""
    penalty: float = Field(default=1e-3, ge=0)
    """Of the squares of the weights, each as if its feature had a standard deviation of 1."""

    @field_validator(
        "acted_half_lives_s", "shown_half_lives_s", "rate_half_lives_s", "own_half_lives_s", "session_decays"
    )
    @classmethod
    def _distinct(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        most = 1.0 if info.field_name == "session_decays" else math.inf
        if len(set(values)) < len(values) or not all(0 < value <= most for value in values):
            limit = "above 0 and at most 1" if most == 1 else "above 0"
            raise ValueError(f"name each value once, all {limit}")
        return values

    @model_validator(mode="after")
    def _has_own(self) -> Self:
        if not self.session_decays and not self.own_half_lives_s:
            raise ValueError("give `session_decays` or `own_half_lives_s`; both are empty")
        return self
