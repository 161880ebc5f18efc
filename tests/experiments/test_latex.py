r"""Grids as LaTeX: what is written is read again, as no engine is at hand everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sessionrec.experiments.grid import Cell, Grid, Row, absent
from sessionrec.experiments.latex import document, escape

NASTY = 'a_b & 50 % of #1 {x} \\y $z$ ~ ^ <q> "r" [s] | t'


def grid(title: str = "Log_1", columns: tuple[str, ...] = ("N@10", "R@10"), rows: int = 2) -> Grid:
    many = tuple(Row(name=f"row {place}", cells=(Cell(text=".1"), absent())) for place in range(rows))
    first = Row(name=NASTY, kind="floor", cells=(Cell(text=".1000", mark="second", paper=".0934"), absent()))
    ours = Row(name="Ours", kind="ours", cells=(Cell(text=".2000", mark="best", spread="±.0010", sign=1),) * 2)
    over = Row(
        name="over",
        kind="compare",
        cells=(Cell(text="\N{MINUS SIGN}9.46\N{NO-BREAK SPACE}%", is_clear=True, note="A&B"),) * 2,
    )
    head = Row(name="a group", cells=(), kind="head")
    return Grid(key="session", topic="Leave_one", title=title, columns=columns, rows=(first, head, *many, ours, over))


def check(text: str) -> None:
    """Braces, environments and maths are closed, special signs escaped, and lines have as many cells as columns."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    plain = re.sub(r"\\[\\{}$&#%_]", "", text)
    depth = 0
    for sign in plain:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    outside = re.sub(r"\$[^$]*\$", "", plain)
    assert not re.search(r"[_^#\"<>|]", outside.replace(r"\tabcolsep", ""))
    assert text.isascii()
    open_ones: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if what == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert open_ones == []
    for spec, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in body.splitlines():
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(spec) - 1, line
        assert body.index(r"\toprule") < body.index(r"\midrule") < body.index(r"\bottomrule")


def test_a_document_is_well_formed_whatever_names_hold() -> None:
    text = document("table 2", NASTY, [grid(), grid("Other"), grid(columns=("only", "these"))], [NASTY])
    check(text)
    assert text.count(r"\begin{table*}") == 2
    assert r"\label{tab:table-2-1}" in text
    assert r"\textbf{.2000}$^{\uparrow}$ {\tiny $\pm$.0010}" in text
    assert r"\underline{.1000}" in text
    assert r"\textit{not run}" in text
    assert r"\quad as published & .0934 & " in text
    assert r"$-$9.46~\%$^{*}$ {\tiny A\&B}" in text


def test_every_special_sign_is_escaped() -> None:
    assert escape("50%_x") == r"50\%\_x"
    assert escape("a\\b") == r"a\textbackslash{}b"
    assert escape("[2]") == "{[}2{]}"


def test_what_is_longer_than_a_page_is_cut_between_data_sets() -> None:
    text = document("t", "T", [grid(f"log {place}", rows=40) for place in range(3)], [])
    check(text)
    assert text.count(r"\begin{table*}") == 3


def has_latex() -> bool:
    """Tectonic fetches packages; pdflatex has those that are installed, and booktabs is not in Debian's base."""
    if shutil.which("tectonic"):
        return True
    finder = shutil.which("kpsewhich")
    if finder is None or shutil.which("pdflatex") is None:
        return False
    return subprocess.run([finder, "booktabs.sty"], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_latex(), reason="no LaTeX with booktabs here")
def test_it_compiles(tmp_path: Path) -> None:
    body = document("t", NASTY, [grid()], [NASTY])
    page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(page)
    engine = ["tectonic"] if shutil.which("tectonic") else ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([*engine, "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
