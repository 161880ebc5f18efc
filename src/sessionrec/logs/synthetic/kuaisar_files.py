"""Writes the generated log as raw files of KuaiSAR's shape: five CSV files of recommendation and search.

In: a `WorldConfig`. Out: a folder a KuaiSAR reader takes for the real thing. A quarter of the requests become search
sessions, with a query about the category of what they show; the others are recommendation, whose rows of one request
share a timestamp and have no session id. Names of categories, sources and ways of upload are made up, in English.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec.logs.synthetic.csv_sink import CsvSink
from sessionrec.logs.synthetic.days import Slates, World, days, make_world
from sessionrec.logs.synthetic.world import WorldConfig
from sessionrec.seeding import stream

FILES: Final = ("rec_inter.csv", "src_inter.csv", "user_features.csv", "item_features.csv", "social_network.csv")

_SEARCH_SHARE: Final = 0.25
_CHUNK_ITEMS: Final = 500_000
_BEIJING_MS: Final = 8 * 3_600_000
_SOURCES: Final = pl.Series(["USER_INPUT", "USER_INPUT", "SUGGESTION", "HISTORY"])
_SEARCHED_TYPES: Final = pl.Series(["IMAGE_ATLAS", "USER", "LIVE", "COMMODITY", "MUSIC", "ADVERT", *["VIDEO"] * 58])
_UPLOADS: Final = pl.Series([f"{length}{way}" for way in ("Import", "Camera") for length in ("Short", "Long")] + [
    "PhotoCopy", "Live", "Kmovie", "Web", "Share", "Unknown",
])  # fmt: skip


def write_kuaisar(config: WorldConfig, folder: Path) -> tuple[Path, ...]:
    """Write the five files; memory is bounded by the world (40 bytes a video) and one chunk (about 0.5 GB).

    Args:
        config: The world; KuaiSAR itself has 19 days from 2023-05-22.
        folder: Gets the files; files of these names are replaced.

    Returns:
        The files, as in `FILES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = make_world(config)
    rec, src, users, items, network = paths = tuple(folder / name for name in FILES)
    with CsvSink(rec) as rec_file, CsvSink(src) as src_file:
        for chunk, slates in enumerate(days(world)):
            rng = stream(config.seed, "kuaisar", chunk)
            request = slates.request - slates.request[0]
            is_search = (rng.random(int(request[-1]) + 1) < _SEARCH_SHARE)[request]
            rec_file.write(_recommendation(rng, world, _where(slates, ~is_search)))
            src_file.write(_search(rng, world, _where(slates, is_search)))
    with CsvSink(users) as file:
        file.write(_users(world))
    with CsvSink(items) as file:
        by_id = np.argsort(world.items.raw_id)
        for begin in range(0, config.num_items, _CHUNK_ITEMS):
            file.write(_items(world, by_id[begin : begin + _CHUNK_ITEMS], begin))
    with CsvSink(network) as file:
        file.write(_network(config))
    return paths


def _where(slates: Slates, keep: npt.NDArray[np.bool_]) -> Slates:
    names = ("request", "user", "item", "position", "time_ms", "affinity", "positive", "playing_ms")
    arrays = {name: getattr(slates, name)[keep] for name in names}
    return replace(slates, signals={name: flags[keep] for name, flags in slates.signals.items()}, **arrays)


def _recommendation(rng: np.random.Generator, world: World, slates: Slates) -> pl.DataFrame:
    search = rng.random(len(slates.item)) < 0.02
    return pl.DataFrame(
        {
            "user_id": slates.user.astype(np.int64),
            "item_id": world.items.raw_id[slates.item].astype(np.int64),
            "playing_time": slates.playing_ms.astype(np.float64),
            "duration_ms": world.items.duration_ms[slates.item].astype(np.float64),
            "time": _beijing(slates.time_ms, "%Y-%m-%d %H:%M:%S"),
            "timestamp": slates.time_ms.astype(np.float64),
            "click": slates.positive.astype(np.int64),
            "forward": slates.signals["forward"].astype(np.int64),
            "like": slates.signals["like"].astype(np.int64),
            "follow": slates.signals["follow"].astype(np.int64),
            "search": search.astype(np.int64),
            "search_item_related": (search & (rng.random(len(search)) < 0.4)).astype(np.int64),
        }
    )


def _search(rng: np.random.Generator, world: World, slates: Slates) -> pl.DataFrame:
    _, top, session = np.unique(slates.request, return_index=True, return_inverse=True)
    # The query: two words, of the category of what stands on top; the second has three forms.
    category = world.items.category[slates.item[top]].astype(np.int64)
    keyword = _list_text(2 * category + 1, 1_000 + 3 * category + rng.integers(0, 3, len(top)))
    source = _SOURCES[rng.integers(0, len(_SOURCES), len(top))]
    raw_id = world.items.raw_id[slates.item].astype(np.int64)
    return pl.DataFrame(
        {
            "user_id": slates.user.astype(np.int64),
            "search_session_id": slates.request,
            "search_session_time": _beijing(slates.time_ms, "%Y-%m-%d %H:%M:%S"),
            "search_session_timestamp": slates.time_ms,
            "keyword": keyword[session],
            "search_source": source[session],
            "item_id": raw_id,
            "click_cnt": slates.positive * (1 + (rng.random(len(raw_id)) < 0.1)).astype(np.int64),
            "item_type": _SEARCHED_TYPES[raw_id % len(_SEARCHED_TYPES)],
        }
    )


def _users(world: World) -> pl.DataFrame:
    users = world.users
    ranks = np.argsort(np.argsort(users.activity))
    level = ranks * 5 // len(ranks)
    return pl.DataFrame(
        {
            "user_id": np.arange(len(ranks)),
            "search_active_level": level,
            "rec_active_level": level,
            "onehot_feat1": users.gender.astype(np.int64),
            "onehot_feat2": users.age.astype(np.int64),
        }
    )


def _items(world: World, chosen: npt.NDArray[np.int64], begin: int) -> pl.DataFrame:
    items, size = world.items, len(chosen)
    rng = stream(world.config.seed, "captions", begin)
    # Id 0 pads authors and categories; hence all are one higher than in the world.
    second = items.category[chosen].astype(np.int64) + 1
    first = items.coarse_category[second - 1].astype(np.int64) + 1
    first_name = pl.select(pl.concat_str(pl.lit("kind "), pl.Series(first)))["literal"]
    second_name = pl.select(pl.concat_str(pl.lit("topic "), pl.Series(second)))["literal"]
    empty = pl.repeat("empty", size, eager=True)
    columns = {
        "item_id": items.raw_id[chosen].astype(np.int64),
        "caption": _list_text(second, rng.integers(1, 50_000, size), rng.integers(1, 50_000, size)),
        "author_id": items.author[chosen].astype(np.int64) + 1,
        "item_type": pl.repeat("NORMAL", size, eager=True),
        "upload_time": _beijing(items.upload_s[chosen].astype(np.int64) * 1_000, "%Y-%m-%d"),
        "upload_type": _UPLOADS[items.upload_type[chosen].astype(np.int64)],
    }
    for level, ids, names in (("first", first, first_name), ("second", second, second_name)):
        columns |= {f"{level}_level_category_{part}": names for part in ("name", "name_en")}
        columns[f"{level}_level_category_id"] = ids
    for level in ("third", "fourth"):
        columns[f"{level}_level_category_id"] = np.zeros(size, dtype=np.int64)
        columns |= {f"{level}_level_category_{part}": empty for part in ("name", "name_en")}
    levels = ("first", "second", "third", "fourth")
    order = [f"{level}_level_category_{part}" for level in levels for part in ("id", "name", "name_en")]
    return pl.DataFrame(columns).select(*list(columns)[:6], *order)


def _network(config: WorldConfig) -> pl.DataFrame:
    rng = stream(config.seed, "network")
    user = np.sort(rng.integers(0, config.num_users, config.num_users))
    followed = rng.integers(0, config.num_users, config.num_users)
    return (
        pl.DataFrame({"user_id": user, "user_follow_id": followed})
        .filter(pl.col("user_id") != followed)
        .unique(maintain_order=True)
    )


def _beijing(time_ms: npt.NDArray[np.int64], form: str) -> pl.Series:
    return pl.Series(time_ms + _BEIJING_MS).cast(pl.Datetime("ms")).dt.to_string(form)


def _list_text(*words: npt.NDArray[np.int64]) -> pl.Series:
    parts: list[pl.Series | pl.Expr] = [pl.lit("[")]
    for place, word in enumerate(words):
        parts += [pl.lit(", ")] * (place > 0) + [pl.Series(word)]
    return pl.select(pl.concat_str(*parts, pl.lit("]")).alias("text"))["text"]
