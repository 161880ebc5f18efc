"""What `fit` says when a run cannot go on: damaged files, a full disk, scores that are no numbers, fewer epochs."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.errors import ArtifactError, ConfigError
from sessionrec.pipeline import FitConfig, evaluate, fit, index, load_fit_config
from sessionrec.recommend import SessionRec, artifact
from sessionrec.train.loop import TrainingError
from tests.shop import SMALL, train_shop

FIELDS = ("training.epochs=50", "training.patience=1")
"""Ends after the first epoch that is no better, so the best one is not the last."""
NOISE = b"\xff" * 16
"""In place of the first bytes: the size stays, so the manifest finds nothing wrong."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    return train_shop(tmp_path_factory.mktemp("shop"), *FIELDS)


@pytest.fixture
def run(shop: tuple[Dataset, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(shop[1], tmp_path / "run")
    return tmp_path / "run"


def settings(*fields: str) -> FitConfig:
    return load_fit_config(None, None, [*SMALL, *FIELDS, *fields])


def epochs(run: Path) -> list[int]:
    """Of which there are metrics."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["epoch"] for line in lines]


def damage(artifact_folder: Path, name: str, *, is_cut: bool = False) -> Path:
    """Write noise over the beginning of a file, or cut it short."""
    (file,) = artifact_folder.glob(f"files-*/{name}")
    content = file.read_bytes()
    file.write_bytes(content[:-1] if is_cut else NOISE + content[len(NOISE) :])
    return file


@contextmanager
def full_disk(largest_file: int) -> Iterator[None]:
    """A limit on the size of files fails a write like a full disk, and needs no disk to fill."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["weights.safetensors", "moments.safetensors", "state.json"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_damaged_checkpoint_is_named_with_both_ways_on(
    shop: tuple[Dataset, Path], run: Path, name: str, is_cut: bool
) -> None:
    file = damage(run / "last", name, is_cut=is_cut)
    with pytest.raises(ArtifactError) as told:
        fit(shop[0], run, settings())
    message = str(told.value)
    assert message.startswith(f"{file}: ")
    assert f"delete {run / 'last'} and run the same `sessionrec fit` again, which begins anew" in message
    assert f"if a copy of {run / 'best'} takes its place" in message
    # The way that keeps the epochs; the run ends as if nothing had happened.
    shutil.rmtree(run / "last")
    shutil.copytree(run / "best", run / "last")
    trained = fit(shop[0], run, settings())
    assert (trained.epochs, epochs(run)) == (trained.best_epoch + 1, epochs(shop[1]))
    for name in ("last", "model"):
        (mine,), (whole,) = (folder.glob(f"{name}/files-*/weights.safetensors") for folder in (run, shop[1]))
        assert mine.read_bytes() == whole.read_bytes()


def test_a_state_that_lacks_something_is_damaged_too(shop: tuple[Dataset, Path], run: Path) -> None:
    (file,) = (run / "last").glob("files-*/state.json")
    whole = file.read_text(encoding="utf-8")
    for name in ("progress", "best_value", "streams", "epoch"):
        file.write_text(whole.replace(f'"{name}"', f'"{name[::-1]}"'), encoding="utf-8")
        with pytest.raises(ArtifactError, match=rf"last.*damaged.*'{name}'.*begins anew"):
            fit(shop[0], run, settings())


def test_a_damaged_best_epoch_is_named_and_the_run_begins_anew(shop: tuple[Dataset, Path], run: Path) -> None:
    file = damage(run / "best", "weights.safetensors")
    with pytest.raises(ArtifactError, match=rf"{re.escape(str(file))}: damaged.*delete .*last and .*best and run"):
        fit(shop[0], run, settings())
    for name in ("last", "best"):
        shutil.rmtree(run / name)
    fit(shop[0], run, settings())
    assert epochs(run) == epochs(shop[1])
    shutil.rmtree(run / "best")
    with pytest.raises(ArtifactError, match=r"no finished checkpoint here.*delete .*last and .*best"):
        fit(shop[0], run, settings())


def test_a_damaged_model_is_named_and_the_same_fit_makes_it_anew(shop: tuple[Dataset, Path], run: Path) -> None:
    before = artifact.load(run).fingerprint
    file = damage(run / "model", "weights.safetensors")
    with pytest.raises(ArtifactError, match=rf"{re.escape(str(file))}: damaged.*run the same `sessionrec fit` again"):
        SessionRec.load(run)
    fit(shop[0], run, settings())
    assert artifact.load(run).fingerprint == before


def test_damaged_metrics_are_named(shop: tuple[Dataset, Path], run: Path) -> None:
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(NOISE + metrics.read_bytes())
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: not the metrics.*move the file away if it is damaged"):
        fit(shop[0], run, settings())


@pytest.mark.parametrize("size", [4000, 100])
def test_a_full_disk_is_told_as_such_and_the_same_command_goes_on(
    size: int, shop: tuple[Dataset, Path], tmp_path: Path
) -> None:
    # The weights are larger than 4,000 bytes; a line of the metrics is larger than 100.
    with full_disk(size), pytest.raises(ArtifactError, match="could not be written: File too large"):
        fit(shop[0], tmp_path / "run", settings())
    fit(shop[0], tmp_path / "run", settings())
    assert epochs(tmp_path / "run") == epochs(shop[1])


def test_divergence_that_shows_in_validation_names_the_learning_rate(
    shop: tuple[Dataset, Path], tmp_path: Path
) -> None:
    # One step an epoch: no second loss tells that the first step overflowed.
    fields = ["optimizer.learning_rate=1e9", "loading.batch_users=64"]
    with pytest.raises(TrainingError, match=r"after epoch 1, in validation.*lower `optimizer\.learning_rate`"):
        fit(shop[0], tmp_path / "run", settings(*fields))
    assert not (tmp_path / "run").exists()


def test_fewer_epochs_than_there_are_is_refused_and_leaves_the_model(shop: tuple[Dataset, Path], run: Path) -> None:
    before, there = artifact.load(run).fingerprint, len(epochs(run))
    words = rf"training\.epochs: .* trained for {there} epochs, got {there - 1}; give training\.epochs={there} or more"
    with pytest.raises(ConfigError, match=words):
        fit(shop[0], run, settings(f"training.epochs={there - 1}"))
    for same in (settings(f"training.epochs={there}"), settings()):
        assert fit(shop[0], run, same).epochs == there
        assert artifact.load(run).fingerprint == before


def test_a_run_that_was_cut_is_no_model_yet_for_any_stage(shop: tuple[Dataset, Path], run: Path) -> None:
    shutil.rmtree(run / "model")
    for ask in (evaluate, index, SessionRec.load):
        with pytest.raises(ArtifactError, match="training has not ended there; run the same `sessionrec fit` again"):
            ask(run)
    # Killed while the model was written.
    (run / "model" / "files-0123456789ab").mkdir(parents=True)
    (run / "model" / ".lock").touch()
    with pytest.raises(ArtifactError, match="training has not ended there"):
        SessionRec.load(run)
    fit(shop[0], run, settings())
    assert SessionRec.load(run)
