"""`SessionRec`: a trained model and its items, ready to be asked.

model = SessionRec.load("runs/shop")
model.recommend([[["tea", "cup"], ["jam"]]], k=3)[0].items
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from sessionrec import index as indexes
from sessionrec.batch import Examples
from sessionrec.data.dataset import Dataset
from sessionrec.data.request import ask, visible
from sessionrec.errors import ArtifactError, HistoryError
from sessionrec.index import Answer, Filter, Index, JoinedIndex, Searchable
from sessionrec.index.face import dots
from sessionrec.jagged import IntArray, Jagged, offsets_from_lengths, row_of_element, take_rows
from sessionrec.recommend import arrivals, artifact, live
from sessionrec.recommend.answers import ItemVectors, Recommendations, Vectors
from sessionrec.recommend.artifact import TrainedModel
from sessionrec.recommend.beside import live_ranker
from sessionrec.recommend.coding import as_frame, item_ids
from sessionrec.recommend.features import filter_of, item_codes
from sessionrec.recommend.given import Given
from sessionrec.recommend.histories import HistoryCoder, Intake
from sessionrec.recommend.ranker import ModelRanker
from sessionrec.recommend.retrieval import Retriever, dense_vectors
from sessionrec.recommend.wording import Wording, told
from sessionrec.schema import ITEM, NO_ITEM, UNKNOWN


class SessionRec:
    """A trained model and its items.

    Args:
        model: See `recommend.artifact.load`.
        index: Where to search; exact over all candidates if not given.
        ranker: Of the model, if it is there already.
        made_of: How many candidates there were when the index was made; later ones are searched beside it. By default
            all.

    Raises:
        ArtifactError: The index holds items that are no candidates of the model.
    """

    def __init__(
        self,
        model: TrainedModel,
        index: Searchable | None = None,
        *,
        ranker: ModelRanker | None = None,
        made_of: int | None = None,
    ) -> None:
        self.model = model
        self._coder = HistoryCoder(model)
        self._ranker = ranker or ModelRanker(model.recommender, model.num_candidates, view=model.shown)
        self._beside = None if model.prior is None else live_ranker(model, self._ranker)
        self._vectors_VD: Vectors = dense_vectors(self._ranker, self._beside)
        rows = np.arange(1, model.num_candidates + 1)
        codes, self._made_of = item_codes(model), len(rows) if made_of is None else made_of
        if index is None:
            index = indexes.ExactConfig().build(rows, self._vectors_VD, features=codes)
        elif (last := int(index.holdings.items_N[-1])) > len(rows):
            raise ArtifactError(f"the index holds item {last}, the model has {len(rows)} candidates; make it again")
        elif (first := self._made_of) < len(rows):
            later = {name: codes[name][first:] for name in index.holdings.features}
            index = JoinedIndex(index, rows[first:], self._vectors_VD[first:], features=later)
        self._index = index
        self._retriever = None if self._beside is None else Retriever(self._beside, self._ranker, self._index)
        self._wording = Wording(model.items)

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
        return cls(model, indexes.load_if_any(path / "index", model=model.fingerprint))

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
        places, examples = self._questions(intake)
        seen = _seen(intake) if exclude_seen else None
        limit = filter_of(self.model, where)
        is_known_B = np.zeros(len(intake.users), np.bool_)
        is_known_B[places] = True
        items_BC = np.full((len(intake.users), k), NO_ITEM, np.int64)
        scores_BC = np.zeros((len(intake.users), k), np.float32)
        if examples is not None:
            exclude = None if seen is None else _rows(seen, places)
            if self._retriever is not None:
                answer = self._retriever.search(examples, k, exclude=exclude, allow=limit)
            else:
                answer = self._index.search(self._queries(examples), k, exclude=exclude, allow=limit)
            items_BC[places], scores_BC[places] = answer.items_QC, answer.scores_QC
        others = np.flatnonzero(~is_known_B)
        if len(others):
            exclude = None if seen is None else _rows(seen, others)
            answer = self._for_strangers(intake.time_ms_B[others], k, exclude, limit)
            items_BC[others], scores_BC[others] = answer.items_QC, answer.scores_QC
        is_item_BC = items_BC != NO_ITEM
        items, names = self._wording.of(items_BC[is_item_BC])
        offsets, scores = offsets_from_lengths(is_item_BC.sum(1)), scores_BC[is_item_BC]
        return told(intake, offsets, items, names, scores, is_model_B=is_known_B, otherwise=self._otherwise)

    def rank(
        self,
        histories: Any,
        candidates: Sequence[Sequence[Any]],
        *,
        now: datetime | None = None,
        as_shown: bool = False,
    ) -> list[Recommendations]:
        """Order given candidates for each user, best first.

        Args:
            histories: As for `recommend`.
            candidates: Item ids, a list for each user; a list may be empty. Items that are no candidates of the model
                stand at the end, in the order given, with the score NaN.
            now: As for `recommend`.
            as_shown: Whether these items will be shown anyway, so that only what is acted on of them counts: a model
                with a prior has weights of their own for that. By default scores are those of `recommend`.

        Raises:
            HistoryError: Not as many lists as users, or one of them is no list.
        """
        intake = self._coder.read(histories, now)
        given = Given.of(candidates, len(intake.users), self._coder, self.model.num_candidates)
        places, examples = self._questions(intake)
        is_known_B = np.zeros(len(intake.users), np.bool_)
        is_known_B[places] = True
        score_P = self._scores(intake, places, examples, given, as_shown)
        order = given.order(score_P)
        code_P, items = given.code_P[order], [given.wanted[at] for at in order.tolist()]
        _, names = self._wording.of(np.maximum(code_P, 1))
        for at in np.flatnonzero(code_P == UNKNOWN).tolist():
            names[at] = str(items[at])
        scores = np.where(code_P == UNKNOWN, np.float32(np.nan), score_P[order])
        return told(intake, given.offsets, items, names, scores, is_model_B=is_known_B, otherwise=self._otherwise)

    def encode(self, histories: Any, *, now: datetime | None = None) -> Vectors:
        """[B, D] the query of each user: what an index of your own is asked.

        Raises:
            HistoryError: A user has no event, so there is nothing to encode.
        """
        intake = self._coder.read(histories, now)
        places, examples = self._questions(intake)
        if examples is None or len(places) < len(intake.users):
            missing = sorted(set(range(len(intake.users))) - set(places.tolist()))
            raise HistoryError(
                f"user {intake.users[missing[0]]!r} has no event that the model is shown; leave such users out, or use "
                "`recommend`, which answers them by popularity"
            )
        queries_QD = self._queries(examples)
        vectors_BD = np.empty_like(queries_QD)
        vectors_BD[places] = queries_QD
        return vectors_BD

    def item_vectors(self) -> ItemVectors:
        """All candidates and their vectors."""
        return ItemVectors(
            items=self.model.items[ITEM][: self.model.num_candidates].to_list(), vectors_VD=self._vectors_VD.copy()
        )

    def add(self, item: Any, time: datetime, *, is_acted: bool = True) -> None:
        """Tell a model with a prior what somebody just did, so that its answers know what is fresh; constant time.

        Args:
            item: Its id.
            time: Of the event.
            is_acted: Acted on, or only shown.

        Raises:
            HistoryError: The model has no prior, or does not know the item, or the time is not from 1980 to an hour
                from now: counts only fade, so an event of the future would outweigh all others until then.
        """
        live.count_one(self.model, self._coder, item, time, is_acted=is_acted)

    def add_all(self, events: Any) -> int:
        """Tell it of many events at once, such as all since it was trained. Answers given meanwhile may know of some.

        Args:
            events: A data frame with one row an event: `item`, `time` (or `time_ms`), and `positive`: acted on, as all
                are without that column, or only shown.

        Returns:
            How many are of items that it knows.

        Raises:
            HistoryError: As for `add`, or a column is missing or of the wrong type; nothing is counted then.
        """
        if (frame := as_frame(events)) is None:
            raise HistoryError(f"`events` must be a data frame, got {type(events).__name__}")
        return live.count(self.model, self._coder, frame)

    def with_items(self, items: Any) -> SessionRec:
        """A model of the same weights that knows further items too, such as the articles of this morning: found by
        their attributes at first, and by what happens to them from then on (`add`).

        This one stays as it is, so it can answer until the other one takes its place; their counts go apart, and only
        the new items are encoded. Weights are shared, so neither may be moved, trained or made of another type. Where
        very many items have come, `prepare` and `fit` again: weights know nothing of them.

        Args:
            items: A data frame with one row an item: `item`, every item feature of the data set (null where it is not
                known), and `title` if items have titles; or, where there are no features, a list of ids. Items that
                the model knows stay as they are.

        Raises:
            HistoryError: The model has no prior, so it never answers with such items; or a column is missing or of
                the wrong type.
        """
        if (frame := as_frame(items)) is None:
            if isinstance(items, str | bytes | Mapping) or not isinstance(items, Sequence):
                raise HistoryError(f"`items` must be a data frame or a list of item ids, got {type(items).__name__}")
            frame = pl.DataFrame({ITEM: item_ids(items)})
        larger = arrivals.with_items(self.model, frame)
        first = self._index.first if isinstance(self._index, JoinedIndex) else self._index
        ranker = self._ranker.with_items(larger.recommender)
        return SessionRec(larger, first, ranker=ranker, made_of=self._made_of)

    def _questions(self, intake: Intake) -> tuple[IntArray, Examples | None]:
        """[Q] places of the users that can be encoded, and their questions; None where nobody can."""
        inputs = visible(self.model.asked_view, intake.histories)
        has_U = np.diff(inputs.user_offsets) > 0
        inputs, places = inputs.keep_users(has_U), intake.place_U[has_U]
        if not len(places):
            return places, None
        # A caller's clock may stand behind the last event's.
        last_ms = inputs.session_time_ms_S[inputs.user_offsets[1:] - 1]
        return places, ask(inputs, np.full(len(places), -1), np.maximum(last_ms, intake.time_ms_B[places]))

    def _queries(self, examples: Examples) -> Vectors:
        """[Q, D]."""
        queries_QD: Vectors = self._ranker.queries(examples).float().cpu().numpy()
        return queries_QD

    def _scores(
        self, intake: Intake, places: IntArray, examples: Examples | None, given: Given, as_shown: bool
    ) -> Vectors:
        """[P] scores of the users' items; those of unknown items mean nothing."""
        score_P, code_P = np.zeros(len(given.code_P), np.float32), np.maximum(given.code_P, 1)
        if examples is not None:
            elements, offsets = take_rows(given.offsets, places)
            question, item = row_of_element(offsets), code_P[elements]
            if self._beside is None:
                score_P[elements] = dots(self._queries(examples)[question], self._vectors_VD[item - 1])
            else:
                scorer = self._beside.scorer(examples)
                pairs = (torch.from_numpy(part).to(scorer.device) for part in (question, item))
                score_P[elements] = (scorer.in_list if as_shown else scorer.pairs)(*pairs).float().cpu().numpy()
        others = np.setdiff1d(np.arange(len(intake.users)), places)
        time_ms_T, time_of = np.unique(intake.time_ms_B[others], return_inverse=True)
        for number, at_ms in enumerate(time_ms_T.tolist()):
            elements, _ = take_rows(given.offsets, others[time_of == number])
            score_P[elements] = self._by_nothing(at_ms, as_shown)[code_P[elements] - 1]
        return score_P

    def _by_nothing(self, at_ms: int, as_shown: bool) -> Vectors:
        """[V] scores for a user of whom nothing is known."""
        if self._beside is None or self._retriever is None:
            return self.model.train_positives_V.astype(np.float32)
        if as_shown:
            in_list_V: Vectors = self._beside.stranger_in_list(at_ms).numpy()
            return in_list_V
        return self._retriever.for_strangers(at_ms)

    @property
    def _otherwise(self) -> Literal["prior", "popularity"]:
        """What answers for a user of whom nothing is known."""
        return "popularity" if self._retriever is None else "prior"

    def _for_strangers(
        self, time_ms_Q: IntArray, k: int, exclude: Jagged[npt.NDArray[Any]] | None, limit: Filter | None
    ) -> Answer:
        if self._retriever is not None:
            return self._retriever.popular(time_ms_Q, k, exclude=exclude, allow=limit)
        return self._by_count.search(np.ones((len(time_ms_Q), 1), np.float32), k, exclude=exclude, allow=limit)

    @cached_property
    def _by_count(self) -> Index:
        """Popularity as an index: the score of an item is its number of positive training events."""
        counts_V1 = self.model.train_positives_V.astype(np.float32)[:, None]
        rows = np.arange(1, len(counts_V1) + 1)
        return indexes.ExactConfig().build(rows, counts_V1, features=item_codes(self.model))


def _seen(intake: Intake) -> Jagged[npt.NDArray[Any]]:
    """B rows: the items of each user's events."""
    histories = intake.histories
    user_E = intake.place_U[row_of_element(histories.event_offsets)]
    order = np.argsort(user_E, kind="stable")
    counts = np.bincount(user_E, minlength=len(intake.users))
    return Jagged(values=histories.item_E[order].astype(np.int64), offsets=offsets_from_lengths(counts))


def _rows(ragged: Jagged[npt.NDArray[Any]], rows: IntArray) -> Jagged[npt.NDArray[Any]]:
    elements, offsets = take_rows(ragged.offsets, rows)
    return Jagged(values=ragged.values[elements], offsets=offsets)
