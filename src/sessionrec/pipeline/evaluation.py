"""`evaluate`: what a trained model reaches on held-out sessions, beside the floors, under one protocol."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field, field_validator

from sessionrec import index as indexes
from sessionrec.artifacts import ArtifactWriter, read_manifest
from sessionrec.baselines import STANDARD, FloorName, fit_floors
from sessionrec.config import Config
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import View, evaluation_view, whole_view
from sessionrec.errors import ConfigError
from sessionrec.evaluate import EvalProtocol, EvalReport, quality_of
from sessionrec.evaluate import evaluate as ask_all
from sessionrec.index import Index, IndexConfig
from sessionrec.pipeline.device import check_device
from sessionrec.pipeline.prior import model_ranker, ranker_for
from sessionrec.pipeline.runs import RunFolder
from sessionrec.pipeline.showcase import showcase
from sessionrec.pipeline.training import facts_of, questions
from sessionrec.prior import PriorRanker
from sessionrec.progress import Progress, silent
from sessionrec.recommend import artifact
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Reach, dense_vectors
from sessionrec.recommend.retrieved import Retrieved, search_of
from sessionrec.scoring import Ranker

KIND, FORMAT = "evaluation", 1
EXAMPLES = "examples.json"

_BACKBONES = {
    "hstu": "HSTU",
    "gru": "GRU",
    "transformer": "Transformer",
    "sasrec": "SASRec",
    "bert4rec": "BERT4Rec",
}
"""Names of backbones in tables."""


class EvaluationConfig(Config):
    """What is asked, and of whom."""

    part: Literal["validation", "test"] = "test"
    """Whose sessions are to be predicted."""
    protocol: EvalProtocol = EvalProtocol()
    """How answers count."""
    floors: tuple[FloorName, ...] = STANDARD
    """Floors that answer the same questions; `true` stands for these three, `false` for none. Also:
    item-kNN, session-kNN, V-SKNN, item-kNN x recency, V-SKNN x recency and, with the extra `floors`, ALS."""
    floor_metric: str = "ndcg@10"
    """Metric on validation that chooses parameters of floors; at the top of the list floors are strongest."""
    batch_users: int = Field(default=512, ge=1)
    """Users a batch."""
    retrieval: Literal["served", "lists"] | None = None
    """Whether the model also answers by an index, and with a prior by the lists beside it: as `recommend` does, which
    with a prior scores a catalogue of up to 10,000 items whole (`served`), or whatever the size (`lists`). The index
    is of the kind that the run has, by default exact."""
    num_examples: int = Field(default=4, ge=0)
    """Users whose answers are kept to be read."""
    device: str = "cpu"
    """Where the model answers: `cpu`, `cuda` or `cuda:0`. Floors answer on the host."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch; by default as many as it likes."""

    @field_validator("floors", mode="before")
    @classmethod
    def _as_tuple(cls, floors: object) -> object:
        if isinstance(floors, bool):
            return STANDARD if floors else ()
        return tuple(floors) if isinstance(floors, list) else floors

    @field_validator("floors")
    @classmethod
    def _distinct(cls, floors: tuple[FloorName, ...]) -> tuple[FloorName, ...]:
        if len(set(floors)) < len(floors):
            raise ValueError("name each floor once")
        return floors


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures of a model and the floors; the model first. One with a prior is followed by itself without, and then by
    what is retrieved, if that was asked."""

    reports: list[EvalReport]
    choices: dict[str, dict[str, float]]
    """Parameters of floors that were chosen on validation questions."""

    @property
    def model(self) -> EvalReport:
        """The model's."""
        return self.reports[0]


