"""The devices under test: one that is always there, and a GPU where there is one (`pytest -m gpu`)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from tests.devices.elsewhere import ELSEWHERE, elsewhere


@pytest.fixture(params=[ELSEWHERE, pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return str(request.param)


def there(device: str) -> AbstractContextManager[object]:
    """While inside, the device can be used."""
    return elsewhere() if device == ELSEWHERE else nullcontext()
