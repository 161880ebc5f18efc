from __future__ import annotations

import gzip
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from sessionrec.errors import LogError
from sessionrec.logs.files import scan

WHOLE = 'user,item,text\n1,2,a\n3,4,"b, with ""all"",\nof it"\n\n5,6,\n'


def write(folder: Path, text: str, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_line_breaks_and_blank_lines_are_no_fault(tmp_path: Path, name: str, end: str) -> None:
    frame = scan([write(tmp_path, WHOLE.replace("\n", end), name)])
    assert frame.select("user").collect()["user"].to_list() == [1, 3, None, 5]


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
@pytest.mark.parametrize(("line", "got"), [("7,8", 2), ("7,8,c,d", 4), ("7", 1), ("7,8,,", 4)])
@pytest.mark.parametrize("columns", [["user"], ["text"], ["user", "item", "text"]])
def test_a_row_of_other_length_stops_whatever_columns_are_read(
    tmp_path: Path, name: str, line: str, got: int, columns: list[str]
) -> None:
    file = write(tmp_path, f"{WHOLE}{line}\n9,9,z\n", name)
    # Two header and value lines, two of the long text, a blank one, one more: the bad one is line 7.
    with pytest.raises(
        LogError, match=rf"{name}, line 7: expected 3 fields as the first line has, got {got}: '{line}'"
    ):
        scan([file]).select(columns).collect()
    with pytest.raises(LogError, match="line 7"):
        list(scan([file]).select(columns).collect_batches(engine="streaming", maintain_order=True))


def test_a_second_file_is_counted_too_and_named(tmp_path: Path) -> None:
    files = [write(tmp_path, WHOLE, "a.csv"), write(tmp_path, "user,item,text\n1,2\n", "b.csv")]
    with pytest.raises(LogError, match=r"b\.csv, line 2: expected 3 fields"):
        scan(files).select("user").collect()


def test_a_file_without_header_and_quotes_is_counted_by_its_names(tmp_path: Path) -> None:
    file = write(tmp_path, '1;5" nail\n2;6" nail\n')
    assert scan([file], names=("user", "item"), separator=";", quote=None).select("item").collect().height == 2
    file = write(tmp_path, '1;5" nail\n2\n')
    with pytest.raises(LogError, match=r"line 2: expected 2 fields"):
        scan([file], names=("user", "item"), separator=";", quote=None).select("user").collect()


def test_a_row_longer_than_a_block_is_counted(tmp_path: Path) -> None:
    long = "x" * (5 << 20)
    file = write(tmp_path, f"user,text\n1,{long}\n2,{long}\n3\n")
    with pytest.raises(LogError, match=r"line 4: expected 2 fields"):
        scan([file]).select("user").collect()


def test_nothing_is_read_until_the_rows_are(tmp_path: Path) -> None:
    frame = scan([write(tmp_path, f"{WHOLE}1,2\n")])
    assert frame.select("user").collect_schema() == {"user": pl.Int64}


_TEXT = st.text(st.sampled_from('a",\n; '), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_TEXT, min_size=1, max_size=4), min_size=1, max_size=6))
def test_rows_as_python_writes_them_are_counted_as_python_counts_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    file = tmp_path_factory.mktemp("rows") / "log.csv"
    quoted = [",".join('"' + field.replace('"', '""') + '"' for field in row) for row in rows]
    file.write_text("\n".join(["first,second", *quoted]) + "\n")
    counts = [len(row) for row in rows]
    if set(counts) <= {2}:
        assert scan([file]).select("first").collect().height == len(rows)
        return
    with pytest.raises(LogError, match=rf"got {next(count for count in counts if count != 2)}:"):
        scan([file]).select("first").collect()
