from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from sessionrec.hashing import hash_ids, mix64
from tests.helpers import slow_hash

int64 = st.integers(-(2**63), 2**63 - 1)


def test_the_mixing_is_splitmix64_as_published() -> None:
    # The first outputs of Vigna's splitmix64.c from state 0; each step adds gamma, so `seed` counts the steps.
    zero = np.zeros(1, np.uint64)
    outputs = [int(mix64(zero, seed)[0]) for seed in range(3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_known_ids_keep_their_hash_for_ever() -> None:
    # Written down once (by `slow_hash`): a change here moves every user to another partition, sample and test arm.
    assert hash_ids(pl.Series([0, 1, -1, 2**63 - 1, -(2**63)])).tolist() == [
        16294208416658607535,
        10451216379200822465,
        16490336266968443936,
        3055647633038352039,
        5196802822362493915,
    ]
    assert hash_ids(pl.Series(["", "a", "b\u00f8rn", "\U0001f600"])).tolist() == [
        16294208416658607535,
        15921256332710060186,
        1932943678195226399,
        11205992603070763124,
    ]


@given(st.lists(int64, min_size=1), st.integers(0, 2**63))
def test_hashes_of_integers_equal_the_sum_in_big_integers(ids: list[int], seed: int) -> None:
    assert hash_ids(pl.Series(ids, dtype=pl.Int64), seed).tolist() == [slow_hash(value, seed) for value in ids]


@given(st.lists(st.text(max_size=20)), st.integers(0, 5))
def test_hashes_of_text_equal_the_sum_in_big_integers(ids: list[str], seed: int) -> None:
    assert hash_ids(pl.Series(ids, dtype=pl.String), seed).tolist() == [slow_hash(value, seed) for value in ids]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=12), st.integers(0, 11), st.integers(0, 11))
def test_how_a_series_lies_in_memory_does_not_matter(ids: list[str], start: int, length: int) -> None:
    whole = hash_ids(pl.Series(ids))
    chunked = pl.concat(
        [pl.Series(ids[:start], dtype=pl.String), pl.Series(ids[start:], dtype=pl.String)], rechunk=False
    )
    assert hash_ids(chunked).tolist() == whole.tolist()
    assert hash_ids(pl.Series(ids).slice(start, length)).tolist() == whole[start : start + length].tolist()


def test_chunked_and_sliced_integers_hash_like_whole_ones() -> None:
    ids = pl.concat([pl.Series([1, 2, 3]), pl.Series([4, 5])], rechunk=False)
    assert ids.n_chunks() == 2
    assert hash_ids(ids).tolist() == [slow_hash(n) for n in range(1, 6)]
    assert hash_ids(ids.slice(2, 2)).tolist() == [slow_hash(3), slow_hash(4)]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_no_ids_have_no_hashes(dtype: type[pl.DataType]) -> None:
    assert hash_ids(pl.Series([], dtype=dtype)).tolist() == []


def test_only_empty_texts_hash_to_the_empty_text() -> None:
    assert hash_ids(pl.Series(["", "", ""])).tolist() == [slow_hash("")] * 3


def test_ids_that_read_alike_are_kept_apart() -> None:
    ids = ["", "\0", "\0\0", "a", "a\0", "\0a", "ab", "ba", "1", "01"]
    assert len(set(hash_ids(pl.Series(ids)).tolist())) == len(ids)
    assert hash_ids(pl.Series([1]))[0] != hash_ids(pl.Series(["1"]))[0]


@pytest.mark.parametrize("ids", [pl.Series(range(64_000)), pl.Series([f"user-{n}" for n in range(64_000)])])
def test_consecutive_ids_fill_the_partitions_evenly(ids: pl.Series) -> None:
    hashes = hash_ids(ids)
    for bits in (hashes >> np.uint64(58), hashes & np.uint64(63)):
        counts = np.bincount(bits.astype(np.int64), minlength=64)
        # 1000 expected in each of 64; chi-squared with 63 degrees has mean 63 and deviation 11.2: 6 of them are slack.
        assert ((counts - 1000) ** 2 / 1000).sum() < 63 + 6 * 11.3


def test_seeds_give_independent_hashes() -> None:
    ids = pl.Series(range(10_000))
    first, second = hash_ids(ids, 0) >> np.uint64(63), hash_ids(ids, 1) >> np.uint64(63)
    both = np.bincount((first * np.uint64(2) + second).astype(np.int64), minlength=4)
    # 2500 expected in each cell, deviation 43.
    assert np.all(np.abs(both - 2500) < 6 * 43.4)
