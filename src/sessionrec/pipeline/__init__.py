"""The stages as functions; each reads one artifact and writes one.

    prepare     raw log -> data set          fit         data set -> trained model
    evaluate    model -> figures             index       model -> items, ready to be searched

Only `prepare` works without torch, so the others are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sessionrec.pipeline.data import DataConfig, load_data_config, prepare

if TYPE_CHECKING:
    from sessionrec.pipeline.evaluation import EvaluationConfig, evaluate
    from sessionrec.pipeline.indexing import IndexingConfig, index
    from sessionrec.pipeline.training import FitConfig, fit, load_fit_config

_LATER = {
    "FitConfig": "training",
    "fit": "training",
    "load_fit_config": "training",
    "EvaluationConfig": "evaluation",
    "evaluate": "evaluation",
    "IndexingConfig": "indexing",
    "index": "indexing",
}

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "FitConfig",
    "IndexingConfig",
    "evaluate",
    "fit",
    "index",
    "load_data_config",
    "load_fit_config",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
