"""`SessionRec`: a trained model and its items, ready to be asked.

model = SessionRec.load("runs/shop")
model.recommend([[["tea", "cup"], ["jam"]]], k=3)[0].items
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sessionrec import index as indexes
from sessionrec.artifacts import MANIFEST
from sessionrec.data.dataset import Dataset
from sessionrec.data.request import ask, visible
from sessionrec.errors import HistoryError
from sessionrec.index import Answer, Filter, Index
from sessionrec.jagged import IntArray, Jagged, offsets_from_lengths, row_of_element
from sessionrec.recommend import artifact
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.histories import HistoryCoder, Intake
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.schema import INDEX, ITEM, NO_ITEM, TITLE, UNKNOWN

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendations:
    """The answer for one user, best first."""

    user: Any
    """Id of the user, or the place in the list of histories."""
    items: list[Any]
    """Item ids as in the log."""
    scores: list[float]
    """The greater the better; of one model, comparable within one user. NaN for a candidate that cannot be scored."""
    names: list[str]
    """Titles, or the ids where there are none."""
    source: Literal["model", "popularity"]
    """`popularity` for a user without any event: the model has no state before a first session."""
    num_unknown: int
    """Events of the history with an item that the model does not know."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemVectors:
    """Candidates and their vectors, for an index of your own."""

    items: list[Any]
    """[V] item ids."""
    vectors_VD: Vectors
    """[V, D]; the score of an item is its dot product with the query of `encode`."""


