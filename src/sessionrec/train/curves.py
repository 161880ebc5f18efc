"""Curves for TensorBoard; needs the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from sessionrec.errors import MissingExtraError
from sessionrec.train.loop import Step


class TensorBoard:
    """Watches a run and writes a point for every epoch.

    Args:
        folder: Of the event files.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f'curves need {error.name}, which is not installed; run: pip install "sessionrec[tensorboard]"'
            ) from None
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def step(self, step: Step) -> None:
        """Nothing: a point an epoch tells enough."""

    def epoch(self, line: Mapping[str, Any]) -> None:
        """See `train.loop.Monitor`."""
        at = line["epoch"]
        for name in ("total", "retrieval", "rank"):
            self._writer.add_scalar(f"loss/{name}", line[name], at)
        for name, value in line["validation_metrics"].items():
            self._writer.add_scalar(f"validation/{name}", value, at)
        self._writer.add_scalar("speed/events_per_s", line["events_per_s"], at)
