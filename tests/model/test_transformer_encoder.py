from __future__ import annotations

import pytest
import torch

from sessionrec.model.session_encoders import transformer
from sessionrec.model.session_encoders.transformer import TransformerEncoderConfig
from tests.model.helpers import offsets, shake


@pytest.mark.parametrize("cells", [1, 30, 100])
def test_sessions_taken_by_length_equal_all_at_once(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = TransformerEncoderConfig(layers=2, heads=2).build(4)
    shake(module)
    module = module.double()
    lengths = [3, 1, 7, 2, 5, 5, 1]
    tokens = torch.randn(sum(lengths), 4, dtype=torch.float64, requires_grad=True)
    whole = module(tokens, offsets(lengths), 7)
    (expected,) = torch.autograd.grad(whole.sin().sum(), tokens)
    monkeypatch.setattr(transformer, "_MOST_CELLS", cells)
    parts = module(tokens, offsets(lengths), 7)
    (grad,) = torch.autograd.grad(parts.sin().sum(), tokens)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad, expected, rtol=0, atol=1e-12)
