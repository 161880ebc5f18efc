"""Which code made a figure: a hash of the sources that can change one.

Comments, docstrings and layout do not count, nor do the parts that only show figures or start runs. So a better word
makes no result old, and a changed number does.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterator
from functools import cache
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

_SHOWS = ("cli", "report", "experiments", "describe.py", "config_text.py", "index", "recommend/face.py",
          "recommend/histories.py", "recommend/retrieval.py", "recommend/answers.py", "pipeline/indexing.py",
          "pipeline/showcase.py")  # fmt: skip
"""Parts that no figure goes through."""
_MAKES_DATA = ("logs", "sessions", "pipeline/data.py", "data/writer.py", "data/statistics.py", "data/people.py",
               "data/ledger.py", "data/distribution.py", "data/wording.py")  # fmt: skip
"""Parts whose work is in the data set, which a result is keyed by."""
_FLOORS = ("baselines", "dynamics")
"""Parts that floors and the prior go through; results of these are keyed by `of_floors`."""
_MEASURES = (
    "experiments/measure.py",
    "experiments/worker.py",
    "sessions/histories.py",
    "sessions/truncation.py",
    "sessions/split.py",
)
"""But these, of those parts."""
_LIBRARIES = tuple(name for name in ("scipy", "implicit") if find_spec(name) is not None)
"""Of floors, where they are installed."""
_PREPARES = ("logs", "sessions", "pipeline/data.py", "data/writer.py", "data/layout.py", "jagged.py", "hashing.py",
             "seeding.py", "schema.py")  # fmt: skip
"""Parts that data sets are made by."""


@cache
def version() -> str:
    """Sixteen hex digits: equal code, and equal torch, numpy and polars, and no other.

    Of what trains and measures. What made the data set and the floors is in the key of a result.
    """
    return _hash(measured(), ("torch", "numpy", "polars"))


def measured() -> list[Path]:
    """Sources that `version` is of."""
    others = (*_SHOWS, *_MAKES_DATA, *_FLOORS)
    return [file for file in _sources() if not _is_below(file, others) or _is_below(file, _MEASURES)]


@cache
def of_floors() -> str:
    """The same of the floors alone."""
    return _hash([file for file in _sources() if _is_below(file, _FLOORS)], ("numpy", *_LIBRARIES))


@cache
def of_preparation() -> str:
    """The same of what makes data sets of raw logs."""
    return _hash([file for file in _sources() if _is_below(file, _PREPARES)], ("numpy", "polars"))


def _hash(files: list[Path], packages: tuple[str, ...]) -> str:
    mark = hashlib.sha256(platform.python_version().rpartition(".")[0].encode())
    for name in packages:
        mark.update(f"{name} {metadata.version(name)}\n".encode())
    for file in files:
        mark.update(f"{file.relative_to(_root())}\n{meaning(file.read_text(encoding='utf-8'))}\n".encode())
    return mark.hexdigest()[:16]


def meaning(text: str) -> str:
    """A source without its comments, docstrings and layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_words(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_words(node: ast.AST) -> bool:
    """A text that stands alone: a docstring of a module, a class, a function or a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_below(file: Path, parts: tuple[str, ...]) -> bool:
    inside = file.relative_to(_root())
    return any(inside == Path(part) or Path(part) in inside.parents for part in parts)


def _sources() -> Iterator[Path]:
    return iter(sorted(_root().rglob("*.py")))


def _root() -> Path:
    return Path(str(resources.files("sessionrec")))
