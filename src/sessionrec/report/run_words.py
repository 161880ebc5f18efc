"""A run's results as sentences: what the model reached, and which floor is better, with what interval.

In: `Estimate`s of one metric, the model's first; one with a prior is followed by itself without, which is no floor.
What is retrieved is not among them and has a sentence of its own.
Out: plain text. Nothing is called better or worse unless the interval of the paired difference leaves zero out.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sessionrec.data.people import printable
from sessionrec.data.wording import duration, many, percent
from sessionrec.report.bootstrap import Estimate, Gap
from sessionrec.report.numbers import metric_name, score, signed, span
from sessionrec.report.run_facts import Selection
from sessionrec.report.run_files import Evaluation, Run, System

_SMALL: Final = 0.01
_SAME_SHARE: Final = 1e-9
_STREAM: Final = "protocol.known=stream"
_AS_SERVED: Final = (
    "Here a stream tells of every event up to the question, as it tells a service; the model stays as it was trained."
)
_LIVE_TERMS: Final = ("candidates", "known of all users")


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
    assert floor.gap is not None, name
    return Verdict(gap=floor.gap, words=f"{_capital(name)} {_told(floor, model)}")


def _told(one: Estimate, other: str) -> str:
    """A mean, and how it stands to the first system's."""
    gap = one.gap
    assert gap is not None, other
    if gap.sign > 0:
        return f"{score(one.mean)} is better by {score(gap.mean)} {span(gap.low, gap.high)}"
    if gap.sign < 0:
        return f"{score(one.mean)} is worse by {score(-gap.mean)} {span(-gap.high, -gap.low)}"
    return f"{score(one.mean)} cannot be told from {other}: difference {signed(gap.mean)} {span(gap.low, gap.high)}"


def retrieved(system: System, found: Mapping[str, Estimate]) -> Verdict:
    """What the model has when its retriever answers, beside the first system, which scores every candidate.

    Args:
        system: The model retrieved.
        found: Its estimates by metric; the sign is that of the first.
    """
    told = "; ".join(f"{metric_name(metric)} {_told(one, 'it')}" for metric, one in found.items())
    gap = next(iter(found.values())).gap
    assert gap is not None, system.name
    return Verdict(gap=gap, words=f"Through the retriever ({notes(system)}), beside scoring every candidate: {told}")


def retrieved_metrics(system: System) -> list[str]:
    """Those that tell what a retriever loses: the main one, and recall of a list that is long, but not the longest."""
    return [main_metric(system), f"recall@{system.ks[-2] if len(system.ks) > 1 else system.ks[0]}"]


def live(asked: Evaluation, plain: Evaluation | None) -> str:
    """What is otherwise when a live system is asked: the protocol's words that the plain evaluation has not."""
    words = asked.systems[0].protocol_in_words
    before = words if plain is None else plain.systems[0].protocol_in_words
    told = "".join(
        f" {_capital(term)}: {phrase}."
        for term, phrase in words.items()
        if term in _LIVE_TERMS or before.get(term) != phrase
    )
    if asked.dataset.split_rule is not None and not asked.dataset.has_one_clock:
        told += " The data are not split by one clock, so training holds events that are later than a question."
    return f"{_AS_SERVED}{told}"


def notes(system: System) -> str:
    """What a table says beside the name: parameters that were chosen, or the kind of the index."""
    return printable(str(system.about["retrieval"])) if system.is_retrieved else choice(system.choice)


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
    if run.evaluation is not None:
        found += _misfits(run, run.evaluation, "the evaluation", evaluate_command(folder))
    if run.live is not None:
        found += _misfits(run, run.live, "the live evaluation", evaluate_command(folder, is_live=True))
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


def _misfits(run: Run, evaluation: Evaluation, what: str, command: str) -> list[str]:
    found = []
    if evaluation.model != run.model.fingerprint:
        found.append(
            f"{_capital(what)} is of another model ({evaluation.model}) than the one in this folder "
            f"({run.model.fingerprint}). Run: {command}"
        )
    if evaluation.dataset.digest != run.model.dataset.digest:
        found.append(f"{_capital(what)} was made on another data set than the training.")
    return found + _unequal(evaluation.systems, what)


def _unequal(systems: Sequence[System], what: str) -> list[str]:
    """Where seen items are taken out, a system that was shown less of the histories loses fewer targets."""
    shares = [system.target_coverage for system in systems]
    if max(shares) - min(shares) < _SAME_SHARE:
        return []
    listed = ", ".join(f"{system.name} {percent(system.target_coverage)}" for system in systems)
    return [
        f"In {what} the systems could not find the same targets ({listed}): they were shown different parts of the "
        "histories, so other items were taken out as seen. Compare with care."
    ]


def evaluate_command(folder: str, retrieval: str | None = None, *, is_live: bool = False) -> str:
    """What makes an evaluation of a folder, as `command_path` writes it."""
    settings = [_STREAM] * is_live + ([f"retrieval={shlex.quote(retrieval)}"] if retrieval is not None else [])
    return " ".join(["sessionrec evaluate", folder, *settings])


def command_path(path: Path | str) -> str:
    """A path as a shell wants it."""
    return shlex.quote(str(path))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
