"""Item-based session encoders (paper 3.4, Eq. 5): the events of a session become one vector.

To add one: a file here with its config and module, and its name in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sessionrec.model.session_encoders.gru import GruEncoderConfig
from sessionrec.model.session_encoders.pooling import MaxConfig, MaxReluConfig, MeanConfig
from sessionrec.model.session_encoders.transformer import TransformerEncoderConfig

SessionEncoderConfig = Annotated[
    MeanConfig | MaxConfig | MaxReluConfig | GruEncoderConfig | TransformerEncoderConfig,
    Field(discriminator="kind"),
]

__all__ = ["SessionEncoderConfig"]
