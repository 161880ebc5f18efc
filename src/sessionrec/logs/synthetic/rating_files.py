"""Writes generated ratings as raw files: MovieLens-1M, MovieLens-20M, and the pairs of the Amazon papers.

In: a `RatingsConfig`. Out: a folder that the readers `movielens` and `amazon` take for the real thing. As in MovieLens,
a user's rows do not stand in the order of time; ratings of one second do keep their order, for nothing else tells it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from sessionrec.logs.synthetic.csv_sink import CsvSink
from sessionrec.logs.synthetic.ratings import Ratings, RatingsConfig, ratings, series
from sessionrec.seeding import stream

_GENRES: Final = pl.Series(["Action", "Comedy|Romance", "Drama", "Drama|War", "Film-Noir", "Horror|Sci-Fi", "Western"])


def write_movielens_1m(config: RatingsConfig, folder: Path) -> tuple[Path, ...]:
    """Write `ratings.dat` and `movies.dat`: fields between `::`, no header, whole stars.

    Args:
        config: The log; MovieLens-1M itself has 6,040 users, 3,706 films, 1,000,209 ratings and 20 a user at least.
        folder: Gets the files; files of these names are replaced.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rated, films = folder / "ratings.dat", folder / "movies.dat"
    with CsvSink(rated, separator=":", has_header=False) as file:
        for chunk, some in enumerate(ratings(config)):
            frame = _rows(config, chunk, some)
            file.write(_double(frame.with_columns((pl.col("rating") + 0.5).floor().cast(pl.Int64))))
    with CsvSink(films, separator=":", has_header=False) as file:
        file.write(_double(_films(config)))
    return rated, films


def write_movielens_20m(config: RatingsConfig, folder: Path) -> tuple[Path, ...]:
    """Write `ratings.csv` and `movies.csv`: commas, a header, half stars.

    Args:
        config: The log; MovieLens-20M itself has 138,493 users, 26,744 films and 20,000,263 ratings.
        folder: Gets the files; files of these names are replaced.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rated, films = folder / "ratings.csv", folder / "movies.csv"
    with CsvSink(rated) as file:
        for chunk, some in enumerate(ratings(config)):
            file.write(_rows(config, chunk, some))
    with CsvSink(films) as file:
        file.write(_films(config))
    return rated, films


def write_beauty(config: RatingsConfig, folder: Path) -> tuple[Path, ...]:
    """Write `Beauty.txt`: a `user item` pair a line, each user's in the order of time, which is told by nothing else.

    Args:
        config: The log; the file of the BERT4Rec code has 40,226 users, 54,542 items, 353,962 pairs and 5 a user at
            least.
        folder: Gets the file; one of this name is replaced.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "Beauty.txt"
    with CsvSink(path, separator=" ", has_header=False) as file:
        for some in ratings(config):
            file.write(pl.DataFrame({"user": some.user, "item": some.item}))
    return (path,)


def _rows(config: RatingsConfig, chunk: int, some: Ratings) -> pl.DataFrame:
    """The ratings of some users, user by user, the seconds of each in any order."""
    is_new = np.append(True, (some.user[1:] != some.user[:-1]) | (some.time_s[1:] != some.time_s[:-1]))
    moment = np.cumsum(is_new) - 1
    key = stream(config.seed, "rows", chunk).permutation(int(moment[-1]) + 1)[moment]
    order = np.lexsort((key, some.user))
    return pl.DataFrame(
        {
            "userId": some.user[order],
            "movieId": some.item[order],
            "rating": some.half_stars[order] / 2,
            "timestamp": some.time_s[order],
        }
    )


def _films(config: RatingsConfig) -> pl.DataFrame:
    """Films in the order of their ids; those of a series are of one genre and one year."""
    item = series(config)
    number = np.arange(len(item)) // config.series_length
    words = [pl.lit("Film "), pl.Series(item), pl.lit(" ("), pl.Series(1930 + number % 70), pl.lit(")")]
    title = pl.select(pl.concat_str(words).alias("title"))["title"]
    films = pl.DataFrame({"movieId": item, "title": title, "genres": _GENRES[(number % len(_GENRES)).tolist()]})
    return films.sort("movieId")


def _double(frame: pl.DataFrame) -> pl.DataFrame:
    """An empty column between two fields: a separator is one byte in polars, so two make `::`."""
    empty = [pl.lit(None, pl.String).alias(f"_{place}") for place in range(len(frame.columns) - 1)]
    fields = [pl.col(name) for name in frame.columns]
    mixed = [column for pair in zip(fields, empty, strict=False) for column in pair]
    return frame.select(*mixed, fields[-1])
