"""Metrics as a report prints them: `.0724`, `[.0613, .0841]`, `NDCG@10`; nothing is left out and nothing rounded up to
more than there is.
"""

from __future__ import annotations

import math
import re
from typing import Final

from sessionrec.data.wording import duration

_MINUS: Final = "\N{MINUS SIGN}"
_DASH: Final = "\N{EN DASH}"
_NAMES: Final = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "mrr": "MRR",
    "hit_rate": "Hit rate",
    "in_session_auc": "Session AUC",
    "in_session_ndcg": "Session NDCG",
    "catalogue_coverage": "Coverage",
    "novelty": "Novelty",
    "popularity_bias": "Popularity bias",
}


def score(value: float | None, places: int = 4) -> str:
    """`0.0724` -> `.0724`, `1` -> `1.0000`; what does not exist is a dash."""
    if value is None or math.isnan(value):
        return _DASH
    text = f"{abs(value):.{places}f}"
    is_negative = value < 0 and float(text) > 0
    return (_MINUS if is_negative else "") + (text[1:] if text.startswith("0.") else text)


def signed(value: float, places: int = 4) -> str:
    """The same with its sign, for differences."""
    return score(value, places) if value < 0 else f"+{score(value, places)}"


def span(low: float, high: float, places: int = 4) -> str:
    """An interval: `[.0613, .0841]`."""
    return f"[{score(low, places)}, {score(high, places)}]"


def tied(text: str) -> str:
    """A sentence whose intervals are not broken at the end of a line."""
    return re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def took(seconds: float) -> str:
    """`0.123` -> `0.12 s`; from ten seconds on as `wording.duration`."""
    return f"{seconds:.2g} s" if seconds < 9.95 else duration(seconds)


def metric_name(metric: str) -> str:
    """`ndcg@10` -> `NDCG@10`."""
    name, at, k = metric.partition("@")
    return _NAMES.get(name, name) + at + k
