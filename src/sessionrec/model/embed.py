"""Embedding (paper 3.3, Eq. 3-4): events become tokens, items become candidates, from the same tables.

Letters: E events, U distinct items of a step, N items, D width, V catalogue.

    token of an event      MLP([id | item features | action | context features])
    candidate of an item   MLP'([id | item features]), or the id row itself when there are no item features

A linear map of a concatenation is the sum of linear maps of its parts. So the first layer runs once a distinct item and
once a row of a small table, and an event only adds up what it looks up: cost E x D additions instead of E x (parts x D)
x D multiplications, and no concatenated copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INIT_STD = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRows:
    """The distinct items of a step: looked up once, used wherever they stand."""

    ids_U: Tensor
    """[U] int64, ascending item indices."""
    parts_UX: Tensor
    """[U, X] id row and item features, side by side."""


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
        self.codes_VF: Tensor
        self.register_buffer("codes_VF", codes_VF.to(torch.int32), persistent=False)

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
        ids, inverse = torch.unique(flat, return_inverse=True)
        pieces = inverse.split([tensor.numel() for tensor in items])
        places = tuple(piece.view(tensor.shape) for piece, tensor in zip(pieces, items, strict=True))
        return self.rows(ids), places

    def rows(self, ids_U: Tensor) -> ItemRows:
        """The parts of given items."""
        parts = [F.embedding(ids_U, self.weight, sparse=self.is_sparse and self.training)]
        codes = self.codes_VF[ids_U].long()
        parts += [table(codes[:, column]) for column, table in enumerate(self.features)]
        return ItemRows(ids_U=ids_U, parts_UX=parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))


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

    def hidden(self, rows: ItemRows, place_E: Tensor, action_E: Tensor, features: dict[str, Tensor]) -> Tensor:
        """[E, D] the first layer's output.

        Args:
            rows: Distinct items.
            place_E: [E] place of each event's item in them.
            action_E: [E] bit set.
            features: [E] each, context features by name.
        """
        if self.is_plain:
            return F.embedding(place_E, rows.parts_UX)
        small = [*([] if self.action is None else [self.action]), *self.context]
        codes = [*([] if self.action is None else [action_E]), *(features[name] for name in self.context_names)]
        sums = [F.embedding(place_E, self.from_item(rows.parts_UX))]
        sums += [
            F.embedding(code_E, layer(table.weight))
            for code_E, layer, table in zip(codes, self.from_small, small, strict=True)
        ]
        return F.silu(reduce(add, sums))

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
        self.mlp: nn.Module = nn.Identity()
        if items_width != width:
            self.mlp = nn.Sequential(nn.Linear(items_width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, rows: ItemRows) -> Tensor:
        """[U, D]."""
        vectors: Tensor = self.mlp(rows.parts_UX)
        return vectors


def lookup_table(size: int, width: int) -> nn.Embedding:
    """A fresh [size, width] table; as an `nn.Embedding`, so that an optimizer knows it from a matrix that maps."""
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=INIT_STD)
    return table
