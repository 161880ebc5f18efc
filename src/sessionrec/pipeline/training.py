"""`fit`: a data set becomes a trained model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from sessionrec.artifacts import ArtifactWriter, DamagedError
from sessionrec.config import Config, load, nearest
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.request import visible
from sessionrec.data.view import View, evaluation_view
from sessionrec.errors import ArtifactError, ConfigError, EmptyDatasetError
from sessionrec.evaluate import RANK_METRICS, EvalProtocol, ItemFacts
from sessionrec.evaluate import evaluate as ask_all
from sessionrec.losses.objective import Objective, ObjectiveConfig
from sessionrec.model.backbones.hstu import HstuConfig
from sessionrec.model.config import ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.pipeline.device import check_device, machine
from sessionrec.pipeline.prior import make_prior
from sessionrec.pipeline.runs import RunFolder
from sessionrec.prior import PriorConfig
from sessionrec.recommend import artifact
from sessionrec.recommend.artifact import catalogue_of, save, train_events
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.schema import TRAIN_POSITIVES
from sessionrec.seeding import stream
from sessionrec.sessions.split import Part
from sessionrec.train import checkpoint
from sessionrec.train.loop import LoopConfig, Monitor, Trained, Trainer
from sessionrec.train.optim import OptimConfig, Optimizer

VALIDATION_USERS = 256
"""Users a batch where nothing is learnt: wide enough for one good matrix product with the catalogue."""


class FitConfig(Config):
    """A training run. The defaults are SessionRec-HSTU with the paper's settings, and the epoch chosen by NDCG@100."""

    seed: int = Field(default=1, ge=0)
    """Of weights, dropout, negatives and the order of the users."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch; by default as many as it likes. Other numbers of threads may round differently."""
    tensorboard: bool = False
    """Whether curves are also written for TensorBoard, to `tensorboard` in the folder of the run; needs the extra
    `tensorboard`."""
    model: ModelConfig = ModelConfig()
    """What is trained."""
    view: View = View()
    """What it sees of a history: sessions or single events, all of them or positives only."""
    loading: Loading = Loading()
    """How users become batches."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is minimised."""
    optimizer: OptimConfig = OptimConfig()
    """How weights move."""
    training: LoopConfig = LoopConfig()
    """How long, and how it is judged."""
    prior: PriorConfig | None = None
    """What is fresh and what a user repeats, beside the model's score; fitted after training. By default the model is
    alone."""


_GOES_ON = ("epochs", "patience", "checkpoint_steps")
"""Settings of the loop that may change between the parts of one run."""
_BESIDE = ("threads", "tensorboard", "prior")
"""Settings that train no other model: another prior is fitted to the one that is there."""


def presets() -> dict[str, Path]:
    """Names and files of the settings that come with the package."""
    folder = Path(str(resources.files("sessionrec.pipeline") / "presets"))
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def load_fit_config(preset: str | None = None, path: Path | None = None, overrides: Sequence[str] = ()) -> FitConfig:
    """Settings of a run: a preset or a file, then single fields.

    Args:
        preset: One of `presets()`; None with no `path` takes the defaults.
        path: A TOML file.
        overrides: Assignments such as `model.backbone.layers=8`.

    Raises:
        ConfigError: There is no such preset, both are given, or a field is wrong.
    """
    if preset is not None and path is not None:
        raise ConfigError(f"give a preset ({preset!r}) or a file ({path}), not both")
    if preset is not None and preset not in presets():
        raise ConfigError(
            f"there is no preset {preset!r}{nearest(preset, presets())}; there are {', '.join(presets())}"
        )
    return load(FitConfig, presets()[preset] if preset is not None else path, overrides)


def fit(
    dataset: Dataset,
    out: Path | str,
    config: FitConfig | None = None,
    *,
    preset: str | None = None,
    monitors: tuple[Monitor, ...] = (),
) -> Trained:
    """Train a model, or go on with a run that was stopped in this folder.

    Args:
        dataset: To train on.
        out: Folder of the run, see `runs`.
        config: Everything about the run; by default SessionRec-HSTU with the paper's settings.
        preset: Name of the settings that `config` began with; reports show it, nothing is read by it.
        monitors: Who watches.

    Returns:
        What it came to. Unless it was interrupted, `out/model` holds the model of the best epoch.

    Raises:
        ArtifactError: In `out` is a run with other settings or of another data set, or something else; or another
            process trains there.
        ConfigError: Settings do not go together, or the run there has more epochs than are wanted.
        EmptyDatasetError: There is no validation session to choose the epoch by, or nothing to train on.
        MissingExtraError: Curves for TensorBoard are wanted, which is not installed.
        TrainingError: The loss is not a number.
    """
    config = fitting(config or FitConfig(), dataset)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    _check_settings(config, dataset)
    run = RunFolder(Path(out))
    with run.held():
        with _watchers(config, run) as others:
            trainer = make_trainer(config, dataset, run, (*monitors, *others))
            _check_folder(run)
            trainer.resume()
            trained = trainer.run()
        if not trained.is_interrupted:
            _keep_best(run, trainer, trained, config=config, dataset=dataset, preset=preset)
    return trained


