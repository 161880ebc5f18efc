"""What a model is made of, as a config, and the one place where it is put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from sessionrec.config import Config
from sessionrec.model.backbones import BackboneConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.embed import CandidateEmbedder, EventEmbedder, ItemTable
from sessionrec.model.recommender import Recommender
from sessionrec.model.session_encoders import SessionEncoderConfig
from sessionrec.model.session_encoders.pooling import MeanConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a model must know of a data set to be built."""

    num_items: int
    """V."""
    num_actions: int
    """Named actions beside `positive`."""
    context_features: dict[str, int]
    """Context features and the rows of their tables."""
    item_features: dict[str, int]
    """Item features and the rows of their tables."""
    codes_VF: Tensor
    """[V + 1, F] the item features of each item, row 0 the unknown one."""


class ModelConfig(Config):
    """A next-session model."""

    width: int = Field(default=64, ge=1)
    """Width of ids, sessions and states."""
    session_encoder: SessionEncoderConfig = MeanConfig()
    """Events of a session become one vector."""
    backbone: BackboneConfig = HstuConfig()
    """The sequence of sessions becomes what is known after each."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout (paper: 0.2)."""
    score: Literal["dot", "cosine"] = "dot"
    """`dot` after a LayerNorm, or `cosine` over a temperature."""
    temperature: float = Field(default=0.05, gt=0)
    """Of the cosine."""
    norm_eps: float = Field(default=1e-5, gt=0)
    """Of the LayerNorm before `dot` (SASRec: 1e-8)."""
    max_sessions: int = Field(default=512, ge=1)
    """Longest history; HSTU divides its weights by it, so it belongs to the model."""
    start_token: bool = False
    """Whether a learned vector stands before a user's first session, so that the first can be asked for too; off as in
    the paper, which asks for no first session."""
    has_action: bool = True
    """Whether the token of an event knows what the user did; off only where every input is positive."""
    has_features: bool = True
    """Whether context and item features are used, where the data set has them."""
    sparse_tables: bool = True
    """Whether the step of the id table touches the batch's items only, so that it does not grow with the catalogue."""

    def build(self, catalogue: Catalogue) -> Recommender:
        """A model with fresh weights, from torch's global generator."""
        item_features = catalogue.item_features if self.has_features else {}
        has_mask = not self.backbone.is_causal
        has_one_more = self.start_token or has_mask
        items = ItemTable(
            num_items=catalogue.num_items,
            width=self.width,
            features=item_features,
            codes_VF=catalogue.codes_VF[:, : len(item_features)],
            is_sparse=self.sparse_tables,
        )
        return Recommender(
            items=items,
            events=EventEmbedder(
                items_width=items.parts_width,
                width=self.width,
                num_actions=catalogue.num_actions if self.has_action else None,
                context=catalogue.context_features if self.has_features else {},
            ),
            candidates=CandidateEmbedder(items_width=items.parts_width, width=self.width),
            session_encoder=self.session_encoder.build(self.width),
            backbone=self.backbone.build(self.width, self.max_sessions + has_one_more, self.dropout),
            score=self.score,
            temperature=self.temperature,
            max_sessions=self.max_sessions,
            has_start=self.start_token,
            has_mask=has_mask,
            norm_eps=self.norm_eps,
        )