def evaluate(
    run: Path | str,
    dataset: Dataset | None = None,
    config: EvaluationConfig | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Ask a trained model and the floors; the figures are written to `evaluation_folder(run, config)`.

    Args:
        run: Folder of a run.
        dataset: The model was trained on; by default where it was then.
        config: What is asked; by default all positives of the test sessions.
        progress: Called with system, users done and users in all.

    Raises:
        ArtifactError: There is no model, or it is of another data set, or an index that is asked is of another model.
        ConfigError: There is no such `floor_metric`, or no such `device`.
        MissingExtraError: A floor, or the index, needs a library that is not installed.
    """
    config = config or EvaluationConfig()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    check_device("device", config.device)
    folder = RunFolder(Path(run))
    model = artifact.load(folder.path, device=config.device)
    dataset = model.open_dataset(dataset)
    is_stream = config.protocol.is_stream
    alone = model_ranker(model, dataset, view=model.shown, is_stream=is_stream)
    ranker = ranker_for(model, dataset, config.part, is_stream=is_stream, alone=alone)
    asked = Asked(dataset, evaluation_view(model.asked_view, config.part, config.protocol.targets), config)
    about = {"data": dataset.digest, "part": config.part}
    seconds: dict[str, float] = {}
    run_about = about | {"model": model.fingerprint, "seed": model.body["seed"]}
    try:
        quality = quality_of(facts_of(dataset, config.protocol), config.protocol, config.floor_metric)
    except ValueError as error:
        raise ConfigError(f"floor_metric: {error}") from None
    served = None
    if config.retrieval is not None:
        # Before anything that takes long: there may be an index that cannot be used.
        stored = indexes.load_if_any(folder.index, model=model.fingerprint)
        served, more = _served(alone, ranker if isinstance(ranker, PriorRanker) else None, config, stored)
    reports = [asked.report(system_name(model), ranker, run_about, seconds, progress)]
    if model.prior is not None:
        reports.append(asked.report(model_name(model), alone, run_about, seconds, progress))
    if served is not None:
        reports.append(asked.report(f"{system_name(model)}, retrieved", served, run_about | more, seconds, progress))
    choices: dict[str, dict[str, float]] = {}
    if config.floors:
        # Floors are asked the same, after whole histories: they know no positions.
        whole = Asked(dataset, evaluation_view(whole_view(model.view), config.part, config.protocol.targets), config)
        floors = fit_floors(
            dataset,
            whole.view,
            quality,
            part=config.part,
            is_stream=is_stream,
            names=config.floors,
            progress=progress,
        )
        for floor in floors:
            reports.append(whole.report(floor.name, floor.ranker, about | floor.choice, seconds, progress))
            if floor.choice:
                choices[floor.name] = floor.choice
    evaluation = Evaluation(reports=reports, choices=choices)
    is_filtered = config.protocol.seen == "filtered"
    examples = showcase(ranker, dataset, asked.view, questions(), config.num_examples, exclude_seen=is_filtered)
    _write(evaluation_folder(run, config), model, evaluation, {"part": config.part, "seconds": seconds}, examples)
    return evaluation


def _served(
    alone: ModelRanker, beside: PriorRanker | None, config: EvaluationConfig, stored: Index | None
) -> tuple[Retrieved, dict[str, Any]]:
    """What answers by an index, and what a report keeps of it."""
    protocol, vectors_VD = config.protocol, dense_vectors(alone, beside)
    recipe = cast(IndexConfig, indexes.ExactConfig() if stored is None else stored.config)
    if stored is None or stored.holdings.num_items != len(vectors_VD):
        # The run's has items that came after training, and they can be answers to some questions only.
        stored = recipe.build(np.arange(1, len(vectors_VD) + 1), vectors_VD)
    reach = Reach(whole=0) if config.retrieval == "lists" else Reach()
    k = min(max(*protocol.ks, protocol.list_length), len(vectors_VD))
    served = Retrieved(search_of(alone, beside, stored, reach), k, is_filtered=protocol.seen == "filtered")
    is_whole = beside is not None and reach.is_whole(len(vectors_VD))
    return served, {
        "retrieval": "scored whole" if is_whole else recipe.kind,
        "retrieval_mode": config.retrieval,
        "retrieved": k,
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """One part's questions of a data set, and how answers count."""

    dataset: Dataset
    view: View
    config: EvaluationConfig

    def report(
        self,
        name: str,
        system: Ranker,
        about: dict[str, Any],
        seconds: dict[str, float],
        progress: Progress,
    ) -> EvalReport:
        """What one system reaches; `seconds` is told how long it took."""
        started = time.perf_counter()
        found = ask_all(
            system,
            Loader(self.dataset, self.view, questions(self.config.batch_users), seed=0),
            facts_of(self.dataset, self.config.protocol),
            self.config.protocol,
            name=name,
            about=about,
            num_users=self.dataset.num_users,
            progress=lambda _, done, total: progress(name, done, total),
        )
        seconds[name] = round(time.perf_counter() - started, 2)
        return found


def system_name(model: TrainedModel) -> str:
    """The name of what answers: the model's, and whether it has a prior."""
    return model_name(model) if model.prior is None else f"{model_name(model)} with prior"


def model_name(model: TrainedModel) -> str:
    """The name of a model in tables: SessionRec-HSTU; or, item-level, GRU4Rec, SASRec and SASRec+ by their losses, HSTU
    and HSTU+ by the events they see."""
    kind = model.config.backbone.kind
    if model.view.unit == "session":
        return f"SessionRec-{_BACKBONES.get(kind, kind)}"
    name = {"gru": "GRU4Rec"}.get(kind, _BACKBONES.get(kind, kind))
    if kind == "sasrec":
        return name if model.body["config"]["objective"]["retrieval"]["kind"] == "bce" else f"{name}+"
    return name if model.view.events == "positives" else f"{name}+"


def read_evaluation(run: Path | str, config: EvaluationConfig | None = None) -> Evaluation:
    """What `evaluate` wrote.

    Args:
        run: Folder of a run.
        config: As it was asked; by default whole test sessions.

    Raises:
        ArtifactError: There is none.
    """
    path = evaluation_folder(run, config or EvaluationConfig())
    manifest = read_manifest(path, kind=KIND, format=FORMAT)
    folder, body = path / manifest.content, manifest.body
    reports = [EvalReport.load(folder / body["files"][name]) for name in body["systems"]]
    return Evaluation(reports=reports, choices=body["choices"])


def evaluation_folder(run: Path | str, config: EvaluationConfig) -> Path:
    """Where the figures of such questions stand."""
    protocol = config.protocol
    return RunFolder(Path(run)).evaluation(config.part, protocol.targets, protocol.seen, protocol.known)


def _write(
    path: Path,
    model: TrainedModel,
    evaluation: Evaluation,
    more: dict[str, Any],
    examples: list[dict[str, Any]],
) -> None:
    with ArtifactWriter(path, kind=KIND, format=FORMAT) as writer:
        files = {}
        for number, report in enumerate(evaluation.reports):
            files[report.system] = f"{number}.json"
            report.save(writer.file(files[report.system]))
        writer.file(EXAMPLES).write_text(json.dumps(examples, ensure_ascii=False, indent=1), encoding="utf-8")
        body = {"systems": list(files), "files": files, "choices": evaluation.choices}
        writer.commit(body | {"model": model.fingerprint, "dataset": model.dataset} | more)
