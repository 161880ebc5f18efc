from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import given

from sessionrec.sessions.vocabulary import encode, number, unite

columns = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20).map(lambda v: pl.Series("x", v, pl.Int64)),
    st.lists(st.none() | st.text(max_size=3), max_size=20).map(lambda v: pl.Series("x", v, pl.String)),
)


@given(columns)
def test_local_codes_stand_for_their_values_in_order_of_appearance(values: pl.Series) -> None:
    codes, known = encode(values)
    assert [None if code < 0 else known[int(code)] for code in codes] == values.to_list()
    assert known.to_list() == list(dict.fromkeys(values.drop_nulls().to_list()))
    assert known.dtype == values.dtype
    assert codes.dtype == np.int32


@given(columns, st.integers(0, 20))
def test_chunked_columns_have_the_same_codes(values: pl.Series, cut: int) -> None:
    chunked = pl.concat([values[:cut], values[cut:]], rechunk=False)
    assert encode(chunked)[0].tolist() == encode(values)[0].tolist()
    assert encode(chunked)[1].to_list() == encode(values)[1].to_list()


@given(st.lists(st.lists(st.text(max_size=2), unique=True, max_size=6), min_size=1, max_size=4))
def test_the_union_is_sorted_and_each_map_leads_into_it(locals_: list[list[str]]) -> None:
    union = unite([pl.Series(values, dtype=pl.String) for values in locals_])
    assert union.values.to_list() == sorted({value for values in locals_ for value in values}, key=str.encode)
    for values, place in zip(locals_, union.maps, strict=True):
        assert union.values.gather(place).to_list() == values


@given(st.dictionaries(st.integers(-5, 5), st.tuples(st.integers(0, 3), st.booleans()), min_size=1))
def test_indices_go_by_training_count_then_id_and_unknown_is_zero(known: dict[int, tuple[int, bool]]) -> None:
    union = unite([pl.Series(list(known), dtype=pl.Int64)])
    values = union.values.to_list()
    counts = np.array([known[value][0] for value in values])
    vocabulary, index = number("item", union, counts, np.array([known[value][1] for value in values]))
    kept = sorted((value for value in known if known[value][1]), key=lambda value: (-known[value][0], value))
    assert vocabulary.values.to_list() == kept
    assert {value: int(n) for value, n in zip(values, index, strict=True)} == {
        value: kept.index(value) + 1 if value in kept else 0 for value in values
    }
    assert vocabulary.train_events.tolist() == [known[value][0] for value in kept]
    assert vocabulary.num_trained == Counter(known[value][0] > 0 for value in kept)[True]
    assert vocabulary.size == len(kept) + 1
