"""`StoredPrior`: a fitted prior and how items stand, as plain values and arrays of a model's artifact.

    manifest            config, scheme, weights, what calibration found
    prior.safetensors   the hidden layer; counts of items and their times; the most similar items, where it has them

Letters: V candidates, H half-lives, C similar pairs of items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sessionrec.config import Config, parse
from sessionrec.dynamics import ItemState
from sessionrec.errors import ArtifactError
from sessionrec.jagged import IntArray
from sessionrec.prior.calibrate import Fitted
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.items import ItemScheme, LiveItems
from sessionrec.prior.prior import Hidden, Prior

Arrays = dict[str, npt.NDArray[Any]]

_FORMAT = 2
"""Raised when features or their order change: weights are of no use for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarItems:
    """The most similar items of every item, sparse by rows."""

    offsets: IntArray
    """[V + 1] cuts pairs into items."""
    column_C: npt.NDArray[np.int32]
    """[C] similar item, index less 1."""
    score_C: npt.NDArray[np.float32]
    """[C] above 0."""

    def with_items(self, number: int, *, as_least: bool) -> SimilarItems:
        """With so many items more, which are similar to none.

        Args:
            number: Of items.
            as_least: Whether an item that is similar to all others is so to these too, as much as to the least: for
                weights that were fitted where nobody was without a neighbour.
        """
        size_V = np.diff(self.offsets)
        is_full_V = size_V >= max(len(size_V) - 1, 1) if as_least else np.zeros(len(size_V), np.bool_)
        least_V = np.full(len(size_V), np.inf, np.float32)
        np.minimum.at(least_V, np.repeat(np.arange(len(size_V)), size_V), self.score_C)
        # Behind those of its row, as their columns are.
        place = np.repeat(self.offsets[1:][is_full_V], number)
        columns = np.tile(np.arange(len(size_V), len(size_V) + number, dtype=np.int32), int(is_full_V.sum()))
        return SimilarItems(
            offsets=np.concatenate(
                [[0], np.cumsum(np.append(size_V + is_full_V * number, np.zeros(number, np.int64)))]
            ),
            column_C=np.insert(self.column_C, place, columns),
            score_C=np.insert(self.score_C, place, np.repeat(least_V[is_full_V], number)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrior:
    """All that a prior needs to answer for users who bring their histories."""

    fitted: Fitted
    """Weights, and what calibration found."""
    live: LiveItems
    """How items stand after the last event of the data set."""
    similar: SimilarItems | None
    """With `has_neighbours`."""
    num_new: int = 0
    """The last items, which came after the weights were fitted."""

    @property
    def scheme(self) -> ItemScheme:
        """Which features items have."""
        return self.live.scheme

    def with_items(self, number: int) -> StoredPrior:
        """The same weights over so many items more, of which nothing has happened and which are similar to none; where
        the weights know of no such item, they stand as the least known one."""
        similar = self.similar
        if similar is not None:
            similar = similar.with_items(number, as_least=not self.fitted.has_new)
        live = self.live.with_items(number, as_least=not self.fitted.has_new)
        return replace(self, live=live, similar=similar, num_new=self.num_new + number)


class _Weights(Config):
    weights: dict[str, float]
    scale: float
    trust: float
    contribution: dict[str, float]


class _Values(Config):
    """What the manifest says."""

    format: int
    config: PriorConfig
    span_s: float
    rate: float
    has_shown: bool
    find: _Weights
    order: _Weights | None
    has_hidden: bool
    loss: float
    loss_linear: float
    loss_without: float
    num_questions: int = Field(ge=0)
    has_new: bool = True
    """By default as priors were kept that did not say: no item stands for another."""


def values_of(stored: StoredPrior) -> dict[str, Any]:
    """For the manifest."""
    fitted, scheme = stored.fitted, stored.scheme
    return _Values(
        format=_FORMAT,
        config=scheme.config,
        span_s=scheme.span_s,
        rate=scheme.rate,
        has_shown=scheme.has_shown,
        find=_weights(fitted.prior, fitted.contribution),
        order=None if fitted.order is None else _weights(fitted.order, fitted.contribution_order),
        has_hidden=fitted.prior.hidden is not None,
        loss=fitted.loss,
        loss_linear=fitted.loss_linear,
        loss_without=fitted.loss_without,
        num_questions=fitted.num_questions,
        has_new=fitted.has_new,
    ).model_dump(mode="json")


def _weights(prior: Prior, contribution: dict[str, float]) -> _Weights:
    return _Weights(weights=dict(prior.weights), scale=prior.scale, trust=prior.trust, contribution=contribution)


def write_arrays(stored: StoredPrior, path: Path) -> None:
    """The file beside the manifest."""
    arrays: Arrays = {}
    if (hidden := stored.fitted.prior.hidden) is not None:
        for name in ("inputs_FH", "bias_H", "outputs_H"):
            arrays[f"hidden.{name}"] = getattr(hidden, name).detach().numpy()
    for kind, state in (("acted", stored.live.acted), ("shown", stored.live.shown)):
        if state is not None:
            arrays[f"{kind}.after_VH"] = state.after_VH.astype(np.float32)
            arrays[f"{kind}.time_ms_V"], arrays[f"{kind}.first_ms_V"] = state.time_ms_V, state.first_ms_V
    if stored.similar is not None:
        for name in ("offsets", "column_C", "score_C"):
            arrays[f"similar.{name}"] = getattr(stored.similar, name)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read(values: Mapping[str, Any], path: Path, num_candidates: int) -> StoredPrior:
    """What `values_of` and `write_arrays` kept.

    Raises:
        ArtifactError: The file is not there, or does not fit the manifest.
        ConfigError: The manifest's values are not such.
    """
    if values.get("format") != _FORMAT:
        raise ArtifactError(f"{path}: the prior was fitted by another version of sessionrec; fit the model again")
    kept = parse(_Values, dict(values), str(path))
    scheme = ItemScheme(config=kept.config, span_s=kept.span_s, rate=kept.rate, has_shown=kept.has_shown)
    try:
        arrays: Arrays = load_file(path)
        hidden = None
        if kept.has_hidden:
            names = ("inputs_FH", "bias_H", "outputs_H")
            hidden = Hidden(**{name: torch.from_numpy(arrays[f"hidden.{name}"]) for name in names})
            sizes = len(kept.find.weights), len(hidden.bias_H)
            if hidden.inputs_FH.shape != sizes or hidden.outputs_H.shape != sizes[1:]:
                raise ValueError(f"a hidden layer of {sizes[1]} units is not over {sizes[0]} features")
        acted = _state(arrays, "acted", scheme.counted_s[0], num_candidates)
        shown = _state(arrays, "shown", scheme.counted_s[1], num_candidates) if scheme.has_shown else None
        similar = _similar(arrays, num_candidates) if kept.config.has_neighbours else None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not the prior that the manifest speaks of: {error}; fit the model again"
        ) from None
    find, order = kept.find, kept.order
    fitted = Fitted(
        prior=Prior(weights=find.weights, scale=find.scale, trust=find.trust, hidden=hidden),
        order=None if order is None else Prior(weights=order.weights, scale=order.scale, trust=order.trust),
        contribution=find.contribution,
        contribution_order={} if order is None else order.contribution,
        loss=kept.loss,
        loss_linear=kept.loss_linear,
        loss_without=kept.loss_without,
        num_questions=kept.num_questions,
        has_new=kept.has_new,
    )
    return StoredPrior(fitted=fitted, live=LiveItems(scheme, acted, shown), similar=similar)


def _state(arrays: Arrays, kind: str, half_lives_s: tuple[float, ...], num_candidates: int) -> ItemState:
    after_VH, time_ms_V, first_ms_V = (arrays[f"{kind}.{name}"] for name in ("after_VH", "time_ms_V", "first_ms_V"))
    shapes = [after_VH.shape, time_ms_V.shape, first_ms_V.shape]
    if shapes != [(num_candidates, len(half_lives_s)), (num_candidates,), (num_candidates,)]:
        raise ValueError(f"counts of {num_candidates} items at {len(half_lives_s)} half-lives have the shapes {shapes}")
    # Copies that can be written to, and precise enough for that: events change them, one at a time.
    return ItemState(
        half_lives_s=half_lives_s,
        after_VH=after_VH.astype(np.float64),
        time_ms_V=time_ms_V.copy(),
        first_ms_V=first_ms_V.copy(),
    )


def _similar(arrays: Arrays, num_candidates: int) -> SimilarItems:
    found = SimilarItems(**{name: arrays[f"similar.{name}"] for name in ("offsets", "column_C", "score_C")})
    if (
        np.any(np.diff(found.offsets) < 0)
        or len(found.offsets) != num_candidates + 1
        or not len(found.column_C) == len(found.score_C) == found.offsets[-1]
    ):
        raise ValueError(f"similar items are not those of {num_candidates} candidates")
    if len(found.column_C) and not 0 <= found.column_C.min() <= found.column_C.max() < num_candidates:
        raise ValueError("a similar item is no candidate")
    return found
