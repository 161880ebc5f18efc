"""Differences between models of a Table 2 that its report does not compare: backbones, inputs and losses, as Markdown.

python -m benchmarks.results_pairs benchmarks/results/experiment_table2.csv

A report compares every row with SessionRec-HSTU on the same users. For two other rows its `table.csv` holds each one's
95 % interval alone; half the interval of their difference is taken as the root of the sum of squares of both halves,
as if they had been asked of different users. That is too wide, since users who are hard for one are hard for the other:
what is clear (▲ above, ▼ below) is so all the more, and some of what is level is not.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import polars as pl

OURS = "SessionRec-HSTU"
PAIRS = (
    ("GRU4Rec", "SessionRec-GRU"),
    ("SASRec+", "SessionRec-Transformer"),
    ("HSTU+", OURS),
    ("SessionRec-GRU", "SessionRec-Transformer"),
    ("SessionRec-Transformer", OURS),
    ("HSTU", "HSTU+"),
    ("SASRec", "SASRec+"),
    ("SASRec+", "SASRec+ full"),
)
"""The second against the first."""
METRICS = {
    "ndcg@10": "N@10",
    "recall@10": "R@10",
    "ndcg@100": "N@100",
    "recall@100": "R@100",
    "ndcg@500": "N@500",
    "recall@500": "R@500",
    "in_session_auc": "GAUC",
}


def lines_of(rows: pl.DataFrame, dataset: str) -> list[str]:
    """The table of one data set: differences in percent of the first of a pair, of pairs that are there."""
    found = {
        (row["row"], row["metric"]): row
        for row in rows.filter(dataset=dataset, targets="session").iter_rows(named=True)
        if row["mean"] is not None
    }
    shown = [metric for metric in METRICS if any(key[1] == metric for key in found)]
    lines = [f"| {dataset} | {' | '.join(METRICS[metric] for metric in shown)} |", f"|---|{'---:|' * len(shown)}"]
    for first, second in PAIRS:
        if not all((name, metric) in found for name in (first, second) for metric in shown):
            continue
        cells = [_cell(found[first, metric], found[second, metric]) for metric in shown]
        lines.append(f"| {second} against {first} | {' | '.join(cells)} |")
    return lines


def _cell(first: dict[str, Any], second: dict[str, Any]) -> str:
    gap = second["mean"] - first["mean"]
    if second["row"] == OURS:
        low, high = -first["than_ours_high"], -first["than_ours_low"]
    else:
        half = math.hypot(*((row["high"] - row["low"]) / 2 for row in (first, second)))
        low, high = gap - half, gap + half
    sign = " ▲" if low > 0 else " ▼" if high < 0 else ""
    return f"{gap / first['mean']:+.1%}{sign}".replace("%", " %")


def main() -> None:
    """Print the tables of all data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    rows = pl.read_csv(parser.parse_args().csv, infer_schema_length=None)
    for dataset in rows["dataset"].unique(maintain_order=True):
        print("\n".join(lines_of(rows, dataset)), end="\n\n")


if __name__ == "__main__":
    main()
