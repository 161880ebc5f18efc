"""`fit_floors`: the floors of a table, made of what may be known before the part that is evaluated.

Parameters, such as the half-life of recency and the decay of repeat, are chosen on validation questions, by floors made
of training events alone; then the floors are made anew of all events before the evaluated part. So no answer of the
test has a say in what answers it. Where validation itself is evaluated, its questions are those that chose: then a
floor is a little flattered.

Users stand in the order of a hash, so the first of them are a random sample.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sessionrec.baselines.known import Known
from sessionrec.baselines.recipes import ALL, RECIPES, STANDARD, FloorName, Recipe
from sessionrec.baselines.tune import Tuned, most_tries, tune
from sessionrec.batch import Examples
from sessionrec.config import nearest
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.progress import Progress, silent
from sessionrec.scoring import Ranker

_log = logging.getLogger(__name__)

_BATCH_USERS = 128
_QUESTIONS_A_USER = 2
"""Of a sample, about: by one clock some users have very many, and more of them choose no better."""

Quality = Callable[[Ranker, Iterable[Examples]], float]
"""Of a system's answers to some questions, the greater the better; `evaluate.quality_of` makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A floor, ready to answer."""

    name: FloorName
    """As tables have it."""
    ranker: Ranker
    choice: dict[str, float]
    """The parameters that were chosen, by name, with their units: first those of floors it stands on, then its own."""
    quality: dict[tuple[float, ...], float]
    """Quality of each combination tried of its own parameters, the last ones of `choice`, in that order."""


def fit_floors(
    dataset: Dataset,
    view: View,
    quality: Quality,
    *,
    part: Literal["validation", "test"] = "test",
    is_stream: bool = False,
    names: Sequence[FloorName] = STANDARD,
    chosen: Mapping[FloorName, Mapping[str, float]] | None = None,
    sample_users: int = 2000,
    progress: Progress = silent,
) -> list[Floor]:
    """Floors by name, in the order of `names`.

    `STANDARD` costs two passes over the data set, the sample's questions in memory, and 21 evaluations of the sample;
    `ALL` four passes and 200 to 300, see `tune`.

    Args:
        dataset: Of whom.
        view: How questions are asked, whatever its part: `evaluation_view(View(), part, protocol.targets)`.
        quality: By which parameters are chosen.
        part: The part that the floors will be asked for.
        is_stream: See `Known`.
        names: Which, see `ALL`.
        chosen: `Floor.choice` of floors whose parameters were chosen before; they are not chosen again.
        sample_users: Users whose validation questions choose, the first of the data set, or fewer where these have
            twice as many questions; rounded up to whole batches.
        progress: Called with stage, combinations tried (what a floor did not need counts at its end) and at most.

    Raises:
        EmptyDatasetError: There is no validation question.
        MissingExtraError: A floor needs a library that is not installed.
        ValueError: There is no such floor, or one is named twice.
    """
    wanted = _wanted(names)
    if not wanted:
        return []
    sample = _Sample.of(dataset, view.model_copy(update={"part": "validation"}), sample_users)
    settings = {name: dict(choice) for name, choice in (chosen or {}).items()}
    wanted = [name for name in wanted if name not in settings]
    total, tried = sum(most_tries(RECIPES[name].grid) for name in wanted), 0

    def quality_of(floor: Ranker) -> float:
        nonlocal tried
        found = quality(floor, sample)
        tried += 1
        progress("choose floors", tried, total)
        return found

    known = Known(dataset, "validation", is_stream=is_stream, is_asked_again=True)
    tuned: dict[FloorName, Tuned] = {}
    for name in wanted:
        recipe = RECIPES[name]
        below = {key: value for floor in recipe.on for key, value in settings[floor].items()}
        begin = settings[recipe.after] if recipe.after else None
        make = partial(_made, recipe, known, below)
        tuned[name] = tune(recipe.grid, make, quality_of, begin)
        if recipe.grid:
            tried += most_tries(recipe.grid) - len(tuned[name].quality)
            progress("choose floors", tried, total)
        settings[name] = below | tuned[name].choice
        for own, found in tuned[name].quality.items():
            tries = ", ".join(f"{key} = {value:g}" for key, value in zip(recipe.grid, own, strict=True))
            _log.debug("floors: %s: %s: %.5f on validation", name, tries, found)
        if recipe.grid:
            choices = ", ".join(f"{key} = {value:g}" for key, value in settings[name].items())
            _log.info("floors: %s: chose %s of %d tried on validation", name, choices, len(tuned[name].quality))
    known = Known(dataset, part, is_stream=is_stream)
    return [
        Floor(
            name=name,
            ranker=RECIPES[name].make(known, settings[name]),
            choice=settings[name],
            quality=tuned[name].quality if name in tuned else {},
        )
        for name in names
    ]


def _wanted(names: Sequence[FloorName]) -> list[FloorName]:
    """The floors to be tuned, those that others stand on among them and before them."""
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        near = nearest(str(unknown[0]), ALL)
        raise ValueError(f"there is no floor {unknown[0]!r}{near}; the floors are {', '.join(ALL)}")
    if len(set(names)) < len(names):
        raise ValueError(f"`names` has a floor twice: {', '.join(names)}")
    needed = set(names)
    for name in reversed(ALL):
        if name in needed:
            recipe = RECIPES[name]
            needed.update(recipe.on, [recipe.after] if recipe.after else [])
    # A floor stands on, and begins from, only those named before it in `ALL`.
    return [name for name in ALL if name in needed]


def _made(recipe: Recipe, known: Known, below: dict[str, float], own: dict[str, float]) -> Ranker:
    return recipe.make(known, below | own)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Batches that are asked again and again; like a loader it says what its questions show."""

    batches: list[Examples]
    has_partial_session: bool

    def __iter__(self) -> Iterator[Examples]:
        return iter(self.batches)

    @classmethod
    def of(cls, dataset: Dataset, view: View, num_users: int) -> _Sample:
        """Batches until there are so many users, or questions enough."""
        loading = Loading(shuffle=False, batch_users=min(_BATCH_USERS, num_users), prefetch=0)
        loader, batches, users, asked = Loader(dataset, view, loading, seed=0), [], 0, 0
        for examples in loader:
            batches.append(examples)
            users += examples.inputs.num_users
            asked += examples.targets.num_questions
            if users >= num_users or asked >= _QUESTIONS_A_USER * num_users:
                break
        return cls(batches, loader.has_partial_session)
