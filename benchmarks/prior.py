"""What a prior adds to a trained model: the model, the prior alone, and both, on the test questions.

sessionrec fit data/ebnerd --out runs/ebnerd --preset sessionrec
python -m benchmarks.prior runs/ebnerd
python -m benchmarks.prior runs/ebnerd --ablate
python -m benchmarks.prior runs/ebnerd --stream     # every event before a question is known, every item an answer
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view, whole_view
from sessionrec.errors import ConfigError
from sessionrec.evaluate import EvalProtocol, evaluate
from sessionrec.pipeline.prior import fit_prior, model_ranker, prior_ranker
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.prior import PriorConfig
from sessionrec.recommend import artifact
from sessionrec.scoring import Ranker

METRICS = ("ndcg@10", "recall@10", "recall@100", "recall@500", "in_session_auc")
ABLATIONS: dict[str, dict[str, Any]] = {
    "without acted": {"without": ("acted",)},
    "without shown": {"without": ("shown", "click rate", "own passed")},
    "without click rate": {"without": ("click rate",)},
    "without age": {"without": ("age",)},
    "without own": {"without": ("own",)},
    "without own share": {"has_share": False},
    "without own rhythm": {"has_rhythm": False},
    "without neighbours": {"has_neighbours": False},
    "linear": {"hidden": 0},
    "negatives: uniform": {"recent": 0, "best": 0},
    "negatives: no recent": {"recent": 0},
    "negatives: no best": {"best": 0},
    "all questions": {"questions": 10**9},
}


def main() -> None:
    """Print a line a system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--ablate", action="store_true", help="leave out one thing at a time")
    parser.add_argument("--stream", action="store_true", help="as a live system is asked, see `EvalProtocol.known`")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    trained = artifact.load(given.run)
    dataset, protocol = trained.open_dataset(), EvalProtocol(known="stream" if given.stream else "parts")
    model = model_ranker(trained, dataset, view=trained.view, is_stream=given.stream)
    # Weights are fitted against all items.
    fits = model_ranker(trained, dataset, view=trained.view, is_stream=True)
    view = evaluation_view(whole_view(trained.view), "test", protocol.targets)

    def ask(name: str, system: Ranker, told: str = "") -> None:
        started = time.perf_counter()
        loader = Loader(dataset, view, questions(512), seed=0)
        found = evaluate(system, loader, facts_of(dataset, protocol), protocol, name=name)
        cells = [f"{metric} {found.metrics.get(metric, float('nan')):.4f}" for metric in METRICS]
        print(f"{name:20}", *cells, f"{time.perf_counter() - started:.1f} s", told, flush=True)

    def fitted(name: str, beside: Ranker | None, config: PriorConfig) -> None:
        started = time.perf_counter()
        found, scheme = fit_prior(dataset, trained.view, config, model=fits if beside else None, seed=given.seed)
        told = f"fitted in {time.perf_counter() - started:.1f} s, loss {found.loss:.4f}"
        ask(name, prior_ranker(dataset, found, scheme, is_stream=given.stream, model=beside), told)

    usual = PriorConfig(has_neighbours=True)
    ask("model", model)
    fitted("prior", None, usual)
    fitted("both", model, usual)
    for name, changed in ABLATIONS.items() if given.ablate else ():
        try:
            fitted(name, model, usual.model_copy(update=changed))
        except ConfigError:
            print(f"{name:20} has no such feature on this log")


if __name__ == "__main__":
    main()
