"""Run folders without a training: real `EvalReport`s of systems that score as we please, in the layout of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.artifacts import ArtifactWriter
from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.evaluate import EvalProtocol, EvalReport, ItemFacts, evaluate
from sessionrec.index import Quality
from sessionrec.jagged import Jagged
from sessionrec.scoring import DotScorer, Scorer

T0_MS = 1_709_283_600_000
MODEL = "SessionRec-HSTU"
FINGERPRINT = "0123456789abcdef"
SYSTEMS = {MODEL: 0.5, "popularity": 0.0, "recency popularity": 0.35, "repeat": 0.9}
"""How much of the users' taste each system knows."""
WITH_PRIOR = {f"{MODEL} with prior": 0.7} | SYSTEMS
"""The same, of a model with a prior."""
RETRIEVED = ", retrieved"
ONE_CLOCK = "validation from 2024-03-04 00:00, test from 2024-03-06 00:00 (UTC)"
"""As the ledger words a split at two moments."""


def with_retrieved(systems: dict[str, float], knows: float) -> dict[str, float]:
    """The same, with the model answering through its retriever, in the place that an evaluation gives it."""
    own = [name for name in systems if name.startswith(MODEL)]
    floors = {name: known for name, known in systems.items() if name not in own}
    return {name: systems[name] for name in own} | {f"{own[0]}{RETRIEVED}": knows} | floors


