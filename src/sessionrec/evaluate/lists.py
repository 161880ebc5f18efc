"""What the lists of answers look like as a whole: how much of the catalogue they show, how new, how popular it is.

    catalogue_coverage@k   distinct items in all lists / candidates
    novelty@k              mean over the lists' items of -log2(share of positive training events), in bits
    popularity_bias@k      mean positive training events of the lists' items / of the targets; 1 = as popular as what
                           users act on

The share is smoothed by one event an item, so that an item without positives has one.
"""

from __future__ import annotations

import numpy as np

from sessionrec.evaluate.facts import ItemFacts
from sessionrec.jagged import IntArray


class ListTally:
    """Adds up lists batch by batch; memory is one counter a candidate.

    Args:
        facts: Of the catalogue.
        k: Length of a list.
    """

    def __init__(self, facts: ItemFacts, k: int) -> None:
        self._facts, self._k = facts, k
        self._shown_I = np.zeros(len(facts.train_positives_I) + 1, np.int64)
        self._target_popularity = self._targets = 0

    def add(self, items_QC: IntArray, target_T: IntArray) -> None:
        """Add the lists of some questions.

        Args:
            items_QC: [Q, k] item indices; below 1 where there is none.
            target_T: [T] their targets.
        """
        np.add.at(self._shown_I, items_QC[items_QC >= 1], 1)
        self._target_popularity += int(self._facts.popularity_of(target_T).sum())
        self._targets += len(target_T)

    def metrics(self) -> dict[str, float]:
        """The three figures; a mean over nothing is left out."""
        shown_I, popularity_I = self._shown_I[1:], self._facts.train_positives_I
        shown, size_v = int(shown_I.sum()), self._facts.num_candidates
        if shown == 0:
            return {}
        share_I = (popularity_I + 1.0) / (popularity_I[:size_v].sum() + size_v)
        metrics = {
            f"catalogue_coverage@{self._k}": float(np.count_nonzero(shown_I)) / size_v,
            f"novelty@{self._k}": float(-(shown_I * np.log2(share_I)).sum() / shown),
        }
        if self._target_popularity:
            of_targets = self._target_popularity / self._targets
            metrics[f"popularity_bias@{self._k}"] = float((shown_I * popularity_I).sum() / shown / of_targets)
        return metrics
