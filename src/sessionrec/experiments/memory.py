"""How much memory a job will take, about; so that as many run at once as fit, and no more.

Weights, gradients and two moments are four floats a parameter. A batch keeps the cells of its users' positions in
every layer; attention keeps pairs of positions beside. The loader's window, and what Python and torch take by
themselves, come on top. What finished runs on the same data set really took corrects the estimate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ConfigError
from sessionrec.experiments.measure import BATCH_USERS
from sessionrec.experiments.plan import BESIDE, Job
from sessionrec.pipeline.training import FitConfig
from sessionrec.scoring import BLOCK_BYTES

_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_PROCESS = 380 << 20
"""Python, torch and polars, with nothing done."""
_WINDOW_BYTES = 300
"""An event of the loader's window."""
_LONGEST = 3
"""Batches hold users of like length, so the longest holds so many times the mean."""
_EXPOSED = 1.5
"""The longest histories of a cap on positives hold so many times the mean of exposures beside each."""
_COPIES = 12
"""Floats kept for each number of a layer's output: what it came of, and gradients."""
_MOST = 4.0
"""An estimate is not taken for more than so many times too small."""
_MARGIN, _UNKNOWN_MARGIN = 1.1, 1.25
"""Above what the same row took with another seed; above an estimate that nothing confirms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a finished job took."""

    data: str
    """Digest of the data set."""
    row: str
    """Settings without the seed, as a text; `floors` of floors."""
    bytes: int
    estimate: int
    """What was expected of it."""


def taken(body: dict[str, Any], dataset: Dataset) -> Taken:
    """Of the manifest of a result on this data set."""
    is_floor = body["seed"] is None
    try:
        config = FitConfig() if is_floor else parse(FitConfig, body["config"], "result")
        guess = estimate(config, dataset, is_floor=is_floor)
    except ConfigError:
        # Of a version with other settings: it says nothing of how good the estimates are.
        guess = 0
    row = "floors" if is_floor else _row(body["config"])
    return Taken(data=body["data"], row=row, bytes=body["peak_bytes"], estimate=guess)


def estimate(config: FitConfig, dataset: Dataset, *, is_floor: bool = False) -> int:
    """Bytes, before anything is known of such jobs."""
    kept, width = dataset.summary.kept, config.model.width
    window = min(kept.events, config.loading.window_events) * _WINDOW_BYTES
    # With a prior, or a stream, all items are scored.
    asked = min(BLOCK_BYTES, 4 * BATCH_USERS * dataset.num_items)
    if is_floor:
        return _PROCESS + 2 * asked + 2 * window + kept.positives * 100
    table = 4 * dataset.num_items * width * 4
    caps, users = config.view.truncation, config.loading.batch_users or 64
    per_user = kept.events / max(kept.users, 1)
    events = min(_LONGEST * per_user * users, kept.events)
    if caps.max_positives is not None:
        # A history cut by its positives keeps the exposures among them.
        events = min(events, _EXPOSED * caps.max_positives * users * kept.events / max(kept.positives, 1))
    positions = events
    if config.view.unit == "session":
        positions = events * kept.sessions / max(kept.events, 1)
        if caps.max_sessions is not None:
            positions = min(positions, caps.max_sessions * users)
    elif config.view.max_positions is not None:
        positions = min(positions, config.view.max_positions * users)
    layers = getattr(config.model.backbone, "layers", 1) + 1
    batch = (events * 2 + positions * layers * _COPIES) * width * 4
    pairs = positions**2 / users * layers * 2 * 4 * 3
    objective = config.objective.retrieval
    negatives = getattr(getattr(objective, "negatives", None), "number", 128)
    scored = dataset.num_items if objective.kind == "full" else negatives
    scores = min(positions * scored * 4 * 3, 4 << 30)
    return int(_PROCESS + 2 * asked + window + table + batch + pairs + scores)


def expected(job: Job, dataset: Dataset, finished: Iterable[Taken]) -> int:
    """Bytes that a job will take, in the light of finished ones.

    Args:
        job: About to run.
        dataset: Of it.
        finished: Jobs of any data set.
    """
    is_floor = bool(job.row.config.floors)
    guess = estimate(job.config, dataset, is_floor=is_floor)
    here = [one for one in finished if one.data == dataset.content]
    row = "floors" if is_floor else _row(job.config.model_dump(mode="json"))
    if own := [one.bytes for one in here if one.row == row]:
        return int(max(own) * _MARGIN)
    ratios = [one.bytes / one.estimate for one in here if one.estimate and (one.row == "floors") == is_floor]
    return int(guess * (min(max(ratios) * _MARGIN, _MOST) if ratios else _UNKNOWN_MARGIN))


def _row(config: dict[str, Any]) -> str:
    """Settings of a run without its seed."""
    return json.dumps({name: value for name, value in config.items() if name not in ("seed", *BESIDE)}, sort_keys=True)


def free_bytes() -> int:
    """Memory that programs can still take here: of the machine, or of the container if that is less."""
    free = []
    if _MACHINE.is_file():
        lines = _MACHINE.read_text(encoding="ascii").splitlines()
        free += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    else:
        # Not Linux: nobody says what is free, so half of what is there.
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    most, now = _CONTAINER / "memory.max", _CONTAINER / "memory.current"
    if most.is_file() and now.is_file() and (limit := most.read_text(encoding="ascii").strip()) != "max":
        free.append(max(int(limit) - int(now.read_text(encoding="ascii")), 0))
    return min(free)
