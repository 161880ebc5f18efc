"""A prior for a trained model: fitted to validation questions, ready for the part that is evaluated."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.baselines import ItemKnn, ItemSimilarity, KnownSessions
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view
from sessionrec.dynamics import ItemEvents
from sessionrec.jagged import IntArray
from sessionrec.prior import Fitted, ItemFeatures, Known, OwnFeatures, PriorConfig, PriorRanker, calibrate
from sessionrec.prior.prior import experience
from sessionrec.schema import TRAIN_POSITIVES
from sessionrec.scoring import Ranker
from sessionrec.seeding import stream

_SHRINK, _DECAY = 10.0, 0.8


def known_before(dataset: Dataset, before: Literal["validation", "test"]) -> Known:
    """Events of all users of earlier parts. One pass over the data set, two where it has exposures."""
    has_exposures = dataset.summary.kept.events > dataset.summary.kept.positives
    return Known(
        acted=ItemEvents.collect(dataset, before=before),
        shown=ItemEvents.collect(dataset, before=before, kind="shown") if has_exposures else None,
    )


class Neighbours:
    """Items that the same users acted on as the items of the history, newer sessions counting more.

    Args:
        dataset: Whose events.
        before: Of which parts: all before this one, whatever their time, as for the floor.

    Raises:
        MissingExtraError: SciPy is not installed.
    """

    name = "neighbours"

    def __init__(self, dataset: Dataset, before: Literal["validation", "test"]) -> None:
        sessions = KnownSessions.collect(dataset, before=before)
        self._evidence = ItemKnn(ItemSimilarity(sessions, by="user", shrink=_SHRINK), decay=_DECAY, own=True)

    def found(self, examples: Examples) -> tuple[IntArray, IntArray, npt.NDArray[np.float32]]:
        """See `prior.own.Other`."""
        cells = self._evidence.cells(examples)
        question, column, score = cells.of_questions(slice(0, cells.num_questions))
        return question.numpy(), column.numpy(), score.numpy()


def own_features(dataset: Dataset, config: PriorConfig, before: Literal["validation", "test"]) -> OwnFeatures:
    """Of the users of a data set, by its items' attributes, and by neighbours of before a part."""
    names = tuple(dataset.item_features)
    codes_VA = np.zeros((dataset.num_candidates, len(names)), np.int32)
    for column, name in enumerate(names):
        codes_VA[:, column] = dataset.items[name].to_numpy()[: dataset.num_candidates]
    has_passed = dataset.summary.kept.events > dataset.summary.kept.positives
    others = (Neighbours(dataset, before),) if config.has_neighbours else ()
    return OwnFeatures(config, codes_VA, names, has_passed=has_passed, others=others)


def fit_prior(
    dataset: Dataset, view: View, config: PriorConfig, *, model: Ranker | None = None, seed: int = 1
) -> tuple[Fitted, ItemFeatures]:
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
    items, own = ItemFeatures(known_before(dataset, "test"), config), own_features(dataset, config, "validation")
    loading = Loading(shuffle=False, batch_users=256, batch_events=262_144, prefetch=0)
    questions = Loader(dataset, evaluation_view(view, "validation", "session"), loading, seed=0)
    times_ms = np.sort(np.concatenate([examples.targets.time_ms_Q.numpy() for examples in questions]))
    fitted = calibrate(
        questions,
        items,
        own,
        config,
        model=model,
        experience_V=_experience(dataset),
        generator=stream(seed, "prior"),
        since_ms=int(times_ms[-min(config.questions, len(times_ms))]),
    )
    return fitted, items


def prior_ranker(
    dataset: Dataset,
    fitted: Fitted,
    items: ItemFeatures,
    config: PriorConfig,
    *,
    part: Literal["validation", "test"] = "test",
    model: Ranker | None = None,
) -> PriorRanker:
    """A model with its prior, knowing what is before a part.

    Args:
        dataset: Whose events.
        fitted: By `fit_prior`.
        items: The features that it was fitted with.
        config: Of the prior.
        part: The part that will be asked; answers to validation are flattered, as the weights were fitted there.
        model: The model.
    """
    # Which half-lives there are, and what a usual click rate is, stays as it was when the weights were found.
    known = items
    if part != "test":
        known = ItemFeatures(known_before(dataset, part), config, span_s=items.span_s, rate=items.rate)
    return PriorRanker(fitted.prior, known, own_features(dataset, config, part), model, _experience(dataset))


def _experience(dataset: Dataset) -> torch.Tensor:
    return experience(dataset.items[TRAIN_POSITIVES].to_numpy()[: dataset.num_candidates])
