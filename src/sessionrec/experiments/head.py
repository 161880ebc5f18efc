"""What a report says before and after the numbers: how they were made, and what a reader must know first.

In: `Collected`. Out: words. The date is that of the newest result, so the same results give the same report.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sessionrec.data.wording import count, many, percent
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.grid import DAGGER
from sessionrec.experiments.places import Places
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Collected
from sessionrec.experiments.statistics import prepared
from sessionrec.report.bootstrap import LEVEL, RESAMPLES, SEED

_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Around the numbers."""

    title: str
    about: str
    date: str
    """Of the newest result; may be empty."""
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    """A few counts."""
    commands: tuple[str, ...]
    """That make it again."""
    terms: tuple[tuple[str, str], ...]
    """Seeds, data, code, machines, questions."""
    missing: tuple[str, ...]
    legend: tuple[str, ...]
    """What the marks of tables mean."""
    page_legend: tuple[str, ...]
    """Of what the page alone shows."""


def other_code(collected: Collected) -> frozenset[str]:
    """Keys of results that another version of the code made than most of them, of which the present one wins."""
    from sessionrec.experiments import code

    versions = Counter(result.code for result in collected.results.values())
    if len(versions) < 2:
        return frozenset()
    main = (
        code.version()
        if code.version() in versions
        else max(versions, key=lambda version: (versions[version], version))
    )
    return frozenset(result.key for result in collected.results.values() if result.code != main)


def head(collected: Collected, folder: Path, out: Path) -> Head:
    """All of it.

    Args:
        collected: What there is.
        folder: Of the experiment, as it was named.
        out: Of all experiments.
    """
    experiment = collected.experiment
    asked = len(collected.missing) + sum(_is_asked(experiment, cell[2]) for cell in collected.results)
    there = asked - len(collected.missing)
    facts = [("Data sets", count(len(experiment.sources)))]
    is_counted = experiment.config.kind == "statistics"
    if not is_counted:
        facts += [
            ("Rows", count(len(collected.titles))),
            ("Results", f"{count(there)} of {count(asked)}"),
            ("Seeds", ", ".join(map(str, experiment.config.seeds))),
        ]
    quoted = shlex.quote(str(folder)), shlex.quote(str(out))
    return Head(
        title=experiment.config.title,
        about=experiment.config.about,
        date=_date_of_data(experiment, out) if is_counted else _date(collected, out),
        warnings=tuple(_warnings(collected)),
        facts=tuple(facts),
        commands=(
            f"sessionrec experiment run {quoted[0]} --raw FOLDER --out {quoted[1]}{_fields(collected)}",
            f"sessionrec experiment report {quoted[0]} --out {quoted[1]}",
        ),
        terms=tuple(_terms(collected, out)),
        missing=tuple(_missing(collected)),
        legend=tuple(_legend(experiment, has_other_code=bool(other_code(collected)))),
        page_legend=()
        if is_counted
        else (f"Brackets: {percent(LEVEL)} interval over users and seeds; of one seed, over users alone.",),
    )


def _is_asked(experiment: Experiment, seed: int | None) -> bool:
    return seed is None or seed in experiment.config.seeds


def _fields(collected: Collected) -> str:
    return "".join(f" {shlex.quote(word)}" for word in sorted(collected.overrides))


def _date(collected: Collected, out: Path) -> str:
    dates = []
    for key in {result.key for result in collected.results.values()}:
        manifest = Places(out).result(key) / _MANIFEST
        if manifest.is_file():
            dates.append(str(json.loads(manifest.read_text(encoding="utf-8")).get("created", "")))
    return max(dates, default="")[:16].replace("T", " ")


def _date_of_data(experiment: Experiment, out: Path) -> str:
    made = [dataset.manifest.created for dataset in prepared(experiment, out).values() if dataset is not None]
    return max(made, default="")[:16].replace("T", " ")


