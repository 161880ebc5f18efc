"""How much memory jobs are expected to take."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.data.dataset import Dataset
from sessionrec.experiments import memory
from sessionrec.experiments.memory import Taken, estimate, expected, free_bytes
from sessionrec.experiments.plan import Job
from tests.experiments.lab import lab, ready


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Job], Dataset]:
    folder = tmp_path_factory.mktemp("lab")
    found = ready(lab(folder), folder / "out")
    return {job.row.slug: job for job in found.jobs}, found.datasets["toy"]


def taken(job: Job, dataset: Dataset, size: int, *, seed: int = 2) -> Taken:
    config = job.config.model_dump(mode="json") | {"seed": seed}
    return memory.taken({"seed": seed, "config": config, "data": dataset.content, "peak_bytes": size}, dataset)


def test_larger_models_and_batches_take_more(jobs: tuple[dict[str, Job], Dataset]) -> None:
    job, dataset = jobs[0]["01-hstu"], jobs[1]
    small = estimate(job.config, dataset)
    wide = job.config.model_copy(update={"model": job.config.model.model_copy(update={"width": 4096})})
    assert estimate(wide, dataset) > small > 300 << 20


def test_a_shorter_history_takes_less(jobs: tuple[dict[str, Job], Dataset]) -> None:
    job, dataset = jobs[0]["01-hstu"], jobs[1]
    sizes = []
    for cap in (1, 2, None):
        truncation = job.config.view.truncation.model_copy(update={"max_positives": cap})
        view = job.config.view.model_copy(update={"truncation": truncation})
        sizes.append(estimate(job.config.model_copy(update={"view": view}), dataset))
    assert sizes[0] < sizes[1] < sizes[2]


def test_what_another_seed_took_is_what_is_expected(jobs: tuple[dict[str, Job], Dataset]) -> None:
    job, dataset = jobs[0]["01-hstu"], jobs[1]
    size = 3 << 30
    assert expected(job, dataset, [taken(job, dataset, size)]) == pytest.approx(1.1 * size)


def test_what_another_row_took_corrects_the_estimate(jobs: tuple[dict[str, Job], Dataset]) -> None:
    hstu, gru, dataset = jobs[0]["01-hstu"], jobs[0]["02-gru"], jobs[1]
    plain = expected(hstu, dataset, [])
    twice = taken(gru, dataset, 2 * estimate(gru.config, dataset))
    assert expected(hstu, dataset, [twice]) == pytest.approx(2 * 1.1 / 1.25 * plain)
    elsewhere = Taken(data="another", row=twice.row, bytes=twice.bytes, estimate=twice.estimate)
    assert expected(hstu, dataset, [elsewhere]) == plain


def test_a_result_with_settings_of_long_ago_says_nothing(jobs: tuple[dict[str, Job], Dataset]) -> None:
    hstu, dataset = jobs[0]["01-hstu"], jobs[1]
    body = {"seed": 1, "config": {"no": "such"}, "data": dataset.content, "peak_bytes": 1 << 40}
    assert expected(hstu, dataset, [memory.taken(body, dataset)]) == expected(hstu, dataset, [])


def test_some_memory_is_free() -> None:
    assert free_bytes() > 1 << 20


def test_a_container_may_have_less_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    assert free_bytes() == 3000
