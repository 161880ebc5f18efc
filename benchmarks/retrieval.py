"""How much of the exact best hundred a model with a prior finds without scoring the catalogue, and what that costs.

sessionrec fit data/ebnerd --out runs/ebnerd --preset sessionrec
python -m benchmarks.retrieval runs/ebnerd
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from sessionrec.batch import Examples
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.index import Index
from sessionrec.index.exact import ExactConfig
from sessionrec.index.hnsw import HnswConfig
from sessionrec.pipeline.prior import model_ranker, prior_ranker
from sessionrec.pipeline.training import questions
from sessionrec.recommend import artifact
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.retrieval import Reach, Retriever, dense_vectors, quality
from sessionrec.scoring import top_k


def main() -> None:
    """Print a line an index and reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run with a prior")
    parser.add_argument("-k", type=int, default=100)
    parser.add_argument("--reach", type=int, nargs="+", default=[200, 500])
    parser.add_argument("--users", type=int, default=512)
    given = parser.parse_args()
    torch.set_num_threads(1)
    trained = artifact.load(given.run)
    dataset = trained.open_dataset()
    model = model_ranker(trained, dataset, view=trained.shown, is_stream=True)
    assert trained.prior is not None, "the run has no prior; fit it with the preset `sessionrec`"
    # Recall as test questions are asked, each at its own time; cost as users of today are, all of them now.
    past = prior_ranker(dataset, trained.prior.fitted, trained.prior.scheme, is_stream=True, model=model)
    ranker = live_ranker(trained, model)
    view = evaluation_view(trained.asked_view, "test", "session")
    examples = next(iter(Loader(dataset, view, questions(given.users), seed=0)))
    num = examples.targets.num_questions
    now = replace(examples.targets, time_ms_Q=torch.full((num,), int(examples.targets.time_ms_Q.max())))
    live = Examples(examples.inputs, now)
    started = time.perf_counter()
    top_k(ranker.scorer(live), given.k)
    exhaustive = (time.perf_counter() - started) / num
    print(f"{trained.num_candidates:,} candidates, {num} questions; exhaustive {exhaustive * 1000:.2f} ms a question")
    vectors_VD, rows = dense_vectors(model, ranker), np.arange(1, trained.num_candidates + 1)
    indexes: list[tuple[str, Index]] = [
        ("exact", ExactConfig().build(rows, vectors_VD)),
        ("hnsw", HnswConfig().build(rows, vectors_VD)),
    ]
    for name, index in indexes:
        for reach in given.reach:
            far = Reach(near=reach, fresh=reach, whole=0)
            found = quality(Retriever(past, model, index, far), past, examples, given.k).recall
            retriever = Retriever(ranker, model, index, far)
            started = time.perf_counter()
            retriever.search(live, given.k)
            took = (time.perf_counter() - started) / num
            print(
                f"{name:6} reach {reach:5}: recall@{given.k} {found:.4f}, {took * 1000:.2f} ms a question", flush=True
            )


if __name__ == "__main__":
    main()
