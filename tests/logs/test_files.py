from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sessionrec.errors import EmptyDatasetError, LogError
from sessionrec.logs.base import Log
from sessionrec.logs.files import FILE, find_files, find_first, require_columns, scan
from sessionrec.sessions.rows import reading


def test_files_come_sorted_and_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("x\n1\n")
    assert [file.name for file in find_files(tmp_path, "*.csv", "a.*")] == ["a.csv", "b.csv"]
    assert [file.name for file in find_files(tmp_path / "*.csv")] == ["a.csv", "b.csv"]
    assert find_files(tmp_path / "c.txt", "*.csv") == (tmp_path / "c.txt",)


def test_what_a_cluster_leaves_beside_its_tables_is_no_log(tmp_path: Path) -> None:
    for name in ("part-0.csv", "_SUCCESS", ".part-0.csv.crc"):
        (tmp_path / name).write_text("" if name == "_SUCCESS" else "x\n1\n")
    assert find_files(tmp_path) == (tmp_path / "part-0.csv",)


def test_the_first_layout_that_is_there_wins(tmp_path: Path) -> None:
    for name in ("ratings.dat", "ratings.csv"):
        (tmp_path / name).write_text("1\n")
    assert find_first(tmp_path, ("u.data",), ("ratings.dat",), ("ratings.csv",)) == (tmp_path / "ratings.dat",)
    with pytest.raises(LogError, match=r"expected u\.data or a\.inter in this folder, found ratings\.csv"):
        find_first(tmp_path, ("u.data",), ("a.inter",))


def test_empty_files_are_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(LogError, match=r"b\.csv: expected rows, found an empty file \(0 bytes\)"):
        find_files(tmp_path, "*.csv")
    assert find_files(tmp_path, "*.csv", skip_empty=True) == (tmp_path / "a.csv",)
    with pytest.raises(LogError, match="only empty files"):
        find_files(tmp_path, "b.csv", skip_empty=True)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.ndjson", "a.jsonl", "a.parquet", "a.feather", "a.csv.gz"])
def test_every_format_gives_the_same_rows_and_their_file(tmp_path: Path, name: str) -> None:
    table = pl.DataFrame({"user": [1, 2], "sku": ["tea", "gr\u00f8d"]})
    file = tmp_path / name
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(table.write_csv().encode()))
    elif name.endswith(".tsv"):
        table.write_csv(file, separator="\t")
    elif name.endswith(".csv"):
        table.write_csv(file)
    elif name.endswith("l") or name.endswith("json"):
        table.write_ndjson(file)
    elif name.endswith(".parquet"):
        table.write_parquet(file)
    else:
        table.write_ipc(file)
    rows = scan([file]).collect()
    assert rows.drop(FILE).equals(table)
    assert rows[FILE].to_list() == [str(file)] * 2


def test_a_file_with_a_header_and_no_rows_does_not_turn_numbers_into_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,time\n")
    (tmp_path / "b.csv").write_text("user,time\n1,5\n")
    frame = scan(find_files(tmp_path))
    assert frame.collect().select("user", "time").rows() == [(1, 5)]


def test_blank_lines_below_the_header_do_not_hide_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,time\n\n1,5\n")
    (tmp_path / "b.csv").write_text("user,time\n2,6\n")
    assert scan(find_files(tmp_path)).collect()["user"].drop_nulls().to_list() == [1, 2]


