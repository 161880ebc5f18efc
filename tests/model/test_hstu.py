"""HSTU against an independent NumPy computation in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.model.backbones.hstu import Hstu, HstuConfig
from sessionrec.model.sequence import sequence_of
from tests.model import reference
from tests.model.helpers import a_user, batch_of, shake

WIDTH, LONGEST = 6, 13
USERS = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("time_bias", ["next", "same", "none"])
@pytest.mark.parametrize("position_bias", [True, False])
def test_it_equals_the_formulas(heads: int, time_bias: Any, position_bias: bool) -> None:
    config = HstuConfig(
        layers=2, heads=heads, time_bias=time_bias, position_bias=position_bias, absolute_position=position_bias
    )
    module = config.build(WIDTH, LONGEST, 0.2).double().eval()
    shake(module)
    batch, request = batch_of(USERS)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(x_SD, sequence_of(batch, request)).detach().numpy()

    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    begin = 0
    for user in USERS:
        end = begin + len(user.visits)
        expected = reference.hstu(
            x_SD[begin:end].numpy(),
            weights,
            layers=2,
            heads=heads,
            longest=LONGEST,
            time_ms=[visit.time_ms for visit in user.visits],
            request_ms=user.request_ms,
            time_bias=time_bias,
        )
        np.testing.assert_allclose(found[begin:end], expected, rtol=0, atol=1e-9)
        begin = end


def test_weights_begin_as_in_the_paper() -> None:
    """W, p, w ~ N(0, 0.02), p of 2 N - 1 entries, w of 129; W_o Xavier uniform, b_o zero."""
    torch.manual_seed(0)
    module = HstuConfig(layers=1).build(64, 512, 0.2)
    assert isinstance(module, Hstu)
    weights = dict(module.layers[0].named_parameters())
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "uvqk": (64, 4 * 64),
        "output.weight": (64, 64),
        "output.bias": (64,),
        "position": (2 * 512 - 1,),
        "time": (129,),
    }
    for name in ("uvqk", "position", "time"):
        assert float(weights[name].detach().std()) == pytest.approx(0.02, rel=0.2)
    bound = (6 / (64 + 64)) ** 0.5
    assert 0.95 * bound < float(weights["output.weight"].detach().abs().max()) <= bound
    assert not weights["output.bias"].any()


def test_weights_are_divided_by_the_longest_history_of_the_model_not_of_the_batch() -> None:
    """The norm after attention undoes a factor, but for its eps: a huge N makes that visible."""
    config = HstuConfig(layers=1, time_bias="none", position_bias=False, absolute_position=False)
    batch, request = batch_of([a_user(1, 3)])
    x_SD = torch.randn(3, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    outputs = []
    for longest in (4, 400_000):
        module = config.build(WIDTH, longest, 0.0).double()
        shake(module)
        outputs.append(module(x_SD, sequence_of(batch, request)))
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`heads` must divide the width 6, got 4"):
        HstuConfig(heads=4).build(WIDTH, LONGEST, 0.2)
