"""`EvalReport`: the figures of one system under one protocol, with what stands behind them.

eval.json       metrics, protocol, counts, breakdowns, about
eval.parquet    one row a user: place in the data set, questions, targets, history, weight, every metric
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sessionrec.errors import ArtifactError
from sessionrec.evaluate.breakdown import Row
from sessionrec.evaluate.metrics import FloatArray
from sessionrec.evaluate.protocol import EvalProtocol
from sessionrec.evaluate.significance import Difference, Interval, compare, interval

USER_INDEX, NUM_QUESTIONS, NUM_TARGETS, NUM_BEFORE, WEIGHT = (
    "user_index",
    "num_questions",
    "num_targets",
    "num_before",
    "weight",
)
_USER_COLUMNS = (USER_INDEX, NUM_QUESTIONS, NUM_TARGETS, NUM_BEFORE, WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """What one system reached. A mean that does not exist (no session with negatives) is left out of `metrics`."""

    system: str
    """Its name, for tables."""
    protocol: EvalProtocol
    """What was asked and how answers count."""
    metrics: dict[str, float]
    """`recall@K`, `ndcg@K`, `mrr@K`, `hit_rate@K`, `in_session_auc`, `in_session_ndcg`: means over users, 0 to 1."""
    num_users: int
    """Users with a question."""
    num_questions: int
    num_targets: int
    num_candidates: int
    target_coverage: float
    """Share of targets that can be found at all: candidates that are not taken out as seen; no recall is higher."""
    num_in_session_users: int
    """Users with a session that has both positives and negatives."""
    lists: dict[str, float]
    """`catalogue_coverage@k`, `novelty@k` in bits, `popularity_bias@k`; see `lists`."""
    by_history: list[Row]
    """Metrics by number of sessions before the question."""
    by_popularity: list[Row]
    """Share of targets found, by popularity of the item."""
    about: dict[str, Any]
    """What else names the run: data set and its fingerprint, part, seed, config, versions. Plain values."""
    users: pl.DataFrame
    """[U] `user_index`, `num_questions`, `num_targets`, `num_before`, `weight`, and every metric; NaN = has none."""

    def values(self, metric: str) -> FloatArray:
        """[U] one metric of every user, NaN where a user has none.

        Raises:
            ValueError: There is no such metric; the message lists those there are.
        """
        if metric not in self.users.columns or metric in _USER_COLUMNS:
            known = [name for name in self.users.columns if name not in _USER_COLUMNS]
            raise ValueError(f"no metric {metric!r} in this report; there are {', '.join(known)}")
        values: FloatArray = self.users[metric].to_numpy().astype(np.float64)
        return values

    def interval(self, metric: str, *, seed: int, level: float = 0.95, resamples: int = 2000) -> Interval:
        """The bootstrap interval of a metric; see `significance.interval`."""
        weight_U = self.users[WEIGHT].to_numpy()
        return interval(self.values(metric), seed=seed, weight_U=weight_U, level=level, resamples=resamples)

    def compare(
        self, other: EvalReport, metric: str, *, seed: int, level: float = 0.95, resamples: int = 2000
    ) -> Difference:
        """How much more this system has than another, paired by user; see `significance.compare`.

        Raises:
            ValueError: The two were not asked the same.
        """
        mine, theirs = self.users.select(_USER_COLUMNS[:3]), other.users.select(_USER_COLUMNS[:3])
        if self.protocol != other.protocol or not mine.equals(theirs):
            raise ValueError(
                f"{self.system!r} and {other.system!r} were not asked the same: protocol, users or targets differ; "
                "evaluate both on the same data set with the same protocol"
            )
        weight_U = self.users[WEIGHT].to_numpy()
        return compare(
            self.values(metric), other.values(metric), seed=seed, weight_U=weight_U, level=level, resamples=resamples
        )

    def to_json(self) -> str:
        """Everything but the values of each user."""
        tree = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("users", "protocol")}
        tree |= {"protocol": self.protocol.model_dump(mode="json"), "protocol_in_words": self.protocol.words()}
        return json.dumps(_without_nan(tree), indent=1, allow_nan=False)

    def save(self, path: Path) -> None:
        """Write `path` (JSON) and, beside it, the values of each user with the ending `.parquet`."""
        self.users.write_parquet(path.with_suffix(".parquet"))
        path.write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EvalReport:
        """Read what `save` wrote.

        Raises:
            ArtifactError: One of the two files is missing, or is not a report.
        """
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            users = pl.read_parquet(path.with_suffix(".parquet"))
            del tree["protocol_in_words"]
            protocol = EvalProtocol.model_validate_json(json.dumps(tree.pop("protocol")))
            return cls(**tree, protocol=protocol, users=users)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: no evaluation report can be read there: {error}; evaluate again") from error


def _without_nan(tree: Any) -> Any:
    """JSON has no NaN; what does not exist is null."""
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and math.isnan(tree) else tree
