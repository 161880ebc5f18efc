"""Numbers of a table: worked by hand where they can be, planted where they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from sessionrec.evaluate import compare, interval
from sessionrec.experiments import sheets, verdicts
from sessionrec.experiments.grid import NOT_RUN, Record, ranks, to_csv
from sessionrec.experiments.result import Result
from sessionrec.experiments.results import Cell
from sessionrec.experiments.systems import estimates, systems_of
from sessionrec.experiments.table import build, published
from tests.experiments.fabricate import DATA, experiment, given, item_level, result, results_of, row

KEY = ("session", "ndcg@10")
OURS = row("03-ours", "Ours")
SASREC = item_level("01-sasrec", "SASRec")
HSTU = item_level("02-hstu", "HSTU")
FLOORS = row("00-floors", floors=("popularity", "repeat"))


def test_what_prints_alike_shares_its_place_and_the_runner_up_is_the_next_number() -> None:
    assert ranks([0.12341, 0.12344, 0.1, 0.05], 4) == ["best", "best", "second", ""]
    assert ranks([0.2, 0.1, 0.1], 4) == ["best", "second", "second"]
    assert ranks([0.2, None, float("nan")], 4) == ["", "", ""]


def test_floors_stand_first_and_a_row_that_was_not_run_says_so() -> None:
    asked = experiment([OURS, SASREC, FLOORS], ours="Ours", seeds=(1, 2))
    table = build(asked, DATA, results_of(asked, {"03-ours": 2.0, "00-floors:repeat": 1.0}))
    assert [system.name for system in table.systems] == ["popularity", "repeat", "Ours", "SASRec"]
    grid = sheets.quality_grids(table)[0]
    by_name = {one.name: one.cells for one in grid.rows}
    assert {cell.text for cell in by_name["popularity"]} == {NOT_RUN}
    assert {cell.text for cell in by_name["SASRec"]} == {NOT_RUN}
    assert {cell.text for cell in by_name["Ours over the best baseline"]} == {NOT_RUN}
    assert all(cell.text for one in grid.rows for cell in one.cells)
    assert by_name["Ours over the best floor"][0].note == "repeat"


def test_improvement_is_ours_over_the_best_baseline_in_percent() -> None:
    asked = experiment([SASREC, HSTU, OURS], ours="Ours", seeds=(1,), metrics=("ndcg@10",), targets=("session",))
    users = {"01-sasrec": [0.1, 0.3], "02-hstu": [0.4, 0.4], "03-ours": [0.5, 0.6]}
    found: dict[Cell, Result] = {
        (DATA, slug, 1): given({"session/ndcg@10": values}, system=slug) for slug, values in users.items()
    }
    table = build(asked, DATA, found)
    over = table.over_baseline[KEY]
    # (0.55 - 0.40) / 0.40
    assert over.than == "HSTU"
    assert over.percent == pytest.approx(37.5)
    assert over.gap is not None
    assert over.gap.mean == pytest.approx(0.15)
    marks = [table.values[slug, KEY].mark for slug in users]
    assert marks == ["", "second", "best"]


def test_means_are_over_seeds_then_users_and_the_spread_is_that_of_seeds() -> None:
    asked = experiment([OURS, SASREC], ours="Ours", seeds=(1, 2), metrics=("ndcg@10",), targets=("session",))
    found: dict[Cell, Result] = {
        (DATA, "03-ours", 1): given({"session/ndcg@10": [0.0, 0.4]}, seed=1),
        (DATA, "03-ours", 2): given({"session/ndcg@10": [0.2, 0.6]}, seed=2),
    }
    value = build(asked, DATA, found).values["03-ours", KEY]
    assert value.estimate.mean == pytest.approx(0.3)
    assert value.spread == pytest.approx(np.std([0.2, 0.4], ddof=1))
    assert value.seeds == 2


def test_numbers_of_one_seed_are_those_of_the_evaluation() -> None:
    asked = experiment([SASREC, OURS], ours="Ours", seeds=(1,), metrics=("ndcg@10",), targets=("session",))
    found = results_of(asked, {"01-sasrec": 1.0, "03-ours": 1.4}, users=150)
    mean_U = {slug: found[DATA, slug, 1].users["session/ndcg@10"].to_numpy() for slug in ("01-sasrec", "03-ours")}
    table = build(asked, DATA, found)
    own, gap = interval(mean_U["03-ours"], seed=0), table.over_baseline[KEY].gap
    apart = compare(mean_U["03-ours"], mean_U["01-sasrec"], seed=0)
    value = table.values["03-ours", KEY].estimate
    assert (value.mean, value.low, value.high) == pytest.approx((own.mean, own.low, own.high))
    assert gap is not None
    assert (gap.mean, gap.low, gap.high, gap.p_value) == pytest.approx(
        (apart.mean, apart.low, apart.high, apart.p_value)
    )


def test_seeds_that_lie_apart_widen_an_interval() -> None:
    asked = experiment([OURS, SASREC], ours="Ours", seeds=(1, 2, 3), metrics=("ndcg@10",), targets=("session",))
    users = np.random.default_rng(0).uniform(0.2, 0.4, 400)
    spread = {1: -0.05, 2: 0.0, 3: 0.05}
    found: dict[Cell, Result] = {}
    for seed, off in spread.items():
        found[DATA, "03-ours", seed] = given({"session/ndcg@10": list(users)}, seed=seed)
        found[DATA, "01-sasrec", seed] = given({"session/ndcg@10": list(users + 0.02 + off)}, seed=seed)
    value = build(asked, DATA, found).values["01-sasrec", KEY].estimate
    # All users differ by the same, so seeds alone make the difference uncertain: 1.96 x 0.05 / sqrt(3) = 0.057.
    assert value.gap is not None
    assert value.gap.mean == pytest.approx(0.02)
    assert value.gap.sign == 0
    assert value.gap.high - value.gap.low == pytest.approx(2 * 0.057, rel=0.25)


def test_a_better_system_is_clear_and_an_identical_one_is_not() -> None:
    asked = experiment([SASREC, HSTU, OURS, FLOORS], ours="Ours", seeds=(1,), metrics=("recall@100",))
    found = results_of(asked, {"00-floors:repeat": -1.0, "01-sasrec": 0.0, "03-ours": 2.5})
    found[DATA, "02-hstu", 1] = found[DATA, "03-ours", 1]
    table = build(asked, DATA, found)
    same, better = table.over_baseline["session", "recall@100"], table.over_floor["session", "recall@100"]
    assert (same.than, same.sign, same.percent) == ("HSTU", 0, 0.0)
    assert better.sign == 1
    said = verdicts.sentences(table)[0]
    assert "HSTU and Ours share the most R@100" in said
    assert "best item-level baseline, HSTU: not to be told apart at R@100" in said
    assert "best floor, repeat: clearly better at R@100" in said


def test_a_floor_that_beats_ours_is_said_to() -> None:
    asked = experiment([OURS, FLOORS], ours="Ours", seeds=(1,), metrics=("recall@100",), targets=("session",))
    table = build(asked, DATA, results_of(asked, {"00-floors:repeat": 3.0, "03-ours": 0.0}))
    assert "best floor, repeat: clearly worse at R@100" in verdicts.sentences(table)[0]
    floor = next(one for one in sheets.quality_grids(table)[0].rows if one.name == "repeat")
    assert floor.cells[0].sign == 1


def test_baselines_are_item_level_unless_ours_is() -> None:
    other = row("04-session-gru", "SessionRec-GRU")
    asked = experiment([SASREC, other, OURS], ours="Ours", seeds=(1,))
    qualities = {"01-sasrec": 0.5, "04-session-gru": 3.0, "03-ours": 1.0}
    assert build(asked, DATA, results_of(asked, qualities)).over_baseline[KEY].than == "SASRec"
    asked = experiment([SASREC, other, OURS], ours="SASRec", seeds=(1,))
    assert build(asked, DATA, results_of(asked, qualities)).over_baseline[KEY].than == "SessionRec-GRU"


def test_rows_of_a_group_are_compared_with_its_first_one() -> None:
    rows = [item_level("1", "GRU4Rec", group="GRU"), row("2", "SessionRec-GRU", group="GRU"), row("3", "alone")]
    asked = experiment(rows, seeds=(1,), metrics=("ndcg@10",), targets=("session",))
    users = {"1": [0.2, 0.2], "2": [0.2, 0.3], "3": [0.9, 0.9]}
    found: dict[Cell, Result] = {
        (DATA, slug, 1): given({"session/ndcg@10": values}, system=slug) for slug, values in users.items()
    }
    table = build(asked, DATA, found)
    assert set(table.in_group) == {("2", KEY)}
    assert table.in_group["2", KEY].percent == pytest.approx(25.0)
    grid = sheets.quality_grids(table)[0]
    assert [one.name for one in grid.rows] == ["GRU", "GRU4Rec", "SessionRec-GRU", "alone"]
    # Twice as good for one of two users: a draw of the other alone has no difference.
    assert grid.rows[2].cells[0].note == "+25.00\N{NO-BREAK SPACE}%"


def test_users_are_aligned_by_their_place_and_others_are_compared_where_they_meet() -> None:
    asked = experiment([SASREC, OURS], ours="Ours", seeds=(1,), metrics=("ndcg@10",), targets=("session",))
    ours = given({"session/ndcg@10": [0.1, 0.2, 0.3, 0.4]})
    other = given({"session/ndcg@10": [9.0, 0.3, 0.2, 0.1]}, system="other")
    shuffled = other.users.with_columns(other.users["user_index"] * 0 + np.array([7, 2, 1, 0]))
    object.__setattr__(other, "users", shuffled)
    systems = systems_of(asked, DATA, {(DATA, "03-ours", 1): ours, (DATA, "01-sasrec", 1): other})
    found = estimates(systems, [KEY], systems[1])
    gap = found["01-sasrec", *KEY].gap
    assert gap is not None
    # Users 0, 1 and 2: 0.1, 0.2, 0.3 of both.
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.0, 0.0, 0.0))
    assert found["01-sasrec", *KEY].mean == pytest.approx(2.4)


def test_published_figures_stand_beside_ours_and_alone_where_the_log_is_not_at_hand() -> None:
    paper = {"kuaisar": {"session": {"ndcg@10": 0.095}}}
    base = {"kuaisar": {"session": {"ndcg@10": 0.0934}}}
    rows = [item_level("1", "HSTU+", paper=base), row("2", "Ours", paper=paper)]
    asked = experiment(rows, ours="Ours", seeds=(1,), titles={"k": "KuaiSAR-S", DATA: "Toy"}, papers={"k": "kuaisar"})
    here = results_of(asked, {"1": 0.0, "2": 1.0})
    grid = sheets.quality_grids(build(asked, "k", here))[0]
    assert [one.cells[0].paper for one in grid.rows[:2]] == [".0934", ".0950"]
    assert published(asked, here) == []
    away = {cell: one for cell, one in here.items() if cell[0] == DATA}
    (block,) = published(asked, away)
    alone = sheets.published_grid(block, "session")
    assert alone is not None
    assert alone.title == "KuaiSAR-S, as published"
    assert [one.cells[0].text for one in alone.rows] == [".0934", ".0950", "+1.71\N{NO-BREAK SPACE}%"]
    assert [one.cells[0].mark for one in alone.rows] == ["second", "best", ""]
    assert sheets.published_grid(block, "last_item") is None


def test_csv_has_a_line_for_every_number() -> None:
    asked = experiment([OURS, FLOORS], ours="Ours", seeds=(1, 2))
    table = build(asked, DATA, results_of(asked, {"03-ours": 1.0, "00-floors:repeat": 0.0}))
    lines = to_csv(Record, sheets.records(table)).splitlines()
    names = lines[0].split(",")
    cells = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    mine = next(one for one in cells if one["slug"] == "03-ours" and one["metric"] == "ndcg@10")
    assert mine["seeds"] == "2"
    assert float(mine["low"]) < float(mine["mean"]) < float(mine["high"])
    gone = [one for one in cells if one["row"] == "popularity"]
    assert gone
    assert all(one["mean"] == "" and one["seeds"] == "0" for one in gone)
    costs = {"processor_seconds_per_epoch", "parameters", "flops_per_user"}
    assert {one["metric"] for one in cells} > {"in_session_auc", *costs}


def test_costs_of_a_floor_are_none() -> None:
    asked = experiment([OURS, FLOORS], seeds=(1,))
    table = build(asked, DATA, {(DATA, "00-floors:repeat", None): result(1.0, seed=None)})
    cells = {one.name: [cell.text for cell in one.cells] for one in sheets.cost_grid(table).rows}
    assert cells["repeat"][:4] == ["\N{EN DASH}"] * 4
    assert set(cells["Ours"]) == {NOT_RUN}
