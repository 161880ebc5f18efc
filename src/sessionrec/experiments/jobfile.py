"""What a worker is told, as a file: `job.json` in its folder of work, see `places`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sessionrec.experiments.places import Places, write_text
from sessionrec.experiments.plan import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job in plain values."""

    out: str
    """Folder of the experiments."""
    key: str
    """Of the job's own folder."""
    dataset: str
    data: str
    """Digest that the data set must have."""
    system: str
    """How a model is called in tables."""
    preset: str | None
    """The settings it began with."""
    seed: int | None
    config: dict[str, Any]
    """Settings, as `fitting` returned them."""
    seen: str
    known: str
    floors: dict[str, str]
    """Floors to be made: name -> key of the result; empty for a model."""
    keep_model: bool


def order_of(job: Job, places: Places, floors: dict[str, str], *, keep_model: bool) -> Order:
    """The order for a job; of its floors only these."""
    return Order(
        out=str(places.out.resolve()),
        key=job.key,
        dataset=job.dataset,
        data=job.data,
        system=job.row.config.name,
        preset=job.row.config.preset,
        seed=job.seed,
        config=job.config.model_dump(mode="json"),
        seen=job.seen,
        known=job.known,
        floors=floors,
        keep_model=keep_model,
    )


def write(order: Order) -> Path:
    """Put an order where its worker finds it."""
    path = Places(Path(order.out)).work(order.key) / "job.json"
    write_text(path, json.dumps(asdict(order), indent=1) + "\n")
    return path


def read(path: Path) -> Order:
    """What `write` wrote."""
    return Order(**json.loads(path.read_text(encoding="utf-8")))
