"""One metric of a system as a number, for choosing among systems: `baselines.fit_floors`, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sessionrec.batch import Examples
from sessionrec.evaluate.evaluator import evaluate
from sessionrec.evaluate.facts import ItemFacts
from sessionrec.evaluate.metrics import RANK_METRICS
from sessionrec.evaluate.protocol import EvalProtocol
from sessionrec.scoring import Ranker


def quality_of(
    facts: ItemFacts, protocol: EvalProtocol, metric: str = "ndcg@10"
) -> Callable[[Ranker, Iterable[Examples]], float]:
    """A function that evaluates a system by one metric, under the protocol but for what the metric does not need.

    Args:
        facts: Of the catalogue.
        protocol: How answers count; its `ks`, lists and in-session ranking do not matter.
        metric: `recall@K`, `ndcg@K`, `mrr@K` or `hit_rate@K`, for any K.

    Raises:
        ValueError: There is no such metric.
    """
    name, _, k = metric.partition("@")
    if name not in RANK_METRICS or not k.isdecimal() or int(k) < 1:
        raise ValueError(f"`metric` must be recall@K, ndcg@K, mrr@K or hit_rate@K, K at least 1, got {metric!r}")
    bare = protocol.model_copy(update={"ks": (int(k),), "list_length": 0, "in_session": False})

    def quality(system: Ranker, examples: Iterable[Examples]) -> float:
        return evaluate(system, examples, facts, bare, name=metric).metrics[metric]

    return quality
