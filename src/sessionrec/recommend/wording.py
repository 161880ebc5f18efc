"""Answers in indices -> `Recommendations`. Ids and titles are looked up once for all users: a look-up of one item costs
as much as one of a thousand.

Letters: B users, P items of all answers.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.jagged import IntArray
from sessionrec.recommend.answers import Recommendations, Vectors
from sessionrec.recommend.histories import Intake
from sessionrec.schema import ITEM, TITLE


class Wording:
    """Knows how items are called.

    Args:
        items: The catalogue.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self._ids, self._titles = items[ITEM], items[TITLE] if TITLE in items.columns else None

    def of(self, code_P: IntArray) -> tuple[list[Any], list[str]]:
        """[P] ids and [P] titles, ids where there are none, of items (1..V)."""
        ids = self._ids.gather(code_P - 1)
        names = ids.cast(pl.String)
        if self._titles is not None:
            names = self._titles.gather(code_P - 1).fill_null(names)
        return ids.to_list(), names.to_list()


def told(
    intake: Intake,
    offsets: IntArray,
    items: list[Any],
    names: list[str],
    score_P: Vectors,
    *,
    is_model_B: npt.NDArray[np.bool_],
    otherwise: Literal["prior", "popularity"],
) -> list[Recommendations]:
    """[B] an answer for each user.

    Args:
        intake: Whom.
        offsets: [B + 1] cuts items into users.
        items: [P] ids, of each user best first.
        names: [P] of them.
        score_P: [P] of them.
        is_model_B: [B] whether the model answers.
        otherwise: What answers if it does not.
    """
    scores = score_P.astype(float).tolist()
    return [
        Recommendations(
            user=user,
            items=items[first:last],
            scores=scores[first:last],
            names=names[first:last],
            source="model" if is_model else otherwise,
            num_unknown=num_unknown,
        )
        for user, (first, last), is_model, num_unknown in zip(
            intake.users,
            itertools.pairwise(offsets.tolist()),
            is_model_B.tolist(),
            intake.num_unknown_B.tolist(),
            strict=True,
        )
    ]
