from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sessionrec.errors import ArtifactError
from sessionrec.hashing import hash_ids
from sessionrec.sessions import scratch
from sessionrec.sessions.scratch import Spill, scratch_folder
from tests.helpers import tree_of

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from sessionrec.sessions.scratch import scratch_folder
    with scratch_folder(Path(sys.argv[1])) as folder:
        (folder / "events").mkdir()
        (folder / "events" / "00000.arrows").write_bytes(b"much")
        print(folder.name, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_scratch_folder_goes_away_with_all_that_is_in_it(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "events").mkdir()
        assert folder.parent == tmp_path
    assert tree_of(tmp_path) == []
    with pytest.raises(KeyError), scratch_folder(tmp_path):
        raise KeyError
    assert tree_of(tmp_path) == []


def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = tmp_path / done.stdout.strip()
    assert (left / "events" / "00000.arrows").exists()
    with scratch_folder(tmp_path) as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert tree_of(tmp_path) == []


def test_the_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    code = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "sys.stdin.read()")
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        with scratch_folder(tmp_path) as folder, scratch_folder(tmp_path):
            assert (tmp_path / name / "events" / "00000.arrows").exists()
            assert folder.exists()
        other.communicate()
    assert tree_of(tmp_path) == []


def test_only_scratch_folders_are_swept(tmp_path: Path) -> None:
    for name in ("sessionrec-notes", "sessionrec-abcdefgh", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    before = tree_of(tmp_path)
    with scratch_folder(tmp_path):
        pass
    assert tree_of(tmp_path) == before


def test_a_scratch_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = r"file: the partitions .* name another folder as `engine\.scratch`"
    with pytest.raises(ArtifactError, match=words), scratch_folder(tmp_path / "file"):
        pass


def test_partitions_are_ranges_of_the_hash_and_each_text_is_hashed_once_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def recording(ids: pl.Series, seed: int = 0) -> Any:
        hashed.extend(ids.to_list())
        return hash_ids(ids, seed)

    monkeypatch.setattr(scratch, "hash_ids", recording)
    users = [f"user {n % 9}" for n in range(100)]
    events = pl.DataFrame({"user": users, "row": range(100)})
    spill = Spill(tmp_path / "events", 4, events.schema)
    spill.add(events[:60])
    spill.add(events[60:])
    spill.close()
    assert sorted(hashed) == sorted([f"user {n}" for n in range(9)] * 2)
    taken = [spill.take(partition) for partition in range(4)]
    for partition, frame in enumerate(taken):
        assert all(int(word) >> 62 == partition for word in hash_ids(frame["user"]))
        assert frame["row"].to_list() == sorted(frame["row"].to_list())
    assert pl.concat(taken).sort("row").equals(events)
    assert tree_of(tmp_path / "events") == []
