"""Artifact folders that are whole or not there.

    out/manifest.json          written last, by an atomic replace; names everything that belongs to the artifact
    out/files-<token>/...      the content; a new write goes to a folder of its own, beside the old one

A reader follows the manifest, so at every moment it finds either the old artifact or the new one. Whatever a killed
writer left behind is not named by any manifest and is removed by the next writer.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sessionrec
from sessionrec.errors import ArtifactError

MANIFEST = "manifest.json"
_OURS = re.compile(r"files-[0-9a-f]{12}(\.manifest)?")
_LOCK = ".lock"
_PACKAGES = ("numpy", "polars", "pyarrow")
_SYSTEM = re.compile(r"\(os error (\d+)\)")
_WHOLE_FILE_BYTES = 64 << 20
_SAMPLE_BLOCKS, _SAMPLE_BYTES = 64, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact says of itself."""

    kind: str
    """What it is: `dataset`, later `model`, `index`, ..."""
    format: int
    """Version of the layout of this kind."""
    created: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    """Of this package, Python and the packages that shape the content."""
    content: str
    """Name of the folder with the files."""
    files: dict[str, int]
    """Size in bytes of each file, by its path in the content folder."""
    body: dict[str, Any]
    """What this kind adds: config, counts, fingerprint of the inputs, ..."""


class DamagedError(ArtifactError):
    """A file of an artifact is missing, cut short or holds something else.

    Args:
        file: It.
        found: What is wrong with it.
        remedy: What to do; who knows more of the folder may raise it again with a better one.
    """

    def __init__(self, file: Path, found: str, remedy: str) -> None:
        super().__init__(f"{file}: {found}; {remedy}")
        self.file, self.found = file, found


class ArtifactWriter:
    """Context that writes one artifact; leaving it without `commit` leaves whatever stood there before."""

    def __init__(self, path: Path, *, kind: str, format: int) -> None:
        self._path, self._kind, self._format = path, kind, format
        self._content = f"files-{secrets.token_hex(6)}"
        self._lock: int | None = None
        self._is_committed = False

    def __enter__(self) -> Self:
        path = self._path
        try:
            self._is_new = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            self._refuse_strangers()
            self._lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                self._lock = None
                raise ArtifactError(
                    f"{path}: another process is writing it; wait for it or name another folder"
                ) from None
            self._sweep()
            (path / self._content).mkdir()
        except OSError as error:
            if self._lock is not None:
                os.close(self._lock)
            raise ArtifactError(f"{path}: cannot write there: {error.strerror or error}") from error
        return self

    def file(self, name: str) -> Path:
        """Where to write one file of the artifact."""
        path = self._path / self._content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def commit(self, body: dict[str, Any], *, origin: Manifest | None = None) -> Manifest:
        """Make what was written the artifact: content to disk first, then the manifest in one atomic step.

        Args:
            body: What this kind adds.
            origin: Of what was copied, whose date and versions stay.
        """
        content = self._path / self._content
        files = sorted(f for f in content.rglob("*") if f.is_file())
        for file in (*files, content):
            _sync(file)
        manifest = Manifest(
            kind=self._kind,
            format=self._format,
            created=datetime.now(UTC).isoformat(timespec="seconds") if origin is None else origin.created,
            versions=_versions() if origin is None else origin.versions,
            content=self._content,
            files={str(f.relative_to(content)): f.stat().st_size for f in files},
            body=body,
        )
        fresh = content.with_suffix(".manifest")
        fresh.write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _sync(fresh)
        fresh.replace(self._path / MANIFEST)
        _sync(self._path)
        self._is_committed = True
        return manifest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweep()
        if self._lock is not None:
            os.close(self._lock)
        if not self._is_committed and self._is_new:
            # The lock file stays otherwise: unlinking it would let two later writers lock two different files.
            shutil.rmtree(self._path, ignore_errors=True)
        if (reason := _refusal(error)) is not None:
            raise ArtifactError(
                f"{self._path}: could not be written: {reason}. Nothing was changed there; "
                "free some space or name another folder"
            ) from error

    def _refuse_strangers(self) -> None:
        """Write only where nothing else is: what is not ours is never removed, nor an artifact of another kind."""
        names = sorted(file.name for file in self._path.iterdir())
        strangers = [name for name in names if name not in (MANIFEST, _LOCK) and not _OURS.fullmatch(name)]
        # Content without lock or manifest was not left by a writer, whatever its name.
        if not strangers and names and MANIFEST not in names and _LOCK not in names:
            strangers = names
        if strangers:
            raise ArtifactError(
                f"{self._path}: expected an empty folder or an earlier {self._kind}, found {strangers[0]!r}; "
                "name another folder, or empty this one yourself"
            )
        if MANIFEST in names and (found := _load(self._path).kind) != self._kind:
            raise ArtifactError(f"{self._path}: expected an earlier {self._kind}, found a {found}; name another folder")

    def _sweep(self) -> None:
        """Remove content that no manifest names: leftovers of killed writers, or the artifact just replaced."""
        keep = _load(self._path).content if (self._path / MANIFEST).exists() else None
        for leftover in self._path.iterdir():
            if _OURS.fullmatch(leftover.name) and leftover.name != keep:
                shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink()


