from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from sessionrec import artifacts
from sessionrec.artifacts import MANIFEST, ArtifactWriter, fingerprint, read_manifest
from sessionrec.errors import ArtifactError
from tests.helpers import tree_of


def write(path: Path, text: str = "one", **body: Any) -> None:
    with ArtifactWriter(path, kind="thing", format=1) as writer:
        writer.file("deep/part.txt").write_text(text)
        writer.commit(body)


def read(path: Path) -> str:
    manifest = read_manifest(path, kind="thing", format=1)
    return (path / manifest.content / "deep/part.txt").read_text()


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "out", "one", answer=[1, {"k\u00f8": None}])
    manifest = read_manifest(tmp_path / "out", kind="thing", format=1)
    assert read(tmp_path / "out") == "one"
    assert manifest.body == {"answer": [1, {"k\u00f8": None}]}
    assert manifest.files == {"deep/part.txt": 3}
    assert set(manifest.versions) >= {"sessionrec", "python", "numpy", "polars", "pyarrow"}


def test_a_second_write_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write(tmp_path, "one")
    before = read_manifest(tmp_path, kind="thing", format=1).content
    write(tmp_path, "two")
    assert read(tmp_path) == "two"
    assert not (tmp_path / before).exists()
    assert len([name for name in tree_of(tmp_path) if name.endswith("part.txt")]) == 1


def test_leaving_without_commit_leaves_nothing(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "out", kind="thing", format=1) as writer:
        writer.file("part.txt").write_text("half")
    assert tree_of(tmp_path) == []


def test_an_exception_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), ArtifactWriter(tmp_path / "out", kind="thing", format=1) as writer:
        writer.file("part.txt").write_text("half")
        raise KeyError("mine")
    assert tree_of(tmp_path) == []


def test_an_exception_leaves_the_old_artifact_and_no_new_file(tmp_path: Path) -> None:
    write(tmp_path, "old")
    before = tree_of(tmp_path)
    with pytest.raises(KeyError), ArtifactWriter(tmp_path, kind="thing", format=1) as writer:
        writer.file("part.txt").write_text("half")
        raise KeyError
    assert tree_of(tmp_path) == before
    assert read(tmp_path) == "old"


def test_a_body_that_is_no_json_leaves_no_new_file(tmp_path: Path) -> None:
    write(tmp_path, "old")
    before = tree_of(tmp_path)
    with pytest.raises(TypeError), ArtifactWriter(tmp_path, kind="thing", format=1) as writer:
        writer.commit({"bad": object()})
    assert tree_of(tmp_path) == before
    assert read(tmp_path) == "old"


@pytest.mark.parametrize("where", ["content", "manifest"])
def test_a_writer_killed_in_the_middle_is_swept_by_the_next(tmp_path: Path, where: str) -> None:
    write(tmp_path, "old")
    code = """
        import os, signal, sys
        from pathlib import Path
        from sessionrec import artifacts
        real = artifacts._sync
        def sync(path):
            if path.suffix == ".manifest":
                os.kill(os.getpid(), signal.SIGKILL)
            real(path)
        artifacts._sync = sync
        with artifacts.ArtifactWriter(Path(sys.argv[1]), kind="thing", format=1) as writer:
            writer.file("deep/part.txt").write_text("new")
            if sys.argv[2] == "content":
                os.kill(os.getpid(), signal.SIGKILL)
            writer.commit({})
    """
    assert run(code, tmp_path, where).returncode == -signal.SIGKILL
    assert read(tmp_path) == "old"
    litter = [name for name in tree_of(tmp_path) if name.startswith("files-")]
    assert len(litter) > 3  # the old folder, deep, part.txt; and what the dead writer left
    write(tmp_path, "newer")
    assert read(tmp_path) == "newer"
    left = tree_of(tmp_path)
    content = read_manifest(tmp_path, kind="thing", format=1).content
    assert sorted(left) == sorted([MANIFEST, ".lock", content, f"{content}/deep", f"{content}/deep/part.txt"])


def test_a_killed_first_writer_leaves_no_artifact_and_a_second_can_write(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from sessionrec.artifacts import ArtifactWriter
        with ArtifactWriter(Path(sys.argv[1]), kind="thing", format=1) as writer:
            writer.file("deep/part.txt").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(code, tmp_path / "out").returncode == -signal.SIGKILL
    with pytest.raises(ArtifactError, match="no finished thing here"):
        read(tmp_path / "out")
    write(tmp_path / "out", "whole")
    assert read(tmp_path / "out") == "whole"
    assert len([name for name in tree_of(tmp_path) if name.endswith("part.txt")]) == 1


def test_a_second_writer_at_once_is_refused_and_the_first_is_not_disturbed(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "out", kind="thing", format=1) as writer:
        writer.file("deep/part.txt").write_text("mine")
        code = """
            import sys
            from pathlib import Path
            from sessionrec.artifacts import ArtifactWriter
            from sessionrec.errors import ArtifactError
            try:
                with ArtifactWriter(Path(sys.argv[1]), kind="thing", format=1):
                    print("let in")
            except ArtifactError as error:
                print(error)
        """
        assert "another process is writing it" in run(code, tmp_path / "out").stdout
        with pytest.raises(ArtifactError, match="another process is writing it"):
            write(tmp_path / "out", "theirs")
        writer.commit({})
    assert read(tmp_path / "out") == "mine"
    write(tmp_path / "out", "theirs")
    assert read(tmp_path / "out") == "theirs"


def test_a_folder_of_something_else_is_refused_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"found 'thesis\.txt'"):
        write(tmp_path)
    assert tree_of(tmp_path) == ["thesis.txt"]


