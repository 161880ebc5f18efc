"""Floors that any honest table carries; each answers like a model (`scoring.Ranker`)."""

from sessionrec.baselines.choose import Choice, choose
from sessionrec.baselines.events import PositiveEvents
from sessionrec.baselines.floors import Floor, Quality, fit_floors
from sessionrec.baselines.popularity import Popularity
from sessionrec.baselines.recency import HALF_LIVES_S, RecencyPopularity
from sessionrec.baselines.repeat import DECAYS, Repeat

__all__ = [
    "DECAYS",
    "HALF_LIVES_S",
    "Choice",
    "Floor",
    "Popularity",
    "PositiveEvents",
    "Quality",
    "RecencyPopularity",
    "Repeat",
    "choose",
    "fit_floors",
]
