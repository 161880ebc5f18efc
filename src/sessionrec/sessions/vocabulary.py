"""Vocabularies: which integer stands for which id or category.

Codes pass through two numberings. A partition numbers what it meets (local codes, in no particular order). The final
index orders the values by their number of training events, most frequent first, ties by value. Index 0 is `unknown`: a
value without training events there has no row of its own. For items the values without training events stay at the end,
so that a target outside the candidates can be counted; the candidates are the prefix `1..num_trained`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from sessionrec.jagged import IntArray

Codes = npt.NDArray[np.int32]


def encode(values: pl.Series) -> tuple[Codes, pl.Series]:
    """Local codes, in no particular order.

    Args:
        values: [N] Int64 or String; nulls allowed.

    Returns:
        [N] codes, -1 for null, and [M] the values.
    """
    dense = _encode_dense(values)
    if dense is not None:
        return dense
    array: Any = values.to_arrow()
    encoded = array.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices
    if codes.null_count:
        codes = codes.fill_null(-1)
    return codes.to_numpy(), pl.Series(values.name, encoded.dictionary, dtype=values.dtype)


def _encode_dense(values: pl.Series) -> tuple[Codes, pl.Series] | None:
    """Codes by looking up in a table, if the integers lie close enough together: several times faster than hashing."""
    if values.dtype != pl.Int64 or values.null_count() or not len(values):
        return None
    numbers = values.to_numpy()
    least = int(numbers.min())
    span = int(numbers.max()) - least + 1
    if span > 4 * len(numbers):
        return None
    shifted = numbers - least
    is_there = np.zeros(span, np.bool_)
    is_there[shifted] = True
    there = np.flatnonzero(is_there)
    table = np.empty(span, np.int32)
    table[there] = np.arange(len(there), dtype=np.int32)
    return table[shifted], pl.Series(values.name, there + least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """The values of all partitions, sorted, and where each partition's local codes lie in it."""

    values: pl.Series
    """[M] distinct, ascending."""
    maps: tuple[Codes, ...]
    """One a partition: local code -> place in `values`."""

    def __len__(self) -> int:
        return len(self.values)


def unite(locals_: Sequence[pl.Series]) -> Union:
    """Merge the local values of all partitions into one ascending list."""
    values = pl.concat(locals_).unique().sort()
    return Union(values=values, maps=tuple(_search(values, local) for local in locals_))


def _search(values: pl.Series, wanted: pl.Series) -> Codes:
    if len(values) == len(wanted) == 0:
        return np.zeros(0, np.int32)
    return values.search_sorted(wanted).to_numpy().astype(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Final numbering of one kind of id or category; row i describes index i + 1."""

    name: str
    values: pl.Series
    """[V] values by descending number of training events, ties ascending."""
    train_events: IntArray
    """[V] number of training events."""

    @property
    def num_trained(self) -> int:
        """Values with at least one training event: indices 1 to this."""
        return int(np.count_nonzero(self.train_events))

    @property
    def size(self) -> int:
        """Rows an embedding table needs: the values and index 0."""
        return len(self.values) + 1


def number(name: str, union: Union, train_events: IntArray, is_kept: npt.NDArray[np.bool_]) -> tuple[Vocabulary, Codes]:
    """Number the values that are kept.

    Args:
        name: Name of the vocabulary.
        union: All values.
        train_events: [M] training events of each.
        is_kept: [M] whether the value gets an index at all.

    Returns:
        The vocabulary, and [M] place in `union.values` -> final index, 0 where there is none.
    """
    kept = np.flatnonzero(is_kept)
    order = kept[np.argsort(-train_events[kept], kind="stable")]
    index = np.zeros(len(union), np.int32)
    index[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    vocabulary = Vocabulary(name=name, values=union.values.gather(order), train_events=train_events[order])
    return vocabulary, index
