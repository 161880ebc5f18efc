"""Items that came after training: as if the data set had had them and training had never seen them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError, HistoryError
from sessionrec.index import ExactConfig, HnswConfig, JoinedIndex
from sessionrec.model.config import Catalogue
from sessionrec.pipeline import IndexingConfig, index
from sessionrec.prior import LiveItems
from sessionrec.prior.store import SimilarItems
from sessionrec.recommend import Session, SessionRec, artifact
from sessionrec.recommend.arrivals import with_items
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.retrieval import Reach, Retriever
from tests.shop import BRANDS, GROUPS, day, sku

NOW = day(14) + timedelta(hours=1)
LAST = 18


def cut(trained: TrainedModel, *, is_known: bool) -> TrainedModel:
    """A model of the first 17 items; or of 18, whose last one is in the catalogue and training never saw it."""
    assert trained.prior is not None and trained.prior.similar is not None
    table, size = trained.recommender.items, LAST if is_known else LAST - 1
    about = trained.dataset
    catalogue = Catalogue(
        num_items=size,
        num_actions=len(about["actions"]),
        context_features=about["context_features"],
        item_features=about["item_features"],
        codes_VF=table.codes_VF[: size + 1],
    )
    recommender = trained.config.build(catalogue)
    weights = dict(trained.recommender.state_dict())
    weights["items.weight"] = weights["items.weight"][: size + 1]
    recommender.load_state_dict(weights)
    recommender.fill_untrained(LAST - 1)
    items = trained.items[:size].with_columns(
        train_positives=pl.when(pl.col("index") < LAST).then("train_positives").otherwise(0)
    )
    states = [trained.prior.live.acted, trained.prior.live.shown]
    for place, state in enumerate(states):
        assert state is not None
        part = replace(
            state,
            after_VH=state.after_VH[:size].copy(),
            time_ms_V=state.time_ms_V[:size].copy(),
            first_ms_V=state.first_ms_V[:size].copy(),
        )
        part.after_VH[LAST - 1 :], part.time_ms_V[LAST - 1 :], part.first_ms_V[LAST - 1 :] = -np.inf, 0, 0
        states[place] = part
    assert states[0] is not None
    similar = trained.prior.similar
    row_C = np.repeat(np.arange(LAST), np.diff(similar.offsets))
    kept_C = (row_C < LAST - 1) & (similar.column_C < LAST - 1)
    counts = np.bincount(row_C[kept_C], minlength=size)
    similar = SimilarItems(
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        column_C=similar.column_C[kept_C],
        score_C=similar.score_C[kept_C],
    )
    return replace(
        trained,
        recommender=recommender.eval(),
        items=items,
        body=trained.body | {"dataset": about | {"num_items": size, "num_candidates": LAST - 1}},
        prior=replace(
            trained.prior,
            live=LiveItems(trained.prior.scheme, states[0], states[1]),
            similar=similar,
            # As where the catalogue had such items; where it had none, see `test_newcomers`.
            fitted=replace(trained.prior.fitted, has_new=True),
        ),
    )


@pytest.fixture
def news(prior_run: Path) -> pl.DataFrame:
    """The item that was cut away, as a caller has it."""
    item, title = artifact.load(prior_run).items[LAST - 1, ["item", "title"]].row(0)
    (brand,) = {BRANDS[group % 2] for group in range(GROUPS) for member in range(3) if sku(group, member) == item}
    return pl.DataFrame({"item": [item], "title": [title], "brand": [brand], "stock": [3]})


def test_it_is_as_if_the_catalogue_had_had_it(prior_run: Path, news: pl.DataFrame) -> None:
    """Before and after things happen to it; for strangers, for histories without it and with it."""
    trained = artifact.load(prior_run)
    known, late = SessionRec(cut(trained, is_known=True)), SessionRec(cut(trained, is_known=False)).with_items(news)
    item = news["item"][0]
    histories: list[Any] = [
        [],
        [[sku(1, 0), sku(1, 1)], [sku(2, 0)]],
        [[sku(0, 0)], Session(items=[item], shown=[sku(3, 0)])],
        [[item]],
    ]
    every = [known.model.items["item"].to_list()] * len(histories)
    for minutes in (0, 2):
        now = NOW + timedelta(minutes=minutes)
        for by_known, by_late in (
            (known.recommend(histories, 18, now=now), late.recommend(histories, 18, now=now)),
            (known.rank(histories, every, now=now), late.rank(histories, every, now=now)),
            (known.rank(histories, every, now=now, as_shown=True), late.rank(histories, every, now=now, as_shown=True)),
        ):
            for wanted, found in zip(by_known, by_late, strict=True):
                assert (found.items, found.names, found.source) == (wanted.items, wanted.names, wanted.source)
                assert found.num_unknown == 0
                np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5, atol=1e-5)
        for model in (known, late):
            model.add(item, NOW, is_acted=False)
            model.add(item, NOW)


def test_the_one_it_is_made_of_stays_as_it_is(prior_run: Path, news: pl.DataFrame) -> None:
    old = SessionRec(cut(artifact.load(prior_run), is_known=False))
    history = [[[sku(1, 0)], [sku(2, 1)]]]
    before = old.recommend(history, 18, now=NOW)[0]
    new, item = old.with_items(news), news["item"][0]
    answer = new.recommend(history, 18, now=NOW)[0]
    assert set(answer.items) - set(before.items) == {item}
    scores = dict(zip(answer.items, answer.scores, strict=True))
    np.testing.assert_allclose([scores[one] for one in before.items], before.scores, rtol=1e-5)
    for _ in range(50):
        new.add(item, NOW)
        new.add(sku(4, 0), NOW)
    assert old.recommend(history, 18, now=NOW)[0] == before
    with pytest.raises(HistoryError, match="does not know item"):
        old.add(item, NOW)
    later = NOW + timedelta(minutes=2)
    (of_brand,) = new.recommend(history, 18, now=later, where={"brand": news["brand"][0]})
    assert item in of_brand.items and len(of_brand) == 9
    (unseen,) = new.recommend([[[item], [sku(2, 1)]]], 18, now=later, exclude_seen=True)
    assert set(before.items) - set(unseen.items) == {sku(2, 1)} and item not in unseen.items


@pytest.mark.parametrize("config", [ExactConfig(), HnswConfig(exact_below=0)], ids=["exact", "hnsw"])
def test_an_index_is_left_as_it_is(shop: tuple[Dataset, Path], prior_run: Path, tmp_path: Path, config: Any) -> None:
    """Items come in two lots; lists of candidates, not the whole catalogue, are scored."""
    folder = tmp_path / "run"
    shutil.copytree(prior_run, folder)
    index(folder, shop[0], IndexingConfig(index=config))
    old = SessionRec.load(folder)
    lots = [
        pl.DataFrame({"item": [f"n{number}" for number in lot], "title": ["New"] * 30, "brand": ["Acme", None] * 15})
        for lot in (range(30), range(30, 60))
    ]
    new = old.with_items(lots[0]).with_items(lots[1])
    assert isinstance(new._index, JoinedIndex) and new._index.first is old._index
    once = SessionRec.load(folder).with_items(pl.concat(lots))
    for model in (new, once):
        for number in (7, 40):
            model.add(f"n{number}", NOW)
        assert model._beside is not None
        model._retriever = Retriever(model._beside, model._ranker, model._index, Reach(near=70, fresh=20, whole=0))
    history = [[[sku(1, 0)], ["n41"]]]
    answer, wanted = (model.recommend(history, 8, now=NOW)[0] for model in (new, once))
    assert answer.items == wanted.items
    (ranked,) = new.rank(history, [new.model.items["item"].to_list()], now=NOW)
    assert answer.items == ranked.items[:8]
    assert "n41" in ranked.items[:8] or "n40" in ranked.items[:8]
    assert len(new.item_vectors().items) == LAST + 60
    assert len({model.model.fingerprint for model in (old, new, once)}) == 3
    with pytest.raises(ArtifactError, match="the index holds item 78, the model has 18 candidates"):
        SessionRec(old.model, new._index)
    # Whoever hands over an index of some candidates wants no others.
    few = ExactConfig().build(np.array([2, 5]), old.item_vectors().vectors_VD[[1, 4]])
    some = SessionRec(old.model, few)
    assert some._index is few
    assert some.with_items(lots[0][:2]).with_items(lots[1][:1])._index.holdings.items_N.tolist() == [2, 5, 19, 20, 21]


def test_many_events_are_as_one_after_the_other(prior_run: Path) -> None:
    known = [sku(number % 6, number % 3) for number in range(40)]
    events = pl.DataFrame(
        {
            "item": [*known, "nope"],
            "time": [NOW - timedelta(minutes=(number * 37) % 50) for number in range(41)],
            "positive": [number % 4 > 0 for number in range(41)],
        }
    )
    at_once, one_by_one = SessionRec.load(prior_run), SessionRec.load(prior_run)
    assert at_once.add_all(events) == 40
    for item, time, is_acted in events[:40].iter_rows():
        one_by_one.add(item, time, is_acted=is_acted)
    histories: list[Any] = [[], [[sku(1, 0)]]]
    for found, wanted in zip(
        at_once.recommend(histories, 18, now=NOW), one_by_one.recommend(histories, 18, now=NOW), strict=True
    ):
        assert found.items == wanted.items
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
    assert at_once.model.prior is not None and one_by_one.model.prior is not None
    times = np.array([0])
    assert at_once.model.prior.live.meant(times) == one_by_one.model.prior.live.meant(times)
    assert at_once.add_all(events.drop("positive")[:3].to_arrow()) == 3
    assert at_once.add_all(events[:0]) == at_once.add_all(pl.DataFrame({"item": [], "time": []})) == 0
    # Of pandas' category and the like.
    assert at_once.add_all(events.with_columns(pl.col("item").cast(pl.Categorical))) == 40


def test_events_that_cannot_be_are_refused_as_a_whole(model: SessionRec, prior_run: Path) -> None:
    with_prior = SessionRec.load(prior_run)
    events = pl.DataFrame({"item": [sku(0, 0)] * 3, "time": [NOW, day(365 * 60), None]})
    before = with_prior.recommend([[]], 18, now=NOW)
    with pytest.raises(
        HistoryError, match=r"row 2: expected the time of an event that .*, got 20.* nothing was counted"
    ):
        with_prior.add_all(events)
    with pytest.raises(HistoryError, match=r"row 1: .*, found none; nothing was counted"):
        with_prior.add_all(events[2:])
    with pytest.raises(HistoryError, match="column `item` is missing"):
        with_prior.add_all(events.drop("item"))
    with pytest.raises(HistoryError, match="column `time_ms` is missing"):
        with_prior.add_all(events.drop("time"))
    with pytest.raises(HistoryError, match="`events` must be a data frame, got list"):
        with_prior.add_all([sku(0, 0)])
    with pytest.raises(HistoryError, match="no prior and keeps no counts"):
        model.add_all(events)
    assert with_prior.recommend([[]], 18, now=NOW) == before


def test_what_is_known_stays_and_of_several_rows_the_first_counts(
    prior_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = SessionRec.load(prior_run)
    items = pl.DataFrame({"item": [sku(0, 0), "x", "x"], "brand": ["Acme", "Bolt", "Acme"]})
    more = model.with_items(items)
    assert more.model.items["item"].to_list()[LAST:] == ["x"]
    assert more.model.items["title"][LAST] is None
    assert more.recommend([[["x"]]], 19, now=NOW)[0].names.count("x") == 1
    codes = more.model.items["brand"].to_list()
    bolt = more.model.items.filter(pl.col("item") == sku(1, 0))["brand"][0]
    assert codes[LAST] == bolt
    # Nothing new: counts go apart all the same.
    same = model.with_items(items[:1])
    before = model.recommend([[]], 18, now=NOW)
    for _ in range(9):
        same.add(sku(4, 0), NOW)
    assert len(same.model.items) == LAST and same.model.fingerprint == model.model.fingerprint
    assert same.recommend([[]], 18, now=NOW + timedelta(minutes=2)) != before == model.recommend([[]], 18, now=NOW)
    assert torch.equal(more.model.recommender.items.codes_VF[LAST + 1], torch.tensor([bolt], dtype=torch.int32))
    # A value that training never had says as little as none.
    with caplog.at_level("WARNING"):
        odd = model.with_items(pl.DataFrame({"item": ["y", "z"], "brand": [None, "Unheard of"]}))
    assert "1 of 2 new items have a value of 'brand' that training never had, such as 'Unheard of'" in caplog.text
    assert odd.model.items["brand"].to_list()[LAST:] == [0, 0]
    by_arrow = model.with_items(items.to_arrow())
    assert by_arrow.model.items.equals(more.model.items)


def test_what_cannot_be_taken_is_said(model: SessionRec, prior_run: Path) -> None:
    with pytest.raises(HistoryError, match="no prior and never answers with items that training did not see"):
        model.with_items(["x"])
    with_prior = SessionRec.load(prior_run)
    with pytest.raises(HistoryError, match=r"column `brand` is missing; there are item; .* with nulls for what"):
        with_prior.with_items(["x"])
    with pytest.raises(HistoryError, match="column `item` is missing; there are sku, brand"):
        with_prior.with_items(pl.DataFrame({"sku": ["x"], "brand": ["Acme"]}))
    with pytest.raises(HistoryError, match="`items` must be a data frame or a list of item ids, got str"):
        with_prior.with_items("x")
    by_number = replace(with_prior.model, items=with_prior.model.items.with_columns(item=pl.int_range(18)))
    more = with_items(by_number, pl.DataFrame({"item": ["17", "18"], "brand": ["Acme", "Acme"]}))
    assert more.items["item"].to_list() == list(range(19))
    with pytest.raises(HistoryError, match="items of this model are whole numbers, got 'x'"):
        with_items(by_number, pl.DataFrame({"item": ["18", "x"], "brand": ["Acme", "Acme"]}))
    with pytest.raises(HistoryError, match="item ids must be whole numbers or text, got None"):
        with_items(by_number, pl.DataFrame({"item": [18, None], "brand": ["Acme", "Acme"]}))
    with pytest.raises(HistoryError, match="whole numbers of 64 bits or text, got 18446744073709551615"):
        with_items(by_number, pl.DataFrame({"item": pl.Series([2**64 - 1], dtype=pl.UInt64), "brand": ["Acme"]}))
    with pytest.raises(HistoryError, match="column `title` must be a category, got List"):
        with_items(by_number, pl.DataFrame({"item": [18], "brand": ["Acme"], "title": [["a"]]}))
    with pytest.raises(HistoryError, match="item ids must be whole numbers or text, got None"):
        with_prior.with_items(pl.DataFrame({"item": ["x", None], "brand": ["Acme", "Acme"]}))
