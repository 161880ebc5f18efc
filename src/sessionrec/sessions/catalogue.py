"""The items of a data set: what is known of each, from training events and from the log's own item table.

One row an index, 1 to V, most training events first; the candidates are the rows with at least one. No count and no
time here comes from a validation or test session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from sessionrec.jagged import IntArray
from sessionrec.logs.base import Feature, Log
from sessionrec.schema import FIRST_SEEN_MS, INDEX, ITEM, TITLE, TRAIN_EVENTS, TRAIN_POSITIVES
from sessionrec.sessions.bins import fit_edges, to_bins
from sessionrec.sessions.rows import reading
from sessionrec.sessions.vocabulary import Codes, Vocabulary, encode, number, unite


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """How the values of one feature became indices: a vocabulary, or the edges of bins."""

    name: str
    role: str
    """`context` (of an event) or `item`."""
    vocabulary: Vocabulary | None
    """Of a category."""
    edges: tuple[float, ...]
    """Of a number; empty for a category."""

    @property
    def size(self) -> int:
        """Rows an embedding table needs, index 0 included."""
        return self.vocabulary.size if self.vocabulary is not None else len(self.edges) + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Items, one row an index, and the tables of their features."""

    frame: pl.DataFrame
    """`index`, `item`, `title`?, `train_events`, `train_positives`, `first_seen_ms` (null if untrained), features."""
    num_candidates: int
    """Indices 1 to this have a training event."""
    features: tuple[FeatureTable, ...]


def build_catalogue(
    log: Log, items: Vocabulary, train_positives: IntArray, first_seen_ms: IntArray, num_bins: int
) -> Catalogue:
    """Join what the log says of its items to the vocabulary.

    Args:
        log: Its `items` table is streamed here; of an item with several rows the first counts.
        items: The final numbering.
        train_positives: [V] positive training events.
        first_seen_ms: [V] earliest training event, negative if none.
        num_bins: Bins of a numeric feature.
    """
    seen = pl.Series(FIRST_SEEN_MS, first_seen_ms)
    frame = pl.DataFrame(
        {
            INDEX: np.arange(1, len(items.values) + 1, dtype=np.int32),
            ITEM: items.values,
            TRAIN_EVENTS: items.train_events,
            TRAIN_POSITIVES: train_positives,
        }
    ).with_columns(pl.when(seen >= 0).then(seen).alias(FIRST_SEEN_MS))
    if log.items is None:
        return Catalogue(frame=frame, num_candidates=items.num_trained, features=())
    known = _first_rows(log, items.values.sort())
    frame = frame.join(known, on=ITEM, how="left", maintain_order="left")
    tables = []
    for feature in log.item_features:
        table, codes = _encode_feature(feature, frame[feature.name], items.train_events, num_bins)
        tables.append(table)
        frame = frame.with_columns(pl.Series(feature.name, codes))
    order = [INDEX, ITEM, *([TITLE] if TITLE in frame.columns else []), TRAIN_EVENTS, TRAIN_POSITIVES, FIRST_SEEN_MS]
    frame = frame.select(*order, *(feature.name for feature in log.item_features))
    return Catalogue(frame=frame, num_candidates=items.num_trained, features=tuple(tables))


def _first_rows(log: Log, wanted: pl.Series) -> pl.DataFrame:
    """The first row of each wanted item. Streams: an item table can be as long as the log (RecFlow).

    Args:
        log: Its `items`.
        wanted: Ascending item ids.
    """
    assert log.items is not None
    is_missing = np.ones(len(wanted), np.bool_)
    found = [log.items.head(0).collect()]
    with reading(log):
        for batch in log.items.collect_batches(chunk_size=1_000_000, maintain_order=True, engine="streaming"):
            rows = batch.drop_nulls(ITEM).unique(ITEM, keep="first", maintain_order=True)
            place = np.minimum(wanted.search_sorted(rows[ITEM]).to_numpy(), len(wanted) - 1)
            is_new = (wanted.gather(place) == rows[ITEM]).to_numpy() & is_missing[place]
            is_missing[place[is_new]] = False
            found.append(rows.filter(pl.Series(is_new)))
            if not is_missing.any():
                break
    return pl.concat(found)


def _encode_feature(
    feature: Feature, values: pl.Series, train_events: IntArray, num_bins: int
) -> tuple[FeatureTable, Codes]:
    if feature.kind == "number":
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        edges = fit_edges(numbers[train_events > 0], num_bins)
        table = FeatureTable(name=feature.name, role="item", vocabulary=None, edges=tuple(edges.tolist()))
        return table, to_bins(numbers, edges)
    codes, local = encode(values.cast(pl.String) if values.dtype == pl.Boolean else values)
    events = np.bincount(codes[codes >= 0], train_events[codes >= 0], minlength=len(local)).astype(np.int64)
    table, maps = number_categories(feature.name, "item", [local], [events])
    return table, maps[0][codes]


def number_categories(
    name: str, role: str, locals_: list[pl.Series], events: list[IntArray]
) -> tuple[FeatureTable, list[Codes]]:
    """Number the values of a category over all partitions.

    Args:
        name: The feature.
        role: `context` or `item`.
        locals_: Per partition, the value of each local code.
        events: Per partition, [L] training events of each local code.

    Returns:
        The table, and per partition [L + 1] local code -> final index; the last entry, reached by the code -1 of a
        null, is `UNKNOWN`.
    """
    union = unite(locals_)
    total = np.zeros(len(union), np.int64)
    for place, count in zip(union.maps, events, strict=True):
        total[place] += count
    vocabulary, index = number(name, union, total, total > 0)
    maps = [np.append(index[place], np.int32(0)) for place in union.maps]
    return FeatureTable(name=name, role=role, vocabulary=vocabulary, edges=()), maps
