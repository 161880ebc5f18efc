"""A prior and what it adds to a model: `score(v | u, t) = scale * model(v | u, t) + prior(v, u, t)`.

The prior is linear in the features of `items` and `own`, so a weight says in words what it does, and every floor that
counts is one choice of weights: recency popularity is the weight 1 on one faded count, repeat that on the user's own.

Letters: Q questions, V candidates, F features, P pairs, C cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.jagged import IntArray
from sessionrec.prior.items import ItemFeatures
from sessionrec.prior.own import Cells, OwnFeatures
from sessionrec.scoring import Block, Ranker, Scorer

Floats = npt.NDArray[np.float32]

ATTRIBUTE = "own attribute "
"""Begins the name of an attribute's weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Weights of features by name, and of the model's score."""

    weights: Mapping[str, float]
    """A feature that is not named weighs nothing."""
    scale: float = 1.0
    """Of the model's score; 0 leaves the prior alone."""

    def of(self, names: tuple[str, ...]) -> Floats:
        """[F] weights in an order."""
        return np.array([self.weights.get(name, 0.0) for name in names], np.float32)


class PriorRanker:
    """A model with a prior, or a prior alone, behind the answer type that evaluation asks.

    Args:
        prior: Weights.
        items: Features of items, of what may be known.
        own: Features of users and items.
        model: Whose score it stands beside; None = the prior alone.

    Raises:
        ValueError: A weight belongs to no feature.
    """

    def __init__(self, prior: Prior, items: ItemFeatures, own: OwnFeatures, model: Ranker | None = None) -> None:
        known = {*items.names, *own.names, *(ATTRIBUTE + name for name in own.attributes)}
        if unknown := sorted(set(prior.weights) - known):
            raise ValueError(f"there is no feature {unknown[0]!r}; there are {', '.join(sorted(known))}")
        self.prior, self._items, self._own, self._model = prior, items, own, model

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._own.num_candidates

    def scorer(self, examples: Examples) -> PriorScorer:
        """See `scoring.Ranker`."""
        model = None if self._model is None or not self.prior.scale else self._model.scorer(examples)
        return PriorScorer(self.prior, self._items, self._own, examples, model)


class PriorScorer:
    """Scores of Q questions: the model's, scaled, and the prior's. Costs V x F operations a question."""

    def __init__(
        self, prior: Prior, items: ItemFeatures, own: OwnFeatures, examples: Examples, model: Scorer | None
    ) -> None:
        self._prior, self._items, self._own, self._model = prior, items, own, model
        self._time_ms_Q = examples.targets.time_ms_Q.cpu().numpy()
        cells, attributes = own.cells(examples)
        self._cells = _weighed(cells, prior.of(own.names))
        weights = prior.of(tuple(ATTRIBUTE + name for name in own.attributes))
        self._attributes = [_weighed(one, weight[None]) for one, weight in zip(attributes, weights, strict=True)]
        self._weights_F = prior.of(items.names)

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self._time_ms_Q)

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._own.num_candidates

    @property
    def device(self) -> torch.device:
        """The model's, else the host."""
        return torch.device("cpu") if self._model is None else self._model.device

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        if self._model is None:
            block.set_rows(0, torch.zeros(self.num_candidates))
        else:
            self._model.fill(questions, block)
        prior_QV = torch.from_numpy(self._rows(questions)).to(self.device)
        scale = 1.0 if self._model is None else self._prior.scale
        for first, part_QV in block.parts:
            part_QV.mul_(scale).add_(prior_QV[:, first : first + part_QV.shape[1]])

    def pairs(self, question_P: torch.Tensor, item_P: torch.Tensor) -> torch.Tensor:
        """See `scoring.Scorer.pairs`."""
        question, item = question_P.cpu().numpy(), item_P.cpu().numpy()
        prior_P = self._items.at(self._time_ms_Q[question], item) @ self._weights_F
        prior_P += self._cells.at(question, item - 1)[:, 0]
        for place, cells in enumerate(self._attributes):
            prior_P += cells.at(question, self._own.codes(place)[item - 1])[:, 0]
        scores_P = torch.from_numpy(prior_P).to(self.device)
        if self._model is None:
            return scores_P
        return scores_P.add_(self._model.pairs(question_P, item_P), alpha=self._prior.scale)

    def _rows(self, questions: slice) -> Floats:
        """[q, V] the prior of some questions."""
        start, stop, _ = questions.indices(self.num_questions)
        prior_QV = np.empty((stop - start, self.num_candidates), np.float32)
        for place, features_VF in self._items.sweep(self._time_ms_Q[start:stop]):
            np.matmul(features_VF, self._weights_F, out=prior_QV[place])
        rows, columns, values = self._cells.rows(start, stop)
        prior_QV[rows, columns] += values[:, 0]
        for place, cells in enumerate(self._attributes):
            table_QK = np.zeros((stop - start, cells.num_columns), np.float32)
            rows, columns, values = cells.rows(start, stop)
            table_QK[rows, columns] = values[:, 0]
            prior_QV += table_QK[:, self._own.codes(place)]
        return prior_QV


def _weighed(cells: Cells, weights_F: Floats) -> Cells:
    """What each cell adds to its score."""
    return Cells(key_C=cells.key_C, values_CF=(cells.values_CF @ weights_F)[:, None], num_columns=cells.num_columns)


def columns_of(items: ItemFeatures, own: OwnFeatures) -> tuple[str, ...]:
    """Names of all features, in the order of `pair_features`."""
    return (*items.names, *own.names, *(ATTRIBUTE + name for name in own.attributes))


def pair_features(
    items: ItemFeatures, own: OwnFeatures, examples: Examples, question_P: IntArray, item_P: IntArray
) -> Floats:
    """[P, F] all features of some questions with one candidate (1..V) each."""
    cells, attributes = own.cells(examples)
    time_ms_Q = examples.targets.time_ms_Q.cpu().numpy()
    parts = [items.at(time_ms_Q[question_P], item_P), cells.at(question_P, item_P - 1)]
    parts += [one.at(question_P, own.codes(place)[item_P - 1]) for place, one in enumerate(attributes)]
    return np.concatenate(parts, axis=1)
