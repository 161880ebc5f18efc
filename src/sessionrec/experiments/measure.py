"""What is measured of a system: answers to both kinds of questions, work per user, memory.

Operations are those of products of matrices, in attention too, a multiplication and an addition each one; sums over
rows, activations and look-ups are a small part and are not counted. Users are encoded one by one, so that neither
padding to a longer neighbour nor items shared with one count.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, evaluation_view
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.evaluate import evaluate as ask_all
from sessionrec.experiments.result import USER_INDEX
from sessionrec.model.recommender import Recommender, request_times
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.scoring import Ranker

BATCH_USERS = 512
"""Users a batch where questions are answered."""
FLOP_USERS = 128
"""Test users whose histories are encoded to count operations."""
_NOT_METRICS = (USER_INDEX, "num_questions", "num_targets", "num_before", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Of one system to all questions; the fields are those of `Result`."""

    evaluation_seconds: float
    metrics: dict[str, dict[str, float]]
    counts: dict[str, dict[str, float]]
    users: pl.DataFrame


def ask(ranker: Ranker, dataset: Dataset, view: View, protocols: Sequence[EvalProtocol]) -> Answers:
    """Ask a system the test questions.

    Args:
        ranker: The system.
        dataset: Whose questions.
        view: What the system is shown.
        protocols: Kinds of questions.
    """
    started, reports = time.perf_counter(), {}
    for protocol in protocols:
        loader = Loader(dataset, evaluation_view(view, "test", protocol.targets), questions(BATCH_USERS), seed=0)
        reports[protocol.targets] = ask_all(ranker, loader, facts_of(dataset, protocol), protocol, name="")
    return Answers(
        evaluation_seconds=round(time.perf_counter() - started, 2),
        metrics={targets: dict(report.metrics) for targets, report in reports.items()},
        counts={
            targets: {
                "users": report.num_users,
                "targets": report.num_targets,
                "candidates": report.num_candidates,
                "target_coverage": report.target_coverage,
            }
            for targets, report in reports.items()
        },
        users=_users(reports),
    )


def _users(reports: dict[Any, EvalReport]) -> pl.DataFrame:
    """A row a user, in the order of the data set; the same users are asked each kind of question."""
    sorted_by = {targets: report.users.sort(USER_INDEX) for targets, report in reports.items()}
    users = next(iter(sorted_by.values())).select(USER_INDEX)
    for targets, frame in sorted_by.items():
        assert frame[USER_INDEX].equals(users[USER_INDEX]), "other users were asked"
        columns = [pl.col(name).alias(f"{targets}/{name}") for name in frame.columns if name not in _NOT_METRICS]
        users = users.hstack(frame.select(columns))
    return users


def flops_per_user(model: Recommender, dataset: Dataset, view: View, *, users: int = FLOP_USERS) -> float:
    """Operations to encode a test user's history, mean over the first users."""
    one_by_one = Loading(shuffle=False, batch_users=1, prefetch=0)
    loader = Loader(dataset, evaluation_view(view, "test", "session"), one_by_one, seed=0)
    counter, done = Counter(), 0
    with _at_rest(model):
        for examples in loader:
            with counter:
                model.encode(examples.inputs, request_times(examples))
            done += examples.inputs.num_users
            if done >= users:
                break
    return counter.total / max(done, 1)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations of products while inside.

    Torch's `FlopCounterMode` does the same but for products in place and attention on a CPU, which it does not know; it
    also names modules and takes every operation apart, which makes it thirty times as slow on short histories.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula: Any = _OURS.get(func.overloadpacket) or flop_registry.get(func.overloadpacket)
        if formula is None and _is_made_of_others(func):
            # Where no gradient is wanted, `linear` and the like come here whole; their parts come here next.
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


@cache
def _is_made_of_others(func: Any) -> bool:
    key = "CompositeImplicitAutograd"
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


def _product(_: Tensor, left: Tensor, right: Tensor, **__: Any) -> int:
    """[B, M, K] by [B, K, N]: a multiplication and an addition for each term of a sum."""
    return 2 * left.numel() * right.shape[2]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """[B, H, L, K]: all pairs, what a mask hides too, since it is computed; once for the scores, once for the sums."""
    users, heads, rows, width = query.shape
    return 2 * users * heads * rows * key.shape[2] * (width + value.shape[3])


_OURS = {
    torch.ops.aten.baddbmm_: _product,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}


@contextmanager
def _at_rest(model: Recommender) -> Iterator[None]:
    """A model in evaluation, and back again; without the fast path that torch's Transformer layer then has, a single
    operation that hides its products."""
    had_fast_path, was_training = torch.backends.mha.get_fastpath_enabled(), model.training
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fast_path)
        model.train(was_training)


def epochs_of(metrics: Path) -> dict[str, float]:
    """Medians over the epochs of a run, of its `metrics.jsonl`."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return {
        "seconds_per_epoch": round(statistics.median(line["seconds"] for line in lines), 4),
        "processor_seconds_per_epoch": round(statistics.median(line["processor_seconds"] for line in lines), 4),
        "events_per_epoch": round(statistics.median(line["events_per_s"] * line["seconds"] for line in lines)),
    }


def peak_bytes() -> int:
    """Most memory that this process held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
