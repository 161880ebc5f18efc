"""Reports: one self-contained HTML file each, for people; needs the extra `report`.

`write_report` tells what a data set holds and how it was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sessionrec.data.dataset import Dataset
from sessionrec.errors import MissingExtraError
from sessionrec.progress import Progress

_EXTRA: Final = frozenset({"jinja2", "markupsafe", "matplotlib"})


def write_report(dataset: Dataset, path: Path | str, progress: Progress = lambda *_: None) -> None:
    """Write the report of a data set; what stood at `path` before is replaced at once, by the whole file.

    Args:
        dataset: Read once from end to end.
        path: The HTML file. The same data set gives the same bytes.
        progress: See `data.statistics.measure`.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed.
        ArtifactError: `path` cannot be written.
    """
    try:
        from sessionrec.report import page
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError(
            f'the report needs {error.name}, which is not installed; run: pip install "sessionrec[report]"'
        ) from None
    page.write(dataset, Path(path), progress)
