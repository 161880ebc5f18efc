"""A device that every machine has: tensors that claim to lie elsewhere, as on a GPU; the host holds their numbers.

Such a tensor refuses what a GPU refuses, and what would wait for it without a word: it is not combined with tensors of
the host (scalars apart), not read as an array, not drawn by a generator of the host. Everything else is computed by
the host's own kernel, forward and backward. `lazy` is a device type that torch knows and this package does not: code
that asks whether a tensor is on the host takes the way that it takes on a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

ELSEWHERE = "lazy:0"
_DEVICE, _HOST = torch.device(ELSEWHERE), torch.device("cpu")
_aten = torch.ops.aten
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
"""What takes a tensor from one device to the other."""


class MixedDevicesError(RuntimeError):
    """An operation would take tensors of both devices."""


class Away(Tensor):
    """A tensor elsewhere; `kept` holds its numbers."""

    kept: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Away:
        """One that looks like `inner`, but for its device."""
        made: Away = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=_DEVICE,
        )
        made.kept = inner
        return made

    def tolist(self) -> Any:
        """As of any tensor; torch has no such method for subclasses."""
        return self.kept.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        return _run(operation, args, dict(kwargs or {}))


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations that make tensors, which have no tensor to be asked by."""

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _run(operation, args, dict(kwargs or {}))


@contextmanager
def elsewhere() -> Iterator[str]:
    """The name of the device, while it is there."""
    adam = sys.modules["torch.optim.adam"]
    # It lists the devices with a fused kernel, and this one has the host's.
    with patch.object(adam, "_device_dtype_check_for_fused", lambda *_, **__: None), _Watch():  # type: ignore[no-untyped-call]
        yield ELSEWHERE


def _run(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values, form = tree_flatten((args, kwargs))
    away = [value for value in values if isinstance(value, Away)]
    if operation not in _MOVES:
        _expect_one_device(operation, away, values)
    target = kwargs.get("device")
    is_away = bool(away) if target is None else torch.device(target) == _DEVICE
    if operation is _aten.copy_.default:
        is_away = isinstance(args[0], Away)
    if is_away and kwargs.get("generator") is not None:
        raise MixedDevicesError(f"{operation}: a generator of the host cannot draw elsewhere")
    inner_args, inner_kwargs = tree_unflatten([_here(value) for value in values], form)
    found = operation(*inner_args, **inner_kwargs)
    if torch.Tag.inplace_view in operation.tags:
        # Shape and strides of the outer tensor follow, by the kernel that computes nothing else.
        operation.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.Meta), *args, **kwargs)
    # What an operation writes to is returned as itself.
    known = {id(tensor.kept): tensor for tensor in away}
    return tree_map(lambda value: _outside(value, known, is_away), found)


def _expect_one_device(operation: Any, away: list[Away], values: Sequence[Any]) -> None:
    here = [value for value in values if isinstance(value, Tensor) and not isinstance(value, Away) and value.dim()]
    if away and here:
        shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (away, here)]
        raise MixedDevicesError(f"{operation}: tensors {shapes[0]} lie elsewhere, {shapes[1]} on the host")


def _here(value: Any) -> Any:
    if isinstance(value, Away):
        return value.kept
    return _HOST if isinstance(value, torch.device) else value


def _outside(value: Any, known: Mapping[int, Away], is_away: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    if id(value) in known:
        return known[id(value)]
    if not is_away:
        return value
    # Made in inference mode, a wrapper could not share its counter of versions with what it is a view of.
    with torch.inference_mode(False):
        return Away(value)
