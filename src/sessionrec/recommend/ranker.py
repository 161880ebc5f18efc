"""A trained model behind the answer type that evaluation asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor

from sessionrec.batch import Examples
from sessionrec.data.loader import by_length
from sessionrec.data.request import narrowed
from sessionrec.data.view import View
from sessionrec.model.recommender import Recommender
from sessionrec.scoring import DotScorer

_USERS = 64
"""Users encoded at once, of like length, so that few cells are padding."""


class ModelRanker:
    """Scores candidates by the dot product of query and item vector. Item vectors are made once, when it is made.

    Args:
        model: In whatever state; left in the mode it was in.
        num_candidates: V, the items 1 to V.
        view: Where questions come with whole histories, what the model is shown of them; by default they come as it is
            shown them.
    """

    def __init__(self, model: Recommender, num_candidates: int, *, view: View | None = None) -> None:
        self._model = model
        self._view = None if view is None or view.shows_all else view
        self._device = model.items.weight.device
        with _evaluating(model):
            self.items_VD: Tensor = model.item_vectors(1)[:num_candidates]

    def with_items(self, model: Recommender) -> ModelRanker:
        """The ranker of a model of the same weights over more items, all of them candidates; only those are encoded."""
        larger = copy(self)
        larger._model = model
        with _evaluating(model):
            larger.items_VD = torch.cat([self.items_VD, model.item_vectors(len(self.items_VD) + 1)])
        return larger

    def scorer(self, examples: Examples) -> DotScorer:
        """See `scoring.Ranker`."""
        return DotScorer(self.queries(examples), self.items_VD)

    def queries(self, examples: Examples) -> Tensor:
        """[Q, D] the query of each question."""
        if self._view is not None:
            examples = narrowed(self._view, examples)
        query_QD = self.items_VD.new_empty(examples.targets.num_questions, self.items_VD.shape[1])
        with _evaluating(self._model):
            for piece, places in by_length(examples, _USERS):
                if self._device.type != "cpu":
                    piece = Examples(piece.inputs.to(self._device), piece.targets.to(self._device))
                query_QD[places.to(self._device)] = self._model(piece)[0]
        return query_QD


@contextmanager
def _evaluating(model: Recommender) -> Iterator[None]:
    """No dropout and no gradients, and back again."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