def _keep_best(
    run: RunFolder, trainer: Trainer, trained: Trained, *, config: FitConfig, dataset: Dataset, preset: str | None
) -> None:
    """Write the model of the best epoch, with a prior beside it if one is wanted."""
    try:
        checkpoint.load_model(run.path / "best", trainer.model)
    except ArtifactError as error:
        found = f"{error.file}: {error.found}" if isinstance(error, DamagedError) else str(error)
        raise ArtifactError(
            f"{found}; the best epoch cannot be had back: delete {run.path / 'last'} and {run.path / 'best'} and run "
            "the same `sessionrec fit` again, which begins anew"
        ) from None
    trainer.model.fill_untrained(dataset.num_candidates)
    is_patient = trained.epochs - trained.best_epoch < config.training.patience
    more = {
        "preset": preset,
        "seed": config.seed,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "selection": {
            "metric": config.training.metric,
            "best_value": trained.best_value,
            "best_epoch": trained.best_epoch,
            "epochs": trained.epochs,
            "stopped": "epochs" if is_patient else "patience",
        },
        "seconds": round(trained.seconds, 2),
        "machine": machine(config.training.device),
    }
    prior = None
    if config.prior is not None:
        started = time.perf_counter()
        ranker = ModelRanker(trainer.model, dataset.num_items, view=config.view)
        prior = make_prior(dataset, config.view, config.prior, model=ranker, seed=config.seed)
        more["prior_seconds"] = round(time.perf_counter() - started, 2)
    save(run.model, trainer.model, dataset, config=config.model_dump(mode="json"), more=more, prior=prior)


def _check_settings(config: FitConfig, dataset: Dataset) -> None:
    """Settings that do not go together, or not with the data set."""
    if config.view.ask_first and not config.model.start_token:
        raise ConfigError("view.ask_first: first sessions can be asked for only with model.start_token=true")
    check_device("training.device", config.training.device)
    if not dataset.summary.parts["validation"].positives:
        raise EmptyDatasetError(
            f"{dataset.path}: there is no validation session to choose the epoch by; split otherwise"
        )


def _check_folder(run: RunFolder) -> None:
    """What stands in the way in the folder of a run is told now and not after the first epoch."""
    if (run.path / "manifest.json").is_file():
        raise ArtifactError(
            f"{run.path}: expected an empty folder or an earlier run, found an artifact; name another folder"
        )
    kinds = {run.path / "last": checkpoint, run.path / "best": checkpoint, run.model: artifact}
    for path, room in kinds.items():
        # Entered and left: nothing is written.
        with ArtifactWriter(path, kind=room.KIND, format=room.FORMAT):
            pass


@contextmanager
def _watchers(config: FitConfig, run: RunFolder) -> Iterator[tuple[Monitor, ...]]:
    """Monitors that the settings ask for."""
    if not config.tensorboard:
        yield ()
        return
    from sessionrec.train.curves import TensorBoard

    with TensorBoard(run.path / "tensorboard") as board:
        yield (board,)


def fitting(config: FitConfig, dataset: Dataset) -> FitConfig:
    """The settings with what follows: histories capped to what the model takes, how it is asked, HSTU's divisor."""
    caps = config.view.truncation
    longest = config.model.max_sessions
    wanted: dict[str, Any] = {"part": "train", "cloze": not config.model.backbone.is_causal}
    if config.view.unit == "event":
        wanted["max_positions"] = min(config.view.max_positions or longest, longest)
    elif caps.max_sessions is None or caps.max_sessions > longest:
        wanted["truncation"] = caps.model_copy(update={"max_sessions": longest})
    view, model = config.view.model_copy(update=wanted), config.model
    if isinstance(model.backbone, HstuConfig) and model.backbone.divisor is None:
        backbone = model.backbone.model_copy(update={"divisor": typical_length(dataset, view)})
        model = model.model_copy(update={"backbone": backbone})
    return config.model_copy(update={"view": view, "model": model})


