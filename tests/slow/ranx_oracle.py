"""Asked by `test_metric_oracle.py`, run by an interpreter that has ranx: metrics of each query of a run, as JSON.

    python ranx_oracle.py ASKED.json ANSWERED.json

ASKED holds `qrels` (query -> item -> 1), `run` (query -> item -> score) and `metrics` (names in ranx's words).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ranx import Qrels, Run, evaluate  # type: ignore[import-not-found]  # only the environment of this script has it

asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
qrels, run = Qrels(asked["qrels"]), Run(asked["run"])
# Without threads: the first call compiles, and what it compiles is then the same everywhere.
found = evaluate(qrels, run, asked["metrics"], return_mean=False, threads=1)
queries = list(qrels.keys())
answered = {metric: dict(zip(queries, map(float, values), strict=True)) for metric, values in found.items()}
Path(sys.argv[2]).write_text(json.dumps(answered), encoding="utf-8")
