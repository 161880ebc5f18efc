"""A model answers elsewhere than on the host as it does there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ConfigError
from sessionrec.pipeline import evaluate
from sessionrec.pipeline.evaluation import EvaluationConfig
from sessionrec.recommend import SessionRec
from tests.devices.conftest import there
from tests.shop import PRIOR, day, sku, train_shop

HISTORIES = [[[sku(0, 0), sku(0, 1)], [sku(1, 0)]], [[sku(4, 2)]], []]


@pytest.fixture(scope="module", params=["alone", "with a prior"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    return train_shop(
        tmp_path_factory.mktemp("shop"), *((*PRIOR, "prior.hidden=0") if request.param == "with a prior" else ())
    )


def test_lists_scores_and_vectors_are_those_of_the_host(shop: tuple[Dataset, Path], device: str) -> None:
    here = SessionRec.load(shop[1])
    with there(device):
        away = SessionRec.load(shop[1], device=device)
        for own, other in zip(
            here.recommend(HISTORIES, 6, now=day(14)), away.recommend(HISTORIES, 6, now=day(14)), strict=True
        ):
            assert own.items == other.items
            np.testing.assert_allclose(own.scores, other.scores, rtol=1e-4, atol=1e-5)
        given = [[sku(1, 0), sku(5, 1), sku(3, 2)]] * len(HISTORIES)
        for own, other in zip(
            here.rank(HISTORIES, given, now=day(14)), away.rank(HISTORIES, given, now=day(14)), strict=True
        ):
            assert own.items == other.items
        encoded = away.encode(HISTORIES[:2], now=day(14))
        np.testing.assert_allclose(encoded, here.encode(HISTORIES[:2], now=day(14)), rtol=1e-4, atol=1e-5)
        if here.model.prior is None:
            return
        away.add(sku(2, 1), day(13))
        here.add(sku(2, 1), day(13))
        assert away.recommend(HISTORIES, 6, now=day(14))[0].items == here.recommend(HISTORIES, 6, now=day(14))[0].items


@pytest.mark.parametrize("retrieval", ["served", "lists"])
def test_figures_are_those_of_the_host(shop: tuple[Dataset, Path], device: str, retrieval: str) -> None:
    settings = ["floors=false", "protocol.ks=[3, 10]", f"retrieval={retrieval}"]
    here = evaluate(shop[1], shop[0], load(EvaluationConfig, None, settings))
    with there(device):
        away = evaluate(shop[1], shop[0], load(EvaluationConfig, None, [*settings, f"device={device}"]))
    assert [report.system for report in away.reports] == [report.system for report in here.reports]
    for own, other in zip(here.reports, away.reports, strict=True):
        assert other.metrics == pytest.approx(own.metrics, abs=1e-3)


def test_a_device_that_is_not_there_is_refused_by_its_field(shop: tuple[Dataset, Path]) -> None:
    for device in ("cuda:7", "meta", "gpu"):
        with pytest.raises(ConfigError, match=rf"^device: '{device}' cannot be used here"):
            evaluate(shop[1], shop[0], EvaluationConfig(device=device))
