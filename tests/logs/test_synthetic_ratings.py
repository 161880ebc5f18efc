"""Generated ratings have the structure they promise, and their files are what the readers of the real ones read."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.logs.amazon import AmazonConfig
from sessionrec.logs.base import Log
from sessionrec.logs.movielens import MovielensConfig
from sessionrec.logs.synthetic import ratings as ratings_module
from sessionrec.logs.synthetic.rating_files import write_beauty, write_movielens_1m, write_movielens_20m
from sessionrec.logs.synthetic.ratings import START_S, RatingsConfig, draw_lengths, ratings, series

CONFIG = RatingsConfig(num_users=80, num_items=61, events=1_500, min_user_events=7, seed=4)

Pair = tuple[int, int]
"""A user and an item."""


def made(config: RatingsConfig) -> dict[int, list[tuple[int, int]]]:
    """Per user: (item, time in seconds), as generated."""
    users: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for some in ratings(config):
        for user, item, time_s in zip(some.user.tolist(), some.item.tolist(), some.time_s.tolist(), strict=True):
            users[user].append((item, time_s))
    return users


def test_there_are_exactly_as_many_ratings_as_asked_for_and_nobody_rates_twice() -> None:
    users = made(CONFIG)
    assert sorted(users) == list(range(1, 81))
    assert sum(len(rated) for rated in users.values()) == 1_500
    assert min(len(rated) for rated in users.values()) >= 7
    for rated in users.values():
        items = [item for item, _ in rated]
        assert len(set(items)) == len(items)
        assert set(items) <= set(range(1, 62))


def test_within_a_series_the_next_item_follows_from_the_last() -> None:
    order = series(CONFIG).tolist()
    assert sorted(order) == list(range(1, 62))
    place = {item: number for number, item in enumerate(order)}
    steps = total = 0
    for rated in made(CONFIG).values():
        for (last, _), (following, _) in pairwise(rated):
            total += 1
            steps += place[following] == place[last] + 1
            # Series are of four items: one is left after its last item only, and begun with its first.
            if place[following] != place[last] + 1:
                assert place[following] % 4 == 0
                assert place[last] % 4 == 3 or place[last] == 60
    # Three of four, and a little less where the series of one item (61 = 4 * 15 + 1) was drawn.
    assert 0.68 < steps / total < 0.78


def test_most_ratings_share_their_second_with_the_one_before() -> None:
    users = made(CONFIG)
    times = [[time_s for _, time_s in rated] for rated in users.values()]
    assert all(own == sorted(own) and own[0] >= START_S for own in times)
    gaps = np.concatenate([np.diff(own) for own in times])
    assert 0.5 < np.mean(gaps == 0) < 0.7
    assert gaps.max() > 86_400


def test_popular_series_are_rated_by_more_users() -> None:
    counts = Counter(item for rated in made(CONFIG).values() for item, _ in rated)
    assert max(counts.values()) > 2 * np.median(list(counts.values()))
    flat = CONFIG.model_copy(update={"popularity_exponent": 0.0})
    even = Counter(item for rated in made(flat).values() for item, _ in rated)
    assert max(even.values()) < 1.6 * np.median(list(even.values()))


def test_memory_is_bounded_by_chunks_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    # 16 series: chunks of 10 users.
    monkeypatch.setattr(ratings_module, "_CHUNK_CHOICES", 160)
    chunks = [np.unique(some.user).tolist() for some in ratings(CONFIG)]
    assert chunks == [list(range(first, first + 10)) for first in range(1, 81, 10)]


def test_a_busy_user_has_no_more_ratings_than_there_are_items() -> None:
    crowded = RatingsConfig(num_users=40, num_items=30, events=600, min_user_events=5)
    lengths = draw_lengths(crowded)
    assert lengths.sum() == 600
    assert lengths.max() == 30
    assert all(len(rated) == length for rated, length in zip(made(crowded).values(), lengths, strict=True))


@pytest.mark.parametrize(("events", "words"), [(399, "from 400"), (2_441, "to 2440")])
def test_a_size_that_cannot_be_is_refused(events: int, words: str) -> None:
    tree = {"num_users": 80, "num_items": 61, "events": events}
    with pytest.raises(ConfigError, match=words):
        parse(RatingsConfig, tree, "here")


# --- the files --------------------------------------------------------------------------------------------------------


def from_text(file: Path, separator: str, skip: int) -> list[list[str]]:
    return [line.split(separator) for line in file.read_text(encoding="utf-8").splitlines()[skip:]]


def check(log: Log, fields: list[list[str]], times: list[int]) -> None:
    """The reader's events are the lines of the file."""
    events = log.events.collect()
    assert events["user"].to_list() == [int(line[0]) for line in fields]
    assert events["item"].to_list() == [int(line[1]) for line in fields]
    assert events["time_ms"].to_list() == times
    assert (events["action"] == 1).all()


