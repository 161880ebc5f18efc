"""Batches of a data set: an event budget, users of like length together, a seeded order, resumable, cut by rank.

Row groups are drawn in a seeded order and read a window at a time, so memory is bounded by the window, not by the
data set. Inside a window users are sorted by their number of input positions, with some noise, and cut into batches;
then the batches are shuffled. What a batch holds is a function of (seed, epoch, window, place): nothing else is
remembered.
"""

from __future__ import annotations

import hashlib
import math
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from sessionrec.batch import Examples, SessionBatch, Targets
from sessionrec.config import Config
from sessionrec.data.dataset import Dataset, RowGroup
from sessionrec.data.view import View, Window, look
from sessionrec.errors import EmptyDatasetError
from sessionrec.jagged import IntArray, Jagged, take_rows
from sessionrec.seeding import stream
from sessionrec.sessions.histories import Histories


class Loading(Config):
    """How users become batches."""

    batch_users: int | None = Field(default=64, gt=0)
    """Most users in a batch (paper: 64); None = only the event budget counts."""
    batch_events: int | None = Field(default=None, gt=0)
    """Most input events in a batch; a user with more is a batch alone. None = only the users count."""
    window_events: int = Field(default=4_194_304, gt=0)
    """Events read before users are shuffled and bucketed: more is better mixed, and takes up to 300 bytes each."""
    prefetch: int = Field(default=4, ge=0)
    """Batches made ahead in a thread of their own; 0 = made when asked for."""
    users_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the users that are read, the first of every row group; users lie in the order of a hash, so they are a
    random sample. For curves of quality against the amount of data."""
    passes: int = Field(default=1, ge=1)
    """Times that an epoch goes through the users, each in another order: where a small share of them is read, an epoch
    is a few steps, and what is done once an epoch, such as validation, takes longer than training."""
    shuffle: bool = True
    """Seeded order and bucketing; False = the order of the data set, every user once, as evaluation wants it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the next batch stands."""

    epoch: int
    window: int
    batch: int


class Loader:
    """Iterating yields the rest of the current epoch as `Examples`, then stands at the beginning of the next.

    Args:
        dataset: Where the users are.
        view: What is seen and asked of them.
        loading: How they become batches.
        seed: Of the run.
        rank: Of this process.
        world_size: Number of processes. Each gets another share of every window's batches; with `shuffle` all get
            equally many, some batches twice if the number does not divide.
    """

    def __init__(
        self,
        dataset: Dataset,
        view: View,
        loading: Loading,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if loading.batch_users is None and loading.batch_events is None:
            raise ValueError("`batch_users` and `batch_events` are both None; set one of them")
        if not 0 <= rank < world_size:
            raise ValueError(f"`rank` must be in 0..{world_size - 1}, got {rank}")
        self._dataset, self._view, self._loading = dataset, view, loading
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._place = _Place(0, 0, 0)
        # What decides which batch stands where; how far to read ahead does not.
        batches = loading.model_copy(update={"prefetch": 0}).digest()
        decided = (dataset.digest, view.digest(), batches, seed, world_size)
        self._order = hashlib.sha256(repr(decided).encode()).hexdigest()[:16]

    @property
    def epoch(self) -> int:
        """Epoch of the next batch."""
        return self._place.epoch

    @property
    def has_partial_session(self) -> bool:
        """Whether the history of a question ends in a part of its own session; the evaluator compares the protocol."""
        return self._view.partial_session

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch stands; enough, with the same arguments, to go on exactly there."""
        place = {field.name: getattr(self._place, field.name) for field in fields(_Place)}
        return place | {"order": self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: It was taken from a loader whose batches are others: another data set, view, seed or world size.
        """
        if state.get("order") != self._order:
            raise ValueError(
                "`state` was taken from a loader of another data set, view, batch size, seed or world size; "
                "resume with the same, or begin anew"
            )
        self._place = _Place(**{field.name: state[field.name] for field in fields(_Place)})

    def __iter__(self) -> Iterator[Examples]:
        epoch = self._place.epoch
        source = self._produce(self._place)
        if self._loading.prefetch:
            source = _ahead(source, self._loading.prefetch)
        is_empty = self._place == _Place(epoch, 0, 0)
        for place, examples in source:
            is_empty = False
            self._place = place
            yield examples
        if is_empty and self._rank == 0:
            # A loop that waits for a number of steps would never end.
            raise EmptyDatasetError(
                f"{self._dataset.path}: no user has a session to predict with one before it in the part "
                f"{self._view.part!r}; choose another part or split, or ask for first sessions too (`ask_first`)"
            )
        self._place = _Place(epoch + 1, 0, 0)

    def _produce(self, start: _Place) -> Iterator[tuple[_Place, Examples]]:
        """Batches from `start` to the end of its epoch, each with the place after it."""
        windows = self._windows(start.epoch)
        for number in range(start.window, len(windows)):
            window = self._read(windows[number])
            batches = self._cut(window, start.epoch, number)
            first = start.batch if number == start.window else 0
            for place in range(first, len(batches)):
                yield _Place(start.epoch, number, place + 1), collate(window, batches[place])

    def _windows(self, epoch: int) -> list[list[RowGroup]]:
        groups = list(self._dataset.row_groups)
        if self._loading.shuffle:
            order = stream(self._seed, "row groups", epoch).permutation(len(groups))
            groups = [groups[place] for place in order]
        windows: list[list[RowGroup]] = [[]]
        events = 0
        for group in groups:
            if windows[-1] and events + group.events > self._loading.window_events:
                windows.append([])
                events = 0
            windows[-1].append(group)
            events += group.events
        return windows * self._loading.passes

    def _read(self, groups: list[RowGroup]) -> Window:
        histories = Histories.concat([self._dataset.read(group) for group in groups])
        users = np.concatenate([np.arange(group.first_user, group.first_user + group.users) for group in groups])
        if self._loading.users_share < 1:
            is_read = np.concatenate([np.arange(group.users) < self._read_users(group) for group in groups])
            histories, users = histories.keep_users(is_read), users[is_read]
        return look(self._view, histories, users)

    def _read_users(self, group: RowGroup) -> int:
        """Users that are read of a row group: rounded up, so that a small share leaves none empty."""
        return math.ceil(group.users * self._loading.users_share)

    def _cut(self, window: Window, epoch: int, number: int) -> list[IntArray]:
        """The window's batches that this rank makes, as places of users in the window."""
        num_users, offsets = window.inputs.num_users, window.inputs.user_offsets
        order = np.arange(num_users)
        random = stream(self._seed, "users", epoch, number)
        if self._loading.shuffle:
            # Padding costs positions, so positions are what a batch's users have in common; the noise mixes neighbours.
            order = np.argsort(np.diff(offsets) * random.uniform(0.9, 1.1, num_users), kind="stable")
        batches = _by_budget(order, np.diff(window.inputs.event_offsets)[order], self._loading)
        if self._loading.shuffle:
            batches = [batches[place] for place in random.permutation(len(batches))]
            if batches and len(batches) % self._world_size:
                missing = self._world_size - len(batches) % self._world_size
                batches += [batches[place % len(batches)] for place in range(missing)]
        return batches[self._rank :: self._world_size]


def _by_budget(order: IntArray, events: npt.NDArray[Any], loading: Loading) -> list[IntArray]:
    """Cut users, in order, where the next would exceed the budget; a step a batch, none a user."""
    through = np.cumsum(events)
    most = loading.batch_users or len(order)
    batches, start = [], 0
    while start < len(order):
        stop = min(start + most, len(order))
        if loading.batch_events is not None:
            spent = int(through[start - 1]) if start else 0
            stop = min(stop, int(np.searchsorted(through, spent + loading.batch_events, "right")))
        stop = max(stop, start + 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def collate(window: Window, users: IntArray) -> Examples:
    """The batch of some users of a window.

    Args:
        window: Users seen through a view.
        users: [B] places in the window.
    """
    inputs = window.inputs
    sessions, user_offsets = take_rows(inputs.user_offsets, users)
    events, session_offsets = take_rows(inputs.session_offsets, sessions)
    questions, question_offsets = take_rows(window.question_offsets, users)
    batch = SessionBatch(
        user_index_B=torch.from_numpy(window.user_index_U[users]),
        user_offsets=torch.from_numpy(user_offsets),
        session_offsets=torch.from_numpy(session_offsets),
        session_time_ms_S=torch.from_numpy(inputs.session_time_ms_S[sessions]),
        item_E=_int64(inputs.item_E[events]),
        action_E=_int64(inputs.action_E[events]),
        time_ms_E=torch.from_numpy(inputs.time_ms_E[events]),
        features={name: _int64(values[events]) for name, values in inputs.features.items()},
        max_sessions=int(np.diff(user_offsets).max(initial=0)),
        max_events=int(np.diff(session_offsets).max(initial=0)),
    )
    targets = Targets(
        user_Q=torch.from_numpy(np.repeat(np.arange(len(users)), np.diff(question_offsets))),
        num_before_Q=torch.from_numpy(window.num_before_Q[questions]),
        time_ms_Q=torch.from_numpy(window.time_ms_Q[questions]),
        positives=_rows(window.positive_items, window.positive_offsets, questions),
        negatives=_rows(window.negative_items, window.negative_offsets, questions),
        cloze=window.cloze,
    )
    return Examples(batch, targets)


def by_length(examples: Examples, num_users: int) -> Iterator[tuple[Examples, torch.Tensor]]:
    """A batch in smaller ones of users with like numbers of input positions, shortest first.

    A model that pads takes a fraction of the time and memory; scores of the whole catalogue want large batches.

    Args:
        examples: A batch, on the host.
        num_users: Users of each smaller batch, the last one perhaps fewer.

    Yields:
        The smaller batch, and [Q'] the places of its questions in the whole.
    """
    inputs, targets = examples
    user_offsets = inputs.user_offsets.numpy()
    question_offsets = np.searchsorted(targets.user_Q.numpy(), np.arange(inputs.num_users + 1))
    order = np.argsort(np.diff(user_offsets), kind="stable")
    for start in range(0, len(order), num_users):
        users = order[start : start + num_users]
        sessions, cut_users = take_rows(user_offsets, users)
        events, cut_sessions = take_rows(inputs.session_offsets.numpy(), sessions)
        questions, cut_questions = take_rows(question_offsets, users)
        batch = SessionBatch(
            user_index_B=inputs.user_index_B[users],
            user_offsets=torch.from_numpy(cut_users),
            session_offsets=torch.from_numpy(cut_sessions),
            session_time_ms_S=inputs.session_time_ms_S[sessions],
            item_E=inputs.item_E[events],
            action_E=inputs.action_E[events],
            time_ms_E=inputs.time_ms_E[events],
            features={name: values[events] for name, values in inputs.features.items()},
            max_sessions=int(np.diff(cut_users).max(initial=0)),
            max_events=int(np.diff(cut_sessions).max(initial=0)),
        )
        asked = Targets(
            user_Q=torch.from_numpy(np.repeat(np.arange(len(users)), np.diff(cut_questions))),
            num_before_Q=targets.num_before_Q[questions],
            time_ms_Q=targets.time_ms_Q[questions],
            positives=_taken(targets.positives, questions),
            negatives=_taken(targets.negatives, questions),
            cloze=targets.cloze,
        )
        yield Examples(batch, asked), torch.from_numpy(questions)


def _taken(side: Jagged[torch.Tensor], rows: IntArray) -> Jagged[torch.Tensor]:
    elements, offsets = take_rows(side.offsets.numpy(), rows)
    return Jagged(values=side.values[elements], offsets=torch.from_numpy(offsets))


def _rows(items: npt.NDArray[Any], offsets: IntArray, rows: IntArray) -> Jagged[torch.Tensor]:
    elements, taken = take_rows(offsets, rows)
    return Jagged(values=_int64(items[elements]), offsets=torch.from_numpy(taken))


def _int64(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))


def _ahead(source: Iterator[tuple[_Place, Examples]], depth: int) -> Iterator[tuple[_Place, Examples]]:
    """Run an iterator in a thread, at most `depth` results ahead; its error is raised here, in order."""
    ready: queue.Queue[tuple[_Place, Examples] | BaseException | None] = queue.Queue(depth)
    is_over = threading.Event()

    def put(result: tuple[_Place, Examples] | BaseException | None) -> bool:
        while not is_over.is_set():
            try:
                ready.put(result, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for result in source:
                if not put(result):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for the result
            put(error)

    thread = threading.Thread(target=work, name="sessionrec-loader", daemon=True)
    thread.start()
    try:
        while (result := ready.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        is_over.set()
        thread.join()
