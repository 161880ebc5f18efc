from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sessionrec.data.dataset import Dataset, RowGroup
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View, look
from sessionrec.data.writer import Storage, write_dataset
from sessionrec.errors import EmptyDatasetError
from sessionrec.sessions.filters import Filters
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.prepare import Preparation, prepare
from sessionrec.sessions.rule import NativeRule
from sessionrec.sessions.split import GlobalTime
from sessionrec.sessions.truncation import Truncation
from tests.helpers import CONTEXT, T0, Row, log_of
from tests.helpers import batch_keys as keys

LOOSE = Filters(min_item_events=1, min_user_events=1, min_user_sessions=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 users of 1 to 40 sessions, in many row groups."""
    rng = np.random.default_rng(5)
    rows = [
        Row(
            user=user,
            item=int(rng.integers(0, 30)),
            time_ms=T0 + session * 10_000 + event * 1000,
            action=int(rng.integers(0, 3)),
            session=session,
            device=["phone", "desk", None][int(rng.integers(0, 3))],
            price=float(event),
        )
        for user in range(60)
        for session in range(int(rng.integers(1, 41)))
        for event in range(int(rng.integers(1, 5)))
    ]
    path = tmp_path_factory.mktemp("dataset")
    with prepare(log_of(rows, context=CONTEXT), Preparation(session=NativeRule(), filter=LOOSE)) as prepared:
        write_dataset(path, prepared, Storage(events_per_row_group=200), {})
    return Dataset(path)


def loader(dataset: Dataset, seed: int = 0, rank: int = 0, world_size: int = 1, **loading: Any) -> Loader:
    view = loading.pop("view", View())
    settings = {"batch_users": 7, "window_events": 600, "prefetch": 0} | loading
    return Loader(dataset, view, Loading(**settings), seed=seed, rank=rank, world_size=world_size)


def users(batches: Any) -> list[int]:
    return [user for batch in batches for user in batch.inputs.user_index_B.tolist()]


def by_user(batches: Any) -> dict[int, list[Any]]:
    """User -> its sessions and questions, as nested lists, wherever it stands."""
    seen: dict[int, list[Any]] = {}
    for inputs, targets in batches:
        user_Q = targets.user_Q.tolist()
        for place, user in enumerate(inputs.user_index_B.tolist()):
            sessions = []
            for s in range(int(inputs.user_offsets[place]), int(inputs.user_offsets[place + 1])):
                cut = slice(int(inputs.session_offsets[s]), int(inputs.session_offsets[s + 1]))
                columns = [inputs.item_E, inputs.action_E, inputs.time_ms_E, *inputs.features.values()]
                sessions.append([int(inputs.session_time_ms_S[s]), *(column[cut].tolist() for column in columns)])
            questions = [
                [
                    int(targets.num_before_Q[q]),
                    int(targets.time_ms_Q[q]),
                    targets.positives.row(q).tolist(),
                    targets.negatives.row(q).tolist(),
                ]
                for q in range(len(user_Q))
                if user_Q[q] == place
            ]
            assert user not in seen
            seen[user] = [sessions, questions]
    return seen


def expected(dataset: Dataset, view: View) -> dict[int, list[Any]]:
    """The same, straight from the view of each row group."""
    seen: dict[int, list[Any]] = {}
    for group in dataset.row_groups:
        window = look(view, dataset.read(group), np.arange(group.first_user, group.first_user + group.users))
        inputs = window.inputs
        for place, user in enumerate(window.user_index_U.tolist()):
            sessions = []
            for s in range(inputs.user_offsets[place], inputs.user_offsets[place + 1]):
                cut = slice(inputs.session_offsets[s], inputs.session_offsets[s + 1])
                columns: list[Any] = [inputs.item_E, inputs.action_E, inputs.time_ms_E, *inputs.features.values()]
                sessions.append([int(inputs.session_time_ms_S[s]), *(column[cut].tolist() for column in columns)])
            questions = [
                [
                    int(window.num_before_Q[q]),
                    int(window.time_ms_Q[q]),
                    window.positive_items[window.positive_offsets[q] : window.positive_offsets[q + 1]].tolist(),
                    window.negative_items[window.negative_offsets[q] : window.negative_offsets[q + 1]].tolist(),
                ]
                for q in range(window.question_offsets[place], window.question_offsets[place + 1])
            ]
            seen[user] = [sessions, questions]
    return seen


VIEWS = [
    View(),
    View(part="validation"),
    View(part="test", unit="event"),
    View(unit="event", events="positives", ask_first=True),
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_user_comes_once_an_epoch_with_what_the_view_sees(dataset: Dataset, view: View, shuffle: bool) -> None:
    want = expected(dataset, view)
    assert len(want) > 20
    for batch_users, batch_events in ((1, None), (7, None), (None, 150), (1000, None)):
        source = loader(dataset, view=view, batch_users=batch_users, batch_events=batch_events, shuffle=shuffle)
        assert by_user(source) == want


def test_without_shuffling_users_come_in_the_order_of_the_data_set(dataset: Dataset) -> None:
    seen = users(loader(dataset, shuffle=False))
    assert seen == sorted(seen)


def test_batches_keep_to_their_budgets_and_say_their_longest_rows(dataset: Dataset) -> None:
    batches = list(loader(dataset, batch_users=5, batch_events=120))
    assert any(batch.inputs.num_users > 1 for batch in batches)
    for inputs, targets in batches:
        assert inputs.num_users <= 5
        assert inputs.num_events <= 120 or inputs.num_users == 1
        assert inputs.max_sessions == int(inputs.user_offsets.diff().max())
        assert inputs.max_events == int(inputs.session_offsets.diff().max())
        assert targets.user_Q.tolist() == sorted(targets.user_Q.tolist())
        assert set(targets.user_Q.tolist()) == set(range(inputs.num_users))
        assert bool((targets.positives.offsets.diff() > 0).all())


def test_batches_are_not_smaller_than_the_budget_asks_for(dataset: Dataset) -> None:
    # In the order of the data set and one window, a batch ends only because the next user would not fit.
    batches = list(loader(dataset, batch_users=None, batch_events=120, shuffle=False, window_events=10**9))
    for one, other in pairwise(batches):
        first = int(other.inputs.session_offsets[other.inputs.user_offsets[1]])
        assert one.inputs.num_events + first > 120


def test_batches_are_those_of_like_length(dataset: Dataset) -> None:
    def padded(**loading: Any) -> int:
        batches = loader(dataset, window_events=10**9, **loading)
        return sum(batch.inputs.num_users * batch.inputs.max_sessions for batch in batches)

    assert padded() < 0.8 * padded(shuffle=False)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_the_batches_of_one_epoch_equally(dataset: Dataset, world_size: int) -> None:
    alone = Counter(keys(loader(dataset)))
    shares = [keys(loader(dataset, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    together = Counter(batch for share in shares for batch in share)
    assert set(together) == set(alone)
    # Each window is filled up by repeats to a multiple of the ranks.
    windows = 1 + max(place["window"] for place in _places(dataset))
    assert 0 <= sum(together.values()) - sum(alone.values()) <= windows * (world_size - 1)


def test_ranks_without_shuffling_share_without_a_repeat(dataset: Dataset) -> None:
    alone = Counter(keys(loader(dataset, shuffle=False)))
    shares = [keys(loader(dataset, shuffle=False, rank=rank, world_size=3)) for rank in range(3)]
    assert Counter(batch for share in shares for batch in share) == alone


def _places(dataset: Dataset) -> Iterator[dict[str, Any]]:
    source = loader(dataset)
    for _ in source:
        yield source.state_dict()


def test_the_same_seed_repeats_and_another_seed_or_epoch_does_not(dataset: Dataset) -> None:
    source = loader(dataset)
    first, second = keys(source), keys(source)
    assert source.epoch == 2
    assert keys(loader(dataset)) == first
    assert first != second
    assert keys(loader(dataset, seed=1)) != first
    assert sorted(users(loader(dataset, seed=1))) == sorted(users(loader(dataset)))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_an_epoch_of_several_passes_asks_everyone_each_time_in_another_order(dataset: Dataset, share: float) -> None:
    once = users(loader(dataset, users_share=share))
    source = loader(dataset, users_share=share, passes=3)
    first, second = users(source), users(source)
    assert source.epoch == 2
    thirds = [first[start : start + len(once)] for start in range(0, len(first), len(once))]
    assert [sorted(third) for third in thirds] == [sorted(once)] * 3
    assert len({tuple(third) for third in thirds}) == 3
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 3), (2, 5)])
def test_a_run_cut_anywhere_goes_on_with_the_identical_rest(
    dataset: Dataset, before: int, after: int, passes: int
) -> None:
    whole = loader(dataset, passes=passes)
    want = [*keys(whole), *keys(whole)]
    per_epoch = len(keys(loader(dataset, passes=passes)))
    for cut in (0, 1, 4, per_epoch - 1, per_epoch, per_epoch + 2):
        source = loader(dataset, prefetch=before, passes=passes)
        done: list[Any] = []
        while len(done) < cut:
            done += keys(islice(source, cut - len(done)))
        state = source.state_dict()
        resumed = loader(dataset, prefetch=after, passes=passes)
        resumed.load_state_dict(dict(state))
        assert resumed.state_dict() == state
        rest: list[Any] = []
        while resumed.epoch < 2:
            rest += keys(resumed)
        assert done + rest == want, cut


def test_making_batches_ahead_changes_nothing(dataset: Dataset) -> None:
    assert keys(loader(dataset, prefetch=3)) == keys(loader(dataset, prefetch=0))


def no_thread_is_left() -> bool:
    return not any(thread.name == "sessionrec-loader" for thread in threading.enumerate())


@pytest.mark.parametrize("prefetch", [1, 4])
def test_an_abandoned_epoch_leaves_no_thread(dataset: Dataset, prefetch: int) -> None:
    for batch in loader(dataset, prefetch=prefetch):
        assert batch.inputs.num_users
        assert not no_thread_is_left(), "there must be one to leave behind"
        break
    assert no_thread_is_left()
    iterator = iter(loader(dataset, prefetch=prefetch))
    next(iterator)
    del iterator
    assert no_thread_is_left()
    list(loader(dataset, prefetch=prefetch))
    assert no_thread_is_left()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_while_reading_reaches_the_caller_after_the_batches_before_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, prefetch: int
) -> None:
    want = keys(loader(dataset))
    real, count = Dataset.read, 0

    def read(self: Dataset, group: RowGroup) -> Histories:
        nonlocal count
        count += 1
        if count > 4:
            raise OSError("the disk is on fire")
        return real(self, group)

    monkeypatch.setattr(Dataset, "read", read)
    got = []
    source = loader(dataset, prefetch=prefetch)
    with pytest.raises(OSError, match="on fire"):
        for batch in source:
            got += keys([batch])
    assert 0 < len(got) < len(want)
    assert got == want[: len(got)]
    assert no_thread_is_left()
    # Once the disk is mended, it goes on where it was.
    monkeypatch.setattr(Dataset, "read", real)
    assert keys(source) == want[len(got) :]


def test_budgets_and_ranks_that_cannot_be_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="are both None"):
        loader(dataset, batch_users=None)
    for rank, world_size in ((1, 1), (-1, 2), (2, 2)):
        with pytest.raises(ValueError, match="`rank` must be in"):
            loader(dataset, rank=rank, world_size=world_size)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_view_without_a_question_is_an_error_once_and_not_an_endless_loop(
    tmp_path: Path, prefetch: int, shuffle: bool
) -> None:
    rows = [Row(user=user, item=1, time_ms=T0) for user in range(5)]
    with prepare(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE)) as prepared:
        write_dataset(tmp_path, prepared, Storage(), {})
    dataset = Dataset(tmp_path)
    how = {"prefetch": prefetch, "shuffle": shuffle}
    for _ in range(2):
        with pytest.raises(EmptyDatasetError, match=r"predict with one before it in the part 'test'.*`ask_first`"):
            list(loader(dataset, view=View(part="test"), **how))
    # One rank says it, the others just end.
    with pytest.raises(EmptyDatasetError):
        list(loader(dataset, rank=0, world_size=2, **how))
    assert list(loader(dataset, rank=1, world_size=2, **how)) == []
    assert users(loader(dataset, view=View(part="test", ask_first=True), shuffle=False)) == [0, 1, 2, 3, 4]
    assert no_thread_is_left()


def test_a_loader_at_the_end_of_an_epoch_that_had_batches_is_not_empty(dataset: Dataset) -> None:
    source = loader(dataset)
    states = [source.state_dict() for _ in source]
    resumed = loader(dataset)
    resumed.load_state_dict(states[-1])
    assert list(resumed) == []
    assert resumed.epoch == 1
    assert keys(resumed) == keys(source)


def test_a_share_of_the_batches_may_be_empty(dataset: Dataset) -> None:
    # More ranks than batches, and no repeats: the last ones have nothing to do.
    shares = [
        users(loader(dataset, rank=rank, world_size=3, shuffle=False, batch_users=1000, window_events=10**9))
        for rank in range(3)
    ]
    assert shares[0]
    assert shares[1:] == [[], []]


def test_held_out_questions_under_a_cap_have_a_row_each(tmp_path: Path) -> None:
    # Sessions 0..5 of three users; from 3 on they test, so each user has three questions.
    rows = [Row(user=u, item=n, time_ms=T0 + n * 10_000, session=n) for u in range(3) for n in range(6)]
    split = GlobalTime(validation_from="2024-01-01T00:00:20", test_from="2024-01-01T00:00:30")
    with prepare(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE, split=split)) as prepared:
        write_dataset(tmp_path, prepared, Storage(), {})
    dataset = Dataset(tmp_path)
    whole = next(iter(loader(dataset, view=View(part="test"), shuffle=False)))
    assert whole.inputs.user_index_B.tolist() == [0, 1, 2]
    assert whole.targets.user_Q.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    view = View(part="test", truncation=Truncation(max_sessions=2))
    capped = next(iter(loader(dataset, view=view, shuffle=False, batch_users=9)))
    assert capped.inputs.user_index_B.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert capped.inputs.user_offsets.diff().tolist() == [2] * 9
    assert capped.targets.user_Q.tolist() == list(range(9))
    assert capped.targets.num_before_Q.tolist() == [2] * 9
    assert capped.targets.time_ms_Q.tolist() == whole.targets.time_ms_Q.tolist()
    assert capped.targets.positives.values.tolist() == whole.targets.positives.values.tolist()


def test_tensors_can_be_written_to(dataset: Dataset) -> None:
    # Views of a memory map would not be; and torch would warn, which is an error here.
    batch = next(iter(loader(dataset)))
    for name in ("user_index_B", "session_time_ms_S", "item_E", "time_ms_E"):
        getattr(batch.inputs, name).add_(0)
    batch.targets.time_ms_Q.add_(0)


def test_the_state_of_one_rank_is_the_state_of_all(dataset: Dataset) -> None:
    def ranks() -> list[Loader]:
        return [loader(dataset, rank=rank, world_size=3) for rank in range(3)]

    whole = [keys(one) for one in ranks()]
    begun = ranks()
    done = [keys(islice(one, 4)) for one in begun]
    states = [one.state_dict() for one in begun]
    assert states[0] == states[1] == states[2]
    resumed = ranks()
    for one in resumed:
        one.load_state_dict(states[0])
    assert [first + keys(one) for first, one in zip(done, resumed, strict=True)] == whole


def test_the_state_of_another_loader_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    state = loader(dataset, prefetch=0).state_dict()
    loader(dataset, prefetch=3).load_state_dict(state)  # reading ahead changes no batch
    rows = [Row(user=1, item=1, time_ms=T0 + n, session=n) for n in range(5)]
    with prepare(log_of(rows), Preparation(session=NativeRule(), filter=LOOSE)) as prepared:
        write_dataset(tmp_path, prepared, Storage(), {})
    others = {
        "seed": loader(dataset, seed=1),
        "view": loader(dataset, view=View(unit="event")),
        "batch": loader(dataset, batch_users=8),
        "world": loader(dataset, world_size=2),
        "data": loader(Dataset(tmp_path)),
    }
    for other in others.values():
        with pytest.raises(ValueError, match="another data set, view, batch size, seed or world size"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="another data set"):
        loader(dataset).load_state_dict({})
