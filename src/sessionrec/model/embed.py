"""Embedding (paper 3.3, Eq. 3-4): events become tokens, items become candidates, from the same tables.

Letters: E events, T distinct tokens, U distinct items of a step, W rows of small parts, N items, D width, V catalogue.

    token of an event      MLP([id | item features | action | context features])
    candidate of an item   MLP'([id | item features]), or the id row itself when there are no item features

A linear map of a concatenation is the sum of linear maps of its parts. So the first layer runs once a distinct item and
once a row of a small table, and a token only adds up what it looks up. Events of one item with the same action and
context share their token: on the host it is made once, and an event is a place in the tokens (`Tokens`). Cost: a sort
of E numbers and T x D additions instead of E x (parts x D) x D multiplications, and no [E, D] copy.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sessionrec.grouped import Grouping, distinct, is_fast_here, pool, take

INIT_STD = 0.02
_WHOLE_TABLE = 1024
"""Combinations of action and context up to which their sums are made for all, not for those that stand in the batch."""
_MOST_KEYS = 2**31
_LARGE_FEATURE = 4096
"""Rows from which on the table of an item feature, such as the author, is trained like the id table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRows:
    """The distinct items of a step: looked up once, used wherever they stand."""

    ids_U: Tensor
    """[U] int64, ascending item indices."""
    id_UD: Tensor
    """[U, D] id rows."""
    features: tuple[tuple[Tensor, Grouping], ...]
    """Of each item feature rows of its table, [W, D], and which of them each item has."""

    @property
    def parts_UX(self) -> Tensor:
        """[U, X] id row and item features, side by side."""
        parts = [self.id_UD, *(take(values, grouping) for values, grouping in self.features)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def map(self, layer: nn.Linear) -> Tensor:
        """[U, D'] `layer(parts_UX)`. A feature is mapped once a row of it, not once an item, and not put side by side:
        U x D multiplications instead of U x X; unless there are more rows of features than items have, as for a single
        user's."""
        num_rows = sum(len(values) for values, _ in self.features)
        if not is_fast_here(self.id_UD) or num_rows >= len(self.ids_U) * len(self.features):
            return F.linear(self.parts_UX, layer.weight, layer.bias)
        own, *others = torch.split(layer.weight, self.id_UD.shape[1], dim=1)
        mapped = F.linear(self.id_UD, own, layer.bias)
        table = torch.cat([F.linear(values, part) for (values, _), part in zip(self.features, others, strict=True)])
        return mapped.add_(pool(table, self._all_features(), torch.arange(len(self.ids_U) + 1) * len(others)))

    def _all_features(self) -> Grouping:
        """[U * F] rows of all features, end to end, item by item."""
        starts = [0]
        for values, _ in self.features:
            starts.append(starts[-1] + len(values))
        places = [grouping.place_E + start for (_, grouping), start in zip(self.features, starts, strict=False)]
        return Grouping(torch.stack(places, dim=1).reshape(-1), starts[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of events before the affine second layer, each distinct one once."""

    values_TD: Tensor
    """[T, D]."""
    grouping: Grouping | None
    """Which token each event is; None where every event has its own, in order."""

    def each(self, values_TD: Tensor) -> Tensor:
        """[E, D] a row an event, from a row a token."""
        return values_TD if self.grouping is None else take(values_TD, self.grouping)


class ItemTable(nn.Module):
    """Id rows and item features of the catalogue.

    Args:
        num_items: V; index 0 is the unknown item.
        width: D.
        features: Rows of each item feature's table, index 0 = unknown.
        codes_VF: [V + 1, F] int, the features of each item; row 0 is the unknown item's.
        is_sparse: Whether gradients of the id rows name the touched rows only, for an optimizer whose step does not
            grow with the catalogue.
    """

    def __init__(
        self, *, num_items: int, width: int, features: dict[str, int], codes_VF: Tensor, is_sparse: bool
    ) -> None:
        super().__init__()
        if codes_VF.shape != (num_items + 1, len(features)):
            raise ValueError(
                f"`codes_VF` must be [{num_items + 1}, {len(features)}], one row an item and the unknown one, "
                f"got {list(codes_VF.shape)}"
            )
        self.num_items, self.width, self.is_sparse = num_items, width, is_sparse
        self.weight = nn.Parameter(torch.empty(num_items + 1, width).normal_(std=INIT_STD))
        self.features = nn.ModuleList(lookup_table(size, width) for size in features.values())
        self._is_large = [is_sparse and size > _LARGE_FEATURE for size in features.values()]
        self.codes_VF: Tensor
        self.register_buffer("codes_VF", codes_VF.to(torch.int32), persistent=False)

    def with_items(self, codes_NF: Tensor, row_D: Tensor) -> ItemTable:
        """A table with N items more behind these, all with the same id row; the tables of features are shared.

        Args:
            codes_NF: [N, F] int, their features.
            row_D: [D].
        """
        # Not built anew: that would draw a catalogue of weights to throw them away.
        table = copy(self)
        table._parameters, table._buffers = dict(self._parameters), dict(self._buffers)
        table.num_items = self.num_items + len(codes_NF)
        table.weight = nn.Parameter(torch.cat([self.weight, row_D.expand(len(codes_NF), -1)]).detach())
        table.codes_VF = torch.cat([self.codes_VF, codes_NF.to(self.codes_VF)])
        return table

    @property
    def parts_width(self) -> int:
        """X, width of id row and item features side by side."""
        return self.width * (1 + len(self.features))

    def gather(self, *items: Tensor) -> tuple[ItemRows, tuple[Tensor, ...]]:
        """Look up every distinct item once.

        Args:
            items: Item indices, each of any shape.

        Returns:
            The rows, and for each argument the place of its items in them, in its shape.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in items])
        if is_fast_here(self.weight) and self.num_items < _MOST_KEYS:
            ids, grouping = distinct(flat)
            inverse = grouping.place_E
        else:
            ids, inverse = torch.unique(flat, return_inverse=True)
        pieces = torch.split(inverse, [tensor.numel() for tensor in items])
        places = tuple(piece.view(tensor.shape) for piece, tensor in zip(pieces, items, strict=True))
        return self.rows(ids), places

    @property
    def sparse_tables(self) -> list[nn.Parameter]:
        """Parameters whose gradients name the touched rows only."""
        if not self.is_sparse:
            return []
        large = [table for table, is_large in zip(self.features, self._is_large, strict=True) if is_large]
        return [self.weight, *(parameter for table in large for parameter in table.parameters())]

    def rows(self, ids_U: Tensor) -> ItemRows:
        """The parts of given items."""
        id_UD = F.embedding(ids_U, self.weight, sparse=self.is_sparse and self.training)
        codes_UF = self.codes_VF.index_select(0, ids_U).long()
        features = []
        for table, code_U, is_large in zip(self.features, codes_UF.unbind(1), self._is_large, strict=True):
            assert isinstance(table, nn.Embedding)
            if is_large:
                code_W, place_U = torch.unique(code_U, return_inverse=True)
                values = F.embedding(code_W, table.weight, sparse=self.training)
                features.append((values, Grouping(place_U, len(code_W))))
            else:
                features.append((table.weight, Grouping(code_U.contiguous(), table.num_embeddings)))
        return ItemRows(ids_U=ids_U, id_UD=id_UD, features=tuple(features))


class EventEmbedder(nn.Module):
    """Tokens of events: `project(hidden(...))`, two steps so that a linear session encoder can pool in between.

    Args:
        items_width: X of the item table.
        width: D.
        num_actions: Named actions beside `positive`; None leaves the action out of the token.
        context: Rows of each context feature's table.
    """

    def __init__(self, *, items_width: int, width: int, num_actions: int | None, context: dict[str, int]) -> None:
        super().__init__()
        self.context_names = tuple(context)
        self.action = None if num_actions is None else lookup_table(2 ** (num_actions + 1), width)
        self.context = nn.ModuleList(lookup_table(size, width) for size in context.values())
        self.is_plain = items_width == width and self.action is None and not context
        if self.is_plain:
            return
        self.from_item = nn.Linear(items_width, width)
        num_small = len(self.context) + (self.action is not None)
        self.from_small = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(num_small))
        self.output = nn.Linear(width, width)
        for layer in (self.from_item, *self.from_small, self.output):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def tokens(self, rows: ItemRows, place_E: Tensor, action_E: Tensor, features: dict[str, Tensor]) -> Tokens:
        """The first layer's output, each distinct token once where that is cheap.

        Args:
            rows: Distinct items.
            place_E: [E] place of each event's item in them.
            action_E: [E] bit set.
            features: [E] each, context features by name.
        """
        num_items = len(rows.ids_U)
        sizes = [table.num_embeddings for table in self._small_tables()]
        if not is_fast_here(rows.id_UD) or num_items * math.prod(sizes) >= _MOST_KEYS:
            return Tokens(values_TD=self.hidden(rows, place_E, action_E, features), grouping=None)
        if self.is_plain:
            return Tokens(values_TD=rows.id_UD, grouping=Grouping(place_E, num_items))
        # One number for item, action and context; events with the same are one token.
        key_E = place_E
        for code_E, size in zip(self._small_codes(action_E, features), sizes, strict=True):
            _expect_codes(code_E, size)
            key_E = key_E * size + code_E
        key_T, grouping = distinct(key_E)
        num_small = math.prod(sizes)
        # Sorted by the key, tokens stand in the order of their items.
        own_order = torch.arange(len(key_T))
        hidden_TD = take(rows.map(self.from_item), Grouping(key_T // num_small, num_items, own_order))
        if sizes:
            small_T = key_T % num_small
            if num_small <= _WHOLE_TABLE:
                code_W, small = torch.arange(num_small), Grouping(small_T, num_small)
            else:
                code_W, small = distinct(small_T)
            hidden_TD = hidden_TD.add_(take(self._small_sums(code_W, sizes), small))
        return Tokens(values_TD=F.silu(hidden_TD), grouping=grouping)

    def hidden(self, rows: ItemRows, place_E: Tensor, action_E: Tensor, features: dict[str, Tensor]) -> Tensor:
        """[E, D] the first layer's output, a row an event: the plain way, see `tokens`."""
        if self.is_plain:
            return F.embedding(place_E, rows.id_UD)
        sums = [F.embedding(place_E, self.from_item(rows.parts_UX))]
        codes = self._small_codes(action_E, features)
        sums += [
            F.embedding(code_E, layer(table.weight))
            for code_E, layer, table in zip(codes, self.from_small, self._small_tables(), strict=True)
        ]
        return F.silu(reduce(add, sums))

    def _small_tables(self) -> list[nn.Embedding]:
        tables = [*([] if self.action is None else [self.action]), *self.context]
        return [table for table in tables if isinstance(table, nn.Embedding)]

    def _small_codes(self, action_E: Tensor, features: dict[str, Tensor]) -> list[Tensor]:
        return [*([] if self.action is None else [action_E]), *(features[name] for name in self.context_names)]

    def _small_sums(self, code_W: Tensor, sizes: list[int]) -> Tensor:
        """[W, D] sums of what combinations of action and context add to a token."""
        sums = []
        for layer, table, size in reversed(list(zip(self.from_small, self._small_tables(), sizes, strict=True))):
            sums.append(F.embedding(code_W % size, layer(table.weight)))
            code_W = code_W // size
        return reduce(add, sums)

    def project(self, hidden_ED: Tensor) -> Tensor:
        """[E, D] the second layer, an affine map."""
        return hidden_ED if self.is_plain else self.output(hidden_ED)


class CandidateEmbedder(nn.Module):
    """Vectors that queries are compared with.

    Args:
        items_width: X of the item table.
        width: D.
    """

    def __init__(self, *, items_width: int, width: int) -> None:
        super().__init__()
        self.mlp: nn.Sequential | None = None
        if items_width != width:
            self.mlp = nn.Sequential(nn.Linear(items_width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, rows: ItemRows) -> Tensor:
        """[U, D]."""
        if self.mlp is None:
            return rows.id_UD
        first, *others = self.mlp
        assert isinstance(first, nn.Linear)
        vectors_UD = rows.map(first)
        for layer in others:
            vectors_UD = layer(vectors_UD)
        return vectors_UD


def lookup_table(size: int, width: int) -> nn.Embedding:
    """A fresh [size, width] table; as an `nn.Embedding`, so that an optimizer knows it from a matrix that maps."""
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=INIT_STD)
    return table


def _expect_codes(code_E: Tensor, size: int) -> None:
    """In one number with others, a code out of range would be taken for another combination."""
    if len(code_E):
        smallest, largest = torch.aminmax(code_E)
        if int(smallest) < 0 or int(largest) >= size:
            raise IndexError(
                f"a code of an action or context feature must be 0 to {size - 1}, the batch has {int(smallest)} to "
                f"{int(largest)}; prepare the histories with the vocabularies of the data set of the model"
            )
