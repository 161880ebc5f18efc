"""What a prior adds to a trained model: the model, the prior alone, and both, on the test questions.

sessionrec fit data/ebnerd --out runs/ebnerd objective.alpha=0
python -m benchmarks.prior runs/ebnerd
"""

from __future__ import annotations

import argparse
import time

import torch

from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.evaluate import EvalProtocol, evaluate
from sessionrec.pipeline.prior import fit_prior, prior_ranker
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.prior import PriorConfig
from sessionrec.recommend import artifact
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.scoring import Ranker

METRICS = ("ndcg@10", "recall@10", "recall@100", "recall@500", "in_session_auc")


def main() -> None:
    """Print a line a system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--hidden", type=int, default=PriorConfig().hidden, help="units of the hidden layer")
    parser.add_argument("--neighbours", action="store_true", help="with neighbours of the history's items")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    trained = artifact.load(given.run)
    config = PriorConfig(hidden=given.hidden, has_neighbours=given.neighbours)
    dataset, protocol = trained.open_dataset(), EvalProtocol()
    model = ModelRanker(trained.recommender, trained.num_candidates)
    view = evaluation_view(trained.view, "test", protocol.targets)

    def ask(name: str, system: Ranker) -> None:
        started = time.perf_counter()
        found = evaluate(system, Loader(dataset, view, questions(512), seed=0), facts_of(dataset), protocol, name=name)
        cells = [f"{metric} {found.metrics.get(metric, float('nan')):.4f}" for metric in METRICS]
        print(f"{name:12}", *cells, f"{time.perf_counter() - started:.1f} s", flush=True)

    ask("model", model)
    for name, beside in (("prior", None), ("both", model)):
        started = time.perf_counter()
        fitted, scheme = fit_prior(dataset, trained.view, config, model=beside, seed=given.seed)
        most = sorted(fitted.contribution.items(), key=lambda pair: -abs(pair[1]))[:8]
        print(
            f"{name}: loss {fitted.loss:.4f}, linear {fitted.loss_linear:.4f}, without {fitted.loss_without:.4f}; "
            f"scale of the model {fitted.prior.scale:.3f}; fitted in {time.perf_counter() - started:.1f} s; most: "
            + ", ".join(f"{feature} {value:+.2f}" for feature, value in most),
            flush=True,
        )
        ask(name, prior_ranker(dataset, fitted, scheme, model=beside))


if __name__ == "__main__":
    main()
