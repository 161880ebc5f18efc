"""One trained shop for all tests of answering."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.recommend import SessionRec
from tests.shop import train_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    return train_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def model(shop: tuple[Dataset, Path]) -> SessionRec:
    return SessionRec.load(shop[1])
