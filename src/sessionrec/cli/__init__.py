"""The command line: thin; every command is a function of `pipeline` or `recommend`, a progress bar and a table."""

from __future__ import annotations

import os

# Before torch is imported: waiting threads that spin take the processor from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from sessionrec.cli.entry import app, main

__all__ = ["app", "main"]
