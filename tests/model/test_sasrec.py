"""SASRec's block against an independent NumPy computation in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sessionrec.model.backbones.sasrec import SasRec, SasRecConfig
from sessionrec.model.sequence import sequence_of
from tests.model import reference
from tests.model.helpers import a_user, batch_of, shake

WIDTH = 6


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_it_equals_the_formulas(heads: int) -> None:
    module = SasRecConfig(layers=2, heads=heads).build(WIDTH, 11, 0.2).double().eval()
    shake(module)
    assert isinstance(module, SasRec)
    users = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]
    batch, request = batch_of(users)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(x_SD, sequence_of(batch, request)).detach().numpy()
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    begin = 0
    for user in users:
        end = begin + len(user.visits)
        expected = reference.sasrec(x_SD[begin:end].numpy(), weights, layers=2, heads=heads)
        np.testing.assert_allclose(found[begin:end], expected, rtol=0, atol=1e-9)
        begin = end


def test_its_residual_adds_the_normalised_input() -> None:
    """With all matrices zero a layer is two LayerNorms, and not the identity of other Transformers."""
    module = SasRecConfig(layers=1, heads=1).build(WIDTH, 5, 0.0).double().eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "norm" not in name:
                parameter.zero_()
    batch, request = batch_of([a_user(1, 3)])
    x_SD = torch.randn(3, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 7
    found = module(x_SD, sequence_of(batch, request))
    torch.testing.assert_close(found.mean(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.var(1, unbiased=False), torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`heads` must divide the width 6, got 4"):
        SasRecConfig(heads=4).build(WIDTH, 9, 0.0)
