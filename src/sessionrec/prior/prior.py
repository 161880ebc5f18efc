"""A prior and what it adds to a model.

    score(v | u, t) = (scale + trust * experience(v)) * model(v | u, t) + prior(v, u, t)
    prior           = w . x + c . silu(A x + b)         x: features of `items` and `own`
    experience(v)   = log2(1 + training positives of v) / log2(1 + most of any item)

The linear part says in words what a feature does, and every floor that counts is one choice of it: recency popularity
is the weight 1 on one faded count, repeat that on the user's own. The hidden layer is small, and there only where it
measured better; it knows that a count matters otherwise for an item of the user's own than for a stranger.

Letters: Q questions, V candidates, F features, H hidden units, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sessionrec.batch import Examples
from sessionrec.jagged import IntArray
from sessionrec.prior.features import Features, names_of
from sessionrec.prior.items import ItemSource
from sessionrec.prior.own import OwnFeatures
from sessionrec.scoring import Block, Ranker, Scorer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A hidden layer."""

    inputs_FH: Tensor
    """A, transposed."""
    bias_H: Tensor
    """b."""
    outputs_H: Tensor
    """c."""

    def of(self, features_PF: Tensor) -> Tensor:
        """[P] what it adds."""
        hidden_PH = torch.addmm(self.bias_H, features_PF, self.inputs_FH)
        return torch.nn.functional.silu(hidden_PH, inplace=not hidden_PH.requires_grad) @ self.outputs_H


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Weights of features by name, and of the model's score."""

    weights: Mapping[str, float]
    """A feature that is not named weighs nothing."""
    scale: float = 1.0
    """Of the model's score."""
    trust: float = 0.0
    """More of the model's score for an item of more experience: what it learnt little of, it knows little of, and the
    freshest items are those."""
    hidden: Hidden | None = None
    """Over the features in the order of `weights`, all of which are named then."""


class PriorRanker:
    """A model with a prior, or a prior alone, behind the answer type that evaluation asks.

    Args:
        prior: Weights.
        items: Features of items, of what may be known.
        own: Features of users and items.
        model: Whose score it stands beside; None = the prior alone.
        experience_V: [V] see `experience`; wanted where trust is not 0.
        order: Weights that order a list that is given; by default a list is ordered as items are found.

    Raises:
        ValueError: A weight belongs to no feature, or a hidden layer to others; experience is missing.
    """

    def __init__(
        self,
        prior: Prior,
        items: ItemSource,
        own: OwnFeatures,
        model: Ranker | None = None,
        experience_V: Tensor | None = None,
        order: Prior | None = None,
    ) -> None:
        names = names_of(items, own)
        for one in (prior, order or prior):
            if unknown := sorted(set(one.weights) - set(names)):
                raise ValueError(f"there is no feature {unknown[0]!r}; there are {', '.join(names)}")
        if prior.hidden is not None and tuple(prior.weights) != names:
            raise ValueError(f"the hidden layer is over {', '.join(prior.weights)}; there are {', '.join(names)}")
        self.prior, self._items, self._own, self._model = prior, items, own, model
        if prior.trust and model is not None and experience_V is None:
            raise ValueError("the prior trusts a model by experience; hand over `experience_V`")
        known_V = torch.zeros(own.num_candidates) if experience_V is None else experience_V
        self.scale_V = prior.scale + prior.trust * known_V
        self._weights_F = torch.tensor([prior.weights.get(name, 0.0) for name in names])
        self.order = order
        if order is not None:
            self.order_scale_V = order.scale + order.trust * known_V
            self.order_weights_F = torch.tensor([order.weights.get(name, 0.0) for name in names])

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._own.num_candidates

    def scorer(self, examples: Examples, model: Scorer | None = None) -> PriorScorer:
        """See `scoring.Ranker`; `model` is the model's own scorer of the same questions, if it is there already."""
        if model is None and self._model is not None:
            model = self._model.scorer(examples)
        return PriorScorer(self, Features(self._items, self._own, examples), model)

    @property
    def items(self) -> ItemSource:
        """Features of items."""
        return self._items

    def stranger(self, time_ms: int) -> Tensor:
        """[V] the prior for a user without a history at a time."""
        return self.of(self._of_stranger(time_ms))

    def stranger_in_list(self, time_ms: int) -> Tensor:
        """[V] the same to order a list by, see `ListScorer`."""
        features_VF = self._of_stranger(time_ms)
        return self.of(features_VF) if self.order is None else torch.from_numpy(features_VF) @ self.order_weights_F

    def strangers(self, time_ms_T: IntArray) -> Iterator[tuple[int, Tensor]]:
        """Each time's place, and `stranger` at it, in the order of time. Cheaper than one by one, since counts are
        carried from each time to the next."""
        for place, features_VF in self._of_strangers(time_ms_T):
            yield place, self.of(features_VF)

    def _of_stranger(self, time_ms: int) -> Floats:
        ((_, features_VF),) = self._of_strangers(np.array([time_ms]))
        return features_VF

    def _of_strangers(self, time_ms_T: IntArray) -> Iterator[tuple[int, Floats]]:
        # Used again from time to time: what is the user's own stays 0.
        features_VF = np.zeros((self.num_candidates, len(self._weights_F)), np.float32)
        for place, items_VF in self._items.sweep(time_ms_T):
            features_VF[:, : items_VF.shape[1]] = items_VF
            yield place, features_VF

    def of(self, features_PF: Floats) -> Tensor:
        """[P] the prior of some features."""
        features = torch.from_numpy(features_PF)
        linear_P = features @ self._weights_F
        return linear_P if self.prior.hidden is None else linear_P.add_(self.prior.hidden.of(features))


