"""Session-based sequence encoders (paper 3.5, Eq. 6): sessions in, one state after each session out.

To add one: a file here with its config and module, and its name in the union below. A backbone is a module
`forward(x_SD, sequence) -> [S, D]` whose row depends on the same user's earlier rows, on itself and on the times alone;
where its config says `is_causal = False`, on the user's later rows too, and the model then asks by masks. The config
has `layers` and `build(width, length, dropout)`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sessionrec.model.backbones.bert4rec import Bert4RecConfig
from sessionrec.model.backbones.gru import GruConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.backbones.sasrec import SasRecConfig
from sessionrec.model.backbones.transformer import TransformerConfig

BackboneConfig = Annotated[
    HstuConfig | TransformerConfig | GruConfig | SasRecConfig | Bert4RecConfig, Field(discriminator="kind")
]

__all__ = ["BackboneConfig"]
