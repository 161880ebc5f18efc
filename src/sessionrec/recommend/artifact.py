"""A trained model as an artifact: everything that answering needs, and nothing that runs.

    weights.safetensors     the best epoch's
    items.parquet           the catalogue it was trained with: index, item id, title, features
    vocabularies.parquet    values of the categorical features
    prior.safetensors       where it has a prior: how items stand, see `prior.store`

The manifest's body says how it was trained (`config`, `selection`, `seed`, ...) and on what (`dataset`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file

from sessionrec.artifacts import MANIFEST, ArtifactWriter, Manifest, read_manifest
from sessionrec.config import Config, parse
from sessionrec.data import ledger
from sessionrec.data.dataset import Dataset
from sessionrec.data.view import View, whole_view
from sessionrec.errors import ArtifactError
from sessionrec.jagged import IntArray
from sessionrec.model.config import Catalogue, ModelConfig
from sessionrec.model.recommender import Recommender
from sessionrec.prior import StoredPrior, store
from sessionrec.schema import TRAIN_EVENTS, TRAIN_POSITIVES
from sessionrec.sessions.split import Part
from sessionrec.train.checkpoint import load_weights

KIND, FORMAT = "model", 1
WEIGHTS, ITEMS, VOCABULARIES = "weights.safetensors", "items.parquet", "vocabularies.parquet"
PRIOR = "prior.safetensors"

_PAUSES = 200_000


class _Stored(Config):
    """What answering needs of the config that trained the model."""

    model: ModelConfig
    view: View


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model that can answer."""

    recommender: Recommender
    """In evaluation mode."""
    config: ModelConfig
    view: View
    """What it was shown of a history."""
    items: pl.DataFrame
    """The catalogue, one row an index, 1 to `num_items`."""
    vocabularies: pl.DataFrame
    """`role`, `feature`, `index`, `value`, `train_events`."""
    body: dict[str, Any]
    """Of the manifest."""
    prior: StoredPrior | None = None
    """What stands beside its score."""

    @property
    def fingerprint(self) -> str:
        """Of weights and config; an index of other vectors is refused by it."""
        return str(self.body["fingerprint"])

    @property
    def dataset(self) -> dict[str, Any]:
        """What the model knows of its data set, see `about_dataset`."""
        return dict(self.body["dataset"])

    @property
    def num_candidates(self) -> int:
        """Items that can be recommended: 1 to this. With a prior all are, as it finds those that training never saw by
        their attributes and their first hours."""
        return self.num_trained if self.prior is None else len(self.items)

    @property
    def num_trained(self) -> int:
        """Items with a training event, the first ones."""
        return int(self.dataset["num_candidates"])

    @property
    def asked_view(self) -> View:
        """What its answers look at: with a prior whole histories, of which the model is shown what `shown` says."""
        return self.view if self.prior is None else whole_view(self.view)

    @property
    def shown(self) -> View | None:
        """What the model is shown of the histories of `asked_view`; None = these as they are."""
        return None if self.prior is None else self.view

    @cached_property
    def train_positives_V(self) -> IntArray:
        """[V] positive training events of each candidate."""
        counts: IntArray = self.items[TRAIN_POSITIVES].to_numpy()[: self.num_candidates]
        return counts

    def open_dataset(self, dataset: Dataset | None = None) -> Dataset:
        """The data set that the model was trained on: this one, if it is the one, or from where it was then.

        Raises:
            ArtifactError: It is another one, or not there any more.
        """
        if dataset is None:
            path = Path(self.dataset["path"])
            if not path.exists():
                raise ArtifactError(
                    f"{path}: the data set of the model is not there any more; say where it is (`--data`)"
                )
            dataset = Dataset(path)
        self._expect(dataset)
        return dataset

    def _expect(self, dataset: Dataset) -> None:
        if dataset.digest != self.dataset["digest"]:
            raise ArtifactError(
                f"{dataset.path}: expected the data set that the model was trained on ({self.dataset['name']}, "
                f"{self.dataset['digest']}), found {dataset.digest}; name that one, or fit on this one"
            )


def catalogue_of(dataset: Dataset) -> Catalogue:
    """What a model must know of a data set to be built."""
    return _catalogue(
        dataset.items, dataset.num_items, len(dataset.actions), dataset.context_features, dataset.item_features
    )


def about_dataset(dataset: Dataset) -> dict[str, Any]:
    """What a model keeps of its data set, as plain values."""
    body = dataset.body
    kept = dataset.summary.kept
    return {
        "name": body["log"]["name"],
        "path": str(dataset.path.resolve()),
        "digest": dataset.digest,
        "num_users": kept.users,
        "num_items": dataset.num_items,
        "num_candidates": dataset.num_candidates,
        "kept": {name: getattr(kept, name) for name in ("users", "items", "sessions", "events", "positives")},
        "actions": list(dataset.actions),
        "features": body["features"],
        "context_features": dataset.context_features,
        "item_features": dataset.item_features,
        "session": body["config"]["session"],
        "session_rule": ledger.session_rule(dataset),
        "split_rule": ledger.split_rule(dataset),
        "pause_ms": _median_pause_ms(dataset),
    }


