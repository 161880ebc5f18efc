"""The README and the pages in docs/ do what they say: their marked blocks run, their links lead somewhere.

The info string of a block says what it is:

    csv file=NAME, toml file=NAME    written to the page's folder; the files of the README are there for every page
    console run                      each line `$ sessionrec ...` runs; the lines below it must be in its output
    console run fails                the same, and each command must end with status 2
    python run                       runs; the blocks of a page share their names
    text output                      must be in what the Python block above it printed

In what is expected, white space does not count and `...` stands for anything. Every TOML block, marked or not, must be
a valid config. A block without a mark is only shown.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sessionrec import cli
from sessionrec.cli import screen
from sessionrec.config import parse
from sessionrec.pipeline import DataConfig

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RUN = [README, *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\S+)(?: (.*))?$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_MARKS = {"csv": r"file=\S+", "toml": r"file=\S+", "console": r"run( fails)?", "python": "run", "text": "output"}


@dataclass(frozen=True)
class Block:
    language: str
    mark: str
    line: int
    text: str

    @property
    def file(self) -> str | None:
        return self.mark.removeprefix("file=") if self.mark.startswith("file=") else None


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        if not lines[number].startswith("```"):
            number += 1
            continue
        fence = _FENCE.match(lines[number])
        assert fence, f"{page.name}:{number + 1}: a block must name its language"
        end = lines.index("```", number + 1)
        yield Block(fence[1], fence[2] or "", number + 1, "\n".join(lines[number + 1 : end]) + "\n")
        number = end + 1


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def expect(expected: str, output: str, where: str) -> None:
    """Each piece between `...` must come up in the output, in order."""
    flat, start = " ".join(output.split()), 0
    for piece in expected.split("..."):
        wanted = " ".join(piece.split())
        found = flat.find(wanted, start)
        assert found >= 0, f"{where}: expected\n{piece}\nin\n{output}"
        start = found + len(wanted)


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    words = shlex.split(line)
    target = None
    if ">" in words:
        words, (target,) = words[: words.index(">")], words[words.index(">") + 1 :]
    assert words[0] == "sessionrec", line
    monkeypatch.setattr("sys.argv", words)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            cli.main()
            status: Any = 0
        except SystemExit as end:
            status = end.code
    if target is not None:
        Path(target).write_text(output.getvalue(), encoding="utf-8")
    return int(status or 0), output.getvalue()


def run_console(block: Block, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not commands[0].strip(), f"{where}: begin with a command"
    for command in commands[1:]:
        line, _, expected = command.partition("\n")
        status, output = run_command(line, monkeypatch)
        wanted = 2 if block.mark.endswith("fails") else 0
        assert status == wanted, f"{where}: `{line}` ended with {status}, expected {wanted}\n{output}"
        expect(expected, output, f"{where}: `{line}`")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's files, and a terminal of a fixed width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(screen, "console", Console(width=100))
    monkeypatch.setattr(screen, "errors", Console(width=100, stderr=True))
    for block in blocks(README):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("page", RUN, ids=names(RUN))
def test_the_blocks_of_a_page_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": page.stem}
    printed = ""
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "console" and block.mark:
            run_console(block, where, monkeypatch)
        elif block.language == "python" and block.mark:
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                # Empty lines before it, so that a traceback names the line of the page.
                exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
            printed = output.getvalue()
        elif block.language == "text" and block.mark:
            expect(block.text, printed, where)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_marks_are_known_and_toml_is_a_valid_config(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.mark:
            assert re.fullmatch(_MARKS.get(block.language, "$^"), block.mark), f"{where}: unknown mark {block.mark!r}"
        if block.language == "toml":
            parse(DataConfig, {"log": {"kind": "planted"}} | tomllib.loads(block.text), where)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in _LINK.findall(text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: no such heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_file_of_the_readme_s_map_exists() -> None:
    section = README.read_text(encoding="utf-8").partition("\n## File map\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []
