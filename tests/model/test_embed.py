"""Embedding: the fast ways against plain tables, one matrix and a concatenation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sessionrec.model.embed import CandidateEmbedder, EventEmbedder, ItemTable
from tests.model.helpers import CODES_VF, CONTEXT, ITEM_FEATURES, NUM_ITEMS, shake

WIDTH = 4


def a_table(*, has_features: bool = True, is_sparse: bool = False) -> ItemTable:
    table = ItemTable(
        num_items=NUM_ITEMS,
        width=WIDTH,
        features=ITEM_FEATURES if has_features else {},
        codes_VF=CODES_VF if has_features else CODES_VF[:, :0],
        is_sparse=is_sparse,
    ).double()
    shake(table)
    return table


def an_embedder(items_width: int, *, num_actions: int | None = 1, context: dict[str, int] = CONTEXT) -> EventEmbedder:
    events = EventEmbedder(items_width=items_width, width=WIDTH, num_actions=num_actions, context=context).double()
    shake(events, seed=1)
    return events


def plain_parts(table: ItemTable, items: Tensor) -> Tensor:
    """[..., X] looked up where it stands."""
    columns = [feature.weight[CODES_VF[items, column]] for column, feature in enumerate(table.features)]  # type: ignore[index]
    return torch.cat([table.weight[items], *columns], dim=-1)


ITEMS = torch.tensor([5, 0, 5, 30, 7, 5, 1])
ACTIONS = torch.tensor([0, 1, 2, 3, 0, 1, 3])
FEATURES = {"device": torch.tensor([0, 1, 2, 3, 0, 1, 2]), "hour": torch.tensor([5, 4, 3, 2, 1, 0, 5])}


@pytest.mark.parametrize("has_features", [True, False])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_gathering_equals_looking_up_each_place(has_features: bool, is_sparse: bool) -> None:
    fast, plain = a_table(has_features=has_features, is_sparse=is_sparse), a_table(has_features=has_features)
    block = torch.tensor([[7, 7, 2], [30, 0, 9]])
    nothing = torch.zeros(0, dtype=torch.int64)
    rows, places = fast.gather(ITEMS, block, nothing)
    assert rows.ids_U.tolist() == [0, 1, 2, 5, 7, 9, 30]
    ours, theirs = torch.zeros(()), torch.zeros(())
    for asked, place in zip((ITEMS, block, nothing), places, strict=True):
        assert place.shape == asked.shape
        found, expected = rows.parts_UX[place], plain_parts(plain, asked)
        assert torch.equal(found, expected)
        ours, theirs = ours + found.square().sum(), theirs + expected.square().sum()
    torch.autograd.backward(ours)
    torch.autograd.backward(theirs)
    for (name, one), other in zip(fast.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert one.grad.is_sparse == (is_sparse and name == "weight")
        torch.testing.assert_close(one.grad.to_dense(), other.grad, rtol=0, atol=1e-12)


def test_a_sparse_gradient_names_each_touched_row_once_in_order() -> None:
    table = a_table(is_sparse=True)
    rows, _ = table.gather(ITEMS)
    torch.autograd.backward(rows.parts_UX.sum())
    assert table.weight.grad is not None
    assert table.weight.grad._indices()[0].tolist() == [0, 1, 5, 7, 30]


def test_codes_that_do_not_fit_the_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`codes_VF` must be \[31, 2\].*got \[30, 2\]"):
        ItemTable(num_items=30, width=4, features=ITEM_FEATURES, codes_VF=CODES_VF[:30], is_sparse=False)


@pytest.mark.parametrize("has_features", [True, False])
@pytest.mark.parametrize("num_actions", [1, None])
@pytest.mark.parametrize("context", [CONTEXT, {}], ids=["context", "none"])
def test_summed_lookups_equal_one_linear_map_of_the_concatenation(
    has_features: bool, num_actions: int | None, context: dict[str, int]
) -> None:
    table = a_table(has_features=has_features)
    events = an_embedder(table.parts_width, num_actions=num_actions, context=context)
    rows, (place_E,) = table.gather(ITEMS)
    tokens = events.tokens(rows, place_E, ACTIONS, FEATURES)
    hidden = tokens.each(tokens.values_TD)
    found = events.project(hidden)
    torch.testing.assert_close(hidden, events.hidden(rows, place_E, ACTIONS, FEATURES), rtol=0, atol=1e-12)
    if not has_features and num_actions is None and not context:
        assert events.is_plain and not list(events.parameters())
        assert torch.equal(found, table.weight[ITEMS])
        return
    parts = [plain_parts(table, ITEMS)]
    if events.action is not None:
        parts.append(events.action.weight[ACTIONS])
    parts += [each.weight[FEATURES[name]] for name, each in zip(context, events.context, strict=True)]  # type: ignore[index]
    matrix = torch.cat([events.from_item.weight, *(layer.weight for layer in events.from_small)], dim=1)  # type: ignore[list-item]
    expected = F.silu(F.linear(torch.cat(parts, dim=1), matrix, events.from_item.bias))
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, events.output(expected), rtol=0, atol=1e-12)

    parameters = [*table.parameters(), *events.parameters()]
    ours = torch.autograd.grad(found.square().sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(events.output(expected).square().sum(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("most", [0, 1024], ids=["those of the batch", "all"])
def test_events_alike_are_one_token(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionrec.model.embed._WHOLE_TABLE", most)
    table = a_table()
    events = an_embedder(table.parts_width)
    items, actions = torch.tensor([5, 5, 5, 7, 5]), torch.tensor([1, 1, 0, 1, 1])
    features = {"device": torch.tensor([2, 2, 2, 2, 3]), "hour": torch.tensor([5, 5, 5, 5, 5])}
    rows, (place_E,) = table.gather(items)
    tokens = events.tokens(rows, place_E, actions, features)
    assert tokens.grouping is not None
    assert tokens.grouping.place_E.tolist() == [1, 1, 0, 3, 2] and len(tokens.values_TD) == 4
    plain = events.hidden(rows, place_E, actions, features)
    torch.testing.assert_close(tokens.each(tokens.values_TD), plain, rtol=0, atol=1e-12)
    parameters = [*table.parameters(), *events.from_item.parameters(), *events.context.parameters()]
    ours = torch.autograd.grad(tokens.each(tokens.values_TD).square().sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(plain.square().sum(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_a_code_out_of_range_is_refused_and_not_taken_for_another() -> None:
    """With device 4 of 4 and hour 0 the number of the token is that of the next action with device 0."""
    table = a_table()
    events = an_embedder(table.parts_width)
    rows, (place_E,) = table.gather(ITEMS)
    for codes in ({"device": torch.full((7,), 4)}, {"hour": torch.full((7,), -1)}):
        with pytest.raises(IndexError, match="a code of an action or context feature"):
            events.tokens(rows, place_E, ACTIONS, FEATURES | codes)


def test_large_feature_tables_are_trained_like_the_id_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessionrec.model.embed._LARGE_FEATURE", 4)
    table = a_table(is_sparse=True).train()
    brand, price = (feature.weight for feature in table.features)
    assert [id(own) for own in table.sparse_tables] == [id(table.weight), id(brand)]
    rows, _ = table.gather(ITEMS)
    assert torch.equal(rows.parts_UX, plain_parts(table, torch.tensor([0, 1, 5, 7, 30])))
    torch.autograd.backward(rows.map(torch.nn.Linear(12, 4).double()).sin().sum())
    assert isinstance(brand, torch.nn.Parameter) and brand.grad is not None and brand.grad.is_sparse
    assert brand.grad._indices()[0].tolist() == [0, 1, 2]
    assert isinstance(price, torch.nn.Parameter) and price.grad is not None and not price.grad.is_sparse
    assert a_table().sparse_tables == []


def test_mapping_parts_equals_mapping_them_side_by_side() -> None:
    table = a_table()
    layer = torch.nn.Linear(table.parts_width, 5).double()
    rows, _ = table.gather(ITEMS)
    fast, plain = rows.map(layer), layer(rows.parts_UX)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    parameters = [*table.parameters(), *layer.parameters()]
    ours = torch.autograd.grad(fast.sin().sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(plain.sin().sum(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_candidate_is_its_id_row_unless_there_are_item_features() -> None:
    table = a_table(has_features=False)
    rows, (place,) = table.gather(ITEMS)
    plain = CandidateEmbedder(items_width=table.parts_width, width=WIDTH)
    assert not list(plain.parameters())
    assert torch.equal(plain(rows)[place], table.weight[ITEMS])

    table = a_table()
    rows, (place,) = table.gather(ITEMS)
    mixed = CandidateEmbedder(items_width=table.parts_width, width=WIDTH).double()
    assert mixed.mlp is not None
    torch.testing.assert_close(mixed(rows)[place], mixed.mlp(plain_parts(table, ITEMS)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("asked", [[1, 2], [1, 2, 3], [1, 2, 3, 4, 5], list(range(30))])
def test_mapping_parts_multiplies_no_more_than_side_by_side(asked: list[int]) -> None:
    """Of few items the whole tables of the features would be more work than the items are."""
    table, layer = a_table(), torch.nn.Linear(12, 5).double()
    rows, _ = table.gather(torch.tensor(asked))
    costs = []
    for do in (lambda: rows.map(layer), lambda: layer(rows.parts_UX)):
        with FlopCounterMode(display=False) as counter:
            mapped = do()
        torch.testing.assert_close(mapped, layer(rows.parts_UX), rtol=0, atol=1e-12)
        costs.append(counter.get_total_flops())
    by_tables = 2 * 4 * 5 * (len(asked) + sum(ITEM_FEATURES.values()))
    assert costs == [min(by_tables, costs[1]), 2 * 12 * 5 * len(asked)]
