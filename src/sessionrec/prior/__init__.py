"""What is fresh now and what a user repeats, beside a model's score.

A dot product of fixed vectors knows neither. The prior is a small function of what is known strictly before a
question: faded counts of an item's events at several half-lives, its click rate and age (`items`), and the user's own
events with it and with its attributes (`own`). Its weights, and the model's, are fitted beside each other to questions
that the model has not learnt from (`calibrate`), once to find items and once to order a list that is given;
`PriorRanker` answers like any model, and `StoredPrior` is what its artifact keeps.
"""

from sessionrec.prior.calibrate import Fitted, calibrate
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.items import ItemFeatures, ItemScheme, Known, LiveItems
from sessionrec.prior.own import OwnFeatures
from sessionrec.prior.prior import Prior, PriorRanker
from sessionrec.prior.store import SimilarItems, StoredPrior

__all__ = [
    "Fitted",
    "ItemFeatures",
    "ItemScheme",
    "Known",
    "LiveItems",
    "OwnFeatures",
    "Prior",
    "PriorConfig",
    "PriorRanker",
    "SimilarItems",
    "StoredPrior",
    "calibrate",
]