def _warnings(collected: Collected) -> list[str]:
    found = []
    if len(collected.codes) > 1:
        found.append(
            f"Results of {len(collected.codes)} versions of the code stand beside each other "
            f"({', '.join(sorted(collected.codes))}); those of other code than most bear a {DAGGER}. "
            "Differences may come of the code. Run the experiment again without --keep-old-code."
        )
    for name, digests in collected.data.items():
        if len(digests) > 1:
            found.append(
                f"Results of {collected.experiment.sources[name].title} are of different data "
                f"({', '.join(sorted(digests))}): it was prepared anew in between, or elsewhere of other files."
            )
    # Floors name a processor, whatever their models ran on.
    if len(_machines([one for one in collected.results.values() if one.seed is not None])) > 1:
        found.append("Results of several machines stand beside each other: compare times within one of them only.")
    if collected.overrides:
        found.append(
            f"Some runs were given fields on the command line: {', '.join(sorted(collected.overrides))}. "
            "They are not the experiment as its files ask for it."
        )
    return found


def _terms(collected: Collected, out: Path) -> list[tuple[str, str]]:
    experiment, data = collected.experiment, collected.data
    terms = [("experiment", experiment.name)]
    if experiment.config.kind == "statistics":
        data = {name: {one.digest} for name, one in prepared(experiment, out).items() if one is not None}
    for name, digests in data.items():
        terms.append((f"data, {experiment.sources[name].title}", f"{name}, digest {', '.join(sorted(digests))}"))
    if collected.codes:
        terms.append(("code", ", ".join(sorted(collected.codes))))
    terms += [("machine", words) for words in _machines(collected.results.values())]
    if experiment.config.kind != "statistics":
        terms += _protocols(experiment)
        terms.append(
            (
                "intervals",
                f"{percent(LEVEL)} bootstrap over users and seeds (of one seed: over users alone), {count(RESAMPLES)} "
                f"resamples, seed {SEED}; differences on the same users (paired)",
            )
        )
    return terms


def _machines(results: Iterable[Result]) -> list[str]:
    """Each machine once, with how many results it made."""
    made = Counter(
        ", ".join(f"{name} {value}" for name, value in result.machine.items() if value not in (None, ""))
        for result in results
    )
    return [f"{words} ({many(number, 'result')})" for words, number in sorted(made.items(), key=lambda one: -one[1])]


def _protocols(experiment: Experiment) -> list[tuple[str, str]]:
    """The questions in words; what all kinds of targets have in common is said once."""
    from sessionrec.evaluate.protocol import EvalProtocol

    said = [
        EvalProtocol.model_validate(
            {"targets": targets, "seen": experiment.config.seen, "known": experiment.config.known}
        ).words()
        for targets in experiment.config.targets
    ]
    terms: dict[tuple[str, str], None] = {}
    for name in said[0]:
        for words in said:
            terms[name, words[name]] = None
    return list(terms)


def _missing(collected: Collected) -> list[str]:
    """`KuaiRand: SASRec, seeds 2, 3: not run yet`, lines that say the same once."""
    sources = collected.experiment.sources
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for one in collected.missing:
        of = seeds.setdefault((one.dataset, one.slug, one.reason), [])
        of += [] if one.seed is None else [str(one.seed)]
    by_reason: dict[tuple[str, str, str], list[str]] = {}
    for (dataset, slug, reason), numbers in seeds.items():
        by_reason.setdefault((dataset, reason, _seeds(numbers)), []).append(collected.titles[slug])
    return [
        f"{sources[dataset].title}: {', '.join(names)}{numbers}: {reason}"
        for (dataset, reason, numbers), names in by_reason.items()
    ]


def _seeds(numbers: Sequence[str]) -> str:
    return "" if not numbers else f" (seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)})"


def _legend(experiment: Experiment, *, has_other_code: bool) -> list[str]:
    kind, ours = experiment.config.kind, experiment.config.ours
    if kind == "statistics":
        return []
    lines = [
        "Means over users and seeds. Bold: the most of a column; underlined: the runner-up. What prints alike shares "
        "its place.",
        "\N{PLUS-MINUS SIGN}: standard deviation over seeds.",
        "*: the difference is clear, its interval on the same users leaves zero out. Nothing is corrected for the "
        "number of comparisons.",
    ]
    if ours:
        lines.append(
            f"\N{BLACK UP-POINTING TRIANGLE} and \N{BLACK DOWN-POINTING TRIANGLE}: clearly more or less than {ours}. "
            "The best baseline is the best item-level row of the column, or the best other trained row "
            "if there is none or ours is one."
        )
    elif kind == "table":
        lines.append("Percentages in a group: over its first row.")
    lines.append("GAUC: AUC inside the session to predict, mean over users.")
    if has_other_code:
        lines.append(f"{DAGGER}: made by another version of the code than most of the table.")
    return lines
