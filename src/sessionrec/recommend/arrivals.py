"""Items that came after a model's data set: the model over a larger catalogue, without training it again.

Such an item has no more than its attributes: its vector is made of them and of the mean id row, as of an item of the
data set that training never saw, and nothing has happened to it yet.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from sessionrec.errors import HistoryError
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.coding import Lookup, feature_values, item_ids
from sessionrec.schema import FIRST_SEEN_MS, INDEX, ITEM, TITLE, TRAIN_EVENTS, TRAIN_POSITIVES, UNKNOWN
from sessionrec.sessions.bins import to_bins

_log = logging.getLogger(__name__)


def with_items(trained: TrainedModel, items: pl.DataFrame) -> TrainedModel:
    """The model over the items of a table too. Those that it knows stay as they are; of several rows the first counts.
    What happens is counted apart from then on, also where there is nothing new.

    Args:
        trained: With a prior: without one, items that training never saw are no candidates.
        items: See `SessionRec.with_items`.

    Raises:
        HistoryError: The model has no prior, or a column is missing or of the wrong type.
    """
    if trained.prior is None:
        raise HistoryError(
            "this model has no prior and never answers with items that training did not see; "
            "fit one with the preset `sessionrec`"
        )
    new = _rows_of(trained, items)
    prior = trained.prior.with_items(len(new))
    if not len(new):
        return replace(trained, prior=prior)
    about = trained.dataset
    codes_NF = np.zeros((len(new), len(about["item_features"])), np.int32)
    for column, name in enumerate(about["item_features"]):
        codes_NF[:, column] = new[name].to_numpy()
    num_used = trained.recommender.items.codes_VF.shape[1]
    return replace(
        trained,
        recommender=trained.recommender.with_items(torch.from_numpy(codes_NF[:, :num_used]), trained.num_trained),
        items=pl.concat([trained.items, new]),
        body=trained.body
        | {
            "dataset": about | {"num_items": len(trained.items) + len(new)},
            # An index that holds them is none of the model as it was.
            "fingerprint": hashlib.sha256(f"{trained.fingerprint} {new[ITEM].to_list()}".encode()).hexdigest()[:16],
        },
        prior=prior,
    )


def _rows_of(trained: TrainedModel, items: pl.DataFrame) -> pl.DataFrame:
    """Rows of the catalogue for the new ones of some items."""
    known, about = trained.items, trained.dataset
    for name in (ITEM, *about["item_features"]):
        if name not in items.columns:
            raise HistoryError(
                f"column `{name}` is missing; there are {', '.join(items.columns)}; an item needs its id and all of "
                f"the model's item features ({', '.join(about['item_features']) or 'none'}), with nulls for what is "
                "not known"
            )
    ids = item_ids(items[ITEM])
    cast = ids.cast(known[ITEM].dtype, strict=False)
    if cast.null_count():
        # Text takes any number.
        raise HistoryError(f"items of this model are whole numbers, got {ids.filter(cast.is_null())[0]!r}")
    is_new = cast.is_first_distinct() & ~cast.is_in(known[ITEM].implode())
    items, ids = items.filter(is_new), cast.filter(is_new)
    size = len(known) + len(ids)
    none = np.zeros(len(ids), np.int64)
    columns: dict[str, Any] = {
        INDEX: np.arange(len(known) + 1, size + 1),
        ITEM: ids,
        TITLE: feature_values(items, TITLE, pl.String),
        TRAIN_EVENTS: none,
        TRAIN_POSITIVES: none,
        FIRST_SEEN_MS: [None] * len(ids),
    }
    for entry in about["features"]:
        if entry["role"] == "item":
            columns[entry["name"]] = _codes(trained, entry, items)
    return pl.DataFrame({name: columns[name] for name in known.columns}, schema=known.schema)


def _codes(trained: TrainedModel, entry: dict[str, Any], items: pl.DataFrame) -> npt.NDArray[np.int32]:
    """[N] of an item feature; 0 for a value that training never had."""
    name = entry["name"]
    if entry["kind"] == "category":
        values = feature_values(items, name, pl.String)
        codes_N = Lookup.of(trained.vocabularies, "item", name).codes(values)
        is_strange = pl.Series(codes_N == UNKNOWN) & values.is_not_null()
        if is_strange.any():
            _log.warning(
                "%d of %d new items have a value of %r that training never had, such as %r; it tells nothing of them",
                is_strange.sum(),
                len(values),
                name,
                values.filter(is_strange)[0],
            )
        return codes_N
    return to_bins(feature_values(items, name, pl.Float64).to_numpy(), np.asarray(entry["edges"], np.float64))