def test_movielens_1m_files_are_read_line_by_line(tmp_path: Path) -> None:
    rated, films = write_movielens_1m(CONFIG, tmp_path)
    fields = from_text(rated, "::", 0)
    assert len(fields) == 1_500
    assert {line[2] for line in fields} == {"1", "2", "3", "4", "5"}
    log = MovielensConfig(path=tmp_path, positive="true").open()
    check(log, fields, [int(line[3]) * 1000 for line in fields])
    check_films(log, from_text(films, "::", 0))


def test_movielens_20m_files_are_read_line_by_line(tmp_path: Path) -> None:
    rated, films = write_movielens_20m(CONFIG, tmp_path)
    assert rated.read_text(encoding="utf-8").startswith("userId,movieId,rating,timestamp\n")
    fields = from_text(rated, ",", 1)
    assert {line[2] for line in fields} == {f"{half / 2}" for half in range(1, 11)}
    log = MovielensConfig(path=tmp_path, positive="true").open()
    check(log, fields, [int(line[3]) * 1000 for line in fields])
    check_films(log, from_text(films, ",", 1))


def check_films(log: Log, fields: list[list[str]]) -> None:
    assert log.items is not None
    items = log.items.collect()
    assert items["item"].to_list() == [int(line[0]) for line in fields] == list(range(1, 62))
    assert items["title"].to_list() == [line[1] for line in fields]
    assert items["genres"].to_list() == [line[2] for line in fields]
    assert items["year"].is_between(1930, 1999).all()


def test_the_pairs_of_the_amazon_papers_are_read_in_the_order_of_their_lines(tmp_path: Path) -> None:
    (file,) = write_beauty(CONFIG, tmp_path)
    fields = from_text(file, " ", 0)
    expected = [(user, item) for user, rated in made(CONFIG).items() for item, _ in rated]
    assert [(int(user), int(item)) for user, item in fields] == expected
    log = AmazonConfig(path=tmp_path).open()
    seen: Counter[str] = Counter()
    times = []
    for user, _ in fields:
        times.append(946_684_800_000 + seen[user] * 86_400_000)
        seen[user] += 1
    check(log, fields, times)


@pytest.mark.parametrize("write", [write_movielens_1m, write_movielens_20m])
def test_rows_do_not_stand_in_the_order_of_time_but_those_of_one_second_do(
    write: Callable[[RatingsConfig, Path], tuple[Path, ...]], tmp_path: Path
) -> None:
    write(CONFIG, tmp_path)
    events = MovielensConfig(path=tmp_path).open().events.collect()
    users: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for user, item, time_ms in events.select("user", "item", "time_ms").iter_rows():
        users[user].append((item, time_ms // 1000))
    assert any([time for _, time in rated] != sorted(time for _, time in rated) for rated in users.values())
    # A stable sort by time brings back what was generated, ties included.
    assert {user: sorted(rated, key=lambda one: one[1]) for user, rated in users.items()} == made(CONFIG)


def test_writing_twice_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for write in (write_movielens_1m, write_movielens_20m, write_beauty):
        first = [file.read_bytes() for file in write(CONFIG, tmp_path / "one")]
        assert [file.read_bytes() for file in write(CONFIG, tmp_path / "two")] == first
        other = write(CONFIG.model_copy(update={"seed": 5}), tmp_path / "two")
        assert [file.read_bytes() for file in other] != first


@pytest.mark.parametrize(
    ("shape", "file", "reader"),
    [("ml-1m", "ratings.dat", "movielens"), ("ml-20m", "ratings.csv", "movielens"), ("beauty", "Beauty.txt", "amazon")],
)
def test_the_command_writes_every_shape(shape: str, file: str, reader: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sessionrec.logs.synthetic", "--shape", shape, "--users", "10", "--items", "60"]
    done = subprocess.run(
        [*command, "--events", "250", "--out", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert file in done.stderr
    kind = {"movielens": MovielensConfig, "amazon": AmazonConfig}[reader]
    events = kind(path=tmp_path).open().events.collect()
    assert (len(events), events["user"].n_unique()) == (250, 10)
    assert events.group_by("user").len()["len"].min() >= (5 if shape == "beauty" else 20)
    refused = subprocess.run(
        [*command, "--events", "250", "--days", "3", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "--days and --first-day are for kuaisar and recflow" in refused.stderr


def test_the_command_explains_itself() -> None:
    # A bare per cent sign in a help text is a conversion: it printed the argument's settings in its place.
    told = subprocess.run(
        [sys.executable, "-m", "sessionrec.logs.synthetic", "--help"], capture_output=True, text=True, check=True
    )
    assert "98 % are shown" in told.stdout
    assert "ml-20m" in told.stdout


def test_a_film_is_of_the_genre_of_its_series(tmp_path: Path) -> None:
    write_movielens_20m(CONFIG, tmp_path)
    films = pl.read_csv(tmp_path / "movies.csv")
    genre = dict(zip(films["movieId"], films["genres"], strict=True))
    order = series(CONFIG).tolist()
    assert all(len({genre[item] for item in order[first : first + 4]}) == 1 for first in range(0, 61, 4))
