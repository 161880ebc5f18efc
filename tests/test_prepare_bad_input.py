"""Raw logs as they come: what is wrong is named by an error of ours, and nothing half-made is left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError, ConfigError, EmptyDatasetError, LogError, SessionRecError
from sessionrec.pipeline import DataConfig, load_data_config, prepare
from tests.helpers import tree_of

S0 = 1_704_067_200
"""2024-01-01 00:00 UTC, in seconds."""


def rows(**changed: Any) -> pl.DataFrame:
    """Ten users, six days each, two of five items a day: everything passes the filters of the paper."""
    days = [(user, day, n) for user in range(10) for day in range(6) for n in range(2)]
    columns: dict[str, Any] = {
        "user": [user for user, *_ in days],
        "item": [100 + (user + day + n) % 5 for user, day, n in days],
        "time": [S0 + day * 86_400 + user * 60 + n for user, day, n in days],
        "clicked": [1 for _ in days],
    }
    return pl.DataFrame(columns | {name: make(days) if callable(make) else make for name, make in changed.items()})


def config(path: Path, **keys: Any) -> DataConfig:
    tree: dict[str, Any] = {"log": {"kind": "table", "path": str(path), "positive": "clicked = 1"}}
    tree |= {key: keys.pop(name) for name, key in (("engine", "engine"), ("rule", "session")) if name in keys}
    tree["log"] |= keys
    return DataConfig.model_validate_json(json.dumps(tree))


def csv(folder: Path, table: pl.DataFrame, name: str = "log.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table.write_csv(folder / name)
    return folder / name


def refused(tmp_path: Path, path: Path, **keys: Any) -> SessionRecError:
    """Prepare onto nothing and onto an earlier data set: both must fail alike and change nothing."""
    fresh, old, scratch = tmp_path / "fresh", tmp_path / "old", tmp_path / "scratch"
    scratch.mkdir()
    prepare(config(csv(tmp_path / "good", rows())), old)
    before = tree_of(old)
    stamps = {name: (old / name).stat().st_mtime_ns for name in before if (old / name).is_file() and name != ".lock"}
    errors = []
    for out in (fresh, old):
        for engine in ({"scratch": str(scratch)}, {"scratch": str(scratch), "rows_in_memory": 7, "num_partitions": 4}):
            with pytest.raises(SessionRecError) as caught:
                prepare(config(path, **keys, engine=engine), out)
            errors.append(caught.value)
    assert not fresh.exists()
    assert tree_of(old) == before
    assert {name: (old / name).stat().st_mtime_ns for name in stamps} == stamps
    assert Dataset(old).num_users == 10
    assert list(scratch.iterdir()) == []
    assert len({type(error) for error in errors}) == 1
    return errors[0]


def assert_says(error: SessionRecError, kind: type[SessionRecError], *words: str) -> None:
    assert type(error) is kind, error
    for word in words:
        assert word in str(error), str(error)


def test_a_good_log_is_prepared(tmp_path: Path) -> None:
    dataset = prepare(config(csv(tmp_path, rows())), tmp_path / "out")
    summary = dataset.summary
    assert (summary.rows_read, summary.kept.users, summary.kept.items, summary.kept.events) == (120, 10, 5, 120)
    assert summary.parts["train"].sessions == 10 * 4


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, csv(tmp_path, rows().rename({"user": "users"})))
    assert_says(error, LogError, "log.csv", "'user'", "did you mean 'users'?")


def test_ids_of_a_wrong_type_are_named(tmp_path: Path) -> None:
    error = refused(tmp_path, csv(tmp_path, rows(item=lambda days: [n + 0.5 for *_, n in days])))
    assert_says(error, LogError, "'item'", "Float64")


@pytest.mark.parametrize(
    ("column", "values", "keys", "words"),
    [
        ("time", {3: "yesterday"}, {"time_unit": "iso"}, ["row 4", "'yesterday'", "no readable time"]),
        ("time", {3: "yesterday", 5: "x"}, {}, ["row 4", "'yesterday'", "and 1 more"]),
        ("time", {2: -5}, {}, ["row 3", "-5", "outside 1980..2100"]),
        ("time", {2: 0}, {}, ["row 3", "outside 1980..2100"]),
        ("time", {7: (S0 + 7) * 1000}, {}, ["row 8", str((S0 + 7) * 1000), "plausible in 'ms'"]),
        ("time", {7: S0}, {"time_unit": "ms"}, ["row 1", "plausible in 's'"]),
        ("time", {4: None}, {}, ["row 5", "'time'", "None"]),
        ("user", {6: None}, {}, ["row 7", "'user'", "found none"]),
        ("item", {0: None}, {}, ["row 1", "'item'", "found none"]),
        ("visit", {9: None}, {"session": "visit", "rule": {"kind": "native"}}, ["row 10", "'visit'", "found none"]),
    ],
)
def test_a_bad_value_is_named_with_file_row_and_value(
    tmp_path: Path, column: str, values: dict[int, Any], keys: dict[str, Any], words: list[str]
) -> None:
    table = rows(visit=lambda days: [day for _, day, _ in days])
    cells: list[Any] = table[column].to_list()
    if keys.get("time_unit") == "iso":
        cells = [datetime.fromtimestamp(cell, UTC).isoformat() for cell in cells]
    for row, value in values.items():
        cells[row] = value
    text = any(isinstance(cell, str) for cell in cells)
    spoilt = [None if cell is None else str(cell) for cell in cells] if text else cells
    path = csv(tmp_path, table.with_columns(pl.Series(column, spoilt)))
    assert_says(refused(tmp_path, path, **keys), LogError, "log.csv", *words)


def test_a_bad_row_of_a_second_file_is_named_by_its_own_number(tmp_path: Path) -> None:
    csv(tmp_path / "days", rows(), "day-1.csv")
    csv(tmp_path / "days", rows().with_columns(pl.Series("time", [S0] * 119 + [-1])), "day-2.csv")
    error = refused(tmp_path, tmp_path / "days")
    assert_says(error, LogError, "day-2.csv, row 120", "-1")


def test_no_file_an_empty_file_and_a_bare_header_say_so(tmp_path: Path) -> None:
    assert_says(refused(tmp_path / "a", tmp_path / "nowhere.csv"), LogError, "nowhere.csv", "found nothing")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert_says(refused(tmp_path / "b", empty), LogError, "empty.csv", "empty file")
    header = tmp_path / "header.csv"
    header.write_text("user,item,time,clicked\n")
    # Without rows every column looks like text: the condition must not be what is complained of.
    for positive in ("true", "clicked = 1"):
        assert_says(refused(tmp_path / "c", header, positive=positive), EmptyDatasetError, "header.csv", "no rows")
        shutil.rmtree(tmp_path / "c")
        (tmp_path / "c").mkdir()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()


def test_no_positives_and_users_that_are_too_short_say_which_key_to_change(tmp_path: Path) -> None:
    path = csv(tmp_path, rows(clicked=lambda days: [0 for _ in days]))
    assert_says(refused(tmp_path / "a", path), EmptyDatasetError, "none of its 120 events is positive", "positive")
    short = csv(tmp_path, rows().filter(pl.col("time") < S0 + 2 * 86_400))
    assert_says(refused(tmp_path / "b", short), EmptyDatasetError, "nothing is left after the filters", "10 users")


def test_duplicate_rows_count_once_and_are_reported(tmp_path: Path) -> None:
    once = prepare(config(csv(tmp_path, rows())), tmp_path / "once")
    twice = prepare(config(csv(tmp_path, pl.concat([rows(), rows()]))), tmp_path / "twice")
    assert twice.summary.exact_repeats == 120
    assert twice.summary.rows_read == 240
    assert twice.summary.kept == once.summary.kept
    assert twice.items.equals(once.items)


def test_the_largest_ids_text_and_unicode_come_through(tmp_path: Path) -> None:
    largest = 2**63 - 1
    big = rows(
        user=lambda days: [largest - user for user, *_ in days],
        item=lambda days: [largest - (u + d + n) % 5 for u, d, n in days],
    )
    dataset = prepare(config(csv(tmp_path, big)), tmp_path / "big")
    assert sorted(user for some in dataset.histories() for user in some.user_U) == [
        largest - n for n in range(9, -1, -1)
    ]
    assert set(dataset.items["item"]) == {largest - n for n in range(5)}
    names = ["null ", " a", "0", "00", "\u00e6\u00f8\u00e5", "\U0001f600", "a,b", 'a"b', "a\nb", "null"]
    text = rows(user=lambda days: [names[user] for user, *_ in days])
    text.write_parquet(tmp_path / "text.parquet")
    dataset = prepare(config(tmp_path / "text.parquet"), tmp_path / "text")
    assert sorted(user for some in dataset.histories() for user in some.user_U) == sorted(names)


@pytest.mark.parametrize("column", ["user", "item"])
def test_an_id_beyond_64_bits_is_named(tmp_path: Path, column: str) -> None:
    table = rows().with_columns(pl.Series(column, [2**63 + one for one in rows()[column]], dtype=pl.UInt64))
    table.write_parquet(tmp_path / "log.parquet")
    error = refused(tmp_path, tmp_path / "log.parquet")
    assert_says(
        error,
        LogError,
        "log.parquet, row 1",
        repr(column),
        str(table[column][0]),
        "64-bit integer or text",
        f"store the column as text: with Polars, `pl.col({column!r}).cast(pl.String)`",
    )
    assert "types" not in str(error), "for text files alone"
    table.with_columns(pl.col(column).cast(pl.String)).write_parquet(tmp_path / "log.parquet")
    assert prepare(config(tmp_path / "log.parquet"), tmp_path / "as-text").summary.rows_read == 120


def test_an_id_beyond_64_bits_of_a_text_file_is_read_as_text(tmp_path: Path) -> None:
    path = csv(tmp_path, rows(user=lambda days: [2**63 + user for user, *_ in days]))
    assert_says(refused(tmp_path, path), LogError, "log.csv, row 1", "types = { user = 'text' }")
    assert prepare(config(path, types={"user": "text"}), tmp_path / "as-text").num_users == 10


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(("column", "blank"), [("user", ""), ("item", "  "), ("visit", "\t")])
def test_blank_text_is_no_id(tmp_path: Path, suffix: str, column: str, blank: str) -> None:
    """Seven hundred rows of nobody would be one diligent user."""
    table = rows(visit=lambda days: [day for _, day, _ in days])
    cells = [f"!{cell}" for cell in table[column]]
    cells[6] = cells[9] = blank
    table = table.with_columns(pl.Series(column, cells))
    path = tmp_path / f"log.{suffix}"
    table.write_csv(path, quote_style="always") if suffix == "csv" else table.write_parquet(path)
    keys = {"session": "visit", "rule": {"kind": "native"}} if column == "visit" else {}
    error = refused(tmp_path, path, **keys)
    assert_says(error, LogError, f"log.{suffix}, row 7 (and 1 more", repr(column), f"must hold a value, got {blank!r}")


def test_a_parquet_file_that_is_cut_or_damaged_is_named(tmp_path: Path) -> None:
    big = pl.concat([rows()] * 200)
    path = tmp_path / "log.parquet"
    big.write_parquet(path, compression="zstd")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert_says(refused(tmp_path / "a", path), LogError, "log.parquet", "cut short")
    path.write_bytes(whole[:4] + bytes(len(whole) // 2 - 4) + whole[len(whole) // 2 :])
    assert_says(refused(tmp_path / "b", path), LogError, "log.parquet")
    path.write_bytes(whole[:4] + whole[-4:])
    assert_says(refused(tmp_path / "c", path), LogError, "log.parquet")


def long_csv(tmp_path: Path, column: str, late: str, name: str = "long.csv") -> Path:
    table = pl.concat([rows()] * 100)
    cells = table[column].cast(pl.String).to_list()
    cells[11_999] = late
    return csv(tmp_path, table.with_columns(pl.Series(column, cells)), name)


def test_a_column_that_changes_its_type_late_is_named(tmp_path: Path) -> None:
    error = refused(tmp_path / "a", long_csv(tmp_path, "item", "sku-17"))
    assert_says(error, LogError, "long.csv")
    error = refused(tmp_path / "b", long_csv(tmp_path, "time", "soon"))
    assert_says(error, LogError, "long.csv")
    told = config(long_csv(tmp_path, "item", "sku-17"), types={"item": "text"})
    assert prepare(told, tmp_path / "out").summary.rows_read == 12_000


def test_an_item_table_that_is_wrong_is_named(tmp_path: Path) -> None:
    log = csv(tmp_path, rows())
    items = pl.DataFrame({"item": [str(100 + n % 5) for n in range(12_000)], "cost": ["1"] * 11_999 + ["dear"]})
    path = csv(tmp_path, items.with_columns(pl.Series("item", [*items["item"][:-1], "sku-17"])), "items.csv")
    table = {"path": str(path), "features": [{"name": "cost", "kind": "number"}]}
    assert_says(refused(tmp_path, log, items=table), LogError, "sku-17", "'item'", "log.types")
    assert_says(refused(tmp_path / "a", log, items={"path": str(tmp_path / "none.csv")}), LogError, "none.csv")
    assert_says(refused(tmp_path / "b", log, items=table | {"item": "sku"}), LogError, "items.csv", "'sku'")
    other = csv(tmp_path, pl.DataFrame({"item": ["x"], "cost": [1]}), "other.csv")
    assert_says(refused(tmp_path / "c", log, items={"path": str(other)}), LogError, "other.csv", "String")


@pytest.mark.parametrize(
    ("line", "fields"), [("0,101,1704067200", 3), ("0,101,1704067200,1,x", 5), ("0,101,1704067200,1,,", 6), ("0", 1)]
)
def test_a_row_with_too_many_or_too_few_fields_is_named(tmp_path: Path, line: str, fields: int) -> None:
    # The column `note` is asked for by nobody, so that the reader alone would not look at what is behind it.
    lines = rows(note="a note, with a comma").select("user", "item", "time", "clicked").write_csv().splitlines()
    path = tmp_path / "log.csv"
    path.write_text("\n".join([*lines[:7], "", line, *lines[7:]]) + "\n")
    error = refused(tmp_path, path, positive="true")
    assert_says(error, LogError, "log.csv, line 9: expected 4 fields", f"got {fields}: {line!r}", "mend the line")


@pytest.mark.parametrize(
    ("bad", "shown"),
    [(None, "found none"), ("nan", "got nan"), ("inf", "got inf"), (-1.0, "got -1.0"), (1e300, "1e+300")],
)
def test_a_weight_that_is_none_is_named(tmp_path: Path, bad: Any, shown: str) -> None:
    weights: list[float | None] = [0.0, 2.5] * 60
    weights[4] = bad if bad is None else float(bad)
    path = csv(tmp_path, rows(weight=weights))
    error = refused(tmp_path, path, weight="weight")
    assert_says(error, LogError, "log.csv, row 5", "'weight' (weight) must hold a finite number, 0 or more", shown)


def test_text_in_a_number_is_named_and_an_empty_cell_is_not(tmp_path: Path) -> None:
    price = ["1.5", " 2 ", "", *["3"] * 117]
    good = rows(price=price).write_csv(quote_style="always").replace('""', "")
    path = tmp_path / "log.csv"
    path.write_text(good)
    feature = [{"name": "price", "kind": "number"}]
    keys: dict[str, Any] = {"context": feature, "types": {"price": "text"}}
    assert prepare(config(path, **keys), tmp_path / "out").summary.rows_read == 120
    path.write_text(good.replace('"1.5"', '"dear"'))
    error = refused(tmp_path, path, **keys)
    assert_says(error, LogError, "log.csv", "column 'price'", '"dear"', "mend these values, or leave them empty")


@pytest.mark.parametrize("rule", [{"kind": "window", "length_s": 10**18}, {"kind": "gap", "gap_s": 1e17}])
def test_a_rule_beyond_any_log_is_refused_before_it_overflows(tmp_path: Path, rule: dict[str, Any]) -> None:
    tree = {"log": {"kind": "table", "path": "x.csv"}, "session": rule}
    with pytest.raises(ConfigError, match=r"session\.(length|gap)_s: Input should be less than or equal to"):
        parse(DataConfig, tree, "test")


def test_an_unknown_config_key_stops_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "data.toml"
    file.write_text(
        f'[log]\nkind = "table"\npath = "{tmp_path}/log.csv"\nuser_column = "user"\n[filter]\nmin_items = 3\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_data_config(file)
    assert "log.user_column: unknown key" in str(caught.value)
    assert "filter.min_items: unknown key" in str(caught.value)
    file.write_text('[log]\nkind = "tabel"\n')
    with pytest.raises(ConfigError, match="'tabel'") as caught:
        load_data_config(file)
    assert "'table'" in str(caught.value)


def test_the_output_of_something_else_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "home"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match=r"letter\.txt"):
        prepare(config(csv(tmp_path, rows())), out)
    assert tree_of(out) == ["letter.txt"]


def test_a_scratch_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = config(csv(tmp_path, rows()), engine={"scratch": str(tmp_path / "gone")})
    with pytest.raises(SessionRecError, match="gone"):
        prepare(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["scratch", "shards", "items"])
def test_a_full_disk_is_an_artifact_error_and_leaves_the_old_data_set(tmp_path: Path, where: str) -> None:
    # A limit on the size of files fails a write like a full disk, and needs no disk to fill.
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    prepare(config(csv(tmp_path, rows())), out)
    before = tree_of(out)
    # Times that no compression foresees.
    rng = np.random.default_rng(0)
    long = pl.concat([rows()] * 100).with_columns(pl.Series("time", S0 + rng.integers(0, 10**8, 12_000)))
    path = csv(tmp_path, long, "long.csv")
    keys: dict[str, Any] = {"engine": {"scratch": str(scratch)}}
    limit = 20_000
    if where == "scratch":
        keys["engine"] |= {"rows_in_memory": 1, "num_partitions": 1}
    elif where == "items":
        # Titles are the only long thing: 10 kB for each of five items.
        titles = pl.DataFrame(
            {"item": [100 + n for n in range(5)], "title": [rng.bytes(5_000).hex() for _ in range(5)]}
        )
        keys["items"] = {"path": str(csv(tmp_path, titles, "titles.csv")), "title": "title"}
        path = csv(tmp_path, rows(), "short.csv")
    code = """
        import resource, sys
        from pathlib import Path
        from sessionrec.errors import ArtifactError
        from sessionrec.pipeline import DataConfig, prepare
        config = DataConfig.model_validate_json(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
        try:
            prepare(config, Path(sys.argv[2]))
        except ArtifactError as error:
            print("refused:", error)
    """
    made = config(path, **keys).model_dump_json()
    command = [sys.executable, "-c", textwrap.dedent(code), made, str(out), str(limit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert tree_of(out) == before
    assert list(scratch.iterdir()) == []
    assert Dataset(out).summary.rows_read == 120
