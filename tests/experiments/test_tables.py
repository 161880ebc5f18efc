"""The experiments that come with the repository: every row of every table is a run that could be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.experiments.config import Experiment, load_experiment
from sessionrec.experiments.plan import draft
from sessionrec.pipeline.data import load_data_config

ROOT = Path(__file__).parents[2] / "experiments"
FOLDERS = sorted(file.parent for file in ROOT.glob("*/table.toml"))
SIX = [f"{metric}@{k}" for metric in ("ndcg", "recall") for k in (10, 100, 500)]


def read(name: str) -> Experiment:
    return load_experiment(ROOT / name)


def published(name: str, slug: str) -> dict[str, dict[str, dict[str, float]]]:
    (row,) = [row for row in read(name).rows if row.slug == slug]
    return row.config.paper


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_row_is_a_run(folder: Path) -> None:
    experiment = load_experiment(folder)
    jobs = draft(experiment)
    assert bool(jobs) == (experiment.config.kind != "statistics")
    for name, source in experiment.sources.items():
        needs_path = source.raw is not None or source.shape is not None
        settings = load_data_config(ROOT / source.config, [*(['log.path="x"'] if needs_path else []), *source.prepare])
        assert settings.log.kind, name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_opens_with_a_comment(folder: Path) -> None:
    for file in folder.glob("*.toml"):
        assert file.read_text(encoding="utf-8").startswith("# "), file


def test_what_the_tables_of_the_paper_share_is_the_same() -> None:
    ours = published("table2", "10-sessionrec-hstu")
    assert {name: figures["session"] for name, figures in ours.items()} == {
        name: figures["session"] for name, figures in published("table4", "01-mean").items()
    }
    for slug, in_table_2 in {
        "01-gru": "01-gru4rec",
        "03-sasrec-plus": "04-sasrec-plus",
        "05-hstu-plus": "07-hstu-plus",
        "06-sessionrec-hstu": "10-sessionrec-hstu",
    }.items():
        for name, figures in published("table3", slug).items():
            for metric, value in figures["session"].items():
                assert published("table2", in_table_2)[name]["session"][metric] == value


@pytest.mark.parametrize("name", ["table2", "table3", "table4"])
def test_published_figures_are_whole_and_grow_with_the_list(name: str) -> None:
    experiment, found = read(name), 0
    for row in experiment.rows:
        for figures in row.config.paper.values():
            for by_metric in figures.values():
                assert sorted(by_metric) == sorted(["ndcg@500", "recall@500"] if name == "table3" else SIX)
                found += len(by_metric)
                for metric in ("ndcg", "recall"):
                    values = [by_metric[f"{metric}@{k}"] for k in (10, 100, 500) if f"{metric}@{k}" in by_metric]
                    assert values == sorted(values), (row.slug, by_metric)
    # Systems x data sets x targets x metrics.
    assert found == {"table2": 7 * 2 * 2 * 6, "table3": 6 * 2 * 2, "table4": 9 * 2 * 6}[name]


@pytest.mark.parametrize(
    ("improved", "printed"),
    [
        (("kuaisar", "session"), [1.71, 9.46, 13.99, 11.62, 33.39, 50.00]),
        (("kuaisar", "last_item"), [0.23, 8.91, 13.31, 12.21, 33.45, 45.80]),
        (("recflow", "session"), [34.43, 36.08, 31.45, 29.73, 40.23, 34.98]),
        (("recflow", "last_item"), [34.21, 44.71, 48.34, 30.67, 48.30, 49.88]),
    ],
)
def test_improvements_are_those_that_the_paper_prints(improved: tuple[str, str], printed: list[float]) -> None:
    """But for 49.98, 13.30 and 48.29, which table.toml tells of."""
    name, targets = improved
    ours, best = (published("table2", slug)[name][targets] for slug in ("10-sessionrec-hstu", "07-hstu-plus"))
    assert [round(100 * (ours[metric] / best[metric] - 1), 2) for metric in SIX] == pytest.approx(printed, abs=0.006)


def test_one_run_stands_in_all_tables_that_have_it() -> None:
    rows = {"table2": "10-sessionrec-hstu", "table3": "06-sessionrec-hstu", "table4": "01-mean"}
    rows |= {"figure3": "06-sessionrec-hstu", "figure4": "04-alpha-02", "figure5": "08-users-100"}
    configs = {
        name: draft(read(name), rows=[slug], data=["ebnerd"], seeds=[1])[0].config for name, slug in rows.items()
    }
    assert {name for name, config in configs.items() if config != configs["table2"]} == set()
