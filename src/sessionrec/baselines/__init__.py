"""Floors that any honest table carries; each answers like a model (`scoring.Ranker`)."""

from sessionrec.baselines.ahead import Ahead
from sessionrec.baselines.als import Als
from sessionrec.baselines.evidence import Evidence
from sessionrec.baselines.floors import Floor, Quality, fit_floors
from sessionrec.baselines.item_knn import ItemKnn, ItemSimilarity
from sessionrec.baselines.popularity import Popularity
from sessionrec.baselines.product import Product
from sessionrec.baselines.recency import HALF_LIVES_S, RecencyPopularity
from sessionrec.baselines.recipes import ALL, STANDARD, FloorName
from sessionrec.baselines.repeat import DECAYS, Repeat
from sessionrec.baselines.session_knn import Postings, SessionKnn
from sessionrec.baselines.sessions import KnownSessions
from sessionrec.baselines.tune import Tuned, tune

__all__ = [
    "ALL",
    "DECAYS",
    "HALF_LIVES_S",
    "STANDARD",
    "Ahead",
    "Als",
    "Evidence",
    "Floor",
    "FloorName",
    "ItemKnn",
    "ItemSimilarity",
    "KnownSessions",
    "Popularity",
    "Postings",
    "Product",
    "Quality",
    "RecencyPopularity",
    "Repeat",
    "SessionKnn",
    "Tuned",
    "fit_floors",
    "tune",
]
