"""The tables of docs/results.md from the `table.csv` of an experiment's report, as Markdown.

python -m benchmarks.results_table runs/experiments/report/table2/table.csv ebnerd kuairand
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

COLUMNS = {
    ("session", "ndcg@10"): "N@10",
    ("session", "recall@10"): "R@10",
    ("session", "recall@100"): "R@100",
    ("session", "recall@500"): "R@500",
    ("session", "in_session_auc"): "GAUC",
    ("last_item", "ndcg@10"): "item N@10",
    ("last_item", "recall@100"): "item R@100",
}


def table(rows: pl.DataFrame) -> list[str]:
    """The lines of one data set: means over seeds, for models half the width of the interval; the most in bold."""
    rows = rows.filter(pl.col("mean").is_not_null())
    shown = {key: name for key, name in COLUMNS.items() if len(_of(rows, key))}
    most = {key: max(_text(mean) for mean in _of(rows, key)["mean"]) for key in shown}
    lines = [f"| | seeds | {' | '.join(shown.values())} |", f"|---|---:|{'---:|' * len(shown)}"]
    for slug in rows["slug"].unique(maintain_order=True):
        mine = rows.filter(pl.col("slug") == slug)
        cells = []
        for key in shown:
            found = _of(mine, key)
            if not len(found):
                cells.append("")
                continue
            mean, low, high = (float(found[name][0]) for name in ("mean", "low", "high"))
            text = f"**{_text(mean)}**" if _text(mean) == most[key] else _text(mean)
            cells.append(text if ":" in slug else f"{text} ±{_text((high - low) / 2)}")
        seeds = "" if ":" in slug else str(mine["seeds"].max())
        lines.append(f"| {mine['row'][0]} | {seeds} | {' | '.join(cells)} |")
    return lines


def _of(rows: pl.DataFrame, key: tuple[str, str]) -> pl.DataFrame:
    return rows.filter((pl.col("targets") == key[0]) & (pl.col("metric") == key[1]))


def _text(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def main() -> None:
    """Print the tables of some data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("datasets", nargs="+")
    given = parser.parse_args()
    rows = pl.read_csv(given.csv, infer_schema_length=None)
    for name in given.datasets:
        print("\n".join(["", f"**{name}**", "", *table(rows.filter(pl.col("dataset") == name))]))


if __name__ == "__main__":
    main()
