"""MovieLens: ratings of films, 100K, 1M, 10M, 20M, 25M and 32M, and the RecBole files of any of them.

Source: GroupLens, grouplens.org/datasets/movielens. Licence: research use with citation, no redistribution without
permission. RecBole (MIT) ships 100K as an example.

| layout | ratings | films | size |
|---|---|---|---|
| `u.data` | tab, no header | `u.item`, Latin-1 | 100K |
| `ratings.dat` | `::`, no header | `movies.dat`, Latin-1 | 1M, 10M |
| `ratings.csv` | comma, header | `movies.csv` | 20M and later |
| `*.inter` | tab, header `name:type` | `*.item` | RecBole |

Expected, 100K: 100,000 ratings, 943 users, 1,682 films, 55.4 % rated 4 or more; 1M: 1,000,209 ratings, 6,040 users.

Session: none; a 30-minute gap makes 2,793 sessions of 100K. Positive: `rating >= 4`, the columns being `user`, `item`,
`rating`, `timestamp` in every layout. Negatives are low ratings, not exposures.

Traps: times say when a film was rated, not when it was seen: many users rated all theirs in one sitting, so sessions of
this log mean little. Use it as a smoke test and as the anchor to published item-level numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import polars as pl

from sessionrec import schema
from sessionrec.config import Config
from sessionrec.errors import LogError
from sessionrec.logs.base import Feature, Log, RawPath
from sessionrec.logs.columns import action_mask, id_column, time_ms
from sessionrec.logs.files import FILE, about, find_first, require_columns, scan

Layout = Literal["auto", "data", "dat", "csv", "inter"]

_RAW: Final = {schema.USER: "user", schema.ITEM: "item", schema.TIME_MS: "timestamp"}
_RATINGS: Final = ("user", "item", "rating", "timestamp")
_CSV_NAMES: Final = {"userId": "user", "movieId": "item"}
_INTER_NAMES: Final = {
    "user_id:token": "user",
    "item_id:token": "item",
    "rating:float": "rating",
    "timestamp:float": "timestamp",
}
_INTER_TYPES: Final[dict[str, type[pl.DataType]]] = {"rating:float": pl.Float64, "timestamp:float": pl.Float64}
_GENRES_100K: Final = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
)
_FEATURES: Final = (Feature(name="genres", kind="category"), Feature(name="year", kind="number"))
_ITEM_SCHEMA: Final = {schema.ITEM: pl.Int64, schema.TITLE: pl.String, "genres": pl.String, "year": pl.Float64}

# Item, title, genres joined by "|", release year: one film.
_Film = tuple[int, str, str, float | None]


class MovielensConfig(Config):
    """Ratings of MovieLens in any of its layouts."""

    kind: Literal["movielens"] = "movielens"
    """Which reader."""
    path: RawPath
    """Folder of the data set, or its file of ratings; titles, genres, years come from the file of films beside it."""
    layout: Layout = "auto"
    """`data` (u.data), `dat` (ratings.dat), `csv` (ratings.csv), `inter` (RecBole); `auto` goes by the suffix."""
    positive: str = "rating >= 4"
    """SQL condition of a positive event over `user`, `item`, `rating`, `timestamp`."""
    actions: dict[str, str] = {}
    """Name and SQL condition of further actions, over the same columns."""

    def open(self) -> Log:
        """Describe the log; reads headers only, and the films when they are asked for."""
        found = find_first(self.path, ("u.data",), ("ratings.dat",), ("ratings.csv",), ("*.inter",))
        files = found[:1]
        layout = _layout_of(files[0]) if self.layout == "auto" else self.layout
        raw = _ratings(files, layout)
        types = require_columns(raw, {name: name for name in _RATINGS}, files)
        with about(files):
            events = raw.select(
                id_column("user", types["user"], schema.USER),
                id_column("item", types["item"], schema.ITEM),
                time_ms("timestamp", types["timestamp"], "s"),
                action_mask(self.positive, self.actions, raw),
            )
        films = _films_file(files[0], layout)
        return Log(
            name=f"MovieLens ({files[0].name})",
            events=events,
            items=_films(films, layout) if films else None,
            actions=tuple(self.actions),
            context_features=(),
            item_features=_FEATURES if films else (),
            has_session=False,
            has_weight=False,
            files=(*files, films) if films else files,
            raw=raw,
            raw_columns=_RAW,
        )


def _layout_of(file: Path) -> Layout:
    layouts: dict[str, Layout] = {".data": "data", ".dat": "dat", ".csv": "csv", ".inter": "inter"}
    if file.suffix not in layouts:
        raise LogError(f"{file}: expected a suffix among {', '.join(layouts)}, got {file.suffix!r}; set `layout`")
    return layouts[file.suffix]


def _ratings(files: tuple[Path, ...], layout: Layout) -> pl.LazyFrame:
    if layout == "data":
        return scan(files, "tsv", names=_RATINGS, quote=None)
    if layout == "dat":
        # A separator is one byte in polars, so "::" leaves an empty column between two fields.
        names = ("user", "_0", "item", "_1", "rating", "_2", "timestamp")
        return scan(files, "csv", names=names, separator=":", quote=None).select(*_RATINGS, FILE)
    if layout == "csv":
        return scan(files, "csv").rename(_CSV_NAMES, strict=False)
    return scan(files, "tsv", types=_INTER_TYPES, quote=None).rename(_INTER_NAMES, strict=False)


def _films_file(ratings: Path, layout: Layout) -> Path | None:
    names = {"data": "u.item", "dat": "movies.dat", "csv": "movies.csv", "inter": f"{ratings.stem}.item"}
    file = ratings.with_name(names[layout])
    return file if file.is_file() else None


def _films(file: Path, layout: Layout) -> pl.LazyFrame:
    # The files of films are small, in three odd formats and two encodings: plain Python reads them, when asked.
    parse: dict[str, Callable[[str], _Film]] = {"data": _from_data, "dat": _from_dat, "inter": _from_inter}

    def read() -> pl.DataFrame:
        if layout == "csv":
            table = pl.read_csv(file, schema_overrides={"movieId": pl.Int64})
            rows = [_film(item, title, genres) for item, title, genres in table.rows()]
        else:
            text = file.read_text(encoding="utf-8" if layout == "inter" else "latin-1")
            lines = [line for line in text.split("\n") if line.strip()]
            rows = [_parsed(parse[layout], line, file) for line in (lines[1:] if layout == "inter" else lines)]
        return pl.DataFrame(rows, schema=_ITEM_SCHEMA, orient="row").unique(
            schema.ITEM, keep="first", maintain_order=True
        )

    return pl.defer(read, schema=_ITEM_SCHEMA)


def _parsed(parse: Callable[[str], _Film], line: str, file: Path) -> _Film:
    try:
        return parse(line.rstrip("\r"))
    except ValueError:
        raise LogError(
            f"{file}: expected one film a line, got {line!r}; mend the line or fetch the file again"
        ) from None


def _from_data(line: str) -> _Film:
    item, title, *rest = line.split("|")
    genres = _GENRES_100K.split()
    is_on = rest[-len(genres) :]
    return _film(int(item), title, "|".join(genre for genre, flag in zip(genres, is_on, strict=True) if flag == "1"))


def _from_dat(line: str) -> _Film:
    item, title, genres = line.split("::")
    return _film(int(item), title, genres)


def _from_inter(line: str) -> _Film:
    item, title, year, genres = line.split("\t")
    return int(item), title, genres.replace(" ", "|"), float(year) if year.isdigit() else None


def _film(item: int, title: str, genres: str) -> _Film:
    year = re.search(r"\((\d{4})\)\s*$", title)
    return item, title, genres, float(year[1]) if year else None
