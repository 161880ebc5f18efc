"""What a prior adds to a model, and what it looks at: rows, bars and sentences.

In: `PriorWeights` of the manifest; `Estimate`s, the model with its prior first and the model alone second. Out: plain
values for `run_plots` and for the template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sessionrec.data.people import printable
from sessionrec.report.bootstrap import Estimate, Gap
from sessionrec.report.run_facts import BY_EXPERIENCE, MODEL, PriorWeights

_OF_ALL: Final = ("acted ", "shown ", "click rate ")
_AGE: Final = "age"
_OWN: Final = "own "


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A metric with the prior, without, and of the best floor."""

    metric: str
    model: Estimate
    """With the prior."""
    alone: Estimate
    prior: Gap
    """What the prior adds."""
    floor_name: str
    """Of the floor that has the most of this metric; empty if none was asked."""
    floor: Estimate | None
    lead: Gap | None
    """What the model with its prior has more than that floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One feature."""

    name: str
    weight: float
    """Of the linear part."""
    moves: float
    """The weight times the feature's standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Features of one kind, what adds most first."""

    slug: str
    title: str
    detail: str
    """What the features count."""
    bars: list[Bar]

    @property
    def greatest(self) -> Bar:
        """What moves a score most, whichever way."""
        return max(self.bars, key=lambda bar: abs(bar.moves))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    slug: str
    title: str
    detail: str
    has: Callable[[str], bool]


_KINDS: Final = (
    _Kind(
        slug="all",
        title="What all users do",
        detail="Acted, shown: how often, an event counting half after the time named. Click rate: acted on of "
        "what was shown. Age: time since the first event.",
        has=lambda name: name.startswith(_OF_ALL) or name == _AGE,
    ),
    _Kind(
        slug="own",
        title="What the user did",
        detail="Acted: the user's own events with the item; passed: exposures without action; an attribute: events "
        "with items that share it. Share: counting its part of what was acted on in its session. The rest: how lately, "
        "how often and how regularly. 0.9 a session: each session counts 0.9 of the one after it; 7 d: an event counts "
        "half after 7 days.",
        has=lambda name: name.startswith(_OWN),
    ),
    # Whatever else finds items for a history.
    _Kind(
        slug="like",
        title="Neighbours",
        detail="How much the same users act on an item as on those of the history.",
        has=lambda name: name not in (MODEL, BY_EXPERIENCE),
    ),
    _Kind(
        slug="model",
        title="The model",
        detail="Its score, and more of it the more training events an item has (by experience). The two add up.",
        has=lambda _: True,
    ),
)


def looks(prior: PriorWeights) -> list[Look]:
    """Features by kind, the kinds that there are."""
    weights = prior.all_weights
    by_kind: dict[str, list[Bar]] = {kind.slug: [] for kind in _KINDS}
    for name, moves in prior.contribution.items():
        kind = next(kind for kind in _KINDS if kind.has(name))
        by_kind[kind.slug].append(Bar(name=printable(name), weight=weights[name], moves=moves))
    return [
        Look(
            slug=kind.slug,
            title=kind.title,
            detail=kind.detail,
            bars=sorted(by_kind[kind.slug], key=lambda bar: -bar.moves),
        )
        for kind in _KINDS
        if by_kind[kind.slug]
    ]


def added(names: Sequence[str], estimates: Mapping[str, Sequence[Estimate]], metrics: Sequence[str]) -> list[Added]:
    """A row a metric.

    Args:
        names: Of the systems: the model with its prior, the model alone, floors.
        estimates: By metric, in the same order.
        metrics: Which.
    """
    rows = []
    for metric in metrics:
        model, alone, *floors = estimates[metric]
        best = max(range(len(floors)), key=lambda place: floors[place].mean, default=None)
        floor = None if best is None else floors[best]
        rows.append(
            Added(
                metric=metric,
                model=model,
                alone=alone,
                prior=_turned(alone),
                floor_name="" if best is None else names[2 + best],
                floor=floor,
                lead=None if floor is None else _turned(floor),
            )
        )
    return rows


def _turned(other: Estimate) -> Gap:
    """What the first system has more than another."""
    gap = other.gap
    assert gap is not None
    return Gap(mean=-gap.mean, low=-gap.high, high=-gap.low, p_value=gap.p_value)
