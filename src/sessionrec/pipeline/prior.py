"""A prior for a trained model: fitted to validation questions, ready for the part that is evaluated, or for today."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view, whole_view
from sessionrec.dynamics import Before, ItemEvents, ItemState, Kind, newest_ms
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


def known_before(dataset: Dataset, before: Before, num_candidates: int) -> Known:
    """Events of all users of earlier parts. One pass over the data set, two where it has exposures."""

    def collect(kind: Kind) -> ItemEvents:
        return ItemEvents.collect(dataset, before=before, kind=kind, num_candidates=num_candidates)

    return Known(acted=collect("acted"), shown=collect("shown") if has_exposures(dataset) else None)


def has_exposures(dataset: Dataset) -> bool:
    """Whether a data set has events without action."""
    return dataset.summary.kept.events > dataset.summary.kept.positives


def fit_prior(
    dataset: Dataset, view: View, config: PriorConfig, *, model: Ranker | None = None, seed: int = 1
) -> tuple[Fitted, ItemScheme]:
    """Fit the weights to the newest validation questions.

    They know what the test's questions will: events of the training and validation parts, of all users, strictly before
    their own time. From the training part alone items would look staler than they do when the weights are used.
    Neighbours, who count whatever their time, are those of the training part. Candidates are all items, as they are for
    users of today: those that came after training too.

    Args:
        dataset: The model was trained on.
        view: What the model is shown of a history; the prior looks at whole ones.
        config: Of the prior.
        model: Trained, scoring all items after whole histories (`ModelRanker.view`); None = the prior alone.
        seed: Of the candidates that are drawn.

    Returns:
        The weights, and the features of items that they belong to.
    """
    own = _own_features(dataset, config, "validation", dataset.num_items)
    items = ItemFeatures(known_before(dataset, "test", dataset.num_items), config)
    # Small: the features of a batch are made several times over before they are joined.
    loading = Loading(shuffle=False, batch_users=64, batch_events=262_144, prefetch=0)
    questions = Loader(dataset, evaluation_view(whole_view(view), "validation", "session"), loading, seed=0)
    times_ms = np.sort(np.concatenate([examples.targets.time_ms_Q.numpy() for examples in questions]))
    fitted = calibrate(
        questions,
        items,
        own,
        config,
        model=model,
        experience_V=experience_of(dataset.items, dataset.num_items),
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
    is_stream: bool = False,
    model: Ranker | None = None,
) -> PriorRanker:
    """A model with its prior, knowing what is before a part, or what a stream carries up to the question.

    Args:
        dataset: Whose events.
        fitted: By `fit_prior`.
        scheme: Which features it was fitted with. Which half-lives there are, and what a usual click rate is, stays as
            it was when the weights were found.
        part: The part that will be asked; answers to validation are flattered, as the weights were fitted there.
        is_stream: Whether all events strictly before a question are known, of any part, and all items are candidates;
            by default those with a training event are. Neighbours are those before the part either way.
        model: The model, of the same candidates, after whole histories.
    """
    size_v = dataset.num_items if is_stream else dataset.num_candidates
    items = ItemFeatures(known_before(dataset, None if is_stream else part, size_v), scheme=scheme)
    own = _own_features(dataset, scheme.config, part, size_v)
    experience_V = experience_of(dataset.items, size_v)
    return PriorRanker(fitted.prior, items, own, model, experience_V, fitted.order)


def ranker_for(
    trained: TrainedModel,
    dataset: Dataset,
    part: Literal["validation", "test"],
    *,
    is_stream: bool = False,
    alone: ModelRanker | None = None,
) -> Ranker:
    """What answers for a trained model where it is judged: with its prior, if any, knowing what is before a part. To be
    asked after the histories of its `asked_view`.

    Args:
        trained: See `recommend.artifact`.
        dataset: It was trained on.
        part: Whose questions.
        is_stream: See `prior_ranker`.
        alone: The model alone, if it is there already.
    """
    model = alone or model_ranker(trained, dataset, view=trained.shown, is_stream=is_stream)
    if trained.prior is None:
        return model
    fitted, scheme = trained.prior.fitted, trained.prior.scheme
    return prior_ranker(dataset, fitted, scheme, part=part, is_stream=is_stream, model=model)


def model_ranker(trained: TrainedModel, dataset: Dataset, *, view: View | None, is_stream: bool = False) -> ModelRanker:
    """The model alone.

    Args:
        trained: See `recommend.artifact`.
        dataset: It was trained on.
        view: See `ModelRanker`.
        is_stream: See `prior_ranker`.
    """
    size_v = dataset.num_items if is_stream else dataset.num_candidates
    return ModelRanker(trained.recommender, size_v, view=view)


def make_prior(dataset: Dataset, view: View, config: PriorConfig, *, model: Ranker, seed: int) -> StoredPrior:
    """A prior for a model's artifact: the weights of `fit_prior`, and how items stand after the newest event."""
    fitted, scheme = fit_prior(dataset, view, config, model=model, seed=seed)
    acted_s, shown_s = scheme.counted_s
    # Counts only fade, so one event of years later would leave nothing of all others.
    until_ms = newest_ms(dataset, scheme.horizon_ms)

    def state(kind: Kind, half_lives_s: tuple[float, ...]) -> ItemState:
        size_v = dataset.num_items
        return ItemState.collect(
            dataset, half_lives_s, before=None, kind=kind, num_candidates=size_v, until_ms=until_ms
        )

    acted, shown = state("acted", acted_s), state("shown", shown_s) if scheme.has_shown else None
    similar = Neighbours.collect(dataset, None, dataset.num_items).similar() if config.has_neighbours else None
    return StoredPrior(fitted=fitted, live=LiveItems(scheme, acted, shown), similar=similar)


def _own_features(dataset: Dataset, config: PriorConfig, before: Before, num_candidates: int) -> OwnFeatures:
    return own_features(
        dataset.items,
        tuple(dataset.item_features),
        num_candidates,
        config,
        has_shown=has_exposures(dataset),
        neighbours=Neighbours.collect(dataset, before, num_candidates) if config.has_neighbours else None,
    )
