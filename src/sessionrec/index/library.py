"""Faiss, asked for only by the indexes that stand on it, and what more than one of them needs of it."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sessionrec.errors import ArtifactError, MissingExtraError
from sessionrec.index.face import Mask


def faiss() -> Any:
    """The module.

    Raises:
        MissingExtraError: Faiss is not installed.
    """
    try:
        with warnings.catch_warnings():
            # SWIG's types have no __module__, of which newer Pythons warn. Can go when Faiss is built with SWIG 4.4.
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "faiss":
            raise
        raise MissingExtraError(
            'this index needs Faiss, which is not installed; run: pip install "sessionrec[index]", '
            'or take the index of kind "exact", which needs nothing'
        ) from None


@contextmanager
def threads(num_threads: int | None, num_tasks: int | None = None) -> Iterator[None]:
    """Faiss works with so many threads inside; OpenMP keeps the number for each calling thread.

    Args:
        num_threads: None for as many as OpenMP would take.
        num_tasks: More threads than this would only be woken for nothing, which costs milliseconds on a busy machine.
    """
    library = faiss()
    before = library.omp_get_max_threads()
    wanted = before if num_threads is None else num_threads
    library.omp_set_num_threads(wanted if num_tasks is None else max(1, min(wanted, num_tasks)))
    try:
        yield
    finally:
        library.omp_set_num_threads(before)


def selector(is_allowed_N: Mask | None) -> Any:
    """An IDSelector for the allowed rows; it keeps the bits alive itself."""
    if is_allowed_N is None:
        return None
    return faiss().IDSelectorBitmap(np.packbits(is_allowed_N, bitorder="little"))


def write(index: Any, path: Path) -> None:
    """Write a Faiss index; a full disk is an `OSError` as everywhere."""
    try:
        faiss().write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(f"Faiss cannot write {path.name}: {str(error).splitlines()[0]}") from None


def read(path: Path, kind: str, num_items: int) -> Any:
    """Read a Faiss index of a class and size.

    Raises:
        ArtifactError: The file is another index or none.
    """
    library = faiss()
    try:
        index = library.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: Faiss cannot read it: {reason}; make the index again") from None
    found = type(index).__name__
    if found != kind or index.ntotal != num_items or index.metric_type != library.METRIC_INNER_PRODUCT:
        raise ArtifactError(
            f"{path}: expected {kind} by inner product with {num_items} items, found {found} with {index.ntotal}; "
            "make the index again"
        )
    return index
