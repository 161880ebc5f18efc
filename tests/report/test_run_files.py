"""A run folder is read as it is: last lines count, torn ones are counted, what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from sessionrec.artifacts import read_manifest
from sessionrec.errors import ArtifactError
from sessionrec.evaluate import EvalProtocol, EvalReport
from sessionrec.evaluate import report as original
from sessionrec.report import run_files
from sessionrec.report.run_files import read_run
from tests.report.fabricate import MODEL, World, reports_of, write_evaluation, write_metrics, write_model

PROTOCOL = EvalProtocol(ks=(10,))


@pytest.fixture(scope="module")
def reports() -> list[EvalReport]:
    return reports_of(World(40, 40), PROTOCOL)


def test_the_columns_are_those_of_the_evaluation() -> None:
    assert (*run_files.ASKED, run_files.NUM_BEFORE, run_files.WEIGHT) == original._USER_COLUMNS
    assert original._USER_COLUMNS[:3] == run_files.ASKED


def test_a_run_without_a_model_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no finished model here"):
        read_run(tmp_path)


def test_the_last_line_of_an_epoch_counts_and_torn_lines_are_counted(tmp_path: Path) -> None:
    write_model(tmp_path)
    write_metrics(tmp_path, epochs=7)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"epoch": 8, "st')
    run = read_run(tmp_path)
    assert [epoch.epoch for epoch in run.epochs] == [1, 2, 3, 4, 5, 6, 7]
    assert run.epochs[4].validation < 1
    assert run.unreadable_lines == 1
    assert (run.evaluation, run.index) == (None, None)


def test_lines_of_an_older_loop_have_less_and_are_read(tmp_path: Path) -> None:
    write_model(tmp_path)
    line = {"epoch": 1, "step": 3, "total": 1.0, "retrieval": 1.0, "rank": 0.0, "validation": 0.1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert read_run(tmp_path).epochs[0].events_per_s is None
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line | {"step": "x"}) + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"metrics.jsonl: line 1: step: input should be a valid integer"):
        read_run(tmp_path)


def test_a_body_that_lacks_something_is_named(tmp_path: Path) -> None:
    write_model(tmp_path, selection={"metric": "ndcg@100"})
    with pytest.raises(ArtifactError, match=r"manifest.json: selection.best_value: field required; train the model"):
        read_run(tmp_path)


def test_systems_come_back_as_they_were(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path)
    write_evaluation(tmp_path, reports, [])
    evaluation = read_run(tmp_path).evaluation
    assert evaluation is not None
    assert [system.name for system in evaluation.systems] == [report.system for report in reports]
    for system, report in zip(evaluation.systems, reports, strict=True):
        assert system.metrics == report.metrics
        assert system.users.equals(report.users, null_equal=True)
        assert system.protocol_in_words == PROTOCOL.words()
        assert system.by_history == report.by_history


def test_systems_that_were_not_asked_the_same_are_refused(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path)
    others = reports_of(World(41, 40), PROTOCOL)
    write_evaluation(tmp_path, [reports[0], others[1]], [])
    with pytest.raises(ArtifactError, match="'SessionRec-HSTU' and 'popularity' were not asked the same"):
        read_run(tmp_path)


def test_histories_may_be_counted_otherwise(tmp_path: Path, reports: list[EvalReport]) -> None:
    # An item-level model counts events before a question, a floor sessions: the questions are the same.
    write_model(tmp_path)
    write_evaluation(tmp_path, reports[:2], [])
    manifest = read_manifest(tmp_path / "evaluation", kind="evaluation", format=1)
    table = tmp_path / "evaluation" / manifest.content / "0.parquet"
    size = table.stat().st_size
    pl.read_parquet(table).with_columns(pl.col("num_before") * 3).write_parquet(table)
    # The manifest knows the size, and this is not about that.
    text = (tmp_path / "evaluation" / "manifest.json").read_text(encoding="utf-8")
    fresh = text.replace(f'"0.parquet": {size}', f'"0.parquet": {table.stat().st_size}')
    (tmp_path / "evaluation" / "manifest.json").write_text(fresh, encoding="utf-8")
    assert read_run(tmp_path).evaluation is not None


def test_no_file_beyond_the_artifact_is_read(tmp_path: Path, reports: list[EvalReport]) -> None:
    write_model(tmp_path)
    reports[0].save(tmp_path / "0.json")
    write_evaluation(tmp_path, reports[:1], [], files={MODEL: "../../0.json"})
    with pytest.raises(ArtifactError, match="names no files of 'SessionRec-HSTU'; evaluate again"):
        read_run(tmp_path)
