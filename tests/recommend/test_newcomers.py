"""Items that come to a model whose weights never met an item that nothing had happened to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sessionrec.prior import Prior
from sessionrec.prior.store import SimilarItems
from sessionrec.recommend import SessionRec, artifact
from tests.shop import day, sku

NOW = day(14) + timedelta(hours=1)
NEW = pl.DataFrame({"item": ["n1", "n2"], "title": ["New", "New"], "brand": ["Acme", "Bolt"]})
HISTORIES: list[Any] = [[], [[sku(1, 0), sku(1, 1)], [sku(2, 0)]], [[sku(0, 0)]]]


def weighed(run: Path, weights: Mapping[str, float], *, trust: float = 0.0) -> SessionRec:
    """The shop's model, weighing a few features alone."""
    trained = artifact.load(run)
    assert trained.prior is not None
    fitted = trained.prior.fitted
    every = dict.fromkeys(fitted.prior.weights, 0.0) | dict(weights)
    alone = replace(fitted, prior=Prior(weights=every, scale=0.0, trust=trust))
    return SessionRec(replace(trained, prior=replace(trained.prior, fitted=alone)))


def scores(model: SessionRec, history: Any) -> tuple[list[float], list[float]]:
    """Of known items and of new ones."""
    (answer,) = model.recommend([history], 100, now=NOW)
    by_item = dict(zip(answer.items, answer.scores, strict=True))
    new = [by_item.pop(item) for item in NEW["item"] if item in by_item]
    return list(by_item.values()), new


def test_the_shop_has_no_births(prior_run: Path) -> None:
    prior = artifact.load(prior_run).prior
    assert prior is not None and not prior.fitted.has_new


@pytest.mark.parametrize("sign", [10.0, -10.0])
@pytest.mark.parametrize("name", ["age", "acted 5 min", "acted 1 d", "acted 3 d", "shown 1 d", "shown 15 min"])
def test_no_weight_carries_it_beyond_what_is_known(prior_run: Path, name: str, sign: float) -> None:
    """Where every item is as old as the log the weight of age is as good as arbitrary, and an item without an event had
    -15 times it: first for everybody, or last."""
    model = weighed(prior_run, {name: sign}).with_items(NEW)
    for history in HISTORIES:
        known, new = scores(model, history)
        assert len(known) == 18 and len(new) == 2
        assert min(known) - 1e-3 <= min(new) == max(new) <= max(known) + 1e-3


def test_what_has_happened_to_it_since_counts(prior_run: Path) -> None:
    model = weighed(prior_run, {"acted 1 d": 1.0}).with_items(NEW)
    for number in range(40):
        model.add("n2", NOW - timedelta(seconds=number))
        if number == 0:
            _, (first, second) = scores(model, HISTORIES[1])
            assert first < second
    known, (first, second) = scores(model, HISTORIES[1])
    assert first <= min(known) + 1e-3 and second > max(known)


def test_lots_that_come_one_after_the_other_are_as_one(prior_run: Path) -> None:
    by_age = weighed(prior_run, {"age": -3.0, "shown 1 d": 2.0, "neighbours": 1.0}, trust=1.0)
    at_once, in_turn = by_age.with_items(NEW), by_age.with_items(NEW[:1]).with_items(NEW[1:])
    for history in HISTORIES:
        np.testing.assert_allclose(scores(at_once, history)[1], scores(in_turn, history)[1], rtol=1e-5)
    assert by_age.recommend(HISTORIES, 18, now=NOW) == weighed(
        prior_run, {"age": -3.0, "shown 1 d": 2.0, "neighbours": 1.0}, trust=1.0
    ).recommend(HISTORIES, 18, now=NOW), "the old one stays as it is"


def test_a_model_is_trusted_as_of_the_item_that_it_knows_least(prior_run: Path) -> None:
    model = weighed(prior_run, {}, trust=1.0).with_items(NEW)
    assert model._beside is not None
    scale_V = model._beside.scale_V.numpy()
    assert scale_V[18:].tolist() == [scale_V[:18].min()] * 2 and scale_V.min() > 0


def test_who_is_like_all_others_is_like_it_too() -> None:
    """Item 1 has both others as neighbours, item 2 one, item 3 none: 0 neighbours say something of item 1 alone."""
    similar = SimilarItems(
        offsets=np.array([0, 2, 3, 3]),
        column_C=np.array([1, 2, 0], np.int32),
        score_C=np.array([0.5, 0.25, 0.5], np.float32),
    )
    more = similar.with_items(2, as_least=True)
    assert more.offsets.tolist() == [0, 4, 5, 5, 5, 5]
    assert more.column_C.tolist() == [1, 2, 3, 4, 0]
    assert more.score_C.tolist() == [0.5, 0.25, 0.25, 0.25, 0.5]
    assert more.with_items(1, as_least=True).offsets.tolist() == [0, 5, 6, 6, 6, 6, 6]
    unlike = similar.with_items(2, as_least=False)
    assert unlike.offsets.tolist() == [0, 2, 3, 3, 3, 3] and unlike.column_C.tolist() == [1, 2, 0]