def typical_length(dataset: Dataset, view: View) -> int:
    """Input positions of the user in the middle, training part, of the first row group: users stand in a random order.

    Divided by it, what attention adds up does not grow with the log's usual length; divided by the longest history
    possible, it vanishes on a log of short ones.
    """
    for histories in dataset.histories():
        shown = visible(view, histories.keep_sessions(histories.part_S == Part.TRAIN))
        lengths_U = np.diff(shown.user_offsets)
        if lengths_U.any():
            return max(int(np.median(lengths_U[lengths_U > 0])), 1)
    return 1


def make_trainer(config: FitConfig, dataset: Dataset, run: RunFolder, monitors: tuple[Monitor, ...] = ()) -> Trainer:
    """The parts of a run, put together; nothing has been trained yet.

    Args:
        config: As `fitting` returned it.
        dataset: To train on.
        run: Its folder.
        monitors: Who watches.
    """
    # Weights are made and dropped out by torch's global stream; its state is part of every checkpoint.
    torch.manual_seed(int(stream(config.seed, "weights").integers(2**31)))
    try:
        model = config.model.build(catalogue_of(dataset)).to(config.training.device)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None
    negatives = torch.Generator().manual_seed(int(stream(config.seed, "negatives").integers(2**31)))
    described = {name: value for name, value in config.model_dump(mode="json").items() if name not in _BESIDE}
    if config.optimizer.schedule == "constant":
        described["training"] = {name: value for name, value in described["training"].items() if name not in _GOES_ON}
    return Trainer(
        model=model,
        loader=Loader(dataset, config.view, config.loading, seed=config.seed),
        objective=Objective(config.objective, train_events(dataset), negatives),
        optimizer=make_optimizer(model, config, dataset),
        config=config.training,
        validate=Validation(config, dataset),
        folder=run.path,
        described={"config": described, "dataset": dataset.digest},
        monitors=monitors,
        num_steps=_about_steps(config.loading, dataset),
    )


def _about_steps(loading: Loading, dataset: Dataset) -> int | None:
    """Steps of an epoch if only users count; the loader itself knows when it has been through."""
    if loading.batch_events is not None or loading.batch_users is None:
        return None
    return -(-dataset.summary.parts["train"].users // loading.batch_users) * loading.passes


def make_optimizer(model: Recommender, config: FitConfig, dataset: Dataset) -> Optimizer:
    """The optimizer of a run. A schedule that ends needs the number of steps, and so one pass over the data set."""
    tables = [model.items.weight] if config.model.sparse_tables else []
    if config.optimizer.schedule == "constant":
        return Optimizer(model, tables, config.optimizer)
    steps = sum(1 for _ in Loader(dataset, config.view, config.loading, seed=config.seed))
    return Optimizer(model, tables, config.optimizer, num_steps=steps * config.training.epochs)


class Validation:
    """Metrics of a model on the validation questions, over the whole catalogue.

    Args:
        config: Of the run.
        dataset: It is trained on.
    """

    def __init__(self, config: FitConfig, dataset: Dataset) -> None:
        self._view = evaluation_view(config.view, "validation", "session")
        self._dataset, self._facts = dataset, facts_of(dataset)
        name, _, k = config.training.metric.partition("@")
        if name not in RANK_METRICS or not k.isdecimal() or int(k) < 1:
            raise ConfigError(
                f"training.metric: there is no metric {config.training.metric!r}; there are "
                f"{', '.join(f'{known}@K' for known in RANK_METRICS)}, for any K from 1 on"
            )
        ks = tuple(sorted({10, 100, int(k)}))
        self._protocol = EvalProtocol(ks=ks, seen=config.training.seen, in_session=False, list_length=0)

    def __call__(self, model: Recommender) -> Mapping[str, float]:
        """Metric by name."""
        loader = Loader(self._dataset, self._view, questions(), seed=0)
        ranker = ModelRanker(model, self._dataset.num_candidates)
        return ask_all(ranker, loader, self._facts, self._protocol, name="validation").metrics


def questions(batch_users: int = VALIDATION_USERS) -> Loading:
    """Batches where nothing is learnt: every user once, in the order of the data set."""
    return Loading(shuffle=False, batch_users=batch_users, batch_events=262_144)


def facts_of(dataset: Dataset, protocol: EvalProtocol | None = None) -> ItemFacts:
    """What evaluation has to know of the catalogue."""
    is_stream = protocol is not None and protocol.is_stream
    return ItemFacts(
        num_candidates=dataset.num_items if is_stream else dataset.num_candidates,
        train_positives_I=dataset.items[TRAIN_POSITIVES].to_numpy(),
        num_trained=dataset.num_candidates,
    )
