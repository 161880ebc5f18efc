"""The report is one file that needs no other, says what is in the data, and never lets the data speak HTML."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
import pytest

from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.data.statistics import measure
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.errors import ArtifactError, MissingExtraError
from sessionrec.logs.base import Feature, Log
from sessionrec.report import write_report
from sessionrec.report.toml import to_toml
from sessionrec.sessions.prepare import Preparation, prepare
from tests.helpers import T0, Row, log_of
from tests.report.outline import outline_of

DAY_MS = 86_400_000
EVIL = "<script>alert('x')</script>"
KEEP_ALL = {
    "session": {"kind": "native"},
    "filter": {"min_item_events": 1, "min_user_events": 1, "min_user_sessions": 1},
}


def evil_log(action: int | None = None) -> Log:
    """Thirty users, titles and names full of markup; every third event only shown unless `action` says otherwise."""
    rows = [
        Row(
            user=f"u{user}{EVIL}",
            item=f"i{(user + session + place) % 9}",
            time_ms=T0 + session * DAY_MS + user * 1000 + place * 60_000,
            session=f"{user}-{session}",
            action=int(place != 1) | 2 * (place == 0) if action is None else action,
            device=f"{EVIL}{place}",
        )
        for user in range(30)
        for session in range(5)
        for place in range(3)
    ]
    items = pl.DataFrame(
        {"item": [f"i{n}" for n in range(9)], "title": [f"{EVIL} {n}" for n in range(9)], "genre": [EVIL] * 9}
    )
    log = log_of(
        rows,
        context=(Feature(name="device", kind="category"),),
        items=items,
        item_features=(Feature(name="genre", kind="category"),),
    )
    return replace(log, name=f"Evil {EVIL}", notes=f"Simulated {EVIL}", actions=(f"like{EVIL}",))


def dataset_of(log: Log, path: Path, **how: Any) -> Dataset:
    with prepare(log, parse(Preparation, KEEP_ALL | how, "test")) as prepared:
        config = {"session": {"kind": "native"}, "log": {"kind": "table", "positive": f"a = '{EVIL}'", "weight": None}}
        write_dataset(path, prepared, Storage(events_per_row_group=50), config)
    return Dataset(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(evil_log(), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def page(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("out") / "new" / "report.html"
    write_report(dataset, path)
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_its_tags_match(page: str) -> None:
    outline = outline_of(page)
    assert page.startswith("<!doctype html>")
    assert outline.tags.count("svg") == 9
    assert outline.tags.count("figure") == 9
    assert "prefers-color-scheme: dark" in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    outline = outline_of(page)
    assert not re.findall(r"https?:|//[a-z]", page)
    assert "@import" not in page
    assert {"script", "link", "img", "iframe", "object", "base"} & set(outline.tags) == set()
    assert outline.links
    assert all(link.startswith("#") for link in outline.links)


def test_ids_are_unique_and_references_lead_to_them(page: str) -> None:
    outline = outline_of(page)
    assert len(outline.ids) == len(set(outline.ids))
    wanted = {link[1:] for link in outline.links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted <= set(outline.ids)


def test_no_text_of_the_log_becomes_markup(page: str) -> None:
    assert "<script" not in page
    words = "".join(outline_of(page).words)
    for text in (f"Evil {EVIL}", f"Simulated {EVIL}", f"like{EVIL}", f"{EVIL}0", f"{EVIL} 3", f"a = '{EVIL}'"):
        assert text in words


def test_the_numbers_of_table_1_and_of_the_filters_are_on_the_page(page: str, dataset: Dataset) -> None:
    words = " ".join(" ".join(outline_of(page).words).split())
    kept = dataset.summary.kept
    assert (kept.users, kept.items, kept.events, kept.positives) == (30, 9, 450, 300)
    assert "Users 30 Items 9 Interactions 450 Average length 15.00 Average positive length 10.00" in words
    assert "Before the filters 30 9 150 450 300" in words
    assert "Half of the users have at most 5 sessions." in words
    assert "the log's own session ids" in words


def test_every_colour_of_a_figure_is_a_variable_of_the_page(page: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert not re.findall(r"(?:fill|stroke): ?#(?!none)[0-9a-f]{3,6}", svg)
        assert "var(--ink)" in svg or "var(--muted)" in svg
        assert "DejaVu" not in svg
    used = set(re.findall(r"var\((--[a-z-]+)\)", page))
    assert used <= set(re.findall(r"(--[a-z-]+):", page))


def test_the_same_data_gives_the_same_bytes_and_no_setting_is_left_behind(dataset: Dataset, tmp_path: Path) -> None:
    before = dict(dict.items(matplotlib.rcParams))
    for name in ("a.html", "b.html"):
        write_report(dataset, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    # Not through its own items, which would choose a backend and load pyplot.
    assert dict(dict.items(matplotlib.rcParams)) == before
    assert "matplotlib.pyplot" not in sys.modules
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_log_of_clicks_only_shows_no_empty_figures(tmp_path: Path) -> None:
    dataset = dataset_of(evil_log(action=1), tmp_path / "data")
    write_report(dataset, tmp_path / "clicks.html")
    outline = outline_of((tmp_path / "clicks.html").read_text(encoding="utf-8"))
    assert outline.tags.count("svg") == 7
    assert "Every event is positive." in "".join(outline.words)


def test_one_user_with_one_session_has_a_report(tmp_path: Path) -> None:
    dataset = dataset_of(log_of([Row(user=1, item=1, time_ms=T0)]), tmp_path / "data")
    assert measure(dataset).gap_s.num == 0
    write_report(dataset, tmp_path / "one.html")
    words = "".join(outline_of((tmp_path / "one.html").read_text(encoding="utf-8")).words)
    assert "Half of the users have at most 1 session." in words
    assert "Pause" not in words


def test_a_global_time_split_names_its_borders(tmp_path: Path) -> None:
    split = {"kind": "global_time", "validation_from": "2024-01-03", "test_from": "2024-01-04T12:00:00"}
    dataset = dataset_of(evil_log(), tmp_path / "data", split=split)
    write_report(dataset, tmp_path / "time.html")
    words = "".join(outline_of((tmp_path / "time.html").read_text(encoding="utf-8")).words)
    assert "validation from 2024-01-03 00:00, test from 2024-01-04 12:00 (UTC)" in words
    assert "Every test day comes after every training day." in words


def test_without_the_extra_the_error_names_it(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("sessionrec.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("sessionrec.report.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'jinja2.*pip install "sessionrec\[report\]"'):
        write_report(dataset, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"report\.html: cannot write the report"):
        write_report(dataset, tmp_path / "file" / "report.html")


def test_toml_reads_back_as_the_same_tree() -> None:
    tree = {
        "seed": 1,
        "share": 1e-07,
        "on": True,
        "text": 'a "quoted" \\ line\nand \x7f more',
        "list": [1, "two", [3.5]],
        "none": None,
        "rows": [{"name": "x", "a b": False}],
        "table": {"empty": {}, "inner": {"key with space": "\u00f8", "deep": {"n": -3}}},
    }
    assert tomllib.loads(to_toml(tree)) == {key: value for key, value in tree.items() if key != "none"}
