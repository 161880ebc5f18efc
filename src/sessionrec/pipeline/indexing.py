"""`index`: the items of a trained model, ready to be searched, and how well and how fast they are found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import Field

from sessionrec.config import Config
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import evaluation_view
from sessionrec.index import IndexConfig, Quality, build_and_measure, save
from sessionrec.index.hnsw import HnswConfig
from sessionrec.pipeline.runs import RunFolder
from sessionrec.pipeline.training import questions
from sessionrec.recommend import artifact
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.face import item_codes
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import dense_vectors


class IndexingConfig(Config):
    """Which index, and how it is measured."""

    index: IndexConfig = HnswConfig()
    """Kind and settings."""
    k: int = Field(default=100, ge=1)
    """Length of the answers that recall and latency are measured at."""
    num_queries: int = Field(default=2000, ge=1)
    """Most queries to measure with: those of test histories."""


def index(run: Path | str, dataset: Dataset | None = None, config: IndexingConfig | None = None) -> Quality:
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
    ranker = ModelRanker(model.recommender, model.num_candidates)
    vectors_VD = dense_vectors(ranker, None if model.prior is None else live_ranker(model, ranker))
    rows = np.arange(1, model.num_candidates + 1)
    loader = Loader(dataset, evaluation_view(model.view, "test", "session"), questions(), seed=0)
    found: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []
    for examples in loader:
        found.append(ranker.queries(examples).float().numpy())
        if sum(map(len, found)) >= config.num_queries:
            break
    queries_QD = np.concatenate(found)[: config.num_queries]
    built, quality = build_and_measure(
        config.index, rows, vectors_VD, queries_QD, k=config.k, features=item_codes(model)
    )
    save(built, folder.index, model=model.fingerprint, more={"quality": asdict(quality)})
    return quality
