"""The tables of the README from `results/quality_*.json`, as Markdown.

python -m benchmarks.quality_table
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks import machine

LOGS = {
    "ebnerd": "EB-NeRD",
    "ebnerd_global": "EB-NeRD, one clock for all",
    "globo": "Globo.com, 20,000 users",
    "kuairand": "KuaiRand-Pure, a day a session",
    "kuairand_prefix": "KuaiRand-Pure with its watched lists before it",
    "completejourney": "The Complete Journey",
}
METRICS = {
    "ndcg@10": "N@10",
    "recall@10": "R@10",
    "recall@100": "R@100",
    "recall@500": "R@500",
    "in_session_auc": "AUC",
}


def rows(name: str) -> list[str]:
    """The lines of one log."""
    figures = json.loads((machine.RESULTS / f"quality_{name}.json").read_text(encoding="utf-8"))["figures"]
    systems: dict[str, dict[str, Any]] = figures["systems"]
    title = f"**{LOGS[name]}**, {figures['users']:,} users, {figures['candidates']:,} candidates"
    lines = [f"| {title} |{' |' * len(METRICS)}"]
    for system, found in systems.items():
        cells = []
        for metric in METRICS:
            if metric not in found:
                cells.append("")
                continue
            row = found[metric]
            is_most = row["mean"] == max(other[metric]["mean"] for other in systems.values())
            text = f"{row['mean']:.3f}".removeprefix("0")
            if "better" not in row:
                text += f" ±{(row['high'] - row['low']) / 2:.3f}".replace("±0", "±")
            cells.append(f"**{text}**" if is_most else text)
        lines.append(f"| {_label(system, found)} | {' | '.join(cells)} |")
    return lines


def _label(system: str, found: dict[str, Any]) -> str:
    if "half_life_s" in found:
        hours = found["half_life_s"] / 3600
        return f"{system}, {hours:g} h" if hours >= 1 else f"{system}, {hours * 60:g} min"
    return f"{system}, {found['decay']:g}" if "decay" in found else system


def main() -> None:
    """Print the table."""
    print(f"| | {' | '.join(METRICS.values())} |")
    print(f"|---|{'---:|' * len(METRICS)}")
    for name in LOGS:
        if (machine.RESULTS / f"quality_{name}.json").is_file():
            print("\n".join(rows(name)))


if __name__ == "__main__":
    main()