def stood(path: Path) -> dict[str, bytes]:
    """Every file below a folder, with what is in it."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


OURS = "files-0123456789ab"
STRANGERS: dict[str, tuple[dict[str, str], str]] = {
    "a year of photos": ({"files-2023/precious": "x"}, "found 'files-2023'"),
    "a web app": ({"manifest.json": '{"name": "app"}', "files-photos/a.jpg": "x"}, "found 'files-photos'"),
    "a web app's manifest": ({"manifest.json": '{"name": "app", "start_url": "/"}'}, "not a manifest of this package"),
    "a list": ({"manifest.json": "[1]"}, "not a manifest of this package"),
    "a list beside content": ({"manifest.json": "[1]", f"{OURS}/a": "x"}, "not a manifest of this package"),
    "no JSON": ({"manifest.json": "{", ".lock": ""}, "not a manifest of this package"),
    "content that no writer left": ({f"{OURS}/precious": "x"}, f"found '{OURS}'"),
    "a longer token": ({".lock": "", f"{OURS}c/precious": "x"}, f"found '{OURS}c'"),
    "capitals": ({".lock": "", "files-0123456789AB/precious": "x"}, "found 'files-0123456789AB'"),
    "another end": ({".lock": "", f"{OURS}.manifests": "x"}, f"found '{OURS}.manifests'"),
    "a hidden file": ({".lock": "", ".git/config": "x"}, "found '.git'"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path, case: str) -> None:
    files, words = STRANGERS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = stood(tmp_path)
    with pytest.raises(ArtifactError, match=re.escape(words)):
        write(tmp_path)
    assert stood(tmp_path) == before
    assert len(tree_of(tmp_path)) == len({part for name in files for part in (name, name.split("/")[0])})


def test_one_stranger_beside_an_artifact_is_enough(tmp_path: Path) -> None:
    write(tmp_path, "old")
    (tmp_path / "notes.md").write_text("mine")
    before = stood(tmp_path)
    with pytest.raises(ArtifactError, match=r"expected an empty folder or an earlier thing, found 'notes\.md'"):
        write(tmp_path, "new")
    assert stood(tmp_path) == before
    assert read(tmp_path) == "old"


def test_a_stranger_that_comes_while_writing_is_left_alone(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path, kind="thing", format=1) as writer:
        writer.file("deep/part.txt").write_text("one")
        (tmp_path / "files-2023").mkdir()
        (tmp_path / "files-2023" / "precious").write_text("x")
        writer.commit({})
    assert (tmp_path / "files-2023" / "precious").read_text() == "x"
    assert read(tmp_path) == "one"


def test_an_artifact_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "a thing")
    before = stood(tmp_path)
    words = "expected an earlier model, found a thing; name another folder"
    with pytest.raises(ArtifactError, match=words), ArtifactWriter(tmp_path, kind="model", format=1):
        raise AssertionError("let in")
    assert stood(tmp_path) == before
    # Another format of the same kind is an earlier one.
    with ArtifactWriter(tmp_path, kind="thing", format=2) as writer:
        writer.file("deep/part.txt").write_text("newer")
        writer.commit({})
    assert read_manifest(tmp_path, kind="thing", format=2).files == {"deep/part.txt": 5}


def test_a_manifest_that_names_a_folder_elsewhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "precious").mkdir()
    tree = json.loads((tmp_path / "out" / MANIFEST).read_text())
    for content in ("../precious", ".", "", "files-2023"):
        (tmp_path / "out" / MANIFEST).write_text(json.dumps(tree | {"content": content}))
        with pytest.raises(ArtifactError, match="which is no folder of an artifact"):
            read_manifest(tmp_path / "out", kind="thing", format=1)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ArtifactError, match="cannot write there"):
        write(tmp_path / "out")
    with pytest.raises(ArtifactError, match="cannot write there"):
        write(tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_writer_that_cannot_begin_does_not_keep_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def mkdir(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.name.startswith("files-"):
            raise OSError(28, "No space left on device")
        real(path, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(ArtifactError, match="No space left"):
        patch.setattr(Path, "mkdir", mkdir)
        write(tmp_path / "out", "one")
    write(tmp_path / "out", "two")
    assert read(tmp_path / "out") == "two"


@pytest.mark.parametrize("what", ["content", "manifest"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, what: str, is_new: bool) -> None:
    # A limit on the size of files fails a write like a full disk, and needs no disk to fill.
    out = tmp_path / "out"
    if not is_new:
        write(out, "old")
    before = tree_of(tmp_path)
    code = """
        import resource, sys
        from pathlib import Path
        from sessionrec.artifacts import ArtifactWriter
        from sessionrec.errors import ArtifactError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        big = sys.argv[2]
        try:
            with ArtifactWriter(Path(sys.argv[1]), kind="thing", format=1) as writer:
                writer.file("deep/part.txt").write_text("x" * (20_000 if big == "content" else 10))
                writer.commit({"long": "x" * 20_000})
        except ArtifactError as error:
            print("refused:", error)
    """
    done = run(code, out, what)
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert "could not be written" in done.stdout
    assert tree_of(tmp_path) == before
    if not is_new:
        assert read(out) == "old"


@pytest.mark.parametrize("library", ["safetensors", "polars"])
def test_a_full_disk_is_told_by_writers_that_raise_no_system_error(tmp_path: Path, library: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    told = pytest.raises(ArtifactError, match="could not be written: File too large")
    try:
        with told, ArtifactWriter(tmp_path / "out", kind="thing", format=1) as writer:
            if library == "polars":
                pl.DataFrame({"a": range(50_000)}).write_parquet(writer.file("part"))
            save_file({"a": np.zeros(10_000)}, writer.file("part"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree_of(tmp_path) == []


def test_a_missing_artifact_says_so(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match="no finished thing here"):
            read_manifest(path, kind="thing", format=1)


def test_another_kind_or_format_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ArtifactError, match="expected a model, found a thing"):
        read_manifest(tmp_path, kind="model", format=1)
    with pytest.raises(ArtifactError, match="thing of format 1, this version reads 2"):
        read_manifest(tmp_path, kind="thing", format=2)


def test_a_missing_or_cut_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "whole")
    file = tmp_path / read_manifest(tmp_path, kind="thing", format=1).content / "deep/part.txt"
    file.write_text("who")
    with pytest.raises(ArtifactError, match=r"deep/part\.txt: missing or not the 5 bytes"):
        read(tmp_path)
    file.unlink()
    with pytest.raises(ArtifactError, match=r"deep/part\.txt: missing or not the 5 bytes"):
        read(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[1]", "null", '{"kind": "thing"}', '{"kind": "thing", "surprise": 1}', "\xff\xfe"],
)
def test_a_manifest_of_something_else_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match="not a manifest of this package"):
        read_manifest(tmp_path, kind="thing", format=1)


@pytest.mark.parametrize(("key", "value"), [("files", None), ("files", [1]), ("content", 3), ("files", {"a": "b"})])
def test_a_manifest_with_wrong_entries_is_an_artifact_error(tmp_path: Path, key: str, value: object) -> None:
    write(tmp_path)
    tree = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(tree | {key: value}))
    with pytest.raises(ArtifactError):
        read_manifest(tmp_path, kind="thing", format=1)


def test_a_fingerprint_changes_with_content_size_and_name_only(tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "sub" / "one", tmp_path / "other"
    same.parent.mkdir()
    one.write_bytes(b"abc")
    same.write_bytes(b"abc")
    other.write_bytes(b"abd")
    os.utime(same, (0, 0))
    first, again, changed = (fingerprint([file])[0] for file in (one, same, other))
    assert first == again
    assert first["name"] == "one"
    assert first["size_bytes"] == 3
    assert first["sha256"] != changed["sha256"]
    assert fingerprint([]) == []


def test_a_long_file_is_sampled_and_a_change_in_a_sample_or_of_the_size_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 4 blocks of 10 bytes over 310: they begin at (310 - 10) * b // 3 = 0, 100, 200, 300.
    monkeypatch.setattr(artifacts, "_WHOLE_FILE_BYTES", 100)
    monkeypatch.setattr(artifacts, "_SAMPLE_BLOCKS", 4)
    monkeypatch.setattr(artifacts, "_SAMPLE_BYTES", 10)
    file = tmp_path / "log"

    def digest(content: bytes) -> str:
        file.write_bytes(content)
        return str(fingerprint([file])[0]["sha256"])

    content = bytes(n % 251 for n in range(310))
    known = digest(content)
    seen = {place for place in range(310) if digest(content[:place] + b"\xff" + content[place + 1 :]) != known}
    assert seen == {start + n for start in (0, 100, 200, 300) for n in range(10)}
    assert digest(content[:-1]) != known
    assert digest(content + b"\0") != known
    # Up to the limit every byte counts.
    short = content[:100]
    known = digest(short)
    assert all(digest(short[:place] + b"\xff" + short[place + 1 :]) != known for place in range(100))
