"""Checkpoints: everything a run needs to go on as if it had never stopped, in formats that hold no code.

A checkpoint is an artifact (written whole or not at all) with the weights and the optimizer's moments as safetensors,
and the rest (steps, loader, random streams, best value so far) as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sessionrec.artifacts import MANIFEST, ArtifactWriter, DamagedError, read_manifest
from sessionrec.errors import ArtifactError
from sessionrec.train.optim import Optimizer

KIND, FORMAT = "checkpoint", 1
_WEIGHTS, _MOMENTS, _STATE = "weights.safetensors", "moments.safetensors", "state.json"
_AGAIN = "run the same `sessionrec fit` again, which writes it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands, beside its weights and moments."""

    loader: dict[str, Any]
    """`Loader.state_dict()`."""
    generators: dict[str, Tensor]
    """State of each random stream by name, uint8."""
    progress: dict[str, Any]
    """Plain numbers and texts: epoch, step, best value, ..."""


def save(path: Path, model: nn.Module, optimizer: Optimizer, state: RunState, described: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until this one is whole.

    Args:
        path: Folder.
        model: Its weights.
        optimizer: Its moments.
        state: The rest of the run.
        described: For the manifest: config, data set, ...
    """
    with ArtifactWriter(path, kind=KIND, format=FORMAT) as writer:
        save_file(_plain(model.state_dict()), writer.file(_WEIGHTS))
        save_file(_plain(optimizer.state_dict() | _named(state.generators)), writer.file(_MOMENTS))
        tree = {"loader": state.loader, "progress": state.progress, "streams": sorted(state.generators)}
        writer.file(_STATE).write_text(json.dumps(tree), encoding="utf-8")
        writer.commit(described)


def load(path: Path, model: nn.Module, optimizer: Optimizer, described: dict[str, Any] | None = None) -> RunState:
    """Read a checkpoint into a model and an optimizer of the same shape.

    Args:
        path: Folder.
        model: Gets the weights.
        optimizer: Gets the moments.
        described: What the checkpoint must say of its run; None takes any.

    Raises:
        ArtifactError: It is not there, or of another run or model.
        DamagedError: A file of it cannot be read.
    """
    manifest = read_manifest(path, kind=KIND, format=FORMAT)
    if described is not None:
        _expect_same(path, described, manifest.body)
    folder = path / manifest.content
    load_weights(folder / _WEIGHTS, model)
    moments = _read(folder / _MOMENTS)
    try:
        tree = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        loader, progress, streams = dict(tree["loader"]), dict(tree["progress"]), list(tree["streams"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(folder / _STATE, f"damaged, cannot be read: {error!r}", _AGAIN) from None
    try:
        generators = {name: moments.pop(f"stream.{name}") for name in streams}
        optimizer.load_state_dict(moments)
    except (KeyError, ValueError) as error:
        raise DamagedError(folder / _MOMENTS, f"damaged, cannot be read: {error!r}", _AGAIN) from None
    return RunState(loader=loader, generators=generators, progress=progress)


def load_model(path: Path, model: nn.Module) -> None:
    """Read the weights of a checkpoint, and nothing else of it.

    Raises:
        ArtifactError: It is not there, or of another model.
        DamagedError: The weights cannot be read.
    """
    manifest = read_manifest(path, kind=KIND, format=FORMAT)
    load_weights(path / manifest.content / _WEIGHTS, model)


def load_weights(file: Path, model: nn.Module) -> None:
    """Read weights into a model.

    Raises:
        ArtifactError: A weight is missing, unknown or of another shape, such as of another catalogue.
        DamagedError: The file cannot be read.
    """
    found, own = _read(file), model.state_dict()
    for name in sorted(found.keys() | own.keys()):
        there = list(found[name].shape) if name in found else "nothing"
        wanted = list(own[name].shape) if name in own else "nothing"
        if there != wanted:
            raise ArtifactError(
                f"{file}: weight {name!r}: expected {wanted}, found {there}; "
                "the checkpoint belongs to another model or another catalogue"
            )
    model.load_state_dict(found)


def way_on(run: Path) -> str:
    """What to do where `last` of a run is damaged: `best` is a checkpoint too, and its epoch one to go on after."""
    anew = f"delete {run / 'last'} and run the same `sessionrec fit` again, which begins anew"
    if not (run / "best" / MANIFEST).is_file():
        return anew
    return f"{anew}, or goes on after the best epoch if a copy of {run / 'best'} takes its place"


def _expect_same(path: Path, wanted: Any, found: Any, key: str = "") -> None:
    """Name the first setting in which two runs differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(wanted.keys() | found.keys()):
            _expect_same(path, wanted.get(name), found.get(name), f"{key}.{name}" if key else name)
    # Tuples become lists in JSON.
    elif json.loads(json.dumps(wanted)) != found:
        raise ArtifactError(
            f"{path}: the checkpoint is of another run: {key} is {found!r} there and {wanted!r} here; "
            "resume with the same settings, or train into another folder"
        )


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name."""
    try:
        return load_file(file)
    except SafetensorError as error:
        raise DamagedError(file, f"damaged, cannot be read: {error}", _AGAIN) from None
    except OSError as error:
        # Of safetensors' own making: it names no file.
        raise ArtifactError(f"{file}: cannot be read: {error}; see to it, then run the same command again") from None


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _named(generators: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"stream.{name}": state.to(torch.uint8) for name, state in generators.items()}
