"""Small files of exactly the formats of RecFlow and KuaiSAR; every value is made by a formula, none is copied."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sessionrec.logs.kuaisar import KuaisarConfig
from sessionrec.logs.recflow import RecflowConfig
from tests.raw_fixtures.base import RawLog

# 2024-01-13 00:00:00 in Beijing
RECFLOW_MS = 1_705_075_200_000
# 2023-05-22 14:50:00 in Beijing
KUAISAR_MS = 1_684_738_200_000

RECFLOW_COLUMNS = [
    "request_id",
    "request_timestamp",
    "user_id",
    "device_id",
    "age",
    "gender",
    "province",
    "video_id",
    "author_id",
    "category_level_one",
    "category_level_two",
    "upload_type",
    "upload_timestamp",
    "duration",
    "realshow",
    "rerank_pos",
    "rerank_neg",
    "rank_pos",
    "rank_neg",
    "coarse_neg",
    "prerank_neg",
    "rank_index",
    "rerank_index",
    "playing_time",
    "effective_view",
    "long_view",
    "like",
    "follow",
    "forward",
    "comment",
]


def recflow_rows(day: int, num_rows: int = 12) -> pl.DataFrame:
    """Requests of three videos each, a minute apart; every second video is watched, every fourth to its end."""
    n = [num_rows * day + i for i in range(num_rows)]
    video = [i * 5 % 7 for i in n]
    known = {
        "request_id": [i // 3 for i in n],
        "request_timestamp": [RECFLOW_MS + 86_400_000 * day + 60_000 * (i // 3) for i in n],
        "user_id": [i // 3 % 3 for i in n],
        "video_id": video,
        "author_id": [v // 2 for v in video],
        "category_level_one": [v % 2 for v in video],
        "category_level_two": [v % 4 for v in video],
        "duration": [10_000 + 1_000 * v for v in video],
        "effective_view": [int(i % 2 == 0) for i in n],
        "long_view": [int(i % 4 == 0) for i in n],
        "like": [int(i == 4) for i in n],
        "realshow": [1 for _ in n],
    }
    return pl.DataFrame({name: known.get(name, [0] * num_rows) for name in RECFLOW_COLUMNS})


def write_recflow(folder: Path) -> RawLog:
    """Two daily files of what was shown."""
    (folder / "realshow").mkdir()
    for day in range(2):
        recflow_rows(day).write_ipc(folder / "realshow" / f"2024-01-{13 + day}.feather", compression="lz4")
    main = folder / "realshow" / "2024-01-13.feather"
    config = RecflowConfig(path=folder)
    return RawLog(config=config, first=(0, 0, RECFLOW_MS, 0b11), num_events=24, main=main, column="request_id")


def kuaisar_recommendation(num_rows: int = 12) -> pl.DataFrame:
    """Requests of two videos each, a minute apart."""
    n = range(num_rows)
    flags = {"forward": 5, "like": 4, "follow": 6, "search": 3, "search_item_related": 12}
    return pl.DataFrame(
        {
            "user_id": [1 + i // 2 % 3 for i in n],
            "item_id": [1 + i * 5 % 7 for i in n],
            "playing_time": [1_000.0 * i for i in n],
            "duration_ms": [10_000.0 for _ in n],
            "time": [f"2023-05-22 14:{50 + i // 2}:00" for i in n],
            "timestamp": [float(KUAISAR_MS + 60_000 * (i // 2)) for i in n],
            "click": [int(i % 2 == 0) for i in n],
            **{name: [int(i % every == 0) for i in n] for name, every in flags.items()},
        }
    )


def kuaisar_search(num_rows: int = 9) -> pl.DataFrame:
    """Searches with three results each; the first is clicked once, the second twice."""
    n = range(num_rows)
    return pl.DataFrame(
        {
            "user_id": [1 + i // 3 % 3 for i in n],
            "search_session_id": [40 + i // 3 for i in n],
            "search_session_time": [f"2023-05-22 14:{50 + i // 3}:00" for i in n],
            "search_session_timestamp": [KUAISAR_MS + 60_000 * (i // 3) for i in n],
            "keyword": [f"[20, {i // 3}, 3]" for i in n],
            "search_source": ["USER_INPUT" for _ in n],
            "item_id": [1 + i * 5 % 7 for i in n],
            "click_cnt": [(1, 2, 0)[i % 3] for i in n],
            "item_type": [("VIDEO", "USER", "LIVE")[i % 3] for i in n],
        }
    )


def kuaisar_items() -> pl.DataFrame:
    """Seven videos, the last of which is padding but for its id."""
    n = range(1, 8)
    categories = {
        f"{level}_level_category_{part}": [i * 10 + i % 2 if part == "id" else f"{level} {i}, {part}" for i in n]
        for level in ("first", "second", "third", "fourth")
        for part in ("id", "name", "name_en")
    }
    return pl.DataFrame(
        {
            "item_id": n,
            "caption": [f"[{i}, 213, 24]" for i in n],
            "author_id": [i % 7 for i in n],
            "item_type": ["NORMAL" for _ in n],
            "upload_time": ["2023-04-22" if i < 7 else "1970-1-1" for i in n],
            "upload_type": ["LongImport" for _ in n],
            **categories,
        }
    )


def write_kuaisar(folder: Path) -> RawLog:
    """Both logs and the videos, in the folder that the archive unpacks to."""
    inner = folder / "KuaiSAR_final"
    inner.mkdir()
    kuaisar_recommendation().write_csv(inner / "rec_inter.csv")
    kuaisar_search().write_csv(inner / "src_inter.csv")
    kuaisar_items().write_csv(inner / "item_features.csv")
    first = (1, 1, KUAISAR_MS, 0b11111)
    main = inner / "rec_inter.csv"
    return RawLog(config=KuaisarConfig(path=folder), first=first, num_events=12, main=main, column="timestamp")
