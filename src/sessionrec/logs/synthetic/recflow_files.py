"""Writes the generated log as raw files of RecFlow's shape: `realshow/<date>.feather`, one row a shown video.

In: a `WorldConfig`. Out: a folder a RecFlow reader takes for the real thing: Arrow IPC with lz4, batches of 65,536
rows, all thirty columns as 64-bit integers. Only the exposed stage is made, no candidates that earlier stages drop.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sessionrec.logs.synthetic.days import Slates, World, days, make_world
from sessionrec.logs.synthetic.world import WorldConfig

logger = logging.getLogger(__name__)

COLUMNS: Final = (
    "request_id", "request_timestamp", "user_id", "device_id", "age", "gender", "province",
    "video_id", "author_id", "category_level_one", "category_level_two", "upload_type", "upload_timestamp", "duration",
    "realshow", "rerank_pos", "rerank_neg", "rank_pos", "rank_neg", "coarse_neg", "prerank_neg", "rank_index",
    "rerank_index", "playing_time", "effective_view", "long_view", "like", "follow", "forward", "comment",
)  # fmt: skip
"""Columns of RecFlow's daily files, in their order; all are integers."""

SCHEMA: Final = pa.schema([(name, pa.int64()) for name in COLUMNS])
_BATCH_ROWS: Final = 65_536


def write_recflow(config: WorldConfig, folder: Path) -> tuple[Path, ...]:
    """Write one file a day; memory is bounded by the world (40 bytes a video) and one chunk (about 0.3 GB).

    Args:
        config: The world; RecFlow itself has 37 days from 2024-01-13 and at most 6 shown videos a request.
        folder: Gets `realshow/<date>.feather`; files of these names are replaced.

    Returns:
        The files, in the order of days. A day without events has a file without rows.
    """
    realshow = folder / "realshow"
    realshow.mkdir(parents=True, exist_ok=True)
    world = make_world(config)
    stream, paths = days(world), []
    slates = next(stream, None)
    for day in range(config.num_days):
        path = realshow / f"{config.date(day)}.feather"
        # Under another name until it is whole: a half-written day is never taken for a day.
        part = path.with_suffix(".part")
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, SCHEMA, options=options) as writer:
            while slates is not None and slates.day == day:
                writer.write_table(_table(world, slates), max_chunksize=_BATCH_ROWS)
                slates = next(stream, None)
        part.replace(path)
        paths.append(path)
        logger.info("wrote %s, %.1f MB", path, path.stat().st_size / 1e6)
    return tuple(paths)


def _table(world: World, slates: Slates) -> pa.Table:
    items, users, item, user = world.items, world.users, slates.item, slates.user
    category = items.category[item]
    ones = np.ones(len(item), dtype=np.int64)
    zeros = np.zeros(len(item), dtype=np.int64)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "request_id": slates.request,
        "request_timestamp": slates.time_ms,
        "user_id": user,
        "device_id": user,
        "age": users.age[user],
        "gender": users.gender[user],
        "province": users.province[user],
        "video_id": items.raw_id[item],
        "author_id": items.author[item],
        "category_level_one": items.coarse_category[category],
        "category_level_two": category,
        "upload_type": items.upload_type[item],
        "upload_timestamp": items.upload_s[item],
        "duration": items.duration_ms[item],
        "realshow": ones,
        "rerank_pos": ones,
        "rerank_neg": zeros,
        "rank_pos": ones,
        "rank_neg": zeros,
        "coarse_neg": zeros,
        "prerank_neg": zeros,
        "rank_index": slates.position,
        "rerank_index": slates.position,
        "playing_time": slates.playing_ms,
        "effective_view": slates.positive,
        **slates.signals,
    }
    return pa.table({name: columns[name].astype(np.int64, copy=False) for name in COLUMNS}, schema=SCHEMA)
