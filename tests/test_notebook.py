"""The notebook in docs/ does what it shows: its cells run, and the last one prints what is stored."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


def code_cells() -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def stored(cell: dict[str, Any]) -> str:
    """What a cell printed when the notebook was executed."""
    assert all(output["output_type"] == "stream" and output["name"] == "stdout" for output in cell["outputs"])
    return "".join("".join(output["text"]) for output in cell["outputs"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in; the number of threads, which the notebook sets, is set back."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def test_the_cells_run_and_the_last_prints_what_is_stored(folder: Path) -> None:
    cells, namespace = code_cells(), {"__name__": "quickstart"}
    printed = ""
    for number, cell in enumerate(cells, 1):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, code cell {number}", "exec"), namespace)
        printed = output.getvalue()
    assert printed == stored(cells[-1]) != ""


def test_the_notebook_was_stored_executed_from_top_to_bottom() -> None:
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(stored(cell) for cell in cells)
