"""Reports: one self-contained HTML file each, for people; needs the extra `report`.

`write_report` tells what a data set holds and how it was made, `write_run_report` what a model reached and what beats
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    with needs_extra():
        from sessionrec.report import page
    page.write(dataset, Path(path), progress)


def write_run_report(run: Path | str, path: Path | str, progress: Progress = lambda *_: None) -> None:
    """Write the report of a training run; what stood at `path` before is replaced at once, by the whole file.

    Args:
        run: Folder with `model`, and where they were made `metrics.jsonl`, `index` and evaluations, plain and live; see
            `run_files`.
        path: The HTML file. The same folder gives the same bytes.
        progress: Called with stage, draws done and draws in all.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed.
        ArtifactError: There is no model, something in the folder is not whole, or `path` cannot be written.
    """
    with needs_extra():
        from sessionrec.report import run_page
    run_page.write(Path(run), Path(path), progress)


@contextmanager
def needs_extra() -> Iterator[None]:
    """An import that the extra brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError(
            f'the report needs {error.name}, which is not installed; run: pip install "sessionrec[report]"'
        ) from None
