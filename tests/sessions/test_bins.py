from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from sessionrec.sessions.bins import fit_edges, to_bins

nan = float("nan")


def test_bins_hold_about_equally_many_values() -> None:
    values = np.random.default_rng(0).lognormal(size=10_000)
    counts = np.bincount(to_bins(values, fit_edges(values, 8)), minlength=9)
    assert counts[0] == 0
    assert np.all(np.abs(counts[1:] - 10_000 / 8) <= 1)


def test_edges_are_the_inner_quantiles_and_belong_to_the_upper_bin() -> None:
    # Quantiles 1/4, 1/2 and 3/4 of 0..4 are 1, 2 and 3.
    edges = fit_edges(np.arange(5.0), 4)
    assert edges.tolist() == [1.0, 2.0, 3.0]
    assert to_bins(np.array([-9.0, 0.9, 1.0, 1.9, 2.0, 3.0, 9.0]), edges).tolist() == [1, 1, 2, 2, 3, 4, 4]


def test_a_value_that_makes_up_half_of_the_data_gets_one_bin() -> None:
    values = np.array([0.0] * 50 + [5.0] * 100 + list(range(6, 56)))
    edges = fit_edges(values, 8)
    bins = to_bins(values, edges)
    assert len(np.unique(edges)) == len(edges)
    assert edges.tolist().count(5.0) == 1
    assert len(set(bins[50:150].tolist())) == 1


def test_what_is_no_number_is_unknown_and_moves_no_edge() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    spoilt = np.array([nan, 1.0, 2.0, nan, 3.0, 4.0, np.inf, -np.inf])
    edges = fit_edges(spoilt, 2)
    assert edges.tolist() == fit_edges(values, 2).tolist() == [2.5]
    assert to_bins(spoilt, edges).tolist() == [0, 1, 1, 0, 2, 2, 2, 1]


def test_a_constant_column_has_one_bin_and_an_empty_one_too() -> None:
    assert fit_edges(np.full(9, 3.0), 4).tolist() == []
    assert to_bins(np.array([3.0, 2.0, nan]), np.zeros(0)).tolist() == [1, 1, 0]
    assert fit_edges(np.zeros(0), 4).tolist() == []
    assert fit_edges(np.full(3, nan), 4).tolist() == []


def test_every_training_value_of_two_has_a_bin_of_its_own() -> None:
    values = np.array([0.0, 0.0, 0.0, 1.0])
    assert to_bins(values, fit_edges(values, 32)).tolist()[0] != to_bins(values, fit_edges(values, 32)).tolist()[3]


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50), st.integers(2, 9))
def test_a_bin_counts_the_edges_at_or_below_the_value(values: list[float], num_bins: int) -> None:
    column = np.array(values)
    edges = fit_edges(column, num_bins)
    assert len(edges) <= num_bins - 1
    bins = to_bins(column, edges)
    assert bins.tolist() == [1 + sum(edge <= value for edge in edges.tolist()) for value in values]
    assert bins.min() == 1  # the first bin is never empty
    assert to_bins(column.astype(np.float32), edges).tolist() == bins.tolist()
