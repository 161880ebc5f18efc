"""Grids as Markdown."""

from __future__ import annotations

from sessionrec.experiments.grid import Cell, Grid, Row, absent
from sessionrec.experiments.markdown import document, escape, table

GRID = Grid(
    key="session",
    topic="Leave one session out",
    title="A|B *log*",
    columns=("N@10", "R@10"),
    rows=(
        Row(name="group <1>", cells=(), kind="head"),
        Row(name="A_b|c", cells=(Cell(text=".1000", mark="second", paper=".0934", sign=-1), absent())),
        Row(
            name="Ours",
            kind="ours",
            note="2 of 3 seeds",
            cells=(
                Cell(text=".2000", mark="best", spread="±.0010", is_other_code=True),
                Cell(text="+9.46 %", is_clear=True, note="A_b|c"),
            ),
        ),
    ),
)


def test_marks_and_absences_are_written() -> None:
    lines = table(GRID).splitlines()
    assert lines[0] == "| System | N@10 | R@10 |"
    assert lines[2] == r"| *group \<1\>* |  |  |"
    assert lines[3] == r"| A\_b\|c | <u>.1000</u> ▼ | *not run* |"
    assert lines[4] == r"| A\_b\|c, as published | .0934 |  |"
    assert lines[5] == r"| **Ours** (2 of 3 seeds) | **.2000**† ±.0010 | +9.46 %\* (A\_b\|c) |"


def test_every_line_has_as_many_cells() -> None:
    lines = table(GRID).splitlines()
    assert {line.replace(r"\|", "").count("|") for line in lines} == {4}


def test_words_stay_words() -> None:
    assert escape("<b>[x](y)</b> `a`\nb") == r"\<b\>\[x\](y)\</b\> \`a\` b"


def test_a_page_names_each_data_set_once() -> None:
    page = document("T_1", "About.", ["One wins."], [GRID, GRID], ["Bold: best."])
    assert page.startswith("# T\\_1\n\nAbout.\n\n- One wins.\n")
    assert page.count(r"## A\|B \*log\*") == 1
    assert page.count("### Leave one session out") == 2
    assert page.endswith("- Bold: best.\n")
