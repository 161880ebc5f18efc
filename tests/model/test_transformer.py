"""The Transformer backbone and session encoder against torch's own layers, one history at a time, nothing padded."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sessionrec.model.backbones.transformer import Transformer, TransformerConfig
from sessionrec.model.sequence import sequence_of
from sessionrec.model.session_encoders.transformer import TransformerEncoderConfig
from tests.model.helpers import TORCH_NAMES, a_user, batch_of, offsets, shake

WIDTH = 8


def plain_layer(heads: int, expansion: int) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        WIDTH, heads, expansion * WIDTH, dropout=0.0, activation="relu", batch_first=True, norm_first=True
    ).double()


@pytest.mark.parametrize(("heads", "expansion"), [(1, 4), (2, 1), (4, 2)])
def test_the_backbone_equals_torch_layers(heads: int, expansion: int) -> None:
    module = TransformerConfig(layers=2, heads=heads, expansion=expansion).build(WIDTH, 9, 0.3).double().eval()
    shake(module)
    assert isinstance(module, Transformer)
    users = [a_user(1, 9), a_user(2, 1), a_user(3, 5)]
    batch, request = batch_of(users)
    x_SD = torch.randn(batch.num_sessions, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(x_SD, sequence_of(batch, request))
    weights = module.state_dict()
    position = next(value for name, value in weights.items() if name.startswith("position"))
    begin = 0
    for user in users:
        length = len(user.visits)
        x = (x_SD[begin : begin + length] * math.sqrt(WIDTH) + position[:length])[None]
        for place in range(2):
            layer = plain_layer(heads, expansion)
            layer.load_state_dict({theirs: weights[f"layers.{place}.{ours}"] for theirs, ours in TORCH_NAMES.items()})
            x = layer(x, src_mask=torch.ones(length, length, dtype=torch.bool).triu(1))
        torch.testing.assert_close(found[begin : begin + length], x[0], rtol=0, atol=1e-9)
        begin += length


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 4)])
def test_the_encoder_equals_torch_layers_then_a_mean(layers: int, heads: int) -> None:
    module = TransformerEncoderConfig(layers=layers, heads=heads).build(WIDTH).double()
    shake(module)
    lengths = [3, 1, 5]
    tokens = torch.randn(9, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = module(tokens, offsets(lengths), 5)
    stack = nn.TransformerEncoder(plain_layer(heads, 4), layers, enable_nested_tensor=False).double()
    stack.load_state_dict({name.partition(".")[2]: weight for name, weight in module.state_dict().items()})
    for place, session in enumerate(torch.split(tokens, lengths)):
        torch.testing.assert_close(found[place], stack(session[None])[0].mean(0), rtol=0, atol=1e-9)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`heads` must divide the width 8, got 3"):
        TransformerConfig(heads=3).build(WIDTH, 9, 0.0)
    with pytest.raises(ValueError, match=r"`heads` must divide the width 8, got 3"):
        TransformerEncoderConfig(heads=3).build(WIDTH)
