"""Next-session recommendation: raw logs to sessions, sessions to models, models to services (arXiv 2502.10157)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionrec.recommend import Session, SessionRec

__version__ = "0.1.0"

__all__ = ["Session", "SessionRec"]


def __getattr__(name: str) -> Any:
    # What is for callers; imported when asked for, since preparing a log needs no torch.
    if name in __all__:
        return getattr(importlib.import_module("sessionrec.recommend"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
