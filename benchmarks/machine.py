"""Where a figure was measured, how a command is run and measured, and where the figure goes."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One finished command."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    """Largest resident set of the process, in 10^9 bytes."""
    output: str


def run(command: list[str], *, cores: int, env: dict[str, str] | None = None) -> Run:
    """Run a command on so many cores, in a process of its own.

    Args:
        command: Program and arguments.
        cores: The process is pinned to cores 0 to this, and its thread pools are of this size.
        env: Further environment.
    """
    threads = {name: str(cores) for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    available = sorted(os.sched_getaffinity(0))[:cores]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=os.environ | threads | (env or {}),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, available),
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9, output)


def peak_gb() -> float:
    """Largest resident set of this process so far, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def write(name: str, figures: dict[str, Any]) -> None:
    """Write and print the figures of one benchmark."""
    described = {
        "benchmark": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", _module(), *map(_without_folders, sys.argv[1:])]),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version()}
        | {package: metadata.version(package) for package in ("sessionrec", "polars", "numpy", "pyarrow", "torch")},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(described, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else sys.argv[0]


def _without_folders(word: str) -> str:
    # Where files lie on this machine is nobody's business.
    return Path(word).name if Path(word).exists() else word


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
