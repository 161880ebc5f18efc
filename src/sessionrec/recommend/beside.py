"""The prior beside a trained model: what it knows of a catalogue's items, and how it answers for users of today."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from sessionrec.prior import OwnFeatures, PriorConfig, PriorRanker
from sessionrec.prior.prior import experience
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.neighbours import Neighbours
from sessionrec.schema import TRAIN_POSITIVES
from sessionrec.scoring import Ranker


def own_features(
    items: pl.DataFrame,
    attributes: tuple[str, ...],
    num_candidates: int,
    config: PriorConfig,
    *,
    has_shown: bool,
    neighbours: Neighbours | None,
) -> OwnFeatures:
    """Of users and items, by the items' attributes and by neighbours.

    Args:
        items: The catalogue.
        attributes: Names of the features of items.
        num_candidates: V.
        config: Which features.
        has_shown: Whether the log has exposures.
        neighbours: See there; None = without.
    """
    codes_VA = np.zeros((num_candidates, len(attributes)), np.int32)
    for column, name in enumerate(attributes):
        codes_VA[:, column] = items[name].to_numpy()[:num_candidates]
    others = () if neighbours is None else (neighbours,)
    return OwnFeatures(config, codes_VA, attributes, has_passed=has_shown, others=others)


def experience_of(items: pl.DataFrame, num_candidates: int) -> torch.Tensor:
    """[V] see `prior.experience`."""
    return experience(items[TRAIN_POSITIVES].to_numpy()[:num_candidates])


def live_ranker(trained: TrainedModel, model: Ranker | None) -> PriorRanker:
    """A model with its prior, as items stand after the newest event that is known.

    Args:
        trained: With a prior.
        model: Its own ranker; None = the prior alone.
    """
    stored = trained.prior
    if stored is None:
        raise ValueError("the model has no prior; fit it with the preset `sessionrec`")
    own = own_features(
        trained.items,
        tuple(trained.dataset["item_features"]),
        trained.num_candidates,
        stored.scheme.config,
        has_shown=stored.scheme.has_shown,
        neighbours=None if stored.similar is None else Neighbours.of(stored.similar),
    )
    experience_V = experience_of(trained.items, trained.num_candidates)
    fitted, first = stored.fitted, trained.num_candidates - stored.num_new
    if not fitted.has_new and first:
        experience_V[first:] = experience_V[:first].min()
    return PriorRanker(fitted.prior, stored.live, own, model, experience_V, fitted.order)
