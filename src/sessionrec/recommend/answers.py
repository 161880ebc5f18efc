"""What is answered: `Recommendations`, one a user, and all of them as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """The answer for one user, best first."""

    user: Any
    """Id of the user, or the place in the list of histories."""
    items: list[Any]
    """Item ids as in the log."""
    scores: list[float]
    """The greater the better; of one model, comparable within one user. NaN for a candidate that cannot be scored."""
    names: list[str]
    """Titles, or the ids where there are none."""
    source: Literal["model", "prior", "popularity"]
    """For a user without any event, of whom a model knows nothing: `prior` where it has one, else `popularity`."""
    num_unknown: int
    """Events of the history with an item that the model does not know."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemVectors:
    """Candidates and their vectors, for an index of your own."""

    items: list[Any]
    """[V] item ids."""
    vectors_VD: Vectors
    """[V, D]; the score of an item is its dot product with the query of `encode`; of a model with a prior, that is its
    own share of the score."""


def to_frame(answers: Sequence[Recommendations]) -> pl.DataFrame:
    """One row a recommended item: `user`, `rank` from 1, `item`, `name`, `score`, `source`."""
    rows = [
        (answer.user, rank, item, name, score, answer.source)
        for answer in answers
        for rank, (item, name, score) in enumerate(zip(answer.items, answer.names, answer.scores, strict=True), 1)
    ]
    return pl.DataFrame(rows, schema=["user", "rank", "item", "name", "score", "source"], orient="row")
