"""A stable 64-bit hash of ids: the same on every machine and in every version, unlike the engines' own.

It decides which partition a user's events go to, which users a sample keeps, and later which arm of a test a user sees,
so it must never change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

U64 = npt.NDArray[np.uint64]

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_PRIME = 0x100000001B3


def mix64(values: U64, seed: int = 0) -> U64:
    """SplitMix64's output function of `values + (seed + 1) * gamma`: a bijection of 64-bit words that scatters well."""
    mixed = values + np.uint64((seed + 1) * _GAMMA & _MASK)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_ids(ids: pl.Series, seed: int = 0) -> U64:
    """[N] hash of integer or text ids.

    Text is folded byte by byte as a polynomial modulo 2^64 before mixing, so equal text means an equal hash and nothing
    else is promised: it is no defence against ids made to collide.

    Args:
        ids: Int64 or String, no nulls.
        seed: Another seed gives an independent hash.
    """
    if ids.dtype == pl.String:
        return mix64(_fold_text(ids), seed)
    return mix64(ids.to_numpy().astype(np.int64, copy=False).view(np.uint64), seed)


def _fold_text(ids: pl.Series) -> U64:
    array: Any = ids.to_arrow()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    binary = array.cast(pa.large_binary())
    _, offset_buffer, data_buffer = binary.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64, len(binary) + 1, binary.offset * 8)
    first = int(offsets[0])
    data = np.frombuffer(data_buffer or b"", np.uint8)[first : int(offsets[-1])]
    offsets = offsets - first
    lengths = np.diff(offsets)
    powers = np.full(int(lengths.max(initial=0)) + 1, _PRIME, np.uint64)
    powers[0] = 1
    powers = np.cumprod(powers, dtype=np.uint64)
    position = np.arange(len(data)) - np.repeat(offsets[:-1], lengths)
    # +1 keeps the zero byte from vanishing; the length keeps "" apart from nothing at all.
    terms = (data.astype(np.uint64) + np.uint64(1)) * powers[position]
    total = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(terms, out=total[1:])
    return total[offsets[1:]] - total[offsets[:-1]] + lengths.astype(np.uint64) * np.uint64(_GAMMA)
