"""The stages one after the other on a small shop, and what they say when something does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from sessionrec.config import load
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import evaluation_view
from sessionrec.errors import ArtifactError, ConfigError, EmptyDatasetError, MissingExtraError
from sessionrec.evaluate import EvalProtocol
from sessionrec.evaluate import evaluate as ask_all
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.pipeline import evaluate, fit, load_fit_config, prepare
from sessionrec.pipeline.data import DataConfig
from sessionrec.pipeline.evaluation import EvaluationConfig, read_evaluation
from sessionrec.pipeline.training import FitConfig, Validation, facts_of, fitting, presets
from sessionrec.recommend import SessionRec, artifact
from sessionrec.recommend.artifact import catalogue_of
from sessionrec.recommend.ranker import ModelRanker
from tests.shop import SMALL, train_shop, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    return train_shop(tmp_path_factory.mktemp("shop"), "training.epochs=12")


@pytest.fixture
def run(shop: tuple[Dataset, Path], tmp_path: Path) -> Path:
    """A copy to write to."""
    shutil.copytree(shop[1], tmp_path / "run")
    return tmp_path / "run"


def test_a_model_beats_the_floors_where_it_can_learn_more(shop: tuple[Dataset, Path], run: Path) -> None:
    dataset = shop[0]
    seen: list[tuple[str, int, int | None]] = []
    config = load(EvaluationConfig, None, ["protocol.ks=[3, 10]"])
    evaluation = evaluate(run, dataset, config, lambda *told: seen.append(told))
    reports = {report.system: report for report in evaluation.reports}
    assert list(reports) == ["SessionRec-HSTU", "popularity", "recency popularity", "repeat"]
    # Two of the three items of the next group come, so a list of three holds both of them.
    assert reports["SessionRec-HSTU"].metrics["recall@3"] > 0.9
    assert max(reports[name].metrics["recall@3"] for name in list(reports)[1:]) < 0.5
    assert set(evaluation.choices) == {"recency popularity", "repeat"}
    assert {stage for stage, *_ in seen} >= {*reports, "choose floors"}


def test_what_was_evaluated_can_be_read_again(shop: tuple[Dataset, Path], run: Path) -> None:
    told = evaluate(run, shop[0], EvaluationConfig(floors=(), num_examples=2))
    again = read_evaluation(run)
    assert [one.metrics for one in again.reports] == [one.metrics for one in told.reports]
    assert again.model.about["seed"] == 1
    assert again.model.about["data"] == shop[0].digest


def test_examples_show_what_was_predicted_and_at_which_rank_the_truth_stood(
    shop: tuple[Dataset, Path], run: Path
) -> None:
    evaluate(run, shop[0], EvaluationConfig(floors=(), num_examples=3))
    (file,) = run.glob("evaluation/files-*/examples.json")
    examples: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    assert len(examples) == 3
    for example in examples:
        assert example["num_sessions"] == 6
        assert len(example["history"]) == 6
        hits = {row["name"] for row in example["predicted"] if row["is_hit"]}
        placed = {row["name"]: row["rank"] for row in example["came"]["positives"]}
        assert hits == {name for name, rank in placed.items() if rank is not None and rank <= 10}
        for place, row in enumerate(example["predicted"], 1):
            if row["is_hit"]:
                assert placed[row["name"]] == place
        assert len(example["came"]["shown"]) == 1
        assert example["user"].startswith("u")


@pytest.mark.parametrize("targets", ["session", "last_item", "last_item_partial"])
def test_every_protocol_is_answered(shop: tuple[Dataset, Path], run: Path, targets: str) -> None:
    config = load(EvaluationConfig, None, [f"protocol.targets={targets}", "num_examples=1"])
    model = evaluate(run, shop[0], config).model
    assert model.num_targets == (120 if targets == "session" else 60)


def test_the_same_settings_give_the_same_weights(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=12"])
    fit(shop[0], tmp_path / "again", settings)
    one, other = artifact.load(shop[1]), artifact.load(tmp_path / "again")
    assert one.fingerprint == other.fingerprint
    for name, weight in one.recommender.state_dict().items():
        assert torch.equal(weight, other.recommender.state_dict()[name]), name


def test_another_seed_gives_other_weights(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    fit(shop[0], tmp_path / "other", load_fit_config(None, None, [*SMALL, "training.epochs=1", "seed=2"]))
    assert artifact.load(tmp_path / "other").fingerprint != artifact.load(shop[1]).fingerprint


def test_a_run_that_has_ended_ends_again_at_once(shop: tuple[Dataset, Path], run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8")
    before = artifact.load(run).fingerprint
    trained = fit(shop[0], run, load_fit_config(None, None, [*SMALL, "training.epochs=12"]))
    assert not trained.is_interrupted
    assert (run / "metrics.jsonl").read_text(encoding="utf-8") == lines
    assert artifact.load(run).fingerprint == before


def test_a_run_can_be_trained_for_longer(shop: tuple[Dataset, Path], run: Path, tmp_path: Path) -> None:
    longer = load_fit_config(None, None, [*SMALL, "training.epochs=14"])
    fit(shop[0], run, longer)
    fit(shop[0], tmp_path / "at once", longer)
    mine, other = artifact.load(run), artifact.load(tmp_path / "at once")
    for name, weight in mine.recommender.state_dict().items():
        assert torch.equal(weight, other.recommender.state_dict()[name]), name


def test_a_run_with_other_settings_in_the_same_folder_is_refused(shop: tuple[Dataset, Path], run: Path) -> None:
    with pytest.raises(ArtifactError, match=r"another run: config\.model\.width is 16 there and 8 here"):
        fit(shop[0], run, load_fit_config(None, None, [*SMALL, "model.width=8"]))


def test_another_data_set_is_refused_by_every_stage(run: Path, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    config = load(DataConfig, write_shop(tmp_path / "log"), ["filter.min_item_events=40"])
    log = pl.read_csv(tmp_path / "log" / "log.csv").filter(pl.col("user") != "u7")
    log.write_csv(tmp_path / "log" / "log.csv")
    other = prepare(config, tmp_path / "other")
    with pytest.raises(ArtifactError, match="expected the data set that the model was trained on"):
        evaluate(run, other, EvaluationConfig())
    with pytest.raises(ArtifactError, match="another run: dataset is"):
        fit(other, run, load_fit_config(None, None, [*SMALL]))


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_trains(name: str, shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    small = ["model.width=8", "model.backbone.layers=1", "training.epochs=1", "threads=1", "loading.batch_users=16"]
    settings = load_fit_config(name, None, small)
    fit(shop[0], tmp_path / "run", settings, preset=name)
    assert artifact.load(tmp_path / "run").body["preset"] == name


def test_the_paper_preset_is_the_papers_table() -> None:
    settings = load_fit_config("paper")
    assert (settings.training.epochs, settings.training.patience, settings.training.metric) == (200, 20, "ndcg@10")
    assert (settings.loading.batch_users, settings.objective.alpha, settings.model.dropout) == (64, 0.2, 0.2)
    assert settings.optimizer.learning_rate == 1e-3
    defaults = FitConfig()
    assert settings == defaults.model_copy(update={"training": settings.training})


def test_settings_come_from_a_preset_or_a_file_and_single_fields(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[model.backbone]\nkind = 'gru'\nlayers = 2\n", encoding="utf-8")
    assert load_fit_config(None, tmp_path / "mine.toml").model.backbone.kind == "gru"
    mine = load_fit_config(None, tmp_path / "mine.toml", ["model.backbone.kind=transformer"])
    assert mine.model.backbone.kind == "transformer"
    assert load_fit_config(None, None, ["model.backbone.layers=8"]).model.backbone.layers == 8
    with pytest.raises(ConfigError, match="not both"):
        load_fit_config("paper", tmp_path / "mine.toml")
    with pytest.raises(ConfigError, match="no preset 'papers'; did you mean 'paper'\\?; there are bert4rec, "):
        load_fit_config("papers")
    with pytest.raises(ConfigError, match=r"model\.backbone\.layer: unknown key.*did you mean 'layers'"):
        load_fit_config(None, None, ["model.backbone.layer=8"])


def test_histories_are_cut_to_what_the_model_takes(shop: tuple[Dataset, Path]) -> None:
    settings = load_fit_config(None, None, ["model.max_sessions=7"])
    assert fitting(settings, shop[0]).view.truncation.max_sessions == 7
    shorter = load_fit_config(None, None, ["model.max_sessions=7", "view.truncation.max_sessions=3"])
    assert fitting(shorter, shop[0]).view.truncation.max_sessions == 3


def test_attention_is_divided_by_the_usual_length_of_a_history(shop: tuple[Dataset, Path]) -> None:
    # Seven visits, two held out; of each two positives and one exposure.
    for fields, expected in [([], 5), (["view.unit=event"], 15), (["view.unit=event", "view.events=positives"], 10)]:
        backbone = fitting(load_fit_config(None, None, fields), shop[0]).model.backbone
        assert isinstance(backbone, HstuConfig)
        assert backbone.divisor == expected
    chosen = fitting(load_fit_config(None, None, ["model.backbone.divisor=3"]), shop[0]).model.backbone
    assert isinstance(chosen, HstuConfig)
    assert chosen.divisor == 3


def test_a_validation_metric_may_ask_for_any_k(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=1", "training.metric=recall@3"])
    trained = fit(shop[0], tmp_path / "run", settings)
    assert 0 <= trained.best_value <= 1


def test_validation_leaves_out_seen_items_where_the_test_will(shop: tuple[Dataset, Path]) -> None:
    dataset, _ = shop
    found = {}
    for seen in ("kept", "filtered"):
        fields = [*SMALL, f"training.seen={seen}", "training.metric=ndcg@3"]
        config = fitting(load_fit_config(None, None, fields), dataset)
        torch.manual_seed(1)
        model = config.model.build(catalogue_of(dataset))
        found[seen] = Validation(config, dataset)(model)["ndcg@3"]
        protocol = EvalProtocol.model_validate({"ks": (3,), "seen": seen})
        view = evaluation_view(config.view, "validation", "session")
        loader = Loader(dataset, view, Loading(shuffle=False, batch_users=7), seed=0)
        ranker = ModelRanker(model, dataset.num_candidates)
        assert found[seen] == pytest.approx(
            ask_all(ranker, loader, facts_of(dataset), protocol, name="plain").metrics["ndcg@3"], rel=1e-6
        )
    assert found["kept"] != found["filtered"]


def test_bf16_trains(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=12", "training.precision=bf16"])
    assert fit(shop[0], tmp_path / "run", settings).best_value > 0.5


def test_a_cosine_schedule_ends_at_zero(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    fields = [
        *SMALL,
        "training.epochs=6",
        "training.patience=6",
        "optimizer.schedule=cosine",
        "optimizer.warmup_steps=4",
    ]
    fit(shop[0], tmp_path / "run", load_fit_config(None, None, fields))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.009
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_dense_tables_train(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=12", "model.sparse_tables=false"])
    assert fit(shop[0], tmp_path / "run", settings).best_value > 0.5


def test_curves_need_their_extra_or_are_written(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=2", "tensorboard=true"])
    try:
        fit(shop[0], tmp_path / "run", settings)
    except MissingExtraError as error:
        assert "sessionrec[tensorboard]" in str(error)
        return
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("training.metric=auc", r"training\.metric: there is no metric 'auc'; there are recall@K"),
        ("training.metric=ndcg@0", r"there is no metric 'ndcg@0'"),
        ("training.device=cuda:7", r"training\.device: 'cuda:7' cannot be used here"),
        ("training.device=toaster", r"training\.device: 'toaster' cannot be used here"),
        ("view.ask_first=true", r"only with model\.start_token=true"),
        ("model.backbone.heads=3", r"model: .*heads"),
    ],
)
def test_settings_that_do_not_go_together_are_told_before_any_work(
    field: str, message: str, shop: tuple[Dataset, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(shop[0], tmp_path / "run", load_fit_config(None, None, [*SMALL, field]))
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_written_over_a_data_set(shop: tuple[Dataset, Path]) -> None:
    with pytest.raises(ArtifactError, match="expected an empty folder or an earlier run, found an artifact"):
        fit(shop[0], shop[0].path, load_fit_config(None, None, SMALL))


def test_an_item_level_model_takes_the_newest_events(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    fields = [*SMALL, "view.unit=event", "view.events=positives", "model.max_sessions=5", "training.epochs=2"]
    fit(shop[0], tmp_path / "run", load_fit_config(None, None, fields))
    model = artifact.load(tmp_path / "run")
    assert model.view.max_positions == 5
    assert evaluate(tmp_path / "run", shop[0], EvaluationConfig(floors=(), num_examples=0)).model.num_users == 60
    (answer,) = SessionRec(model).recommend([[["s00", "s01"]] * 9], k=2)
    assert answer.source == "model"


def test_curves_and_threads_make_no_other_run(shop: tuple[Dataset, Path], run: Path) -> None:
    before = artifact.load(run)
    other = load_fit_config(None, None, [*SMALL, "training.epochs=12", "threads=2"])
    assert not fit(shop[0], run, other).is_interrupted
    torch.set_num_threads(1)
    assert artifact.load(run).fingerprint == before.fingerprint
    # The second call trains nothing; what the first took is not forgotten, but for the end after its last checkpoint.
    assert artifact.load(run).body["seconds"] > before.body["seconds"] / 2


def test_what_stands_in_the_way_is_told_before_the_first_epoch(shop: tuple[Dataset, Path], tmp_path: Path) -> None:
    settings = load_fit_config(None, None, [*SMALL, "training.epochs=1"])
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match="cannot write there"):
        fit(shop[0], tmp_path / "file", settings)
    mine = tmp_path / "mine" / "model"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"expected an empty folder or an earlier model, found 'notes\.txt'"):
        fit(shop[0], tmp_path / "mine", settings)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.jsonl").write_text('{"loss": 1}\n{"loss": 2}\n', encoding="utf-8")
    with pytest.raises(ArtifactError, match="not the metrics of a run of this package"):
        fit(shop[0], tmp_path / "other", settings)
    assert (tmp_path / "other" / "metrics.jsonl").read_text(encoding="utf-8").startswith('{"loss": 1}')
    assert not list(tmp_path.glob("*/best/manifest.json"))


def test_the_floors_are_asked_what_the_model_is_asked(tmp_path: Path) -> None:
    """Models of positives only have no answer where a history has none, and the floors are then not asked either."""
    (tmp_path / "log").mkdir()
    fields = ["filter.sessions_without_positives=input", "filter.min_user_sessions=1"]
    config = load(DataConfig, write_shop(tmp_path / "log"), fields)
    log = pl.read_csv(tmp_path / "log" / "log.csv")
    # Half of the users only look until their last visit.
    looks = (pl.col("user").str.slice(1).cast(pl.Int64) < 30) & (
        pl.col("at") < pl.col("at").max().over("user") - 86_400
    )
    log = log.with_columns(pl.when(looks).then(pl.lit("view")).otherwise(pl.col("event")).alias("event"))
    log.write_csv(tmp_path / "log" / "log.csv")
    dataset = prepare(config, tmp_path / "data")
    settings = load_fit_config(None, None, [*SMALL, "view.events=positives", "training.epochs=1"])
    fit(dataset, tmp_path / "run", settings)
    reports = evaluate(tmp_path / "run", dataset, EvaluationConfig(num_examples=1)).reports
    assert len({report.num_users for report in reports}) == 1
    assert reports[0].compare(reports[1], "ndcg@10", seed=0).level == 0.95


def test_each_kind_of_question_keeps_its_own_figures(shop: tuple[Dataset, Path], run: Path) -> None:
    kinds = [load(EvaluationConfig, None, ["floors=false", *fields]) for fields in ([], ["protocol.targets=last_item"])]
    told = [evaluate(run, shop[0], config).model.num_targets for config in kinds]
    assert told == [120, 60]
    assert [read_evaluation(run, config).model.num_targets for config in kinds] == told


def test_a_data_set_without_validation_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    split = ["split.kind=global_time", "split.validation_from=2024-03-20", "split.test_from=2024-03-21"]
    dataset = prepare(load(DataConfig, write_shop(tmp_path / "log"), split), tmp_path / "data")
    with pytest.raises(EmptyDatasetError, match="no validation session"):
        fit(dataset, tmp_path / "run", load_fit_config(None, None, SMALL))
