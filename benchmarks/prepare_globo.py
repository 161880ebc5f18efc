"""How fast does a log become a data set, beside a peer's in-memory data set of the same rows?

    python -m benchmarks.prepare_globo --raw FOLDER [--peer .venv-rectools/bin/python]

Ours: from the Parquet file to the data set on disk (read, check, sessions, merge, filters to the fixed point, split,
catalogue, write), the least of eight, in the process; the first run warms the file cache and is not counted. Peer:
RecTools, from a data frame that is already in memory, the least of three: `Dataset.construct` (ids to integers, nothing
else), and `SequenceDataset` on top of it (one sequence a user, what its sequence models train on; no sessions, no
filters). All on one core; ours on two as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine

PEER = """
import sys, time
import pandas as pd
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models.nn.transformers.data_preparator import SequenceDataset
frame = pd.read_parquet(sys.argv[1], columns=["user_id", "click_article_id", "click_timestamp"])
frame.columns = [Columns.User, Columns.Item, Columns.Datetime]
frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], unit="ms")
frame[Columns.Weight] = 1.0
times = []
for _ in range(3):
    started = time.perf_counter()
    dataset = Dataset.construct(frame)
    times.append(time.perf_counter() - started)
sequences = []
for _ in range(3):
    started = time.perf_counter()
    SequenceDataset.from_interactions(dataset.interactions.df)
    sequences.append(time.perf_counter() - started)
print(min(times), min(sequences))
"""


def ours(raw: Path, with_features: bool) -> tuple[float, int]:
    """Least seconds of eight, and rows."""
    from sessionrec.config import parse
    from sessionrec.pipeline import DataConfig, load_data_config, prepare

    overrides = [f"log.path={raw}", "engine.threads=1"]
    if with_features:
        config = load_data_config(Path("experiments/data/globo.toml"), overrides)
    else:
        # The peer keeps no attributes of an event, so the comparison leaves them out too.
        log = {
            "kind": "table",
            "path": str(raw / "clicks.parquet"),
            "user": "user_id",
            "item": "click_article_id",
            "time": "click_timestamp",
            "time_unit": "ms",
            "session": "session_id",
        }
        tree = {"log": log, "session": {"kind": "native"}, "engine": {"threads": 1}}
        config = parse(DataConfig, tree, "benchmark")
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(9):
            started = time.perf_counter()
            dataset = prepare(config, Path(folder) / "data")
            times.append(time.perf_counter() - started)
    return min(times[1:]), dataset.summary.rows_read


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="folder with clicks.parquet")
    parser.add_argument("--peer", type=Path, default=Path(".venv-rectools/bin/python"), help="a Python with rectools")
    parser.add_argument("--inner", choices=["plain", "features"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner:
        seconds, rows = ours(options.raw, options.inner == "features")
        sys.stdout.write(f"{seconds} {rows}\n")
        return
    own = [sys.executable, "-m", "benchmarks.prepare_globo", "--raw", str(options.raw), "--inner"]
    figures: dict[str, object] = {}
    for label, cores in (("plain", 1), ("plain", 2), ("features", 1)):
        result = machine.run([*own, label], cores=cores)
        seconds, rows = float(result.output.split()[0]), int(result.output.split()[1])
        name = f"ours_{label}" + ("_two_cores" if cores == 2 else "")
        figures |= {
            f"{name}_s": round(seconds, 3),
            f"{name}_us_a_row": round(seconds / rows * 1e6, 3),
            f"{name}_peak_gb": round(result.peak_gb, 2),
            "rows": rows,
        }
        if name == "ours_plain":
            plain = seconds
    if options.peer.exists():
        output = machine.run([str(options.peer), "-c", PEER, str(options.raw / "clicks.parquet")], cores=1).output
        construct, sequences = (float(word) for word in output.split())
        figures |= {
            "rectools_construct_us_a_row": round(construct / rows * 1e6, 3),
            "rectools_sequences_us_a_row": round(sequences / rows * 1e6, 3),
            "rectools_us_a_row": round((construct + sequences) / rows * 1e6, 3),
            "times_faster": round((construct + sequences) / plain, 1),
        }
    machine.write("prepare_globo", figures)


if __name__ == "__main__":
    main()
