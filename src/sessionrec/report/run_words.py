"""A run's results as sentences: what the model reached, and which floor is better, with what interval.

In: `Estimate`s of one metric, the model's first; one with a prior is followed by itself without, which is no floor.
Out: plain text. Nothing is called better or worse unless the interval of the paired difference leaves zero out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sessionrec.data.wording import duration, many, percent
from sessionrec.report.bootstrap import Estimate, Gap
from sessionrec.report.numbers import metric_name, score, signed, span
from sessionrec.report.run_facts import Selection
from sessionrec.report.run_files import Run, System

_SMALL: Final = 0.01
_SAME_SHARE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A system beside the model."""

    gap: Gap
    words: str


def main_metric(system: System) -> str:
    """NDCG@10, or at the shortest list there is."""
    return f"ndcg@{10 if 10 in system.ks else system.ks[0]}"


def rival(*, has_prior: bool) -> str:
    """What the others are compared with."""
    return "the model with prior" if has_prior else "the model"


def headline(
    names: Sequence[str], estimates: Sequence[Estimate], log: str, metric: str, *, has_prior: bool = False
) -> str:
    """The main result in one sentence.

    Args:
        names: Of the systems, the model first.
        estimates: Of `metric`, in the same order.
        log: Where.
        metric: Which.
        has_prior: Whether the second system is the first without its prior.
    """
    model = estimates[0]
    places = 3 if model.mean >= _SMALL else 4
    result = f"{names[0]} on {log}: {metric_name(metric)} {score(model.mean, places)}"
    result += f" {span(model.low, model.high, places)}"
    if has_prior:
        result += f", {score(estimates[1].mean, places)} without the prior"
    by_sign: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for name, floor in _floors(names, estimates, has_prior=has_prior):
        assert floor.gap is not None, name
        by_sign[floor.gap.sign].append(f"{name} {score(floor.mean, places)}")
    better, alike, worse = by_sign[1], by_sign[0], by_sign[-1]
    if better:
        return f"{result}; {_listed(better)} {'is' if len(better) == 1 else 'are'} better"
    if alike:
        return f"{result}; no floor is clearly better, but {_listed(alike)} cannot be told from it"
    if worse:
        what = "every floor is worse, the best of them" if len(worse) > 1 else "better than"
        return f"{result}; {what} {worse[0]}"
    return f"{result}; no floor was evaluated beside it"


def verdicts(names: Sequence[str], estimates: Sequence[Estimate], *, has_prior: bool = False) -> list[Verdict]:
    """One sentence a floor, the best first; before them one of the model without its prior, if the second system is."""
    others = [("the model without prior", estimates[1])] if has_prior else []
    others += _floors(names, estimates, has_prior=has_prior)
    return [_verdict(name, other, rival(has_prior=has_prior)) for name, other in others]


def _floors(names: Sequence[str], estimates: Sequence[Estimate], *, has_prior: bool) -> list[tuple[str, Estimate]]:
    """Name and estimate, the best first."""
    first = 2 if has_prior else 1
    return sorted(zip(names[first:], estimates[first:], strict=True), key=lambda floor: -floor[1].mean)


def _verdict(name: str, floor: Estimate, model: str) -> Verdict:
    gap = floor.gap
    assert gap is not None, name
    named = f"{_capital(name)} {score(floor.mean)}"
    if gap.sign > 0:
        words = f"{named} is better by {score(gap.mean)} {span(gap.low, gap.high)}"
    elif gap.sign < 0:
        words = f"{named} is worse by {score(-gap.mean)} {span(-gap.high, -gap.low)}"
    else:
        words = f"{named} cannot be told from {model}: difference {signed(gap.mean)} {span(gap.low, gap.high)}"
    return Verdict(gap=gap, words=words)


def choice(settings: Mapping[str, Any]) -> str:
    """`{"half_life_s": 3600.0}` -> `half-life 1 h`."""
    return ", ".join(_setting(name, value) for name, value in settings.items())


def _setting(name: str, value: Any) -> str:
    if name.endswith("_s") and isinstance(value, int | float):
        return f"{name.removesuffix('_s').replace('half_life', 'half-life').replace('_', ' ')} {duration(value)}"
    return f"{name.replace('_', ' ')} {value:g}" if isinstance(value, int | float) else f"{name} {value}"


def stopped(selection: Selection) -> str:
    """Why training ended, and which epoch's weights the model has."""
    ends = {
        "patience": f"Stopped after {many(selection.epochs, 'epoch')}, when validation had not risen for a while",
        "epochs": f"Ran {'all ' if selection.epochs > 1 else ''}{many(selection.epochs, 'epoch')}",
        "interrupted": f"Interrupted after {many(selection.epochs, 'epoch')}, so it may not be done",
    }
    end = ends.get(selection.stopped, f"Ended after {many(selection.epochs, 'epoch')} ({selection.stopped})")
    best = f"{metric_name(selection.metric)} {score(selection.best_value)}"
    return f"{end}; the model is that of epoch {selection.best_epoch}, the best on validation ({best})."


def remarks(run: Run) -> list[str]:
    """What does not fit together; a reader must know it before the numbers."""
    found = []
    folder = command_path(run.path)
    if run.evaluation is not None and run.evaluation.model != run.model.fingerprint:
        found.append(
            f"The evaluation is of another model ({run.evaluation.model}) than the one in this folder "
            f"({run.model.fingerprint}). Run: sessionrec evaluate {folder}"
        )
    if run.evaluation is not None and run.evaluation.dataset.digest != run.model.dataset.digest:
        found.append("The evaluation was made on another data set than the training.")
    if run.evaluation is not None:
        found += _unequal(run.evaluation.systems)
    if run.index is not None and run.index.model not in (None, run.model.fingerprint):
        found.append(
            f"The index is of another model ({run.index.model}) than the one in this folder "
            f"({run.model.fingerprint}). Run: sessionrec index {folder}"
        )
    if run.model.selection.stopped == "interrupted":
        found.append("Training was interrupted; the model may not be done.")
    if run.unreadable_lines:
        found.append(f"metrics.jsonl has {many(run.unreadable_lines, 'torn line')}, left out of the curves.")
    return found


def _unequal(systems: Sequence[System]) -> list[str]:
    """Where seen items are taken out, a system that was shown less of the histories loses fewer targets."""
    shares = [system.target_coverage for system in systems]
    if max(shares) - min(shares) < _SAME_SHARE:
        return []
    listed = ", ".join(f"{system.name} {percent(system.target_coverage)}" for system in systems)
    return [
        f"The systems could not find the same targets ({listed}): they were shown different parts of the histories, so "
        "other items were taken out as seen. Compare with care."
    ]


def command_path(path: Path | str) -> str:
    """A path as a shell wants it."""
    return shlex.quote(str(path))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