def read_manifest(path: Path, *, kind: str, format: int) -> Manifest:
    """The manifest of a finished artifact.

    Raises:
        ArtifactError: There is none, or it is of another kind or format.
        DamagedError: A file it names is missing or cut short.
    """
    if not (path / MANIFEST).is_file():
        raise ArtifactError(f"{path}: no finished {kind} here (no {MANIFEST}); make one first")
    manifest = _load(path)
    if manifest.kind != kind:
        raise ArtifactError(f"{path}: expected a {kind}, found a {manifest.kind}")
    if manifest.format != format:
        raise ArtifactError(f"{path}: {kind} of format {manifest.format}, this version reads {format}; make it again")
    for name, size in manifest.files.items():
        file = path / manifest.content / name
        if not file.is_file() or file.stat().st_size != size:
            raise DamagedError(file, f"missing or not the {size} bytes the manifest names", f"make the {kind} again")
    return manifest


def copy_artifact(source: Path, target: Path, *, kind: str, format: int) -> Manifest:
    """Copy a finished artifact, with its date and versions; nothing but the files that its manifest names.

    Args:
        source: May be anyone's: links are refused.
        target: As for `ArtifactWriter`.
        kind: Of the artifact.
        format: Of the artifact.

    Raises:
        ArtifactError: There is none, it changed while it was read, or the copy cannot be written.
    """
    origin = read_manifest(source, kind=kind, format=format)
    with ArtifactWriter(target, kind=kind, format=format) as writer:
        for name, size in origin.files.items():
            file = source / origin.content / name
            if file.is_symlink() or not file.resolve().is_relative_to((source / origin.content).resolve()):
                raise ArtifactError(f"{file}: is a link; expected a file of the {kind}")
            copy = writer.file(name)
            try:
                shutil.copyfile(file, copy)
            except OSError as error:
                raise ArtifactError(f"{file}: cannot be copied to {target}: {error.strerror or error}") from None
            if copy.stat().st_size != size:
                raise ArtifactError(f"{file}: changed while it was copied; copy it again")
        if _load(source) != origin:
            raise ArtifactError(f"{source}: changed while it was copied; copy it again")
        return writer.commit(origin.body, origin=origin)


def _load(path: Path) -> Manifest:
    try:
        tree = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise TypeError("it must be a table")
        manifest = Manifest(**tree)
        if not (isinstance(manifest.content, str) and isinstance(manifest.files, dict)):
            raise TypeError("`content` must be text and `files` a table")
        if not _OURS.fullmatch(manifest.content):
            raise ValueError(f"`content` names {manifest.content!r}, which is no folder of an artifact")
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path / MANIFEST}: not a manifest of this package: {error}; if it was one, it is damaged: move {path} "
            "away and make it again"
        ) from None
    return manifest


def fingerprint(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, size and digest of each input file.

    A file of at most 64 MiB is read whole; of a larger one the digest covers its size and 64 blocks of 1 MiB spread
    evenly over it, which finds a new, cut or appended file and misses a small change between the blocks.
    """
    entries = []
    for file in files:
        size = file.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with file.open("rb") as stream:
            if size <= _WHOLE_FILE_BYTES:
                digest.update(stream.read())
            else:
                for block in range(_SAMPLE_BLOCKS):
                    stream.seek((size - _SAMPLE_BYTES) * block // (_SAMPLE_BLOCKS - 1))
                    digest.update(stream.read(_SAMPLE_BYTES))
        entries.append({"name": file.name, "size_bytes": size, "sha256": digest.hexdigest()})
    return entries


def _refusal(error: BaseException | None) -> str | None:
    """Why the system refused to write; None if it was something else.

    Writers in Rust (safetensors, polars) raise errors of their own, in whose text alone the system's number stands.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    found = _SYSTEM.search(str(error)) if not isinstance(error, ArtifactError) else None
    return None if found is None else os.strerror(int(found[1]))


def _versions() -> dict[str, str]:
    versions = {"sessionrec": sessionrec.__version__, "python": platform.python_version()}
    return versions | {name: metadata.version(name) for name in _PACKAGES}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