def experience(train_positives_V: npt.NDArray[np.integer]) -> Tensor:
    """[V] of each candidate, 0 to 1: by the logarithm of its positive training events."""
    log_V = np.log2(1 + train_positives_V.astype(np.float64))
    return torch.from_numpy((log_V / max(float(log_V.max(initial=0)), 1.0)).astype(np.float32))


class PriorScorer:
    """Scores of Q questions: the model's, scaled, and the prior's. Costs V x F x H operations a question."""

    def __init__(self, ranker: PriorRanker, features: Features, model: Scorer | None) -> None:
        self._ranker, self._features, self._model = ranker, features, model

    @property
    def num_questions(self) -> int:
        """Q."""
        return self._features.num_questions

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._ranker.num_candidates

    def own_keys(self, most: int) -> npt.NDArray[np.int64]:
        """[C] question x V + column of the items of a history, and of the best that its neighbours speak for, so many a
        question; ascending."""
        return self._features.own_keys(most)

    @property
    def device(self) -> torch.device:
        """The model's, else the host."""
        return torch.device("cpu") if self._model is None else self._model.device

    @torch.no_grad()
    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        prior_QV = torch.empty(block.num_questions, self.num_candidates)
        for place, features_VF in self._features.rows(questions):
            prior_QV[place] = self._ranker.of(features_VF)
        prior_QV = prior_QV.to(self.device)
        if self._model is None:
            block.set_rows(0, prior_QV)
            return
        self._model.fill(questions, block)
        scale_V = self._ranker.scale_V.to(self.device)
        for first, part_QV in block.parts:
            stop = first + part_QV.shape[1]
            part_QV.mul_(scale_V[first:stop]).add_(prior_QV[:, first:stop])

    @torch.no_grad()
    def pairs(self, question_P: Tensor, item_P: Tensor) -> Tensor:
        """See `scoring.Scorer.pairs`."""
        scores_P = self._ranker.of(self._features.pairs(question_P.cpu().numpy(), item_P.cpu().numpy()))
        scores_P = scores_P.to(self.device)
        if self._model is None:
            return scores_P
        scale_P = self._ranker.scale_V.to(self.device)[item_P - 1]
        return scores_P.addcmul_(self._model.pairs(question_P, item_P), scale_P)

    @torch.no_grad()
    def in_list(self, question_P: Tensor, item_P: Tensor) -> Tensor:
        """See `scoring.ListScorer.in_list`."""
        ranker = self._ranker
        if ranker.order is None:
            return self.pairs(question_P, item_P)
        features_PF = torch.from_numpy(self._features.pairs(question_P.cpu().numpy(), item_P.cpu().numpy()))
        scores_P = (features_PF @ ranker.order_weights_F).to(self.device)
        if self._model is None:
            return scores_P
        scale_P = ranker.order_scale_V.to(self.device)[item_P - 1]
        return scores_P.addcmul_(self._model.pairs(question_P, item_P), scale_P)
