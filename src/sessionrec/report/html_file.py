"""From a template to one HTML file that needs no other and is whole or not there; every report goes through here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sessionrec.data import wording
from sessionrec.data.people import printable
from sessionrec.errors import ArtifactError
from sessionrec.report import numbers


def render(template: str, **values: Any) -> str:
    """The whole page; what is put into it is escaped, unless it is `Markup`."""
    environment = Environment(
        loader=PackageLoader("sessionrec", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = ("count", "many", "average", "compact", "duration", "percent", "size")
    environment.filters |= {name: getattr(wording, name) for name in words}
    environment.filters |= {
        name: getattr(numbers, name) for name in ("score", "signed", "span", "metric_name", "tied", "took")
    }
    environment.filters["printable"] = printable
    return environment.get_template(template).render(**values).strip() + "\n"


def write_whole(path: Path, make: Callable[[], str]) -> None:
    """Make a page and put it at `path`, at once and as a whole.

    Raises:
        ArtifactError: `path` cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Tried before the work begins: who cannot write there should hear of it at once.
        with _complaints_about(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.touch()
        page = make()
        with _complaints_about(path):
            fresh.write_text(page, encoding="utf-8")
            fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink()


@contextmanager
def _complaints_about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"{path}: cannot write the report: {error.strerror or error}") from error
