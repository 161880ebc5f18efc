"""How items are found that training never saw, and those that were first shown in the last day of a log.

sessionrec prepare experiments/data/ebnerd.toml --raw logs/ebnerd_demo --out data/ebnerd split.kind=global_time
sessionrec fit data/ebnerd --out runs/ebnerd --preset sessionrec
python -m benchmarks.cold runs/ebnerd

Every event before a question is known and every item can be an answer, as in a live system. Prints the share of targets
that stand among the first 10, 100 and 500, by group of targets.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from sessionrec.baselines import fit_floors
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view, whole_view
from sessionrec.dynamics import ItemEvents
from sessionrec.evaluate import EvalProtocol, quality_of
from sessionrec.jagged import IntArray
from sessionrec.pipeline.prior import model_ranker, ranker_for
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.recommend import artifact
from sessionrec.scoring import Memory, Ranker, search

KS = (10, 100, 500)
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def main() -> None:
    """Print a table a group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run with a prior")
    given = parser.parse_args()
    torch.set_num_threads(1)
    trained = artifact.load(given.run)
    dataset, protocol = trained.open_dataset(), EvalProtocol(known="stream")
    view = evaluation_view(whole_view(trained.view), "test", protocol.targets)
    quality = quality_of(facts_of(dataset, protocol), protocol, "ndcg@10")
    (recency,) = fit_floors(dataset, view, quality, is_stream=True, names=["recency popularity"])
    systems: dict[str, Ranker] = {
        "model with prior": ranker_for(trained, dataset, "test", is_stream=True),
        "model alone": model_ranker(trained, dataset, view=trained.view, is_stream=True),
        "recency popularity": recency.ranker,
    }
    first_ms_I, end_ms = first_shown(dataset)
    for name, system in systems.items():
        item_T, time_ms_T, rank_T = answers(system, Loader(dataset, view, questions(512), seed=0))
        is_cold_T = item_T > dataset.num_candidates
        since_ms_T = time_ms_T - first_ms_I[item_T - 1]
        groups = {
            "with a training event": ~is_cold_T,
            "without": is_cold_T,
            "first shown in the last day": first_ms_I[item_T - 1] > end_ms - DAY_MS,
            "without, in its first hour": is_cold_T & (since_ms_T > 0) & (since_ms_T <= HOUR_MS),
            "without, not shown before": is_cold_T & (since_ms_T <= 0),
        }
        for group, is_in_T in groups.items():
            if is_in_T.any():
                found = [f"@{k} {np.mean(rank_T[is_in_T] <= k):.3f}" for k in KS]
                print(f"{name:20} {group:30} {is_in_T.sum():7,} targets", *found, flush=True)


def first_shown(dataset: Dataset) -> tuple[IntArray, int]:
    """[I] when each item was first shown, and when the log ends."""
    shown = ItemEvents.collect(dataset, before=None, kind="shown", num_candidates=dataset.num_items)
    first_ms_I = np.full(dataset.num_items, np.iinfo(np.int64).max)
    has_I = shown.count_V > 0
    first_ms_I[has_I] = shown.time_ms_N[shown.offsets[:-1][has_I]]
    return first_ms_I, int(shown.time_ms_N.max())


def answers(system: Ranker, loader: Loader) -> tuple[IntArray, IntArray, IntArray]:
    """[T] item, [T] time of the question and [T] rank of all targets."""
    items, times, ranks, memory = [], [], [], Memory()
    for examples in loader:
        targets = examples.targets
        rank_T, _ = search(system.scorer(examples), targets.positives, 0, memory=memory)
        items.append(targets.positives.values.numpy())
        times.append(np.repeat(targets.time_ms_Q.numpy(), np.diff(targets.positives.offsets.numpy())))
        ranks.append(rank_T.numpy())
    return np.concatenate(items).astype(np.int64), np.concatenate(times), np.concatenate(ranks)


if __name__ == "__main__":
    main()