def test_files_without_any_row_say_so(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("user,time\n")
    with pytest.raises(EmptyDatasetError, match=r"a\.csv \(first of 2 files\): the log has no rows"):
        scan(find_files(tmp_path))


def test_a_name_with_the_signs_of_a_glob_is_a_name(tmp_path: Path) -> None:
    for name in ("log[1].jsonl", "log[1].csv", "log[1].parquet", "log[1].feather"):
        write(tmp_path / name)
        assert scan([tmp_path / name]).collect().select("user", FILE).rows() == [(1, str(tmp_path / name))] * 2


def write(file: Path) -> None:
    table = pl.DataFrame({"user": [1, 1]})
    match file.suffix:
        case ".jsonl":
            table.write_ndjson(file)
        case ".csv":
            table.write_csv(file)
        case ".parquet":
            table.write_parquet(file)
        case _:
            table.write_ipc(file)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("bad", ['{"user": 3, "item"', "3", "[1]", "nonsense"])
def test_a_line_of_json_that_is_none_is_named(tmp_path: Path, name: str, bad: str) -> None:
    text = "\n".join(['{"user": 1}', "", '{"user": 2}', bad, '{"user": 3}']).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(LogError, match=rf"{name}, line 4 is no JSON object"):
        read(tmp_path / name)


def test_the_file_that_lacks_a_column_is_named_not_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.csv").write_text("users,item\n3,4\n")
    files = find_files(tmp_path)
    with pytest.raises(LogError, match=r"b\.csv: expected a column 'user' .* found users, item; did you mean 'users'"):
        require_columns(scan(files), {"user": "user"}, files)


@pytest.mark.parametrize(("mark", "shown"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_another_separator_is_suggested(tmp_path: Path, mark: str, shown: str) -> None:
    (tmp_path / "a.csv").write_text(f"user{mark}item\n1{mark}2\n")
    with pytest.raises(LogError, match=rf"the fields look separated by {shown}: set `separator`"):
        require_columns(scan([tmp_path / "a.csv"]), {"user": "user"}, [tmp_path / "a.csv"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user,city\n1,K\u00f6ln\n".encode("latin-1"), "save the file as UTF-8, or set encoding = 'utf8-lossy'"),
        ("user,city\n1,Ulm\n".encode("utf-16"), "this looks like UTF-16: save the file as UTF-8"),
    ],
)
def test_another_encoding_is_told_what_to_do(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(LogError, match=words):
        read(tmp_path / "a.csv", {"city": "city"})


def read(file: Path, needed: dict[str, str] | None = None) -> None:
    """To the last row, with errors as the engine tells them."""
    frame = scan([file])
    require_columns(frame, needed or {}, [file])
    nothing: dict[str, Any] = {"items": None, "actions": (), "context_features": (), "item_features": ()}
    with reading(Log(name="log", events=frame, files=(file,), has_session=False, has_weight=False, **nothing)):
        frame.collect()


def test_files_whose_columns_differ_are_joined_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,extra\n1,2,x\n")
    (tmp_path / "b.csv").write_text("item,user\n4,3.5\n")
    assert scan(find_files(tmp_path)).collect().select("user", "item").rows() == [(1.0, 2), (3.5, 4)]
    pl.DataFrame({"user": [1], "item": [2]}, schema={"user": pl.Int32, "item": pl.Int32}).write_parquet(
        tmp_path / "a.pq"
    )
    pl.DataFrame({"item": [4], "user": [3]}).write_parquet(tmp_path / "b.pq")
    assert scan(find_files(tmp_path, "*.pq")).collect().select("user", "item").rows() == [(1, 2), (3, 4)]


def test_types_known_in_advance_keep_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user\n007\n12\n")
    assert scan([tmp_path / "a.csv"], types={"user": pl.String}).collect()["user"].to_list() == ["007", "12"]


def test_an_unknown_suffix_asks_for_the_format(tmp_path: Path) -> None:
    (tmp_path / "log.dat").write_text("user\n1\n")
    with pytest.raises(LogError, match=r"expected a suffix among .*\.csv.*, got '\.dat'; set `format`"):
        scan([tmp_path / "log.dat"])
    assert scan([tmp_path / "log.dat"], "csv").collect()["user"].to_list() == [1]


def test_two_formats_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.tsv"):
        (tmp_path / name).write_text("user\n1\n")
    with pytest.raises(LogError, match="expected files of one format, found csv, tsv"):
        scan(find_files(tmp_path))


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_a_file_cut_short_or_of_another_kind_is_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    table = pl.DataFrame({"user": range(100)})
    _ = table.write_parquet(file) if name == "a.parquet" else table.write_ipc(file)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(LogError, match=r"a\.\w+: expected a whole \w+ file, but the end is missing"):
        scan([file])
    file.write_text("user,item\n1,2\n")
    with pytest.raises(LogError, match="it does not begin like one"):
        scan([file])


def test_a_file_of_blank_lines_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n\n")
    with pytest.raises(LogError, match=r"a\.csv"):
        require_columns(scan([tmp_path / "a.csv"]), {"user": "user"}, [tmp_path / "a.csv"])


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_text("user\n1\n")
    with pytest.raises(LogError, match=r"a\.csv\.gz: expected gzip"):
        scan([tmp_path / "a.csv.gz"])


def test_a_missing_column_names_the_key_and_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("UserID,item\n1,2\n")
    files = [tmp_path / "a.csv"]
    with pytest.raises(LogError) as caught:
        require_columns(scan(files), {"user": "user_id"}, files)
    assert str(caught.value) == (
        f"{files[0]}: expected a column 'user_id' (config key `user`), found UserID, item; did you mean 'UserID'?; "
        "set `user` to a column that exists"
    )