def save(
    path: Path,
    model: Recommender,
    dataset: Dataset,
    *,
    config: dict[str, Any],
    more: dict[str, Any],
    prior: StoredPrior | None = None,
) -> dict[str, Any]:
    """Write a trained model; what stood at `path` before stays until the new one is whole.

    Args:
        path: Folder of the artifact.
        model: With the weights to keep.
        dataset: It was trained on.
        config: It was trained by; plain values, with at least `model` and `view`.
        more: Further entries of the manifest's body.
        prior: What stands beside its score.

    Returns:
        The manifest's body.
    """
    with ArtifactWriter(path, kind=KIND, format=FORMAT) as writer:
        weights = writer.file(WEIGHTS)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, weights)
        dataset.items.write_parquet(writer.file(ITEMS))
        dataset.vocabularies.write_parquet(writer.file(VOCABULARIES))
        # What answers follow from; settings such as the number of threads make no other model.
        decisive = [config["model"], config["view"], dataset.digest]
        mark = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
        with weights.open("rb") as stream:
            while block := stream.read(1 << 24):
                mark.update(block)
        body = {"config": config, "dataset": about_dataset(dataset), **more}
        if prior is not None:
            body["prior"] = store.values_of(prior)
            store.write_arrays(prior, writer.file(PRIOR))
            # The model's share of a score is in the vectors of an index.
            mark.update(json.dumps(body["prior"], sort_keys=True).encode())
        body["fingerprint"] = mark.hexdigest()[:16]
        writer.commit(body)
    return body


def load(path: Path | str, *, device: str = "cpu") -> TrainedModel:
    """Read a trained model.

    Args:
        path: The artifact, or the folder of a run, which has it as `model`.
        device: Where it shall answer.

    Raises:
        ArtifactError: There is no whole model at `path`.
    """
    path, manifest = _find(Path(path))
    folder, body = path / manifest.content, manifest.body
    try:
        stored = {name: body["config"][name] for name in ("model", "view")}
        about = body["dataset"]
        sizes = (about["num_items"], len(about["actions"]), about["context_features"], about["item_features"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: the manifest does not say {error}; fit the model again") from None
    config = parse(_Stored, stored, str(path))
    try:
        items, vocabularies = pl.read_parquet(folder / ITEMS), pl.read_parquet(folder / VOCABULARIES)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{path}: damaged, cannot be read: {error}; fit the model again") from None
    if len(items) != about["num_items"]:
        raise ArtifactError(f"{path}: {len(items)} items, the manifest says {about['num_items']}; fit the model again")
    # Fresh weights are drawn and thrown away; the caller's random stream shall not notice.
    with torch.random.fork_rng(devices=[]):
        recommender = config.model.build(_catalogue(items, *sizes))
    load_weights(folder / WEIGHTS, recommender)
    recommender.to(device).eval()
    prior = None
    if body.get("prior") is not None:
        prior = store.read(body["prior"], folder / PRIOR, about["num_items"])
    return TrainedModel(
        recommender=recommender,
        config=config.model,
        view=config.view,
        items=items,
        vocabularies=vocabularies,
        body=body,
        prior=prior,
    )


def _find(path: Path) -> tuple[Path, Manifest]:
    inside = path / "model"
    if not (path / MANIFEST).is_file():
        if not (inside / MANIFEST).is_file() and (path / "last").is_dir():
            raise ArtifactError(f"{path}: training has not ended there; run the same `sessionrec fit` again to go on")
        if inside.is_dir():
            path = inside
    return path, read_manifest(path, kind=KIND, format=FORMAT)


def _catalogue(
    items: pl.DataFrame, num_items: int, num_actions: int, context: dict[str, int], features: dict[str, int]
) -> Catalogue:
    codes = np.zeros((num_items + 1, len(features)), np.int32)
    for column, name in enumerate(features):
        codes[1:, column] = items[name].to_numpy()
    return Catalogue(
        num_items=num_items,
        num_actions=num_actions,
        context_features=context,
        item_features=features,
        codes_VF=torch.from_numpy(codes),
    )


def train_events(dataset: Dataset) -> torch.Tensor:
    """[V] training events of each candidate."""
    return torch.from_numpy(dataset.items[TRAIN_EVENTS].to_numpy()[: dataset.num_candidates].astype(np.int64))


def _median_pause_ms(dataset: Dataset) -> int:
    """Between the starts of a user's training sessions, over the first users; a day where nobody has two."""
    for histories in dataset.histories():
        histories = histories.keep_sessions(histories.part_S == Part.TRAIN)
        pauses = np.diff(histories.session_time_ms_S)
        is_inside = np.ones(len(pauses), np.bool_)
        ends = histories.user_offsets[1:-1]
        is_inside[ends[(ends > 0) & (ends < histories.num_sessions)] - 1] = False
        if is_inside.any():
            return int(np.median(pauses[is_inside][:_PAUSES]))
    return 86_400_000
