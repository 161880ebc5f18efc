"""`SessionRec`: what a caller asks and gets."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import torch

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.request import visible
from sessionrec.data.view import View
from sessionrec.errors import ArtifactError, HistoryError
from sessionrec.pipeline import index, load_fit_config
from sessionrec.pipeline.indexing import IndexingConfig
from sessionrec.pipeline.training import questions
from sessionrec.recommend import Session, SessionRec, artifact, to_frame
from sessionrec.recommend.coding import Lookup
from sessionrec.recommend.ranker import ModelRanker
from tests.shop import day, sku


def test_the_next_group_is_recommended(model: SessionRec) -> None:
    for group in range(6):
        (answer,) = model.recommend([[[sku(group, 0), sku(group, 1)]]], k=3, now=day(20))
        assert answer.items[0] in {sku((group + 1) % 6, member) for member in range(3)}
        assert answer.names == [f"Item {item[1]}-{item[2]}" for item in answer.items]
        assert answer.scores == sorted(answer.scores, reverse=True)
        assert answer.source == "model"


def test_users_of_the_data_set_are_answered_as_evaluation_asks(model: SessionRec, shop: tuple[Dataset, Path]) -> None:
    """What is evaluated is what is served: the same history gives the same query."""
    dataset = shop[0]
    ranker = ModelRanker(model.model.recommender, dataset.num_candidates)
    view = model.model.view.model_copy(update={"part": "test"})
    examples = next(iter(Loader(dataset, view, questions(), seed=0)))
    expected = ranker.queries(examples).numpy()
    inputs, targets = examples
    for place in range(5):
        user = int(inputs.user_index_B[targets.user_Q[place]])
        known = dataset.find_users([dataset.read(dataset.row_groups[0]).user_U[user]])
        before = known.keep_sessions(known.part_S < 2)
        intake = model.users([known.user_U[0]], dataset)
        asked = replace(intake, histories=before, time_ms_B=np.array([int(targets.time_ms_Q[place])]))
        np.testing.assert_allclose(model.encode(asked), expected[None, place], rtol=1e-5, atol=1e-5)


def test_rank_orders_given_items_by_the_score_of_recommend(model: SessionRec) -> None:
    history = [[["s00", "s01"]]]
    (best,) = model.recommend(history, k=18, now=day(20))
    (ranked,) = model.rank(history, [["s30", "nope", *reversed(best.items[:4])]], now=day(20))
    assert ranked.items[-1] == "nope"
    assert np.isnan(ranked.scores[-1])
    assert ranked.items[:4] == best.items[:4]
    np.testing.assert_allclose(ranked.scores[:4], best.scores[:4], rtol=1e-5)


def test_an_empty_list_of_candidates_is_an_empty_answer(model: SessionRec) -> None:
    (answer,) = model.rank([[["s00"]]], [[]])
    assert answer.items == [] and answer.scores == []


def test_every_user_needs_a_list_of_candidates(model: SessionRec) -> None:
    with pytest.raises(HistoryError, match="a list of candidates for each of 2 users, got 1"):
        model.rank([[["s00"]], [["s01"]]], [["s00"]])
    with pytest.raises(HistoryError, match="candidates of user 0: expected a list of item ids, got 's00'"):
        model.rank([[["s00"]]], ["s00"])


def test_k_above_the_catalogue_gives_the_catalogue(model: SessionRec) -> None:
    (answer,) = model.recommend([[["s00"]]], k=10**9)
    assert sorted(answer.items) == sorted(sku(group, member) for group in range(6) for member in range(3))


def test_k_below_one_is_refused(model: SessionRec) -> None:
    with pytest.raises(ValueError, match="`k` must be a whole number from 1 on, got 0"):
        model.recommend([[["s00"]]], k=0)


def test_seen_items_can_be_left_out_of_each_users_answer(model: SessionRec) -> None:
    histories = [[["s00"], ["s10"]], [["s20"]], []]
    answers = model.recommend(histories, k=1000, exclude_seen=True)
    assert [set(answer.items) & {"s00", "s10", "s20"} for answer in answers] == [
        {"s20"},
        {"s00", "s10"},
        {"s00", "s10", "s20"},
    ]
    assert [len(answer) for answer in answers] == [16, 17, 18]


def test_answers_can_be_limited_to_values_of_a_feature(model: SessionRec) -> None:
    answers = model.recommend([[["s00"]], []], k=18, where={"brand": "Bolt"})
    for answer in answers:
        assert {item[1] for item in answer.items} == {"1", "3", "5"}
    with pytest.raises(HistoryError, match="no item feature 'colour'; there are: brand"):
        model.recommend([[["s00"]]], where={"colour": "red"})
    with pytest.raises(HistoryError, match="'brand' has no value 'Zeta'"):
        model.recommend([[["s00"]]], where={"brand": ["Bolt", "Zeta"]})


def test_a_user_nobody_knows_gets_what_is_popular_and_is_told(model: SessionRec) -> None:
    (answer,) = model.recommend([[]], k=3)
    assert answer.source == "popularity"
    counts = model.model.train_positives_V
    ids = model.model.items["item"].to_list()
    assert answer.scores == sorted(counts.tolist(), reverse=True)[:3]
    assert [counts[ids.index(item)] for item in answer.items] == answer.scores


def test_only_users_with_events_can_be_encoded(model: SessionRec) -> None:
    assert model.encode([[["s00"]], [["nope"]]]).shape == (2, 16)
    with pytest.raises(HistoryError, match="user 1 has no event that the model is shown"):
        model.encode([[["s00"]], []])


def test_query_times_item_vectors_is_the_score(model: SessionRec) -> None:
    history = [[["s00"]]]
    vectors = model.item_vectors()
    scores = model.encode(history, now=day(20)) @ vectors.vectors_VD.T
    (answer,) = model.recommend(history, k=3, now=day(20))
    assert [vectors.items[place] for place in np.argsort(-scores[0])[:3]] == answer.items


def test_a_user_alone_is_answered_as_in_company(model: SessionRec) -> None:
    histories = [[[sku(group, 0)], [sku(group + 1, 1)]] for group in range(5)]
    together = model.encode(histories, now=day(20))
    alone = np.concatenate([model.encode([history], now=day(20)) for history in histories])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_a_time_before_the_last_session_counts_as_that_session(model: SessionRec) -> None:
    history = [[Session(items=["s00"], time=day(30))]]
    np.testing.assert_array_equal(model.encode(history, now=day(5)), model.encode(history, now=day(30)))


def test_answers_as_a_table(model: SessionRec) -> None:
    frame = to_frame(model.recommend([[["s00"]], []], k=2))
    assert frame.columns == ["user", "rank", "item", "name", "score", "source"]
    assert frame["rank"].to_list() == [1, 2, 1, 2]
    assert to_frame([]).height == 0


def test_an_index_beside_the_model_is_used_and_one_of_another_model_refused(
    shop: tuple[Dataset, Path], model: SessionRec, tmp_path: Path
) -> None:
    dataset, run = shop
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    built = index(copy, dataset, load(IndexingConfig, None, ["index.kind=hnsw", "k=5"]))
    assert built.quality.recall == 1.0
    assert built.found is None, "without a prior the index is all there is to search"
    history = [[["s00"]]]
    (exact,) = model.recommend(history, k=5, now=day(20))
    (found,) = SessionRec.load(copy).recommend(history, k=5, now=day(20))
    assert found.items == exact.items
    manifest = copy / "model" / "manifest.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace(model.model.fingerprint, "0" * 16), encoding="utf-8"
    )
    with pytest.raises(ArtifactError, match="the index is of model"):
        SessionRec.load(copy)


def test_loading_leaves_the_callers_random_stream_alone(shop: tuple[Dataset, Path]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    artifact.load(shop[1])
    assert torch.equal(torch.rand(2), expected)


def test_an_index_that_was_never_finished_is_none(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    shutil.copytree(shop[1], tmp_path / "run")
    (tmp_path / "run" / "index" / "files-0123456789ab").mkdir(parents=True)
    assert len(SessionRec.load(tmp_path / "run").recommend([[["s00"]]], k=3)[0]) == 3


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no finished model here"):
        SessionRec.load(tmp_path)


def test_a_damaged_model_says_so(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(shop[1], copy)
    weights = next(copy.glob("model/files-*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: missing or not the"):
        SessionRec.load(copy)


def test_the_view_of_a_model_of_positives_hides_what_was_only_shown(shop: tuple[Dataset, Path]) -> None:
    dataset = shop[0]
    settings = load_fit_config(None, None, ["view.events=positives", "view.unit=event"])
    assert settings.view == View(events="positives", unit="event")
    known = dataset.find_users(["u1"])
    seen = visible(settings.view, known)
    assert seen.num_events == int(known.is_positive_E().sum()) == seen.num_sessions


def test_a_polars_free_frame_is_read_too(model: SessionRec) -> None:
    """Anything that speaks Arrow's C stream, as pandas does."""
    frame = pl.DataFrame({"user": ["x"], "item": ["s00"], "time": [day(3)], "session": [1]})
    (answer,) = model.recommend(frame.to_arrow(), k=2, now=day(20))
    assert answer.user == "x" and answer.source == "model"


