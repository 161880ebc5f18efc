"""How long and how much memory does a log at industrial size take?

    python -m benchmarks.prepare_recflow [--scale 1] [--folder bench-data]

Makes raw files of RecFlow's shape once (22.9 M events, 28,257 users, 1.48 M videos, times `scale`), then runs
`sessionrec prepare` on them in a process of its own and reports wall time, processor time and peak memory. The data set
stays beside the raw files, for `benchmarks.loader`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks import machine

EVENTS, USERS, ITEMS = 22_900_000, 28_257, 1_480_000


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=1, help="times the size of RecFlow")
    parser.add_argument("--folder", type=Path, default=Path("bench-data"), help="where the raw files are kept")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    events, users, items = (size * options.scale for size in (EVENTS, USERS, ITEMS))
    raw = options.folder / f"recflow-{round(events / 1e6)}m"
    if not raw.exists():
        sizes = ["--events", str(events), "--users", str(users), "--items", str(items)]
        maker = [sys.executable, "-m", "sessionrec.logs.synthetic", "--shape", "recflow", *sizes, "--out", str(raw)]
        machine.run(maker, cores=options.cores)
    out = options.folder / f"{raw.name}-data"
    command = [sys.executable, "-m", "sessionrec.cli", "prepare", "experiments/data/recflow.toml"]
    command += ["--raw", str(raw), "--out", str(out), f"engine.scratch={options.folder}"]
    result = machine.run(command, cores=options.cores)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    figures = {
        "events": events,
        "users": users,
        "items": items,
        "cores": options.cores,
        "wall_s": round(result.wall_s, 1),
        "cpu_s": round(result.cpu_s, 1),
        "us_an_event": round(result.wall_s / events * 1e6, 2),
        "peak_gb": round(result.peak_gb, 2),
        "dataset_gb": round(size / 1e9, 2),
        "dataset_bytes_an_event": round(size / events, 1),
        "table": re.sub(r"\s+\n", "\n", result.output).strip().splitlines(),
    }
    machine.write(f"prepare_recflow_x{options.scale}", figures)


if __name__ == "__main__":
    main()
