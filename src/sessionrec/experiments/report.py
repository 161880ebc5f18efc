"""`write_report`: the tables and figures of an experiment, from the results there are; needs the extra `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessionrec.report import needs_extra

if TYPE_CHECKING:
    from sessionrec.experiments.page import Written


def write_report(folder: Path, out: Path, to: Path | None = None, *, keep_old_code: bool = False) -> Written:
    """Write the report of an experiment; nothing is run.

    Args:
        folder: Of the experiment's settings.
        out: That runs write to.
        to: Where to write; by default `OUT/report/EXPERIMENT`. The same results give the same bytes.
        keep_old_code: Whether results of other versions of the code are shown too, marked.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed.
        ConfigError: The experiment's files are wrong.
        ArtifactError: A result cannot be read, or the report cannot be written.
    """
    with needs_extra():
        from sessionrec.experiments import page
    return page.write(folder, out, to, keep_old_code=keep_old_code)
