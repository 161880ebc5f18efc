"""`Result`: what one run came to, kept as an artifact that outlives its model.

results/KEY/manifest.json   everything but the users
results/KEY/.../users.parquet   a row a user: place in the data set, metrics of each kind of question

Significance over users is found from the users of several results, so these stay.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from sessionrec.artifacts import ArtifactWriter, read_manifest
from sessionrec.errors import ArtifactError

KIND, FORMAT = "result", 1
USERS = "users.parquet"
USER_INDEX = "user_index"
_DIGEST = "users_sha256"
"""In the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of one system on one data set with one seed."""

    key: str
    """Hash of all that decided it but the code: data set, settings, questions."""
    code: str
    """Hash of the code that made it, `code.version()`."""
    dataset: str
    """Name of the data set in `datasets.toml` when it was made; the digest decides."""
    data: str
    """Digest of the data set."""
    system: str
    """Row or floor it was first made for."""
    seed: int | None
    """None for floors, which have none."""
    config: dict[str, Any]
    """Settings of the run as they were used; of a floor, its parameters."""
    training: dict[str, float]
    """`seconds`, `epochs`, `best_epoch`, `seconds_per_epoch` and `processor_seconds_per_epoch` (medians; the
    latter of all threads), `events_per_epoch` (input events, median); empty for floors."""
    evaluation_seconds: float
    """Of all questions."""
    parameters: int
    """Weights of the model; 0 for floors."""
    flops_per_user: float
    """Floating-point operations to encode a test user's history, multiplications and additions each one; 0 for
    floors."""
    peak_bytes: int | None
    """Most memory that the process of the run held; None of floors, since one process makes all of a data set's, and it
    never holds less than those before took."""
    metrics: dict[str, dict[str, float]]
    """By targets, then metric, such as `metrics["session"]["ndcg@10"]`; `in_session_auc` among them."""
    counts: dict[str, dict[str, float]]
    """By targets: `users`, `targets`, `candidates`, `target_coverage`."""
    machine: dict[str, Any]
    """What it ran on."""
    process_bytes: int | None = None
    """Of a floor: most memory of its process so far, all floors before it too; what plans go by. None of models."""
    users: pl.DataFrame
    """[U] `user_index`, and a float column `targets/metric` each; NaN where a user has no value."""

    def save(self, folder: Path) -> None:
        """Write the artifact; an earlier one there is replaced once this one is whole."""
        body = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "users"}
        with ArtifactWriter(folder, kind=KIND, format=FORMAT) as writer:
            file = writer.file(USERS)
            self.users.write_parquet(file)
            writer.commit(body | {_DIGEST: _digest(file)})

    @classmethod
    def load(cls, folder: Path) -> Result:
        """Read what `save` wrote.

        Raises:
            ArtifactError: There is none, it is of another kind, or damaged.
        """
        manifest = read_manifest(folder, kind=KIND, format=FORMAT)
        try:
            body, file = dict(manifest.body), folder / manifest.content / USERS
            # Parquet shows only some damage by itself. Results of earlier versions have no digest.
            if (digest := body.pop(_DIGEST, None)) is not None and digest != _digest(file):
                raise ArtifactError(f"{file}: damaged, it is not what was written; run it again")
            if body.get("seed") is None and body.get("peak_bytes") is not None:
                # Of earlier versions, which took the process for the floor.
                body |= {"peak_bytes": None, "process_bytes": body["peak_bytes"]}
            found = cls(**body, users=pl.read_parquet(file))
            for figures in (found.training, *found.metrics.values(), *found.counts.values()):
                if not all(isinstance(value, int | float) for value in figures.values()):
                    raise TypeError(f"expected numbers, got {figures}")
        except (OSError, TypeError, ValueError, AttributeError, pl.exceptions.PolarsError) as error:
            raise ArtifactError(f"{folder}: not a result that this version reads: {error}") from None
        return found


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
