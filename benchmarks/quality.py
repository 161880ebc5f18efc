"""What does the model reach on a public log, beside the floors, over several seeds?

    python -m benchmarks.quality LOG [--raw FOLDER] [--seeds 1 2 3] [--out bench-data/quality] [FIELD=VALUE ...]

Prepares the log, and for every seed fits, evaluates, builds an index and writes the report; what is there already is
used again. The figures are means over the seeds on the test sessions; the interval of a mean is the paired bootstrap
over users of the seeds' mean per user.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from sessionrec import pipeline
from sessionrec.cli.screen import TrainingBar
from sessionrec.data.dataset import Dataset
from sessionrec.evaluate import compare, interval
from sessionrec.pipeline.evaluation import Evaluation, EvaluationConfig, read_evaluation
from sessionrec.report import write_run_report

METRICS = ("ndcg@10", "recall@10", "recall@100", "recall@500", "in_session_auc")


@dataclass(frozen=True)
class Log:
    """A public log and how it is prepared here."""

    config: str
    raw: str | None
    """Its folder in that of the raw logs; None for one that is an ordinary package."""
    fields: tuple[str, ...] = ()


LOGS = {
    "ebnerd": Log("ebnerd", "ebnerd_demo"),
    "ebnerd_global": Log("ebnerd", "ebnerd_demo", ("split.kind=global_time",)),
    "kuairand": Log("kuairand_day", "kuairand_pure"),
    "kuairand_prefix": Log("kuairand_day", "kuairand_pure", ("log.prefix=true",)),
    "globo": Log("globo", "globo_news", ("filter.min_user_sessions=5", "filter.sample_users=20000")),
    "completejourney": Log("completejourney", None),
}


def prepared(name: str, raw: Path | None, out: Path) -> Dataset:
    """The data set, made if it is not there."""
    log = LOGS[name]
    target = out / name / "data"
    if not (target / "manifest.json").is_file():
        path = [] if log.raw is None else [f'log.path="{_folder(raw) / log.raw}"']
        config = pipeline.load_data_config(Path("experiments/data") / f"{log.config}.toml", [*path, *log.fields])
        pipeline.prepare(config, target)
    return Dataset(target)


def one_run(dataset: Dataset, run: Path, fields: list[str]) -> Evaluation:
    """Fit, evaluate, index, report; or what these left before."""
    if not (run / "evaluation" / "manifest.json").is_file():
        config = pipeline.load_fit_config(None, None, fields)
        with TrainingBar(config.training.epochs, config.training.metric) as bar:
            trained = pipeline.fit(dataset, run, config, monitors=(bar,))
        if trained.is_interrupted:
            raise SystemExit(130)
        pipeline.evaluate(run, dataset, EvaluationConfig(threads=config.threads))
        pipeline.index(run, dataset)
        write_run_report(run, run.with_suffix(".html"))
    return read_evaluation(run)


def summary(evaluations: list[Evaluation]) -> dict[str, Any]:
    """Means, spreads and intervals of each system, and where a floor is above the model."""
    systems: dict[str, Any] = {}
    for place, report in enumerate(evaluations[0].reports):
        rows: dict[str, dict[str, Any]] = {}
        for metric in METRICS:
            if metric not in report.metrics:
                continue
            seeds = [one.reports[place].metrics[metric] for one in evaluations]
            mean_U = np.mean([one.reports[place].values(metric) for one in evaluations], axis=0)
            own = interval(mean_U, seed=0)
            rows[metric] = {
                "mean": round(float(np.mean(seeds)), 6),
                "low": round(own.low, 6),
                "high": round(own.high, 6),
            }
            rows[metric]["seeds"] = [round(seed, 6) for seed in seeds]
            if place:
                model_U = np.mean([one.model.values(metric) for one in evaluations], axis=0)
                found = compare(model_U, mean_U, seed=0)
                verdict = ("model" if found.mean > 0 else "floor") if found.is_clear else "neither"
                rows[metric]["better"] = verdict
        systems[report.system] = {**rows, **evaluations[0].choices.get(report.system, {})}
    return systems


def _folder(raw: Path | None) -> Path:
    if raw is None:
        raise SystemExit("--raw is missing: the folder that holds the raw logs")
    return raw.resolve()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", choices=sorted(LOGS))
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("bench-data/quality"))
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="fields of the training run")
    options = parser.parse_args([word for word in sys.argv[1:] if "=" not in word])
    fields = [word for word in sys.argv[1:] if "=" in word]
    dataset = prepared(options.log, options.raw, options.out)
    runs = [options.out / options.log / f"seed-{seed}" for seed in options.seeds]
    evaluations = [
        one_run(dataset, run, [f"seed={seed}", *fields]) for seed, run in zip(options.seeds, runs, strict=True)
    ]
    first = evaluations[0].model
    machine.write(
        f"quality_{options.log}",
        {
            "log": dataset.body["log"]["name"],
            "users": first.num_users,
            "targets": first.num_targets,
            "candidates": first.num_candidates,
            "protocol": first.protocol.words(),
            "seeds": options.seeds,
            "fields": fields,
            "systems": summary(evaluations),
        },
    )


if __name__ == "__main__":
    main()
