"""`index`: the items of a trained model, ready to be searched, and how well and how fast they are found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from sessionrec.batch import Examples
from sessionrec.config import Config
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.index import Index, IndexConfig, Quality, build_and_measure, save
from sessionrec.index.hnsw import HnswConfig
from sessionrec.pipeline.runs import RunFolder
from sessionrec.pipeline.training import questions
from sessionrec.prior import PriorRanker
from sessionrec.recommend import artifact
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.features import item_codes
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Found, Reach, Retriever, dense_vectors
from sessionrec.recommend.retrieval import quality as quality_of


class IndexingConfig(Config):
    """Which index, and how it is measured."""

    index: IndexConfig = HnswConfig()
    """Kind and settings."""
    k: int = Field(default=100, ge=1)
    """Length of the answers that recall and latency are measured at."""
    num_queries: int = Field(default=2000, ge=1)
    """Most queries to measure with: those of test histories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An index that was built."""

    quality: Quality
    """Of the index: of a model with a prior, of the model's share of the score."""
    found: Found | None
    """Of the whole score, where the model has a prior: the index beside what is fresh and the user's own."""


def index(run: Path | str, dataset: Dataset | None = None, config: IndexingConfig | None = None) -> Indexed:
    """Build the index of a run and compare it with exact search; it is written to `run/index`.

    Args:
        run: Folder of a run.
        dataset: The model was trained on, by default where it was then; its test histories ask.
        config: Which index; by default HNSW.

    Raises:
        ArtifactError: There is no model, or it is of another data set.
        MissingExtraError: The index needs Faiss, which is not installed.
    """
    config = config or IndexingConfig()
    folder = RunFolder(Path(run))
    model = artifact.load(folder.path)
    dataset = model.open_dataset(dataset)
    ranker = ModelRanker(model.recommender, model.num_candidates, view=model.shown)
    beside = None if model.prior is None else live_ranker(model, ranker)
    vectors_VD = dense_vectors(ranker, beside)
    rows = np.arange(1, model.num_candidates + 1)
    loader = Loader(dataset, evaluation_view(model.asked_view, "test", "session"), questions(), seed=0)
    queries: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []
    asked: list[Examples] = []
    for examples in loader:
        queries.append(ranker.queries(examples).float().numpy())
        asked.append(examples)
        if sum(map(len, queries)) >= config.num_queries:
            break
    queries_QD = np.concatenate(queries)[: config.num_queries]
    built, quality = build_and_measure(
        config.index, rows, vectors_VD, queries_QD, k=config.k, features=item_codes(model)
    )
    more: dict[str, Any] = {"quality": asdict(quality)}
    found = None
    if beside is not None:
        found = _with_prior(beside, ranker, built, asked[0], min(config.k, model.num_candidates))
        more["found"] = asdict(found)
    save(built, folder.index, model=model.fingerprint, more=more)
    return Indexed(quality=quality, found=found)


def _with_prior(live: PriorRanker, ranker: ModelRanker, built: Index, examples: Examples, k: int) -> Found:
    """How much of the best by the whole score is found. The questions are asked all at once, as users of today are."""
    # Any time up to the newest event means just after it.
    (now_ms,) = live.items.meant(np.zeros(1, np.int64)).tolist()
    now = replace(examples.targets, time_ms_Q=torch.full((examples.targets.num_questions,), now_ms))
    retriever = Retriever(live, ranker, built, Reach(whole=0))
    return quality_of(retriever, live, Examples(examples.inputs, now), k)
