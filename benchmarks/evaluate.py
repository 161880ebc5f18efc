"""How long does it take to ask a model, and the floors, every user for the whole catalogue, and what takes the time?

    python -m benchmarks.evaluate DATASET [--threads 2] [--batch-users 512] [--without-floors]

The model is the default one with fresh weights: what it answers does not matter, what it computes is that of a trained
one. All test questions, history capped as in the paper (400 positives) and by the model (512 sessions); ranks of all
targets among all candidates, the 10 best of each question, the ranking inside the session, all metrics.

The limit is the matrix product alone, of the same shapes into the same kind of block, measured before and after in the
same process. On a shared machine it says how busy the others were, as does the time on the processor (`cpu_s`, of all
threads) beside that on the wall; there, set `OMP_WAIT_POLICY=passive`, or threads that wait take the processor too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from sessionrec.baselines import fit_floors
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading, by_length
from sessionrec.data.view import View, evaluation_view
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate, quality_of
from sessionrec.model.config import Catalogue, ModelConfig
from sessionrec.schema import TRAIN_POSITIVES
from sessionrec.scoring import BLOCK_BYTES, Block, DotScorer, Ranker
from sessionrec.sessions.truncation import Truncation

ENCODED_USERS = 64


class Clock:
    """Adds up what takes how long."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, name: str, started: float) -> None:
        """Seconds from `started` until now."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def loading(self, batches: Iterable[Examples]) -> Iterator[Examples]:
        """The batches; waiting for them is counted."""
        source = iter(batches)
        while True:
            started = time.perf_counter()
            examples = next(source, None)
            self.add("waiting for the loader", started)
            if examples is None:
                return
            yield examples


class TimedScorer(DotScorer):
    """Counts the time of the matrix products."""

    clock: Clock

    def fill(self, questions: slice, block: Block) -> None:
        """See `scoring.Scorer.fill`."""
        started = time.perf_counter()
        super().fill(questions, block)
        self.clock.add("matrix products", started)


class FreshModel:
    """The default model, never trained, as a ranker."""

    def __init__(self, dataset: Dataset, clock: Clock) -> None:
        codes = torch.zeros(dataset.num_items + 1, 0, dtype=torch.int32)
        catalogue = Catalogue(
            num_items=dataset.num_items,
            num_actions=len(dataset.actions),
            context_features=dataset.context_features,
            item_features={},
            codes_VF=codes,
        )
        torch.manual_seed(0)
        self._model, self._clock = ModelConfig().build(catalogue).eval(), clock
        started = time.perf_counter()
        with torch.inference_mode():
            self.items_VD = self._model.item_vectors()[1 : dataset.num_candidates + 1].contiguous()
        clock.add("item vectors", started)

    def scorer(self, examples: Examples) -> TimedScorer:
        """See `scoring.Ranker`."""
        started = time.perf_counter()
        queries_QD = torch.empty(examples.targets.num_questions, self.items_VD.shape[1])
        with torch.inference_mode():
            for piece, places in by_length(examples, ENCODED_USERS):
                queries_QD[places] = self._model(piece)[0]
        self._clock.add("histories to queries", started)
        scorer = TimedScorer(queries_QD, self.items_VD)
        scorer.clock = self._clock
        return scorer


def product_ns(items_VD: torch.Tensor) -> float:
    """Nanoseconds a score of the matrix product alone, the best of three blocks."""
    size_v = len(items_VD)
    rows = min(BLOCK_BYTES // (4 * size_v), 1024)
    block = Block(torch.zeros(rows * size_v), rows, size_v)
    scorer = DotScorer(torch.randn(rows, items_VD.shape[1]), items_VD)
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        scorer.fill(slice(0, rows), block)
        runs.append(time.perf_counter() - started)
    return min(runs) / rows / size_v * 1e9


class Watch:
    """Seconds on the wall and on the processor since it was made."""

    def __init__(self) -> None:
        self._started, self._busy = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Both."""
        wall, busy = time.perf_counter() - self._started, time.process_time() - self._busy
        return {"seconds": round(wall, 1), "cpu_s": round(busy, 1)}


def in_short(report: EvalReport, took: dict[str, float]) -> dict[str, Any]:
    """What was asked, and how long it took."""
    scores = report.num_questions * report.num_candidates
    return took | {
        "ns_a_score": round(took["seconds"] / scores * 1e9, 2),
        "ndcg@10": round(report.metrics["ndcg@10"], 6),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-users", type=int, default=512)
    parser.add_argument("--without-floors", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = Dataset(options.dataset)
    protocol = EvalProtocol()
    facts = ItemFacts(
        num_candidates=dataset.num_candidates, train_positives_I=dataset.items[TRAIN_POSITIVES].to_numpy()
    )

    def ask(name: str, system: Ranker, view: View, clock: Clock) -> tuple[EvalReport, dict[str, float]]:
        loader = Loader(dataset, view, Loading(shuffle=False, batch_users=options.batch_users), seed=0)
        watch = Watch()
        report = evaluate(system, clock.loading(loader), facts, protocol, name=name)
        return report, watch.read()

    clock = Clock()
    model = FreshModel(dataset, clock)
    limit = [product_ns(model.items_VD)]
    capped = View(truncation=Truncation(max_positives=400, max_sessions=512))
    report, took = ask("fresh weights", model, evaluation_view(capped, "test", protocol.targets), clock)
    limit.append(product_ns(model.items_VD))
    scores = report.num_questions * report.num_candidates
    before = clock.seconds.pop("item vectors")
    parts = clock.seconds | {"ranks, lists, metrics": took["seconds"] - sum(clock.seconds.values())}
    figures: dict[str, Any] = {
        "dataset": options.dataset.name,
        "threads": options.threads,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load_1min": round(os.getloadavg()[0], 1),
        "questions": report.num_questions,
        "candidates": report.num_candidates,
        "targets": report.num_targets,
        "width": model.items_VD.shape[1],
        "model": in_short(report, took)
        | {
            "item_vectors_s": round(before, 1),
            "parts_s": {name: round(seconds, 1) for name, seconds in parts.items()},
            "limit_ns_a_score": [round(ns, 2) for ns in limit],
            "limit_s": round(min(limit) * scores / 1e9, 1),
            "peak_gb": round(machine.peak_gb(), 2),
        },
    }
    print(figures, flush=True)
    if not options.without_floors:
        watch = Watch()
        view = evaluation_view(View(), "test", protocol.targets)
        floors = fit_floors(dataset, view, quality_of(facts, protocol))
        figures["floors made and chosen"] = watch.read() | {"users": 2000}
        for floor in floors:
            report, took = ask(floor.name, floor.ranker, view, Clock())
            figures[floor.name] = in_short(report, took) | floor.choice
            print(floor.name, figures[floor.name], flush=True)
    figures["peak_gb"] = round(machine.peak_gb(), 2)
    machine.write("evaluate", figures)


if __name__ == "__main__":
    main()
