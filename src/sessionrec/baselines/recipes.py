"""What floors there are: the parameters of each, the values to choose from, and how it is made.

A floor that stands on others takes their parameters as they were chosen for them: all that use neighbours take the
half-life of recency popularity. A parameter that is yes or no is 1 or 0.

A lift of 0 is among the values of a product: so on the questions that choose, a product is never worse than recency
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sessionrec.baselines.ahead import Ahead
from sessionrec.baselines.als import Als
from sessionrec.baselines.evidence import Evidence, Remembered
from sessionrec.baselines.item_knn import ItemKnn, ItemSimilarity
from sessionrec.baselines.known import Known
from sessionrec.baselines.popularity import Popularity
from sessionrec.baselines.product import Product
from sessionrec.baselines.recency import HALF_LIVES_S
from sessionrec.baselines.repeat import DECAYS, Repeat
from sessionrec.baselines.session_knn import SessionKnn
from sessionrec.baselines.tune import Grid
from sessionrec.scoring import Ranker

FloorName = Literal[
    "popularity",
    "recency popularity",
    "repeat",
    "item-kNN",
    "session-kNN",
    "V-SKNN",
    "item-kNN x recency",
    "V-SKNN x recency",
    "ALS",
]
"""A floor, as tables name it."""

STANDARD: Final[tuple[FloorName, ...]] = ("popularity", "recency popularity", "repeat")
"""Those that take seconds and need nothing more."""
ALL: Final[tuple[FloorName, ...]] = get_args(FloorName)
"""All; ALS needs the extra `floors`."""

Settings = Mapping[str, float]
"""A value of each parameter, by its name with its unit."""

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A floor that can be made of what is known."""

    make: Callable[[Known, Settings], Ranker]
    """With its own parameters and those of the floors it stands on."""
    grid: Grid
    """Its own parameters: values to choose from."""
    on: tuple[FloorName, ...] = ()
    """Floors it stands on."""
    after: FloorName | None = None
    """The floor whose choice of the parameters they share is where tuning begins."""


def _item_knn(known: Known, settings: Settings) -> Evidence:
    by: Literal["user", "session"] = "session" if settings["by_session"] else "user"
    shrink = settings["shrink"]
    similarity = known.newest("similarity", (by, shrink), lambda: ItemSimilarity(known.sessions, by=by, shrink=shrink))
    return ItemKnn(similarity, decay=settings["decay"], own=settings["own"])


def _session_knn(known: Known, settings: Settings) -> Evidence:
    return SessionKnn(
        known.postings,
        is_vector="neighbour_half_life_s" in settings,
        query_sessions=int(settings["query_sessions"]),
        sample=int(settings["sample"]),
        neighbours=int(settings["neighbours"]),
        half_life_s=settings.get("neighbour_half_life_s"),
        own=bool(settings["own"]),
    )


def _ahead(evidence: Callable[[Known, Settings], Evidence]) -> Callable[[Known, Settings], Ranker]:
    return lambda known, settings: Ahead(evidence(known, settings), known.recency(settings["half_life_s"]))


def _product(evidence: Callable[[Known, Settings], Evidence]) -> Callable[[Known, Settings], Ranker]:
    def make(known: Known, settings: Settings) -> Ranker:
        # The same evidence is weighed again and again.
        def found() -> Evidence:
            one = evidence(known, settings)
            return Remembered(one) if known.is_asked_again else one

        key = (evidence, {name: value for name, value in settings.items() if name not in _WEIGHING})
        recency = known.recency(settings["half_life_s"])
        return Product(known.newest("evidence", key, found), recency, lift=settings["lift"], power=settings["power"])

    return make


# The first values are where tuning begins; the first parameters matter most.
_HISTORY: Grid = {
    "own": (0, 1),
    "by_session": (0, 1),
    "shrink": (10, 1, 100, 1000, 10_000),
    "decay": (0.8, 0.1, 0.3, 0.5, 0.95, 1),
}
_NEIGHBOURS: Grid = {
    "own": (0, 1),
    "query_sessions": (3, 1, 10, 30),
    "sample": (1000, 300, 5000),
    "neighbours": (100, 30, 300, 1000, 3000),
}
# Ten years are no fading at all.
_VECTOR: Grid = {"neighbour_half_life_s": (3650 * _DAY_S, _DAY_S / 24, _DAY_S, 7 * _DAY_S, 84 * _DAY_S)}
_WEIGHING: Grid = {"lift": (10, 0, 0.1, 0.3, 1, 3, 30, 100, 1000), "power": (1, 0.05, 0.1, 0.25, 0.5, 2, 4)}

RECIPES: Final[Mapping[FloorName, Recipe]] = {
    "popularity": Recipe(make=lambda known, _: Popularity(known.count_V), grid={}),
    "recency popularity": Recipe(
        make=lambda known, settings: known.recency(settings["half_life_s"]), grid={"half_life_s": HALF_LIVES_S}
    ),
    "repeat": Recipe(
        make=lambda known, settings: Repeat(known.count_V, decay=settings["decay"]), grid={"decay": DECAYS}
    ),
    "item-kNN": Recipe(
        make=_ahead(_item_knn),
        grid=_HISTORY,
        on=("recency popularity",),
    ),
    "session-kNN": Recipe(make=_ahead(_session_knn), grid=_NEIGHBOURS, on=("recency popularity",)),
    "V-SKNN": Recipe(
        make=_ahead(_session_knn),
        grid={**_NEIGHBOURS, **_VECTOR},
        on=("recency popularity",),
        after="session-kNN",
    ),
    "item-kNN x recency": Recipe(
        make=_product(_item_knn),
        grid={**_HISTORY, **_WEIGHING},
        on=("recency popularity",),
        after="item-kNN",
    ),
    "V-SKNN x recency": Recipe(
        make=_product(_session_knn),
        grid={**_NEIGHBOURS, **_VECTOR, **_WEIGHING},
        on=("recency popularity",),
        after="V-SKNN",
    ),
    "ALS": Recipe(
        make=lambda known, settings: Als(
            known.sessions,
            factors=int(settings["factors"]),
            alpha=settings["alpha"],
            regularization=settings["regularization"],
        ),
        grid={
            "factors": (64, 2, 4, 8, 16, 32, 128),
            "alpha": (10, 0.1, 1, 100, 1000),
            "regularization": (0.1, 0.01, 1, 10, 100),
        },
    ),
}
