"""SciPy and the library `implicit`, asked for only by what stands on them."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Any, cast

from sessionrec.errors import MissingExtraError


def sparse() -> Any:
    """`scipy.sparse`, imported when it is first asked for."""
    return importlib.import_module("scipy.sparse")


def als() -> Any:
    """`implicit.cpu.als`.

    Raises:
        MissingExtraError: It is not installed.
    """
    return _wanted("implicit.cpu.als", "`implicit`")


def blas_threads(most: int) -> AbstractContextManager[Any]:
    """Inside, NumPy's and SciPy's linear algebra takes so many threads at most; comes with `implicit`."""
    return cast(AbstractContextManager[Any], _wanted("threadpoolctl", "threadpoolctl").threadpool_limits(most, "blas"))


def _wanted(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("implicit", "threadpoolctl", "tqdm"):
            raise
        raise MissingExtraError(
            f'this floor needs {name}, which is not installed; run: pip install "sessionrec[floors]", '
            "or ask for the other floors, which need nothing"
        ) from None
