"""An index as an artifact: `save` and `load`.

    items.npy            [N] int64 item indices, ascending
    feature-<i>.npy      [N] int32 codes; the manifest names the features in this order
    ...                  what the kind of index writes

No pickle. The manifest carries the config, the counts and the fingerprint of the model that made the vectors, so that
a server does not pair queries of one model with the items of another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sessionrec.artifacts import MANIFEST, ArtifactWriter, Manifest, read_manifest
from sessionrec.config import Config, parse
from sessionrec.errors import ArtifactError
from sessionrec.index.face import Index
from sessionrec.index.holdings import Holdings
from sessionrec.index.kinds import IndexConfig

KIND = "index"
FORMAT = 1
_ITEMS = "items.npy"


class _Stored(Config):
    index: IndexConfig
    """As it was built."""


def save(index: Index, path: Path | str, *, model: str, more: dict[str, Any] | None = None) -> Manifest:
    """Write an index; what stood at `path` before stays until the new one is whole.

    Args:
        index: Any index.
        path: Folder of the artifact.
        model: Fingerprint of the model that made the vectors.
        more: Further entries of the manifest's body, figures of its quality for instance.

    Raises:
        ArtifactError: The folder cannot be written, or holds something else.
    """
    holdings = index.holdings
    with ArtifactWriter(Path(path), kind=KIND, format=FORMAT) as writer:
        np.save(writer.file(_ITEMS), holdings.items_N, allow_pickle=False)
        for number, codes in enumerate(holdings.features.values()):
            np.save(writer.file(_feature(number)), codes, allow_pickle=False)
        index.write(writer.file)
        body = {
            "config": index.config.model_dump(mode="json"),
            "dimension": index.dimension,
            "num_items": holdings.num_items,
            "model": model,
            "features": list(holdings.features),
        }
        return writer.commit((more or {}) | body)


def load(path: Path | str, *, model: str | None = None) -> Index:
    """Read an index.

    Args:
        path: Folder of the artifact.
        model: Fingerprint of the model whose queries will be asked; None takes any index.

    Raises:
        ArtifactError: There is no whole index at `path`, or it is of another model.
        ConfigError: The index is of a kind that this version does not know.
        MissingExtraError: It needs Faiss, which is not installed.
    """
    path = Path(path)
    manifest = read_manifest(path, kind=KIND, format=FORMAT)
    body = manifest.body
    missing = {"config", "dimension", "num_items", "model", "features"} - set(body)
    if missing:
        raise ArtifactError(f"{path}: the manifest does not say {min(missing)!r}; make the index again")
    if model is not None and body["model"] != model:
        raise ArtifactError(
            f"{path}: the index is of model {body['model']}, the queries of {model}; make the index again"
        )
    config = parse(_Stored, {"index": body["config"]}, str(path)).index
    folder = path / manifest.content
    columns = {name: _array(folder / _feature(number), np.int32) for number, name in enumerate(body["features"])}
    holdings = Holdings(items_N=_array(folder / _ITEMS, np.int64), features=columns)
    if any(len(column) != body["num_items"] for column in (holdings.items_N, *columns.values())):
        raise ArtifactError(f"{path}: not every column has {body['num_items']} items; make the index again")
    index: Index = config.read(folder, holdings)
    if index.dimension != body["dimension"]:
        raise ArtifactError(
            f"{path}: vectors are {index.dimension} wide, the manifest says {body['dimension']}; make the index again"
        )
    return index


def load_if_any(path: Path | str, *, model: str) -> Index | None:
    """`load`, or None where no index was made."""
    return load(path, model=model) if (Path(path) / MANIFEST).is_file() else None


def _feature(number: int) -> str:
    return f"feature-{number}.npy"


def _array(path: Path, kind: type[np.generic]) -> Any:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not an array: {error}; make the index again") from None
    if array.ndim != 1 or array.dtype != kind:
        raise ArtifactError(
            f"{path}: expected one column of {np.dtype(kind)}, found {array.dtype}; make the index again"
        )
    return array
