"""Readers: one public log format a file; `table` reads anyone's log by a column mapping; `synthetic` makes logs.

To add one: a file here with a config class whose `open()` returns a `Log`, and one line in the union below.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sessionrec.logs.amazon import AmazonConfig
from sessionrec.logs.base import Feature, Log
from sessionrec.logs.completejourney import CompleteJourneyConfig
from sessionrec.logs.ebnerd import EbnerdConfig
from sessionrec.logs.globo import GloboConfig
from sessionrec.logs.kuairand import KuairandConfig
from sessionrec.logs.kuaisar import KuaisarConfig
from sessionrec.logs.movielens import MovielensConfig
from sessionrec.logs.recflow import RecflowConfig
from sessionrec.logs.synthetic.planted import PlantedConfig
from sessionrec.logs.synthetic.reader import SyntheticConfig
from sessionrec.logs.table import TableConfig

LogConfig = Annotated[
    AmazonConfig
    | CompleteJourneyConfig
    | EbnerdConfig
    | GloboConfig
    | KuairandConfig
    | KuaisarConfig
    | MovielensConfig
    | PlantedConfig
    | RecflowConfig
    | SyntheticConfig
    | TableConfig,
    Field(discriminator="kind"),
]
"""Any reader; `kind` says which."""

__all__ = [
    "AmazonConfig",
    "CompleteJourneyConfig",
    "EbnerdConfig",
    "Feature",
    "GloboConfig",
    "KuairandConfig",
    "KuaisarConfig",
    "Log",
    "LogConfig",
    "MovielensConfig",
    "PlantedConfig",
    "RecflowConfig",
    "SyntheticConfig",
    "TableConfig",
]
