"""A prior for a trained model: fitted to validation questions, ready for the part that is evaluated, or for today."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view
from sessionrec.dynamics import Before, ItemEvents, ItemState
from sessionrec.prior import (
    Fitted,
    ItemFeatures,
    ItemScheme,
    Known,
    LiveItems,
    OwnFeatures,
    PriorConfig,
    PriorRanker,
    StoredPrior,
    calibrate,
)
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.beside import experience_of, own_features
from sessionrec.recommend.neighbours import Neighbours
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.scoring import Ranker
from sessionrec.seeding import stream


def known_before(dataset: Dataset, before: Literal["validation", "test"]) -> Known:
    """Events of all users of earlier parts. One pass over the data set, two where it has exposures."""
    return Known(
        acted=ItemEvents.collect(dataset, before=before),
        shown=ItemEvents.collect(dataset, before=before, kind="shown") if has_exposures(dataset) else None,
    )


def has_exposures(dataset: Dataset) -> bool:
    """Whether a data set has events without action."""
    return dataset.summary.kept.events > dataset.summary.kept.positives


def fit_prior(
    dataset: Dataset, view: View, config: PriorConfig, *, model: Ranker | None = None, seed: int = 1
) -> tuple[Fitted, ItemScheme]:
    """Fit the weights to the newest validation questions.

    They know what the test's questions will: events of the training and validation parts, of all users, strictly before
    their own time. From the training part alone items would look staler than they do when the weights are used.
    Neighbours, who count whatever their time, are those of the training part.

    Args:
        dataset: The model was trained on.
        view: What the model, and so the prior, is shown of a history.
        config: Of the prior.
        model: Trained; None = the prior alone.
        seed: Of the candidates that are drawn.

    Returns:
        The weights, and the features of items that they belong to.
    """
    own = _own_features(dataset, config, "validation")
    items = ItemFeatures(known_before(dataset, "test"), config)
    loading = Loading(shuffle=False, batch_users=256, batch_events=262_144, prefetch=0)
    questions = Loader(dataset, evaluation_view(view, "validation", "session"), loading, seed=0)
    times_ms = np.sort(np.concatenate([examples.targets.time_ms_Q.numpy() for examples in questions]))
    fitted = calibrate(
        questions,
        items,
        own,
        config,
        model=model,
        experience_V=experience_of(dataset.items, dataset.num_candidates),
        generator=stream(seed, "prior"),
        since_ms=int(times_ms[-min(config.questions, len(times_ms))]),
        lists_since_ms=int(times_ms[-min(config.lists, len(times_ms))]),
    )
    return fitted, items.scheme


def prior_ranker(
    dataset: Dataset,
    fitted: Fitted,
    scheme: ItemScheme,
    *,
    part: Literal["validation", "test"] = "test",
    model: Ranker | None = None,
) -> PriorRanker:
    """A model with its prior, knowing what is before a part.

    Args:
        dataset: Whose events.
        fitted: By `fit_prior`.
        scheme: Which features it was fitted with. Which half-lives there are, and what a usual click rate is, stays as
            it was when the weights were found.
        part: The part that will be asked; answers to validation are flattered, as the weights were fitted there.
        model: The model.
    """
    items = ItemFeatures(known_before(dataset, part), scheme=scheme)
    own = _own_features(dataset, scheme.config, part)
    experience_V = experience_of(dataset.items, dataset.num_candidates)
    return PriorRanker(fitted.prior, items, own, model, experience_V, fitted.order)


def ranker_for(trained: TrainedModel, dataset: Dataset, part: Literal["validation", "test"]) -> Ranker:
    """What answers for a trained model where it is judged: with its prior, if any, knowing what is before a part.

    Args:
        trained: See `recommend.artifact`.
        dataset: It was trained on.
        part: Whose questions.
    """
    model = ModelRanker(trained.recommender, trained.num_candidates)
    if trained.prior is None:
        return model
    return prior_ranker(dataset, trained.prior.fitted, trained.prior.scheme, part=part, model=model)


def make_prior(dataset: Dataset, view: View, config: PriorConfig, *, model: Ranker, seed: int) -> StoredPrior:
    """A prior for a model's artifact: the weights of `fit_prior`, and how items stand after the newest event."""
    fitted, scheme = fit_prior(dataset, view, config, model=model, seed=seed)
    acted_s, shown_s = scheme.counted_s
    acted = ItemState.collect(dataset, acted_s, before=None, kind="acted")
    shown = ItemState.collect(dataset, shown_s, before=None, kind="shown") if scheme.has_shown else None
    similar = Neighbours.collect(dataset, None).similar() if config.has_neighbours else None
    return StoredPrior(fitted=fitted, live=LiveItems(scheme, acted, shown), similar=similar)


def _own_features(dataset: Dataset, config: PriorConfig, before: Before) -> OwnFeatures:
    return own_features(
        dataset.items,
        tuple(dataset.item_features),
        dataset.num_candidates,
        config,
        has_shown=has_exposures(dataset),
        neighbours=Neighbours.collect(dataset, before) if config.has_neighbours else None,
    )
