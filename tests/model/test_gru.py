"""The GRU backbone and session encoder against loops over the equations, one history at a time: in torch, and in NumPy,
which shares no code with either."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from sessionrec.model.backbones.gru import GruConfig
from sessionrec.model.sequence import sequence_of
from sessionrec.model.session_encoders.gru import GruEncoderConfig
from tests.model import reference
from tests.model.helpers import a_user, batch_of, offsets, shake

WIDTH = 5


def states(x_LD: Tensor, weights: Mapping[str, Tensor], layers: int) -> Tensor:
    """r, z, n = gates; h' = (1 - z) n + z h."""
    for layer in range(layers):
        w_x, w_h = weights[f"gru.weight_ih_l{layer}"], weights[f"gru.weight_hh_l{layer}"]
        b_x, b_h = weights[f"gru.bias_ih_l{layer}"], weights[f"gru.bias_hh_l{layer}"]
        state, rows = torch.zeros(WIDTH, dtype=x_LD.dtype), []
        for x in x_LD:
            x_r, x_z, x_n = (w_x @ x + b_x).chunk(3)
            h_r, h_z, h_n = (w_h @ state + b_h).chunk(3)
            r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            state = (1 - z) * torch.tanh(x_n + r * h_n) + z * state
            rows.append(state)
        x_LD = torch.stack(rows)
    return x_LD


@pytest.mark.parametrize("layers", [1, 3])
def test_the_backbone_equals_loops(layers: int) -> None:
    module = GruConfig(layers=layers).build(WIDTH, 9, 0.3).double().eval()
    shake(module)
    users = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]
    batch, request = batch_of(users)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(x_SD, sequence_of(batch, request))
    expected = [states(x_LD, module.state_dict(), layers) for x_LD in torch.split(x_SD, [9, 1, 5])]
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_encoder_is_the_last_state(layers: int) -> None:
    module = GruEncoderConfig(layers=layers).build(WIDTH).double()
    shake(module)
    tokens = torch.randn(9, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(tokens, offsets([3, 1, 5]), 5)
    expected = [states(session, module.state_dict(), layers)[-1] for session in torch.split(tokens, [3, 1, 5])]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_backbone_equals_numpy(layers: int) -> None:
    module = GruConfig(layers=layers).build(WIDTH, 9, 0.3).double().eval()
    shake(module)
    lengths = [9, 1, 5]
    batch, request = batch_of([a_user(seed, length) for seed, length in enumerate(lengths)])
    x_SD = np.random.default_rng(5).normal(size=(sum(lengths), WIDTH))
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    with torch.no_grad():
        found = module(torch.from_numpy(x_SD), sequence_of(batch, request)).numpy()
    expected = [reference.gru(x_LD, weights, layers=layers) for x_LD in np.split(x_SD, np.cumsum(lengths)[:-1])]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_encoder_equals_numpy(layers: int) -> None:
    module = GruEncoderConfig(layers=layers).build(WIDTH).double().eval()
    shake(module)
    lengths = [3, 1, 5]
    x_ED = np.random.default_rng(6).normal(size=(sum(lengths), WIDTH))
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    with torch.no_grad():
        found = module(torch.from_numpy(x_ED), offsets(lengths), max(lengths)).numpy()
    expected = [reference.gru(x_LD, weights, layers=layers)[-1] for x_LD in np.split(x_ED, np.cumsum(lengths)[:-1])]
    np.testing.assert_allclose(found, np.stack(expected), rtol=0, atol=1e-12)
