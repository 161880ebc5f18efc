"""Items, rows, masks, filters and exclusions, by worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.index import Filter
from sessionrec.index.holdings import stock
from sessionrec.jagged import Jagged

ITEMS = np.array([9, 2, 7, 3])
TOPIC = np.array([0, 4, 1, 4])


def test_items_are_sorted_and_features_and_vectors_follow() -> None:
    holdings, order = stock(ITEMS, {"topic": TOPIC})
    assert holdings.items_N.tolist() == [2, 3, 7, 9]
    assert holdings.features["topic"].tolist() == [4, 4, 1, 0]
    assert order is not None
    assert order.tolist() == [1, 3, 2, 0]
    assert stock(np.array([1, 2, 5]))[1] is None


def test_rows_of_items_and_none_for_strangers() -> None:
    holdings, _ = stock(ITEMS)
    assert holdings.rows_of(np.array([2, 9, 4, 0, -1, 100, 7])).tolist() == [0, 3, -1, -1, -1, -1, 2]


def test_a_filter_is_equality_or_membership_in_every_feature() -> None:
    holdings, _ = stock(ITEMS, {"topic": TOPIC, "brand": np.array([5, 6, 5, 5])})

    def rows(**where: int | tuple[int, ...]) -> list[int]:
        allowed = holdings.allowed(Filter(where=where))
        assert allowed is not None
        return list(allowed)

    # In the order of the items 2, 3, 7, 9: topics 4 4 1 0, brands 6 5 5 5.
    assert rows(topic=4) == [0, 1]
    assert rows(topic=(0, 1)) == [2, 3]
    assert rows(topic=4, brand=5) == [1]
    assert rows(topic=()) == []
    assert rows() == [0, 1, 2, 3]


def test_a_filter_is_read_strictly() -> None:
    assert parse(Filter, {"where": {"topic": [1, 2], "brand": 3}}, "test").where == {"topic": (1, 2), "brand": 3}
    with pytest.raises(ConfigError, match="topic"):
        parse(Filter, {"where": {"topic": "sport"}}, "test")
    with pytest.raises(ConfigError, match="unknown key"):
        parse(Filter, {"what": {}}, "test")


def test_a_mask_goes_by_item_index_and_may_be_longer_than_the_index() -> None:
    holdings, _ = stock(ITEMS)
    mask = np.zeros(50, np.bool_)
    mask[[0, 3, 9, 40]] = True
    allowed = holdings.allowed(mask)
    assert allowed is not None
    assert allowed.tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"at least \[10\], got bool \[9\]"):
        holdings.allowed(np.ones(9, np.bool_))
    with pytest.raises(ValueError, match=r"got int64 \[3\]"):
        holdings.allowed(np.array([2, 3, 9]))


def test_excluded_pairs_are_distinct_sorted_and_known() -> None:
    holdings, _ = stock(ITEMS)
    seen = Jagged(values=np.array([9, 2, 9, 5, 7, 0]), offsets=np.array([0, 4, 4, 6]))
    excluded = holdings.excluded(seen, 3)
    assert list(zip(excluded.query_P, excluded.row_P, strict=True)) == [(0, 0), (0, 3), (2, 2)]
    assert excluded.counts(3).tolist() == [2, 0, 1]
    assert excluded.of(1, 3).query_P.tolist() == [1]
    taken = excluded.take(np.array([1, 2]))
    assert (taken.query_P.tolist(), taken.row_P.tolist()) == ([1], [2])
    within = excluded.within(np.array([1, 3]))
    assert (within.query_P.tolist(), within.row_P.tolist()) == ([0], [1])


def test_exclusions_of_the_wrong_kind_are_named() -> None:
    holdings, _ = stock(ITEMS)
    with pytest.raises(ValueError, match=r"`exclude` must hold item indices, got float64 \[1\]"):
        holdings.excluded(Jagged(values=np.array([1.5]), offsets=np.array([0, 1])), 1)
