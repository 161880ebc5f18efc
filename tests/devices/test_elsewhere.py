"""The device elsewhere computes what the host does, and refuses what a GPU refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.devices.elsewhere import Away, MixedDevicesError, elsewhere


def test_it_computes_what_the_host_does_forward_and_backward() -> None:
    generator = torch.Generator().manual_seed(3)
    layer, rows = torch.nn.GRU(4, 3, batch_first=True), torch.randn(2, 5, 4, generator=generator)
    wanted = layer(rows)[0].square().sum()
    gradients = torch.autograd.grad(wanted, list(layer.parameters()))
    with elsewhere() as device:
        layer.to(device)
        found = layer(rows.to(device))[0].square().sum()
        moved = torch.autograd.grad(found, list(layer.parameters()))
        assert all(isinstance(tensor, Away) for tensor in (found, *moved))
        assert found.device.type != "cpu"
        torch.testing.assert_close(found.cpu(), wanted)
        for own, other in zip(moved, gradients, strict=True):
            torch.testing.assert_close(own.cpu(), other)


def test_writing_in_place_writes_to_the_same_tensor_and_to_its_views() -> None:
    with elsewhere() as device:
        cells = torch.zeros(2, 3, device=device)
        row = cells[1]
        assert row.add_(1) is row
        cells[cells > 0] = 5
        assert cells.tolist() == [[0, 0, 0], [5, 5, 5]]
        assert row.cpu().numpy().tolist() == [5, 5, 5]


def test_tensors_of_two_devices_are_not_combined() -> None:
    with elsewhere() as device:
        cells = torch.ones(2, 3, device=device)
        wrongs: list[Callable[[], torch.Tensor]] = [
            lambda: cells + torch.ones(3),
            lambda: torch.cat([cells, torch.ones(1, 3)]),
            lambda: cells[torch.tensor([0])],
            lambda: torch.ones(2)[torch.tensor([0]).to(device)],
        ]
        for wrong in wrongs:
            with pytest.raises(MixedDevicesError):
                wrong()
        # A single number may come from the host, as on a GPU.
        assert (cells + torch.tensor(1.0)).tolist() == [[2, 2, 2], [2, 2, 2]]


def test_what_lies_elsewhere_is_no_array_and_is_drawn_by_no_generator_of_the_host() -> None:
    with elsewhere() as device:
        cells = torch.ones(2, 3, device=device)
        with pytest.raises(RuntimeError, match="numpy"):
            cells.numpy()
        with pytest.raises(MixedDevicesError, match="generator"):
            torch.rand(3, generator=torch.Generator(), device=device)
        assert torch.rand(3, device=device).shape == (3,)
