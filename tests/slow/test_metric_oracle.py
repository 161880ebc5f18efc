"""Recall, NDCG, MRR and hit rate equal those of ranx, a library for evaluating rankings, query by query.

ranx wants other versions of numpy than the package, so it lives in an environment of its own, `.venv-ranx`, which
`make test-all` makes and names in `SESSIONREC_RANX`. It compiles for about a minute.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.evaluate import EvalProtocol, ItemFacts, evaluate
from sessionrec.jagged import Jagged
from sessionrec.scoring import DotScorer, Scorer

ROOT = Path(__file__).parents[2]
ORACLE = Path(__file__).with_name("ranx_oracle.py")
USUAL = ROOT / ".venv-ranx" / "bin" / "python"
QUERIES, CANDIDATES, ITEMS = 300, 120, 140
KS = (1, 2, 5, 10, 50, 120)
METRICS = {"recall": "recall", "ndcg": "ndcg", "mrr": "mrr", "hit_rate": "hit_rate"}
"""Our names, and those of ranx."""


def interpreter() -> Path:
    """Python with ranx; missing where it was promised is a failure, and elsewhere a reason to skip."""
    promised = os.environ.get("SESSIONREC_RANX")
    python = ROOT / promised if promised else USUAL
    if python.is_file():
        return python
    if promised:
        pytest.fail(f"SESSIONREC_RANX names {python}, which is not there; `make .venv-ranx/.ready` makes it")
    pytest.skip(f"there is no {USUAL}; `make .venv-ranx/.ready` makes it, and `make test-all` needs it")


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, list[list[int]]]:
    """Scores [queries, candidates] without ties, and targets: few or many, some of them no candidates."""
    rng = np.random.default_rng(7)
    scores = rng.permuted(np.tile(np.arange(1.0, CANDIDATES + 1), (QUERIES, 1)), axis=1)
    most = rng.choice([1, 2, 5, 20, 100], QUERIES)
    wanted = [
        np.sort(rng.choice(ITEMS, rng.integers(1, most[q] + 1), replace=False) + 1).tolist() for q in range(QUERIES)
    ]
    # A query with nothing but what cannot be found, and one with everything.
    wanted[0], wanted[1] = list(range(CANDIDATES + 1, ITEMS + 1)), list(range(1, ITEMS + 1))
    return scores, wanted


class Drawn:
    """Gives the scores that were drawn."""

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    def scorer(self, examples: Examples) -> Scorer:
        """The product of the scores with the identity is the scores; nobody looks at the questions."""
        del examples
        return DotScorer(torch.from_numpy(self._scores).float(), torch.eye(CANDIDATES))


def examples(wanted: list[list[int]]) -> Examples:
    """A question a user, after one session of one item."""
    each, past = torch.arange(QUERIES), torch.arange(QUERIES + 1)
    ones = torch.ones(QUERIES, dtype=torch.int64)
    inputs = SessionBatch(
        user_index_B=each,
        user_offsets=past,
        session_offsets=past,
        session_time_ms_S=ones,
        item_E=ones,
        action_E=ones,
        time_ms_E=ones,
        features={},
        max_sessions=1,
        max_events=1,
    )

    def jagged(rows: list[list[int]]) -> Jagged[torch.Tensor]:
        values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
        return Jagged(values=values, offsets=torch.tensor([0, *np.cumsum([len(row) for row in rows]).tolist()]))

    targets = Targets(
        user_Q=each,
        num_before_Q=ones,
        time_ms_Q=2 * ones,
        positives=jagged(wanted),
        negatives=jagged([[] for _ in wanted]),
    )
    return Examples(inputs, targets)


def asked_ranx(scores: np.ndarray, wanted: list[list[int]], folder: Path) -> dict[str, dict[str, float]]:
    tree: dict[str, Any] = {
        "qrels": {f"q{q:03d}": {f"i{item:03d}": 1 for item in row} for q, row in enumerate(wanted)},
        "run": {
            f"q{q:03d}": {f"i{column + 1:03d}": score for column, score in enumerate(row)}
            for q, row in enumerate(scores.tolist())
        },
        "metrics": [f"{name}@{k}" for name in METRICS.values() for k in KS],
    }
    (folder / "asked.json").write_text(json.dumps(tree), encoding="utf-8")
    # Nothing else of ours: a path of Python's would bring this environment's packages along.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    command = [str(interpreter()), str(ORACLE), str(folder / "asked.json"), str(folder / "answered.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept, cwd=folder)
    assert done.returncode == 0, f"ranx does not answer; remove .venv-ranx and make it anew: {done.stderr[-2000:]}"
    answered: dict[str, dict[str, float]] = json.loads((folder / "answered.json").read_text(encoding="utf-8"))
    return answered


@pytest.mark.slow
def test_every_metric_of_every_question_equals_that_of_ranx(
    drawn: tuple[np.ndarray, list[list[int]]], tmp_path: Path
) -> None:
    scores, wanted = drawn
    answered = asked_ranx(scores, wanted, tmp_path)
    facts = ItemFacts(num_candidates=CANDIDATES, train_positives_I=np.arange(ITEMS, 0, -1))
    found = evaluate(
        Drawn(scores), [examples(wanted)], facts, EvalProtocol(ks=KS, in_session=False, list_length=0), name="drawn"
    )
    assert found.num_users == QUERIES
    for ours, theirs in METRICS.items():
        for k in KS:
            expected = [answered[f"{theirs}@{k}"][f"q{q:03d}"] for q in range(QUERIES)]
            np.testing.assert_allclose(found.values(f"{ours}@{k}"), expected, rtol=0, atol=1e-9, err_msg=f"{ours}@{k}")
            assert found.metrics[f"{ours}@{k}"] == pytest.approx(np.mean(expected), abs=1e-9)
    # The comparison is of numbers that differ from question to question.
    assert np.std(found.values("ndcg@10")) > 0.1