class SessionRec:
    """A trained model and its items.

    Args:
        model: See `recommend.artifact.load`.
        index: Where to search; exact over all candidates if not given.
    """

    def __init__(self, model: TrainedModel, index: Index | None = None) -> None:
        self.model = model
        self._coder = HistoryCoder(model)
        self._ranker = ModelRanker(model.recommender, model.num_candidates)
        self._vectors_VD: Vectors = self._ranker.items_VD.cpu().numpy()
        rows = np.arange(1, model.num_candidates + 1)
        self._index = index or indexes.ExactConfig().build(rows, self._vectors_VD, features=item_codes(model))
        self._titles = model.items[TITLE if TITLE in model.items.columns else ITEM]

    @classmethod
    def load(cls, path: Path | str, *, device: str = "cpu") -> SessionRec:
        """Read a run: its model, and its index if one was built.

        Args:
            path: Folder of a run, or of its model alone.
            device: Where to encode.

        Raises:
            ArtifactError: There is no model, or the index beside it is of another one.
        """
        path = Path(path)
        model = artifact.load(path, device=device)
        beside = path / "index"
        return cls(model, indexes.load(beside, model=model.fingerprint) if (beside / MANIFEST).is_file() else None)

    def users(self, users: Sequence[Any], dataset: Dataset | None = None) -> Intake:
        """Whole histories of users of the model's data set, to be handed to the other methods.

        Their next session begins a usual pause after their last one, unless `now` says otherwise.

        Args:
            users: Ids as in the log.
            dataset: The model was trained on; by default where it was then.

        Raises:
            ArtifactError: It is another data set.
            HistoryError: There is no such user.
        """
        return self._coder.of_dataset(self.model.open_dataset(dataset), users)

    def read(self, histories: Any, *, now: datetime | None = None) -> Intake:
        """Histories in the model's own indices, to be handed to the other methods; see `recommend`.

        Raises:
            HistoryError: Histories are not of such a form.
        """
        return self._coder.read(histories, now)

    def recommend(
        self,
        histories: Any,
        k: int = 10,
        *,
        now: datetime | None = None,
        exclude_seen: bool = False,
        where: Mapping[str, Any] | None = None,
    ) -> list[Recommendations]:
        """The items each user will act on in the next session, best first.

        Args:
            histories: See `HistoryCoder.read`: a list of users, each a list of sessions, each a list of item ids or a
                `Session`; or a data frame of events.
            k: Length of an answer; where fewer items may be returned it is shorter.
            now: When the next session begins; by default now. The time bias of the model looks at it.
            exclude_seen: Leave out the items of the user's own history.
            where: Only items whose features have these values, such as `{"brand": "Nike"}` or a list of values.

        Raises:
            HistoryError: Histories are not of such a form, k is below 1, or there is no such feature.
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise HistoryError(f"`k` must be a whole number from 1 on, got {k!r}")
        k = min(k, self.model.num_candidates)
        intake = self._coder.read(histories, now)
        places, queries_QD = self._queries(intake)
        seen = _seen(intake) if exclude_seen else None
        limit = self._filter(where)
        is_known_B = np.zeros(len(intake.users), np.bool_)
        is_known_B[places] = True
        found: dict[int, Answer] = {}
        if len(places):
            exclude = None if seen is None else _rows(seen, places)
            answer = self._index.search(queries_QD, k, exclude=exclude, allow=limit)
            found = {int(place): _row(answer, number) for number, place in enumerate(places)}
        others = np.flatnonzero(~is_known_B)
        if len(others):
            exclude = None if seen is None else _rows(seen, others)
            answer = self._popular(len(others), k, exclude, limit)
            found |= {int(place): _row(answer, number) for number, place in enumerate(others)}
        return [self._say(intake, place, found[place], is_known_B[place]) for place in range(len(intake.users))]

    def rank(
        self, histories: Any, candidates: Sequence[Sequence[Any]], *, now: datetime | None = None
    ) -> list[Recommendations]:
        """Order given candidates for each user, best first.

        Args:
            histories: As for `recommend`.
            candidates: Item ids, a list for each user; a list may be empty. Items that are no candidates of the model
                stand at the end, in the order given, with the score NaN.
            now: As for `recommend`.

        Raises:
            HistoryError: Not as many lists as users, or one of them is no list.
        """
        intake = self._coder.read(histories, now)
        if isinstance(candidates, str | bytes) or not isinstance(candidates, Sequence):
            raise HistoryError(f"`candidates` must be a list of lists of item ids, got {type(candidates).__name__}")
        if len(candidates) != len(intake.users):
            raise HistoryError(
                f"expected a list of candidates for each of {len(intake.users)} users, got {len(candidates)} lists"
            )
        places, queries_QD = self._queries(intake)
        row_of = {int(place): number for number, place in enumerate(places)}
        answers = []
        for place, wanted in enumerate(candidates):
            if isinstance(wanted, str | bytes) or not isinstance(wanted, Sequence):
                raise HistoryError(f"candidates of user {place}: expected a list of item ids, got {wanted!r}")
            codes_C = self._coder.item_indices(list(wanted)) if len(wanted) else np.zeros(0, np.int32)
            codes_C = np.where(codes_C <= self.model.num_candidates, codes_C, UNKNOWN)
            is_model = place in row_of
            if is_model:
                scores_C = self._vectors_VD[codes_C - 1] @ queries_QD[row_of[place]]
            else:
                scores_C = self.model.train_positives_V[codes_C - 1].astype(np.float32)
            scores_C = np.where(codes_C == UNKNOWN, -np.inf, scores_C)
            order = np.argsort(-scores_C, kind="stable")
            scores = np.where(np.isneginf(scores_C), np.nan, scores_C)[order]
            names = [str(wanted[at]) if codes_C[at] == UNKNOWN else self._name(int(codes_C[at])) for at in order]
            answers.append(
                Recommendations(
                    user=intake.users[place],
                    items=[wanted[at] for at in order],
                    scores=[float(score) for score in scores],
                    names=names,
                    source="model" if is_model else "popularity",
                    num_unknown=int(intake.num_unknown_B[place]),
                )
            )
        return answers

    def encode(self, histories: Any, *, now: datetime | None = None) -> Vectors:
        """[B, D] the query of each user: what an index of your own is asked.

        Raises:
            HistoryError: A user has no event, so there is nothing to encode.
        """
        intake = self._coder.read(histories, now)
        places, queries_QD = self._queries(intake)
        if len(places) < len(intake.users):
            missing = sorted(set(range(len(intake.users))) - set(places.tolist()))
            raise HistoryError(
                f"user {intake.users[missing[0]]!r} has no event that the model is shown; leave such users out, or use "
                "`recommend`, which answers them by popularity"
            )
        vectors_BD = np.empty_like(queries_QD)
        vectors_BD[places] = queries_QD
        return vectors_BD

    def item_vectors(self) -> ItemVectors:
        """All candidates and their vectors."""
        return ItemVectors(
            items=self.model.items[ITEM][: self.model.num_candidates].to_list(), vectors_VD=self._vectors_VD.copy()
        )

    def _queries(self, intake: Intake) -> tuple[IntArray, Vectors]:
        """[Q] places of the users that can be encoded, and [Q, D] their queries."""
        inputs = visible(self.model.view, intake.histories)
        has_U = np.diff(inputs.user_offsets) > 0
        inputs, places = inputs.keep_users(has_U), intake.place_U[has_U]
        if not len(places):
            return places, np.zeros((0, self._vectors_VD.shape[1]), np.float32)
        # A caller's clock may stand behind the last event's.
        last_ms = inputs.session_time_ms_S[inputs.user_offsets[1:] - 1]
        examples = ask(inputs, np.full(len(places), -1), np.maximum(last_ms, intake.time_ms_B[places]))
        return places, self._ranker.queries(examples).float().cpu().numpy()

    def _filter(self, where: Mapping[str, Any] | None) -> Filter | None:
        if where is None:
            return None
        return Filter(where={name: self._codes(name, wanted) for name, wanted in where.items()})

    def _codes(self, name: str, wanted: Any) -> tuple[int, ...]:
        known = self.model.dataset["item_features"]
        if name not in known:
            raise HistoryError(f"there is no item feature {name!r}; there are: {', '.join(known) or 'none'}")
        values = [str(value) for value in (wanted if isinstance(wanted, list | tuple | set) else [wanted])]
        rows = self.model.vocabularies.filter(
            (pl.col("role") == "item") & (pl.col("feature") == name) & pl.col("value").is_in(values)
        )
        missing = sorted(set(values) - set(rows["value"]))
        if missing:
            raise HistoryError(f"item feature {name!r} has no value {missing[0]!r} in training")
        return tuple(rows[INDEX].to_list())

    def _popular(
        self, num_users: int, k: int, exclude: Jagged[npt.NDArray[Any]] | None, limit: Filter | None
    ) -> Answer:
        return self._by_count.search(np.ones((num_users, 1), np.float32), k, exclude=exclude, allow=limit)

    @cached_property
    def _by_count(self) -> Index:
        """Popularity as an index: the score of an item is its number of positive training events."""
        counts_V1 = self.model.train_positives_V.astype(np.float32)[:, None]
        rows = np.arange(1, len(counts_V1) + 1)
        return indexes.ExactConfig().build(rows, counts_V1, features=item_codes(self.model))

    def _say(self, intake: Intake, place: int, answer: Answer, is_model: bool) -> Recommendations:
        is_item_C = answer.items_QC[0] != NO_ITEM
        codes = answer.items_QC[0][is_item_C].tolist()
        return Recommendations(
            user=intake.users[place],
            items=[self.model.items[ITEM][code - 1] for code in codes],
            scores=answer.scores_QC[0][is_item_C].tolist(),
            names=[self._name(code) for code in codes],
            source="model" if is_model else "popularity",
            num_unknown=int(intake.num_unknown_B[place]),
        )

    def _name(self, code: int) -> str:
        title = self._titles[code - 1]
        return str(self.model.items[ITEM][code - 1] if title is None else title)


def to_frame(answers: Sequence[Recommendations]) -> pl.DataFrame:
    """One row a recommended item: `user`, `rank` from 1, `item`, `name`, `score`, `source`."""
    rows = [
        (answer.user, rank, item, name, score, answer.source)
        for answer in answers
        for rank, (item, name, score) in enumerate(zip(answer.items, answer.names, answer.scores, strict=True), 1)
    ]
    return pl.DataFrame(rows, schema=["user", "rank", "item", "name", "score", "source"], orient="row")


def item_codes(model: TrainedModel) -> dict[str, npt.NDArray[np.int32]]:
    """[V] codes of each item feature of the candidates."""
    return {
        name: model.items[name].to_numpy()[: model.num_candidates].astype(np.int32)
        for name in model.dataset["item_features"]
    }


def _seen(intake: Intake) -> Jagged[npt.NDArray[Any]]:
    """B rows: the items of each user's events."""
    histories = intake.histories
    user_E = intake.place_U[row_of_element(histories.event_offsets)]
    order = np.argsort(user_E, kind="stable")
    counts = np.bincount(user_E, minlength=len(intake.users))
    return Jagged(values=histories.item_E[order].astype(np.int64), offsets=offsets_from_lengths(counts))


def _rows(ragged: Jagged[npt.NDArray[Any]], rows: IntArray) -> Jagged[npt.NDArray[Any]]:
    parts = [ragged.row(int(row)) for row in rows]
    return Jagged(values=np.concatenate(parts), offsets=offsets_from_lengths(np.array([len(part) for part in parts])))


def _row(answer: Answer, number: int) -> Answer:
    return Answer(items_QC=answer.items_QC[number, None], scores_QC=answer.scores_QC[number, None])
