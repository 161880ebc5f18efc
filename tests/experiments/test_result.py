"""A result on disk: what is damaged is noticed, what earlier versions wrote is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessionrec.errors import ArtifactError
from sessionrec.experiments.result import Result
from tests.experiments.fabricate import result


@pytest.mark.parametrize("seed", [None, 1])
def test_a_result_is_read_as_it_was_written(tmp_path: Path, seed: int | None) -> None:
    one = result(1.0, seed=seed)
    one.save(tmp_path / "one")
    found = Result.load(tmp_path / "one")
    assert found.users.equals(one.users, null_equal=True)
    assert (found.metrics, found.peak_bytes, found.process_bytes) == (one.metrics, one.peak_bytes, one.process_bytes)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_byte_that_changed_is_noticed(tmp_path: Path, share: float) -> None:
    """Parquet itself notices few: a run was then `done`, and its figures were wrong or its report said `damaged`."""
    result(1.0).save(tmp_path)
    users = next(tmp_path.rglob("users.parquet"))
    content = bytearray(users.read_bytes())
    content[int(share * len(content))] ^= 1
    users.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"users\.parquet: damaged, .*; run it again"):
        Result.load(tmp_path)


@pytest.mark.parametrize(("seed", "peak"), [(None, None), (1, 123)])
def test_results_of_earlier_versions_are_read(tmp_path: Path, seed: int | None, peak: int | None) -> None:
    """They have no digest, and give a floor the memory of all floors before it."""
    result(1.0, seed=seed).save(tmp_path)
    manifest = tmp_path / "manifest.json"
    tree = json.loads(manifest.read_text(encoding="utf-8"))
    for name in ("users_sha256", "process_bytes"):
        del tree["body"][name]
    tree["body"]["peak_bytes"] = 123
    manifest.write_text(json.dumps(tree), encoding="utf-8")
    assert Result.load(tmp_path).peak_bytes == peak
