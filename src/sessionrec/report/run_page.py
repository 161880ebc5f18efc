"""The report of a training run: what the template is given, and the file it becomes.

In: a run folder. Out: one HTML file without any other: style and figures are in it, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sessionrec.data.people import printable
from sessionrec.progress import Progress
from sessionrec.report import bootstrap, run_plots, run_prior, run_words
from sessionrec.report.bootstrap import Estimate
from sessionrec.report.html_file import render, write_whole
from sessionrec.report.numbers import score
from sessionrec.report.run_facts import PriorFacts
from sessionrec.report.run_files import WEIGHT, Evaluation, Example, Run, System, read_run
from sessionrec.report.run_groups import by_history
from sessionrec.report.toml import to_toml

_IN_SESSION: Final = ("in_session_auc", "in_session_ndcg")
_DRAWN: Final = ("ndcg@10", "recall@10", "recall@100")
_VISITS: Final = 5
_STAGE: Final = "intervals"


def write(path: Path, out: Path, progress: Progress) -> None:
    """Read, draw, fill the template, and put the file in its place."""
    run = read_run(path)
    write_whole(out, lambda: html(run, progress))


def html(run: Run, progress: Progress) -> str:
    """The whole page."""
    model = run.model
    about = {"name": model.preset or "Model", "title": f"{model.preset or 'Model'} on {printable(model.dataset.name)}"}
    log, results, live = printable(model.dataset.name), None, None
    count = _counter(progress, _passes(run) * bootstrap.RESAMPLES)
    if run.evaluation is not None:
        results = _results(run.evaluation, log, count)
    if run.live is not None:
        live = _live(run.live, run.evaluation, log, count)
    asked = results or live
    if asked is not None:
        about = {"name": asked["names"][0], "title": asked["headline"]}
    else:
        about["title"] += ", not evaluated yet"
    return render(
        "run.html",
        run=run,
        model=model,
        about=about,
        results=results,
        live=live,
        asked=asked,
        prior=_prior(model.prior) if model.prior is not None else None,
        remarks=run_words.remarks(run),
        stopped=run_words.stopped(model.selection),
        # One epoch is a number and no curve.
        training_plots=run_plots.training_plots(run.epochs, model.selection) if len(run.epochs) > 1 else [],
        training_metrics=_training_metrics(run),
        folder=run_words.command_path(run.path),
        config=to_toml(model.config),
        commands=_commands(run),
        index_config=to_toml(run.index.config) if run.index is not None else "",
        machine={name: printable(value) for name, value in model.machine.items() if value is not None},
        kept={name: number for name, number in model.dataset.kept.items() if isinstance(number, int)},
    )


def _results(evaluation: Evaluation, log: str, count: Callable[[int], None]) -> dict[str, Any]:
    """Everything that is said of the plain evaluation."""
    systems, first, has_prior = evaluation.systems, evaluation.systems[0], evaluation.has_prior
    in_session = _in_session(evaluation)
    found = _beside(evaluation, log, in_session, count)
    names, main, estimates = found["names"], found["main"], found["estimates"]
    judged = {metric: evaluation.judged(estimates[metric]) for metric in estimates}
    judged_names = evaluation.judged(names)
    groups = by_history(systems, main, count)
    in_session = [metric for metric in in_session if metric in estimates]
    drawn = [metric for metric in _DRAWN if metric in estimates] or found["metrics"][:3]
    k = 100 if 100 in first.ks else first.ks[-1]
    return found | {
        "others": "Floor" if all(system.is_floor for system in systems[1:]) else "System",
        "in_session": in_session,
        "lists": list(first.lists),
        "groups": groups,
        "popularity_k": k,
        "has_prior": has_prior,
        "added": run_prior.added(judged_names, judged, _compared(main, drawn, in_session)) if has_prior else [],
        "metric_plots": run_plots.metric_plots(names, estimates, drawn),
        "session_plots": run_plots.session_plots(names, estimates),
        "session_verdicts": run_words.verdicts(judged_names, judged[in_session[0]], has_prior=has_prior)
        if in_session
        else [],
        "breakdown_plots": _breakdown_plots(systems, names, groups, main, k),
        "resamples": bootstrap.RESAMPLES,
        "least_p": bootstrap.LEAST_P,
        "seed": bootstrap.SEED,
        "examples": [_marked(example) for example in evaluation.examples],
    }


def _live(evaluation: Evaluation, plain: Evaluation | None, log: str, count: Callable[[int], None]) -> dict[str, Any]:
    """What is said of the evaluation as a live system is asked."""
    found = _beside(evaluation, f"{log}, as a live system is asked", (), count)
    # A system keeps the colour that it has in the figures, which are of the plain evaluation.
    drawn = [] if plain is None else [printable(system.name) for system in plain.systems]
    return found | {
        "colors": run_plots.color_variables(found["names"], drawn),
        "otherwise": run_words.live(evaluation, plain),
    }


def _beside(evaluation: Evaluation, log: str, more: Sequence[str], count: Callable[[int], None]) -> dict[str, Any]:
    """The systems of an evaluation beside each other: what the table of metrics needs, and what is concluded from it.

    Args:
        evaluation: Which.
        log: Where, in the words of the headline.
        more: Metrics to estimate that the table does not have.
        count: Told the draws just done.
    """
    systems, first, has_prior = evaluation.systems, evaluation.systems[0], evaluation.has_prior
    names = [printable(system.name) for system in systems]
    main = run_words.main_metric(first)
    metrics = [f"{name}@{k}" for name in ("ndcg", "recall") for k in first.ks]
    values = {metric: np.stack([system.values(metric) for system in systems]) for metric in (*metrics, *more)}
    estimates = bootstrap.estimate(values, first.users[WEIGHT].to_numpy().astype(np.float64), count)
    judged_names, judged = evaluation.judged(names), evaluation.judged(estimates[main])
    verdicts = run_words.verdicts(judged_names, judged, has_prior=has_prior)
    # After that of the model without its prior, before the floors.
    first_floor = 1 if has_prior else 0
    verdicts[first_floor:first_floor] = [
        run_words.retrieved(
            system, {metric: estimates[metric][place] for metric in run_words.retrieved_metrics(system)}
        )
        for place, system in enumerate(systems)
        if system.is_retrieved
    ]
    return {
        "evaluation": evaluation,
        "systems": systems,
        "first": first,
        "names": names,
        "notes": [run_words.notes(system) for system in systems],
        "colors": run_plots.color_variables(names),
        "main": main,
        "metrics": metrics,
        "estimates": estimates,
        "best": {metric: _best(estimates[metric]) for metric in estimates},
        "rival": run_words.rival(has_prior=has_prior),
        "headline": run_words.headline(judged_names, judged, log, main, has_prior=has_prior),
        "verdicts": verdicts,
        "level": bootstrap.LEVEL,
    }


def _passes(run: Run) -> int:
    """How many times all users are drawn: for the metrics, in and between sessions, and for each group of users."""
    plain = run.evaluation
    passes = 0 if plain is None else 1 + bool(_in_session(plain)) + len(plain.systems[-1].by_history)
    return passes + (run.live is not None)


def _in_session(evaluation: Evaluation) -> list[str]:
    """Metrics of ranking inside the session that were asked."""
    return [metric for metric in _IN_SESSION if metric in evaluation.systems[0].users.columns]


def _prior(prior: PriorFacts) -> dict[str, Any]:
    """Everything that is said of what the prior looks at."""
    found = run_prior.looks(prior.find)
    listed = run_prior.looks(prior.order) if prior.order is not None else []
    return {
        "facts": prior,
        "looks": found,
        "plots": run_plots.prior_plots(found, "find"),
        "list_looks": listed,
        "list_plots": run_plots.prior_plots(listed, "order"),
    }


def _compared(main: str, drawn: Sequence[str], in_session: Sequence[str]) -> list[str]:
    """The metrics of the table of what the prior adds."""
    return list(dict.fromkeys((main, *drawn, *in_session[:1])))


def _breakdown_plots(systems: Sequence[System], names: Sequence[str], groups: Any, main: str, k: int) -> list[Any]:
    plots = [run_plots.history_plot(names, groups, main)] if groups else []
    return plots + ([run_plots.popularity_plot(systems, k)] if systems[0].by_popularity else [])


def _best(estimates: Sequence[Estimate]) -> str:
    """What the best system has, to set it in bold; all that read the same are the best."""
    return score(max(one.mean for one in estimates))


def _marked(example: Example) -> dict[str, Any]:
    """A user to read: the newest sessions, the number of targets that the list found, targets by rank."""
    hits = sum(item.is_hit for item in example.predicted)
    visits = example.history[-_VISITS:]
    return {
        "user": example,
        "visits": visits,
        "earlier": example.num_sessions - len(visits),
        "hits": hits,
        "came": sorted(example.came.positives, key=lambda item: (item.rank is None, item.rank or 0)),
    }


def _commands(run: Run) -> list[str]:
    """What makes this folder again; the config stands on the page."""
    folder = run_words.command_path(run.path)
    data = run_words.command_path(run.model.dataset.path)
    fit, index = f"sessionrec fit {data} --config run.toml --out {folder}", f"sessionrec index {folder}"
    evaluations = [run_words.evaluate_command(folder, _retrieval(run.evaluation))]
    # With one clock that is what a service would reach: worth asking, even if nobody has yet.
    if run.live is not None or run.model.dataset.has_one_clock:
        evaluations.append(run_words.evaluate_command(folder, _retrieval(run.live), is_live=True))
    # What is retrieved is found by the run's index, if that is there first.
    return [fit, index, *evaluations, f"sessionrec report {folder}"]


def _retrieval(evaluation: Evaluation | None) -> str | None:
    """How its retrieved system was asked, if it has one."""
    found = [system for system in (evaluation.systems if evaluation is not None else []) if system.is_retrieved]
    return str(found[0].about.get("retrieval_mode", "served")) if found else None


def _training_metrics(run: Run) -> list[str]:
    """Those of a validation that the table of epochs has room for."""
    names = {name for epoch in run.epochs for name in epoch.validation_metrics}
    return sorted((name for name in names if name.startswith(("ndcg@", "recall@"))), key=_by_name)


def _by_name(metric: str) -> tuple[str, int]:
    name, _, k = metric.partition("@")
    return name, int(k) if k.isdigit() else 0


def _counter(progress: Progress, total: int) -> Callable[[int], None]:
    """Adds up what the parts of the work have done."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(_STAGE, done, total)

    return count
