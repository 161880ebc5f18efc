"""The kinds of index there are.

To add one: a file here with a config class whose `build` and `read` return an `Index`, and one line in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sessionrec.index.exact import ExactConfig
from sessionrec.index.hnsw import HnswConfig
from sessionrec.index.ivf import IvfConfig

IndexConfig = Annotated[ExactConfig | HnswConfig | IvfConfig, Field(discriminator="kind")]
"""Any index; `kind` says which."""
