"""Metrics as text."""

from __future__ import annotations

import math

from sessionrec.report.numbers import metric_name, score, signed, span


def test_scores_have_no_leading_zero_and_a_real_minus() -> None:
    assert [score(value) for value in (0.0724, 1.0, 0.0, -0.01234, 12.5)] == [
        ".0724",
        "1.0000",
        ".0000",
        "\u2212.0123",
        "12.5000",
    ]
    assert score(-0.00001) == ".0000"
    assert score(None) == score(math.nan) == "\u2013"
    assert (signed(0.5), signed(-0.5)) == ("+.5000", "\u2212.5000")
    assert span(0.0613, 0.0841, 3) == "[.061, .084]"


def test_metrics_have_names() -> None:
    assert [metric_name(name) for name in ("ndcg@10", "in_session_auc", "new@3")] == ["NDCG@10", "Session AUC", "new@3"]
