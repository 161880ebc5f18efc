"""Jobs and their keys: which settings count, and what makes another result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessionrec.errors import ConfigError
from sessionrec.experiments import code
from sessionrec.experiments.config import Experiment
from sessionrec.experiments.plan import asked, contradictions, draft, key_of, settings
from sessionrec.pipeline.training import FitConfig, load_fit_config
from tests.experiments.lab import ROWS, TABLE, lab

DATA = "0123456789abcdef"


@pytest.fixture
def toy(tmp_path: Path) -> Experiment:
    return lab(tmp_path)


def test_fields_are_laid_over_each_other(tmp_path: Path) -> None:
    rows = {"01-a": 'name = "A"\npreset = "hstu"\nfields = ["model.width=4", "loading.batch_users=5"]'}
    experiment = lab(tmp_path, rows=rows)
    (job,) = draft(experiment, fields=["loading.batch_users=6"])
    config = job.config
    assert config.model.score == "cosine", "the preset's"
    assert config.training.epochs == 3, "the experiment's, over the preset's"
    assert config.view.truncation.max_positives == 30, "the data set's"
    assert config.model.width == 4, "the row's, over the experiment's"
    assert config.loading.batch_users == 6, "the command line's, over the row's"
    assert (config.seed, config.threads) == (1, 1)


@pytest.mark.parametrize("seen", ["kept", "filtered"])
def test_the_epoch_is_chosen_by_answers_like_those_of_the_test(tmp_path: Path, seen: str) -> None:
    experiment = lab(tmp_path, table=f'{TABLE}\nseen = "{seen}"\n')
    assert {job.config.training.seen for job in draft(experiment)} == {seen}
    assert {job.config.training.seen for job in draft(experiment, fields=["training.seen=kept"])} == {"kept"}


def test_contradictions_say_who_counts(tmp_path: Path) -> None:
    rows = {"01-a": 'name = "A"\nfields = ["view.truncation.max_positives=9", "model.width=4"]'}
    experiment = lab(tmp_path, rows=rows)
    assert contradictions(experiment, experiment.rows, ["toy"], ["model.width=5", "model.dropout=0.3"]) == [
        "view.truncation.max_positives: the data set toy says 30, the row 01-a says 9; the row 01-a counts",
        "model.width: the row 01-a says 4, the command line says 5; the command line counts",
    ]


def test_a_first_seed_of_everything_comes_first_and_floors_come_once(tmp_path: Path) -> None:
    experiment = lab(tmp_path, table=TABLE.replace('["toy"]', '["toy", "other"]'))
    jobs = [(job.dataset, job.row.slug, job.seed) for job in draft(experiment, seeds=[1, 2])]
    rows: list[tuple[str, int | None]] = [("00-floors", None), ("01-hstu", 1), ("02-gru", 1)]
    assert jobs[:6] == [(name, *row) for name in ("toy", "other") for row in rows]
    assert jobs[6:] == [(name, slug, 2) for name in ("toy", "other") for slug in ("01-hstu", "02-gru")]


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"data": ["toi"]}, r"no 'toi' among the data sets of the experiment; did you mean 'toy'\?; there are toy"),
        ({"rows": ["gru"]}, "no 'gru' among the rows of the experiment"),
        ({"fields": ["model.widht=3"]}, r"^command line: model\.widht: unknown key .* \(for the row 00-floors\)$"),
        ({"fields": ["model.width=-3", "seen=1"]}, r"^command line: model\.width: .*\ncommand line: seen: unknown key"),
        ({"fields": ["model.width.x=1"]}, r"^command line: override 'model\.width\.x=1': "),
        ({"fields": ["seed=5"]}, r"^command line: seed=5: a seed is no field, .*; use --seeds 5$"),
        ({"fields": [" seed = 5"]}, "a seed is no field"),
        ({"seeds": [1, -1]}, "^command line: --seeds: expected whole numbers from 0 on, got -1$"),
    ],
)
def test_wrong_choices_are_told(toy: Experiment, choices: dict[str, list[Any]], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        draft(toy, **choices)


def test_what_is_wrong_in_a_row_is_not_blamed_on_the_command_line(tmp_path: Path) -> None:
    rows = {"01-a": 'name = "A"\npreset = "hstu"\nfields = ["model.widht=3"]'}
    experiment = lab(tmp_path, rows=rows)
    with pytest.raises(ConfigError, match=r"^\S*01-a\.toml: \S+: model\.widht: unknown key"):
        draft(experiment, fields=["model.dropout=0.2"])
    right = lab(tmp_path / "right", rows={"01-a": 'name = "A"\npreset = "hstu"'})
    with pytest.raises(ConfigError, match=r"^command line: training\.epoch: unknown key .* \(for the row 01-a\)$"):
        draft(right, fields=["training.epoch=1"])


def test_an_experiment_of_counts_has_no_runs_to_choose(tmp_path: Path) -> None:
    experiment = lab(tmp_path, table=f'kind = "statistics"\n{TABLE}')
    assert draft(experiment, data=["toy"]) == []
    with pytest.raises(ConfigError, match="no 'tyo' among the data sets of the experiment; did you mean 'toy'"):
        draft(experiment, data=["tyo"])
    told = r"^command line: --rows, --seeds, model\.width=4: expected no rows, seeds or fields.*leave them out$"
    with pytest.raises(ConfigError, match=told):
        draft(experiment, rows=["01-hstu"], seeds=[1], fields=["model.width=4"])


def test_a_seed_is_not_a_field_of_a_row(tmp_path: Path) -> None:
    experiment = lab(tmp_path, rows={"01-a": 'name = "A"\nfields = ["seed=3"]'})
    with pytest.raises(ConfigError, match=r"01-a\.toml: fields: seed is given by the command line alone"):
        draft(experiment)


def test_an_unknown_floor_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no 'repaet' among the floors .*did you mean 'repeat'"):
        draft(lab(tmp_path, rows={"00-f": 'floors = ["repaet"]'}))


def with_fields(*fields: str) -> FitConfig:
    return load_fit_config("paper", None, fields)


def test_an_unchanged_config_keeps_its_key() -> None:
    assert key_of(with_fields(), DATA, "kept") == key_of(with_fields(), DATA, "kept")


@pytest.mark.parametrize("field", ["threads=2", "tensorboard=true"])
def test_what_makes_no_other_result_makes_no_other_key(field: str) -> None:
    assert key_of(with_fields(field), DATA, "kept") == key_of(with_fields(), DATA, "kept")


@pytest.mark.parametrize(
    "field",
    [
        "seed=2",
        "model.width=32",
        "model.session_encoder.kind=max",
        "model.backbone.layers=2",
        "view.truncation.max_positives=7",
        "loading.batch_users=32",
        "loading.users_share=0.5",
        "loading.passes=2",
        "objective.alpha=0.1",
        "optimizer.learning_rate=0.1",
        "training.epochs=7",
        "training.patience=7",
        "training.metric=ndcg@100",
        "training.seen=filtered",
        "view.ask_from=moment",
    ],
)
def test_every_deciding_field_makes_another_key(field: str) -> None:
    assert key_of(with_fields(field), DATA, "kept") != key_of(with_fields(), DATA, "kept")


def test_data_questions_and_floors_make_other_keys() -> None:
    config = with_fields()
    keys = [
        key_of(config, DATA, "kept"),
        key_of(config, "another", "kept"),
        key_of(config, DATA, "filtered"),
        key_of(config, DATA, "kept", "popularity"),
        key_of(config, DATA, "kept", "repeat"),
        key_of(config, DATA, "kept", known="stream"),
        key_of(config, DATA, "kept", "repeat", known="stream"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_floor_does_not_know_how_models_are_trained() -> None:
    floors = {key_of(with_fields(*fields), DATA, "kept", "repeat") for fields in [(), ("model.width=8", "seed=2")]}
    assert len(floors) == 1
    assert key_of(with_fields("view.events=positives"), DATA, "kept", "repeat") not in floors


def test_an_edited_row_is_noticed_without_its_data_set(tmp_path: Path, toy: Experiment) -> None:
    row = toy.rows[1]
    before = asked(toy, "toy", row, row.slug, 1, ())
    edited = lab(tmp_path / "again", rows=ROWS | {"01-hstu": ROWS["01-hstu"].replace("layers=1", "layers=2")})
    assert asked(edited, "toy", edited.rows[1], row.slug, 1, ()) != before
    renamed = lab(tmp_path / "renamed", rows=ROWS | {"01-hstu": ROWS["01-hstu"].replace("Ours", "Theirs")})
    assert asked(renamed, "toy", renamed.rows[1], row.slug, 1, ()) == before


def test_a_seed_among_fields_of_an_earlier_version_is_asked_no_more(toy: Experiment) -> None:
    """One run stood in the cells of three seeds."""
    row = toy.rows[1]
    assert asked(toy, "toy", row, row.slug, 1, ["seed=5"]) == ""


def test_code_of_floors_is_asked_of_floors_and_priors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = {"03-prior": 'name = "Prior"\npreset = "sessionrec"\nfields = ["model.backbone.heads=1", "prior.hidden=0"]'}
    experiment = lab(tmp_path, rows=ROWS | prior)
    floors, model, _, prior_row = experiment.rows
    cells = [(floors, "00-floors:repeat", None), (model, "01-hstu", 1), (prior_row, "03-prior", 1)]

    def digests(*, counts: bool) -> list[str]:
        return [asked(experiment, "toy", row, slug, seed, (), counts=counts) for row, slug, seed in cells]

    before, bare = digests(counts=True), digests(counts=False)
    monkeypatch.setattr(code, "of_floors", lambda: "newer")
    assert [one == other for one, other in zip(before, digests(counts=True), strict=True)] == [False, True, False]
    assert digests(counts=False) == bare


def test_settings_of_a_row_are_told_with_its_file(tmp_path: Path) -> None:
    experiment = lab(tmp_path, rows={"01-a": 'name = "A"\npreset = "papre"'})
    with pytest.raises(ConfigError, match=r"01-a\.toml: there is no preset 'papre'"):
        settings(experiment, "toy", experiment.rows[0], 1, ())
