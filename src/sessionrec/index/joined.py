"""`JoinedIndex`: an index, and beside it the items that came later.

A structure that took minutes to build is left as it is; the few later ones are compared with every query.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.index.exact import ExactConfig
from sessionrec.index.face import Answer, Mask, Searchable
from sessionrec.index.holdings import Features, Filter, Holdings
from sessionrec.jagged import Jagged


class JoinedIndex:
    """See `face.Searchable`.

    Args:
        first: The index.
        items_N: [N] later items, all after those of the index.
        vectors_ND: [N, D] theirs.
        features: [N] codes of each feature that the index was built with.

    Raises:
        ValueError: Items are not after those of the index, or features are not the same.
    """

    def __init__(
        self,
        first: Searchable,
        items_N: npt.NDArray[Any],
        vectors_ND: npt.NDArray[Any],
        *,
        features: Features | None = None,
    ) -> None:
        self.first, self._later = first, ExactConfig().build(items_N, vectors_ND, features=features)
        old, new = first.holdings, self._later.holdings
        if new.items_N[0] <= old.items_N[-1]:
            raise ValueError(f"later items must come after item {old.items_N[-1]}, got {new.items_N[0]}")
        if set(new.features) != set(old.features):
            raise ValueError(f"the index has features {sorted(old.features)}, later items {sorted(new.features)}")
        if self._later.dimension != first.dimension:
            raise ValueError(f"vectors must be [N, {first.dimension}], got [N, {self._later.dimension}]")

    @cached_property
    def holdings(self) -> Holdings:
        """Which items both have."""
        old, new = self.first.holdings, self._later.holdings
        return Holdings(
            items_N=np.concatenate([old.items_N, new.items_N]),
            features={name: np.concatenate([codes, new.features[name]]) for name, codes in old.features.items()},
        )

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return self.first.dimension

    def search(
        self,
        queries_QD: npt.NDArray[Any],
        k: int,
        *,
        exclude: Jagged[npt.NDArray[Any]] | None = None,
        allow: Mask | Filter | None = None,
    ) -> Answer:
        """See `face.Searchable.search`."""
        old, new = (one.search(queries_QD, k, exclude=exclude, allow=allow) for one in (self.first, self._later))
        items_QC = np.concatenate([old.items_QC, new.items_QC], axis=1)
        scores_QC = np.concatenate([old.scores_QC, new.scores_QC], axis=1)
        # Stable: of equal scores the lower item stands first, in each answer and so in both.
        best_QC = np.argsort(-scores_QC, axis=1, kind="stable")[:, :k]
        return Answer(
            items_QC=np.take_along_axis(items_QC, best_QC, axis=1),
            scores_QC=np.take_along_axis(scores_QC, best_QC, axis=1),
        )