def test_many_users_are_ranked_as_each_alone(model: SessionRec) -> None:
    histories: list[Any] = [[["s00", "s01"]], [], [["s20"], ["s10"]], [], [["s40"]]]
    wanted: list[list[Any]] = [["s30", 7, "s10"], ["nope", "s20", "s00"], [], ["s11"], ["s00", "s00", "no", "s50"]]
    together = model.rank(histories, wanted, now=day(20))
    for answer, history, items in zip(together, histories, wanted, strict=True):
        (alone,) = model.rank([history], [items], now=day(20))
        assert (answer.items, answer.names, answer.source) == (alone.items, alone.names, alone.source)
        np.testing.assert_allclose(answer.scores, alone.scores, rtol=1e-5)
    assert together[0].items[2] == 7 and together[0].names[2] == "7"
    assert together[4].items[-1] == "no" and together[4].items.count("s00") == 2
    assert [answer.user for answer in together] == list(range(5))


def test_ids_are_looked_up_once_for_all_users(model: SessionRec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten look-ups a user were four fifths of the time of a long `rank`."""
    asked: list[int] = []
    codes = Lookup.codes

    def counted(self: Lookup, wanted: pl.Series) -> npt.NDArray[np.int32]:
        asked.append(len(wanted))
        return codes(self, wanted)

    intake = model.read([[["s00"]]] * 50, now=day(20))
    monkeypatch.setattr(Lookup, "codes", counted)
    model.rank(intake, [["s30", "nope"]] * 50)
    assert asked == [100]
