"""`fit_floors`: the three floors of a table, made of what may be known before the part that is evaluated.

The half-life of recency and the decay of repeat are chosen on validation questions, by floors made of training events
alone; then the floors are made anew of all events before the evaluated part. So no answer of the test has a say in what
answers it. Where validation itself is evaluated, its questions are those that chose: then a floor is a little
flattered.

Users stand in the order of a hash, so the first of them are a random sample.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sessionrec.baselines.choose import Choice, choose
from sessionrec.baselines.events import PositiveEvents
from sessionrec.baselines.popularity import Popularity
from sessionrec.baselines.recency import HALF_LIVES_S, RecencyPopularity
from sessionrec.baselines.repeat import DECAYS, Repeat
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.progress import Progress, silent
from sessionrec.scoring import Ranker

_log = logging.getLogger(__name__)

_BATCH_USERS = 256

Quality = Callable[[Ranker, Iterable[Examples]], float]
"""Of a system's answers to some questions, the greater the better; `evaluate.quality_of` makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A floor, ready to answer."""

    name: str
    """`popularity`, `recency popularity` or `repeat`."""
    ranker: Ranker
    choice: dict[str, float]
    """The parameter that was chosen, by name, with its unit; empty if there is none."""
    quality: dict[float, float]
    """Quality of each value tried."""


def fit_floors(
    dataset: Dataset,
    view: View,
    quality: Quality,
    *,
    part: Literal["validation", "test"] = "test",
    sample_users: int = 2000,
    progress: Progress = silent,
) -> list[Floor]:
    """Popularity, recency popularity and repeat, in this order.

    Costs two passes over the data set, the sample's questions in memory, and 21 evaluations of the sample.

    Args:
        dataset: Of whom.
        view: How questions are asked, whatever its part: `evaluation_view(View(), part, protocol.targets)`.
        quality: By which a parameter is chosen.
        part: The part that the floors will be asked for.
        sample_users: Users whose validation questions choose, the first of the data set; rounded up to whole batches.
        progress: Called with stage, values tried and values in all.

    Raises:
        EmptyDatasetError: There is no validation question.
    """
    sample = _Sample.of(dataset, view.model_copy(update={"part": "validation"}), sample_users)
    total, tried = len(HALF_LIVES_S) + len(DECAYS), 0

    def quality_of(floor: Ranker) -> float:
        nonlocal tried
        found = quality(floor, sample)
        tried += 1
        progress("choose floors", tried, total)
        return found

    events = PositiveEvents.collect(dataset, before="validation")
    half_life = choose(HALF_LIVES_S, lambda value: RecencyPopularity(events, half_life_s=value), quality_of)
    decay = choose(DECAYS, lambda value: Repeat(events.count_V, decay=value), quality_of)
    for name, choice in {"half-life, s": half_life, "decay": decay}.items():
        tries = ", ".join(f"{value:g}: {found:.5f}" for value, found in choice.quality.items())
        _log.info("floors: %s = %g; tried on validation: %s", name, choice.value, tries)
    if part == "test":
        events = PositiveEvents.collect(dataset, before="test")
    return [
        Floor(name="popularity", ranker=Popularity(events.count_V), choice={}, quality={}),
        _chosen("recency popularity", RecencyPopularity(events, half_life_s=half_life.value), "half_life_s", half_life),
        _chosen("repeat", Repeat(events.count_V, decay=decay.value), "decay", decay),
    ]


def _chosen(name: str, ranker: Ranker, parameter: str, choice: Choice) -> Floor:
    return Floor(name=name, ranker=ranker, choice={parameter: choice.value}, quality=choice.quality)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Batches that are asked again and again; like a loader it says what its questions show."""

    batches: list[Examples]
    has_partial_session: bool

    def __iter__(self) -> Iterator[Examples]:
        return iter(self.batches)

    @classmethod
    def of(cls, dataset: Dataset, view: View, num_users: int) -> _Sample:
        """Batches until there are so many users."""
        loading = Loading(shuffle=False, batch_users=min(_BATCH_USERS, num_users), prefetch=0)
        loader, batches, done = Loader(dataset, view, loading, seed=0), [], 0
        for examples in loader:
            batches.append(examples)
            done += examples.inputs.num_users
            if done >= num_users:
                break
        return cls(batches, loader.has_partial_session)