class World:
    """Users with a taste for some items, and one question each.

    Args:
        num_users: U.
        num_items: V, all candidates.
        seed: Another world.
    """

    def __init__(self, num_users: int, num_items: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.num_items = num_items
        self.popularity_V = (20_000 / (np.arange(num_items) + 8)).astype(np.int64) + 1
        self.taste_UV = draw.gumbel(size=(num_users, num_items))
        wish_UV = np.log(self.popularity_V) + self.taste_UV + draw.gumbel(size=self.taste_UV.shape)
        order_UV = np.argsort(-wish_UV, axis=1) + 1
        self.positives = [order_UV[u, : draw.integers(1, 6)].tolist() for u in range(num_users)]
        self.negatives = [order_UV[u, 6 : 6 + draw.integers(0, 5)].tolist() for u in range(num_users)]
        sessions_U = draw.geometric(0.12, num_users).clip(1, 80)
        offsets = np.concatenate([[0], np.cumsum(sessions_U)])
        items = draw.integers(1, num_items + 1, 2 * offsets[-1])
        self.examples = Examples(
            SessionBatch(
                user_index_B=torch.arange(num_users),
                user_offsets=torch.from_numpy(offsets),
                session_offsets=torch.arange(0, 2 * offsets[-1] + 1, 2),
                session_time_ms_S=torch.arange(offsets[-1]) * 86_400_000 + T0_MS,
                item_E=torch.from_numpy(items),
                action_E=torch.ones(len(items), dtype=torch.int64),
                time_ms_E=torch.arange(offsets[-1]).repeat_interleave(2) * 86_400_000 + T0_MS,
                features={},
                max_sessions=int(sessions_U.max()),
                max_events=2,
            ),
            Targets(
                user_Q=torch.arange(num_users),
                num_before_Q=torch.from_numpy(sessions_U),
                time_ms_Q=torch.full((num_users,), T0_MS + 10**10),
                positives=_jagged(self.positives),
                negatives=_jagged(self.negatives),
            ),
        )
        self.facts = ItemFacts(num_candidates=num_items, train_positives_I=self.popularity_V)

    def scores(self, knows: float, seed: int) -> npt.NDArray[np.float32]:
        """[U, V] what a system that knows so much of the taste says."""
        noise_UV = np.random.default_rng(seed).normal(0, 2 * (1 - knows), self.taste_UV.shape)
        found: npt.NDArray[np.float32] = (np.log(self.popularity_V) + knows * (self.taste_UV + noise_UV)).astype(
            np.float32
        )
        return found

    def report(self, name: str, knows: float, protocol: EvalProtocol, seed: int) -> EvalReport:
        """What the system reaches."""
        scores = torch.from_numpy(self.scores(knows, seed))

        class Fixed:
            def scorer(self, _: Examples) -> Scorer:
                return DotScorer(scores, torch.eye(scores.shape[1]))

        about = {"model": FINGERPRINT} if name.startswith(MODEL) else {}
        about |= {"retrieval": "hnsw", "retrieval_mode": "lists"} if name.endswith(RETRIEVED) else {}
        return evaluate(Fixed(), [self.examples], self.facts, protocol, name=name, about=about)


def reports_of(world: World, protocol: EvalProtocol, systems: dict[str, float] = SYSTEMS) -> list[EvalReport]:
    """One a system."""
    return [world.report(name, knows, protocol, seed) for seed, (name, knows) in enumerate(systems.items())]


def _jagged(rows: list[list[int]]) -> Jagged[torch.Tensor]:
    offsets = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return Jagged(values=torch.tensor([item for row in rows for item in row], dtype=torch.int64), offsets=offsets)


def dataset_facts(name: str = "Evening News") -> dict[str, Any]:
    """What a run remembers of its data set."""
    return {
        "name": name,
        "path": "runs/evening news",
        "digest": "feedc0de",
        "num_users": 2402,
        "num_items": 1200,
        "num_candidates": 1100,
        "kept": {"users": 2402, "items": 1200, "sessions": 30_411, "events": 411_020, "positives": 98_231},
        "session_rule": "a pause of more than 30 min ends it",
        "split_rule": "each user's last session is the test, the one before the validation",
        "actions": ["like"],
    }


def prior_facts(**changed: Any) -> dict[str, Any]:
    """What the manifest of a model with a prior keeps of it: a feature of each kind, and a hidden layer."""
    weights = {"acted 1 h": 0.25, "shown 1 d": -0.125, "click rate 1 d": 0.5, "age": -0.5, "own acted 7 d": 0.0625}
    weights |= {"own brand <b>": 0.03125, "neighbours": 0.75}
    moves = {name: 2 * weight for name, weight in weights.items()}
    find = {
        "weights": weights,
        "scale": 0.5,
        "trust": 0,
        "contribution": moves | {"model": 1.625, "model by experience": 0.0},
    }
    moves = {name: -3 * weight for name, weight in weights.items()}
    order = find | {"contribution": moves | {"model": 0.375, "model by experience": 0.0}}
    return {
        "config": {"hidden": 16, "uniform": 256},
        "span_s": 86_400.0,
        "rate": 0.1,
        "has_shown": True,
        "find": find,
        "order": order,
        "has_hidden": True,
        "loss": 3.0625,
        "loss_linear": 3.125,
        "loss_without": 5.25,
        "num_questions": 1234,
    } | changed


def write_model(run: Path, **changed: Any) -> None:
    """RUN/model, with more in its body than the page shows."""
    body = {
        "config": {"seed": 1, "model": {"width": 64, "backbone": {"kind": "hstu", "layers": 4}}, "threads": None},
        "preset": "paper",
        "dataset": dataset_facts(),
        "fingerprint": FINGERPRINT,
        "parameters": 1_234_567,
        "selection": {
            "metric": "ndcg@100",
            "best_value": 0.1472,
            "best_epoch": 18,
            "epochs": 28,
            "stopped": "patience",
        },
        "seconds": 1834.2,
        "machine": {
            "python": "3.12.1",
            "torch": "2.13.0",
            "platform": "Linux",
            "cores": 8,
            "threads": 4,
            "device": "cpu",
        },
        "seed": 1,
        "later": "unknown",
    }
    with ArtifactWriter(run / "model", kind="model", format=1) as writer:
        writer.file("weights").write_bytes(b"w")
        writer.commit(body | changed)


def write_metrics(run: Path, epochs: int = 28) -> None:
    """RUN/metrics.jsonl of a run that was resumed: epoch 5 stands twice, and the last counts."""
    draw = np.random.default_rng(5)
    numbers = [*range(1, min(epochs, 5) + 1), *range(5, epochs + 1)]
    lines = []
    for place, epoch in enumerate(numbers):
        value = 0.1472 - 0.1 * np.exp(-epoch / 5) - 0.0002 * max(epoch - 18, 0) - (0.002 if epoch != 18 else 0)
        line = {
            "epoch": epoch,
            "step": 120 * epoch,
            "total": 3 + 4 * np.exp(-epoch / 6) + draw.normal(0, 0.02),
            "retrieval": 2.9 + 4 * np.exp(-epoch / 6) + draw.normal(0, 0.02),
            "rank": 0.69 - 0.004 * epoch + draw.normal(0, 0.002),
            "learning_rate": 1e-3,
            "events_per_s": float(draw.integers(40_000, 48_000)),
            "seconds": 9.1,
            "validation": 9.0 if place == 4 else value,
            "validation_metrics": {
                "ndcg@10": value / 2,
                "ndcg@100": value,
                "recall@10": value,
                "recall@100": 2 * value,
            },
        }
        lines.append(json.dumps(line))
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def examples_of(world: World, titles: list[str], number: int) -> list[dict[str, Any]]:
    """Users to read, as the evaluation keeps them."""
    scores_UV = world.scores(SYSTEMS[MODEL], 0)
    found = []
    for user in range(number):
        order = np.argsort(-scores_UV[user], kind="stable")
        rank = {int(item) + 1: place + 1 for place, item in enumerate(order)}
        wanted = world.positives[user]
        history = [
            {
                "time": f"2024-03-{day:02d} 09:00",
                "positives": [titles[(user * 7 + day * 3 + n) % len(titles)] for n in range(1 + day % 3)],
                "shown": [titles[(user * 5 + day + n) % len(titles)] for n in range(day % 6)],
            }
            for day in range(1, 6)
        ]
        best = [int(item) + 1 for item in order[:10]]
        found.append(
            {
                "user": f"u{user}",
                "num_sessions": len(history) + 4 * user,
                "history": history,
                "predicted": [
                    {
                        "name": titles[item % len(titles)],
                        "score": float(scores_UV[user, item - 1]),
                        "is_hit": item in wanted,
                        "is_seen": item % 3 == 0,
                    }
                    for item in best
                ],
                "came": {
                    "time": "2024-03-08 18:30",
                    "positives": [{"name": titles[item % len(titles)], "rank": rank[item]} for item in wanted]
                    + [{"name": "Just published", "rank": None}],
                    "shown": [titles[item % len(titles)] for item in world.negatives[user]],
                },
            }
        )
    return found


def write_evaluation(
    run: Path, reports: list[EvalReport], examples: list[dict[str, Any]], *, folder: str = "evaluation", **changed: Any
) -> None:
    """RUN/evaluation, or one in another folder."""
    body = {
        "part": "test",
        "systems": [report.system for report in reports],
        "files": {report.system: f"{number}.json" for number, report in enumerate(reports)},
        "choices": {"recency popularity": {"half_life_s": 3600.0}, "repeat": {"decay": 0.95}},
        "model": FINGERPRINT,
        "dataset": dataset_facts(),
        "seconds": {report.system: 1.5 for report in reports},
    }
    with ArtifactWriter(run / folder, kind="evaluation", format=1) as writer:
        for number, report in enumerate(reports):
            report.save(writer.file(f"{number}.json"))
        writer.file("examples.json").write_text(json.dumps(examples), encoding="utf-8")
        writer.commit(body | changed)


def write_index(run: Path, **changed: Any) -> None:
    """RUN/index."""
    quality = Quality(
        is_scanned=False,
        kind="hnsw",
        num_items=1100,
        dimension=64,
        num_queries=2000,
        k=100,
        recall=0.9871,
        build_s=0.41,
        bytes_per_item=531.2,
        latency_median_ms=0.312,
        latency_p99_ms=0.77,
        exact_latency_median_ms=1.21,
        batch_queries_per_s=8123.0,
    )
    body = {"config": {"kind": "hnsw", "links": 32}, "model": FINGERPRINT, "quality": asdict(quality)}
    with ArtifactWriter(run / "index", kind="index", format=1) as writer:
        writer.file("items.npy").write_bytes(b"i")
        writer.commit(body | changed)
