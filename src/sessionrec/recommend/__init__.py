"""Answering: a trained model as an artifact, histories as callers have them, and `SessionRec`, which joins the two.

Uses: model, index, data, the prior and the floors' neighbours. Used by: the pipeline, the command line and services.
"""

from __future__ import annotations

from sessionrec.recommend.answers import ItemVectors, Recommendations, to_frame
from sessionrec.recommend.face import SessionRec
from sessionrec.recommend.histories import Session

__all__ = ["ItemVectors", "Recommendations", "Session", "SessionRec", "to_frame"]
