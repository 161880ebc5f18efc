"""Features of a model's candidates: codes for an index, and what a caller wants of them as a filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.errors import HistoryError
from sessionrec.index import Filter
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.schema import INDEX


def item_codes(model: TrainedModel) -> dict[str, npt.NDArray[np.int32]]:
    """[V] codes of each item feature of the candidates."""
    return {
        name: model.items[name].to_numpy()[: model.num_candidates].astype(np.int32)
        for name in model.dataset["item_features"]
    }


def filter_of(model: TrainedModel, where: Mapping[str, Any] | None) -> Filter | None:
    """Items whose features have these values, one or several each; None for all.

    Raises:
        HistoryError: There is no such feature, or it never had such a value.
    """
    if where is None:
        return None
    return Filter(where={name: _wanted(model, name, wanted) for name, wanted in where.items()})


def _wanted(model: TrainedModel, name: str, wanted: Any) -> tuple[int, ...]:
    known = model.dataset["item_features"]
    if name not in known:
        raise HistoryError(f"there is no item feature {name!r}; there are: {', '.join(known) or 'none'}")
    wanted = wanted if isinstance(wanted, list | tuple | set) else [wanted]
    # Written as in the vocabulary.
    values = [str(value).lower() if isinstance(value, bool) else str(value) for value in wanted]
    rows = model.vocabularies.filter(
        (pl.col("role") == "item") & (pl.col("feature") == name) & pl.col("value").is_in(values)
    )
    missing = sorted(set(values) - set(rows["value"]))
    if missing:
        raise HistoryError(f"item feature {name!r} has no value {missing[0]!r} in training")
    return tuple(rows[INDEX].to_list())
