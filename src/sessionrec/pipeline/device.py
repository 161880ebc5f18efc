"""Where tensors lie: whether a device can be used here, and what a result says of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from sessionrec.errors import ConfigError


def check_device(field: str, device: str) -> None:
    """Refuse a device that this machine has not.

    Args:
        field: Setting that names it, for the message.
        device: `cpu`, `cuda` or `cuda:0`.

    Raises:
        ConfigError: Torch knows no such device, or cannot use it here.
    """
    try:
        # There and back: `meta` holds no numbers.
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"{field}: {device!r} cannot be used here: {str(error).splitlines()[0]}") from None


def machine(device: str) -> dict[str, Any]:
    """What a run ran on."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": name,
    }


def _processor() -> str:
    """Its model, which Python does not tell on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor()) or "cpu"
