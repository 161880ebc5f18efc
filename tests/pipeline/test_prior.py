"""A prior for a model, from a data set to answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.baselines import Ahead, ItemKnn, ItemSimilarity, KnownSessions, Popularity, RecencyPopularity
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import View
from sessionrec.dynamics import ItemEvents
from sessionrec.evaluate import EvalProtocol, evaluate
from sessionrec.logs import PlantedConfig
from sessionrec.pipeline import DataConfig, prepare
from sessionrec.pipeline.prior import _own_features, fit_prior, known_before, make_prior, prior_ranker
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.prior import Prior, PriorConfig, PriorRanker
from sessionrec.scoring import Ranker, top_k
from sessionrec.sessions.rule import NativeRule

CONFIG = PriorConfig(uniform=20, recent=20, best=5, hidden=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    log = PlantedConfig(num_users=120, num_groups=8, group_size=3, sessions_per_user=6, exposures_per_session=2)
    return prepare(DataConfig(log=log, session=NativeRule()), Path(tmp_path_factory.mktemp("planted")) / "data")


def recall(dataset: Dataset, ranker: Ranker) -> float:
    loader = Loader(dataset, View(part="test"), questions(50), seed=0)
    found = evaluate(ranker, loader, facts_of(dataset), EvalProtocol(ks=(3,)), name="prior")
    return found.metrics["recall@3"]


def test_what_is_known_before_a_part_is_of_earlier_parts(dataset: Dataset) -> None:
    counts: dict[str, Any] = {
        before: known_before(dataset, before, dataset.num_candidates) for before in ("validation", "test")
    }
    kept = dataset.summary.parts
    for before, parts in (("validation", ["train"]), ("test", ["train", "validation"])):
        positives = sum(kept[part].positives for part in parts)
        assert len(counts[before].acted.time_ms_N) == positives
        assert len(counts[before].shown.time_ms_N) == sum(kept[part].events for part in parts) > positives


def test_what_is_kept_of_items_knows_no_wrong_clock(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap that tells one is the longest half-life."""
    times = np.sort(np.concatenate([histories.time_ms_E for histories in dataset.histories()]))
    until, gaps = int(times[len(times) // 2]), []

    def newest_ms(_: Dataset, gap_ms: int) -> int:
        gaps.append(gap_ms)
        return until

    monkeypatch.setattr("sessionrec.pipeline.prior.newest_ms", newest_ms)
    floor = Popularity(np.ones(dataset.num_items, np.int64))
    live = make_prior(dataset, View(), CONFIG, model=floor, seed=1).live
    assert gaps == [int(max(live.scheme.acted_s + live.scheme.shown_s) * 1000)]
    assert live.shown is not None
    assert live.acted.time_ms_V.max() <= live.shown.time_ms_V.max() == until


def test_a_prior_alone_is_fitted_and_asked(dataset: Dataset) -> None:
    fitted, scheme = fit_prior(dataset, View(), CONFIG)
    assert fitted.loss < fitted.loss_without
    ranker = prior_ranker(dataset, fitted, scheme)
    assert 0 < recall(dataset, ranker) <= 1
    again, _ = fit_prior(dataset, View(), CONFIG)
    assert again.prior.weights == fitted.prior.weights
    other, _ = fit_prior(dataset, View(), CONFIG, seed=2)
    assert other.prior.weights != fitted.prior.weights


@pytest.mark.parametrize("has_neighbours", [False, True])
def test_no_answer_of_the_test_has_a_say(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, has_neighbours: bool
) -> None:
    """Fitted and asked beside a data set whose test sessions hold other items, acted on otherwise and at other times,
    weights and answers are the same."""
    config = CONFIG.model_copy(update={"has_neighbours": has_neighbours})
    batches = list(Loader(dataset, View(part="test"), questions(50), seed=0))

    def answers() -> tuple[Any, list[torch.Tensor]]:
        fitted, scheme = fit_prior(dataset, View(), config)
        ranker = prior_ranker(dataset, fitted, scheme)
        return fitted.prior.weights, [top_k(ranker.scorer(examples), 10).scores_QC for examples in batches]

    wanted = answers()
    read = Dataset.read

    def other(self: Dataset, group: Any) -> Any:
        histories = read(self, group)
        is_test_E = np.repeat(histories.part_S == 2, np.diff(histories.session_offsets))
        assert is_test_E.any()
        changed = {
            "item_E": 1 + (histories.item_E + 5) % self.num_candidates,
            "action_E": histories.action_E ^ 1,
            "time_ms_E": histories.time_ms_E - 10**9,
        }
        columns: dict[str, Any] = {}
        for name, values in changed.items():
            before = getattr(histories, name)
            columns[name] = np.where(is_test_E, values, before).astype(before.dtype)
        return replace(histories, **columns)

    monkeypatch.setattr(Dataset, "read", other)
    found = answers()
    assert found[0] == wanted[0]
    assert all(torch.equal(one, same) for one, same in zip(found[1], wanted[1], strict=True))


def test_neighbours_are_those_of_the_floor(dataset: Dataset) -> None:
    """A planted group is acted on together: neighbours alone find what the floor finds."""
    config = CONFIG.model_copy(update={"has_neighbours": True})
    own = _own_features(dataset, config, "test", dataset.num_candidates)
    assert [other.name for other in own.others] == ["neighbours"]
    items = prior_ranker(dataset, *fit_prior(dataset, View(), config))
    alone = PriorRanker(Prior(weights={"neighbours": 1.0}), items._items, own)
    floor = ItemKnn(ItemSimilarity(KnownSessions.collect(dataset), by="user", shrink=10.0), decay=0.8, own=True)
    popular = RecencyPopularity(ItemEvents.collect(dataset), half_life_s=1e12)
    assert recall(dataset, alone) == pytest.approx(recall(dataset, Ahead(floor, popular)), abs=0.02)


def test_attributes_are_those_of_the_catalogue(tmp_path: Path) -> None:
    log = PlantedConfig(num_users=60, num_groups=6, group_size=3, sessions_per_user=5, exposures_per_session=2)
    data = prepare(DataConfig(log=log, session=NativeRule()), tmp_path / "data")
    own = _own_features(data, CONFIG, "test", data.num_candidates)
    assert own.attributes == tuple(data.item_features)
    for place, name in enumerate(own.attributes):
        assert np.array_equal(own.codes(place), data.items[name].to_numpy()[: data.num_candidates])
