"""One trained shop for all tests of answering."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sessionrec.data.dataset import Dataset
from sessionrec.pipeline import fit
from sessionrec.pipeline.training import load_fit_config
from sessionrec.recommend import SessionRec, artifact
from tests.shop import PRIOR, SMALL, train_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    return train_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def model(shop: tuple[Dataset, Path]) -> SessionRec:
    return SessionRec.load(shop[1])


@pytest.fixture(scope="session")
def prior_run(shop: tuple[Dataset, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's run with a prior: the model that is there is not trained again."""
    folder = Path(tmp_path_factory.mktemp("prior") / "run")
    shutil.copytree(shop[1], folder)
    before = artifact.load(folder)
    fields = json.loads((folder / "model" / "manifest.json").read_text())["body"]["config"]["training"]["epochs"]
    trained = fit(shop[0], folder, load_fit_config(None, None, [*SMALL, f"training.epochs={fields}", *PRIOR]))
    after = artifact.load(folder)
    assert trained.epochs == before.body["selection"]["epochs"]
    for name, weights in before.recommender.state_dict().items():
        assert torch.equal(weights, after.recommender.state_dict()[name])
    assert before.fingerprint != after.fingerprint
    return folder
