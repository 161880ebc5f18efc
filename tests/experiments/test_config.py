"""Experiments as files: what is wrong with them is told with the file and the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionrec.errors import ConfigError
from sessionrec.experiments.config import load_experiment
from tests.experiments.lab import ROWS, TABLE, lab, write_lab


def test_a_folder_is_read_with_its_rows_in_the_order_of_their_files(tmp_path: Path) -> None:
    experiment = lab(tmp_path)
    assert experiment.name == "toy"
    assert [row.slug for row in experiment.rows] == ["00-floors", "01-hstu", "02-gru"]
    assert list(experiment.sources) == ["toy"]
    assert experiment.rows[1].config.paper == {"toy": {"session": {"ndcg@10": 0.5}}}


@pytest.mark.parametrize(
    ("table", "rows", "told"),
    [
        (TABLE.replace('["toy"]', '["tyo"]'), ROWS, r"datasets: tyo not in datasets\.toml; there are toy, other, far"),
        (TABLE, {}, "there is no row"),
        (TABLE, {"01-a": 'name = "A"\nfloors = ["repeat"]'}, r"01-a\.toml: a row has either a `name`"),
        (TABLE, {"01-a": 'preset = "paper"'}, r"01-a\.toml: a row has either a `name`"),
        (TABLE, {"01-a": 'name = "A"\n[paper.toy.sessions]\n"ndcg@10" = 1.0'}, "paper: sessions: expected session"),
        (TABLE, {"01-a": 'name = "A"', "02-b": 'name = "A"'}, "several rows are called A"),
        (f'ours = "B"\n{TABLE}', {"01-a": 'name = "A"'}, "ours: no row is called 'B'; there are A"),
        (
            TABLE.replace("ndcg@10", "ndgc@10", 1),
            ROWS,
            r"table\.toml: metrics: there is no 'ndgc@10'; did you mean 'ndcg@10'",
        ),
        (TABLE.replace('"ndcg@10"]', '"ndcg@7"]'), ROWS, r"metrics: there is no 'ndcg@7'; .*there are recall@10, "),
        (
            TABLE,
            {"01-a": 'name = "A"\n[paper.toy.session]\n"recal@10" = 1.0'},
            r"01-a\.toml: paper\.toy\.session: there is no 'recal@10'; did you mean 'recall@10'",
        ),
        (f'kind = "sweep"\n{TABLE}', {"01-a": 'name = "A"'}, r"01-a\.toml: x: missing"),
        (TABLE, {"01-a": 'name = "A"\nnmae = 1'}, r"01-a\.toml: nmae: unknown key"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, table: str, rows: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        lab(tmp_path, table=table, rows=rows)


def test_a_folder_without_a_table_is_no_experiment(tmp_path: Path) -> None:
    write_lab(tmp_path)
    with pytest.raises(ConfigError, match=r"expected a folder with table\.toml"):
        load_experiment(tmp_path / "data")
