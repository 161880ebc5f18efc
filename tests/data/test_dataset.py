"""From a log to the disk and back: nothing is lost, nothing is copied, and the sizes of things change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from sessionrec.data import layout
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader, Loading
from sessionrec.data.view import View
from sessionrec.data.writer import Storage, _Shards, dataset_writer, write_dataset
from sessionrec.errors import ArtifactError, LogError
from sessionrec.logs import TableConfig
from sessionrec.logs.base import Log
from sessionrec.logs.synthetic.planted import PlantedConfig
from sessionrec.pipeline import DataConfig
from sessionrec.pipeline import prepare as prepare_dataset
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.polars_engine import PolarsEngine
from sessionrec.sessions.prepare import Preparation, prepare
from sessionrec.sessions.rule import EqualTimeRule, NativeRule
from tests.helpers import CONTEXT, T0, Plain, Row, batch_keys, histories_of, log_of, plain_histories, tree_of

HOW = Preparation(session=NativeRule(), num_bins=5)


def random_log(num_events: int = 3000, seed: int = 1, *, as_text: bool = True) -> Log:
    rng = np.random.default_rng(seed)
    drawn = zip(*(rng.integers(0, high, num_events).tolist() for high in (60, 40, 400)), strict=True)
    rows = [
        Row(
            user=f"u{u}\u00f8" if as_text else u,
            item=f"i{i}" if as_text else i,
            time_ms=T0 + t * 1000,
            action=t % 4,
            session=f"s{t // 50}",
            weight=t % 7,
            device=["phone", "desk", None][i % 3],
            price=float(t),
        )
        for u, i, t in drawn
    ]
    return log_of(rows, context=CONTEXT, has_weight=True)


def write(path: Path, log: Log, how: Preparation = HOW, **storage: Any) -> Dataset:
    with prepare(log, how) as prepared:
        write_dataset(path, prepared, Storage(**storage), how.model_dump(mode="json"))
    return Dataset(path)


def whole(histories: list[Histories]) -> dict[str, Any]:
    """All arrays of all users, one after the other."""
    arrays: dict[str, Any] = {"user": [user for some in histories for user in some.user_U.to_list()]}
    for name in ("user_offsets", "session_offsets"):
        arrays[name] = np.concatenate([np.diff(getattr(some, name)) for some in histories]).tolist()
    for name in ("session_time_ms_S", "part_S", "item_E", "action_E", "time_ms_E", "weight_E"):
        arrays[name] = np.concatenate([getattr(some, name) for some in histories])
        arrays[name] = (arrays[name].dtype, arrays[name].tolist())
    for name in histories[0].features:
        values = np.concatenate([some.features[name] for some in histories])
        arrays[f"feature {name}"] = (values.dtype, values.tolist())
    return arrays


def everything(dataset: Dataset) -> dict[str, Any]:
    """All that a data set says, but for times, random names and the cut into files."""
    body = {key: value for key, value in dataset.body.items() if key not in ("row_groups", "config")}
    tables = {"items": dataset.items.to_dict(as_series=False), "values": dataset.vocabularies.to_dict(as_series=False)}
    return whole(list(dataset.histories())) | tables | {"body": body}


@pytest.mark.parametrize("as_text", [True, False])
def test_what_is_read_is_what_was_in_memory(tmp_path: Path, as_text: bool) -> None:
    log = random_log(as_text=as_text)
    dataset = write(tmp_path, log, events_per_row_group=200)
    with prepare(log, HOW) as prepared:
        assert whole(list(dataset.histories())) == whole(list(prepared.histories()))
        assert dataset.items.equals(prepared.catalogue.frame)
        assert dataset.summary == prepared.summary
        assert dataset.num_candidates == prepared.catalogue.num_candidates
        sizes = {table.name: table.size for table in prepared.features}
    assert dataset.context_features == sizes
    assert dataset.item_features == {}
    assert dataset.num_items == len(dataset.items)
    assert dataset.num_users == sum(some.num_users for some in dataset.histories())
    assert dataset.actions == ("liked", "bought")
    for name, size in sizes.items():
        codes = np.concatenate([some.features[name] for some in dataset.histories()])
        assert codes.max() < size


@pytest.mark.parametrize("num_partitions", [1, 4, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_or_disk_partitions_and_threads_give_the_same_files_and_batches(
    tmp_path: Path, num_partitions: int, threads: int
) -> None:
    log = random_log(2000)
    storage: dict[str, Any] = {"events_per_row_group": 150, "events_per_shard": 500}
    one = write(tmp_path / "memory", log, **storage)
    engine = PolarsEngine(rows_in_memory=100, num_partitions=num_partitions, threads=threads, scratch=tmp_path)
    other = write(tmp_path / "disk", log, HOW.model_copy(update={"engine": engine}), **storage)
    assert everything(other) == everything(one)
    assert len(one.row_groups) > 8
    assert other.row_groups == one.row_groups
    assert other.digest == one.digest
    assert other.manifest.files == one.manifest.files
    for name in one.manifest.files:
        ours, theirs = (data.path / data.manifest.content / name for data in (one, other))
        assert ours.read_bytes() == theirs.read_bytes(), name
    loading = Loading(batch_users=5, window_events=400, prefetch=0)
    batches, again = (batch_keys(Loader(data, View(), loading, seed=1)) for data in (one, other))
    assert len(batches) > 8
    assert again == batches
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "memory"]  # the scratch folder is gone


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=40), st.lists(st.integers(1, 8), min_size=1), st.integers(1, 60)
)
def test_row_groups_do_not_show_where_the_partitions_ended(events: list[int], partitions: list[int], most: int) -> None:
    listed = [(u, 0, 0, [(1, 1, n) for n in range(count)]) for u, count in enumerate(events)]
    histories = histories_of(listed)

    def cut(sizes: list[int]) -> list[Any]:
        with TemporaryDirectory() as folder, dataset_writer(Path(folder) / "out") as writer:
            with _Shards(writer, Storage(events_per_row_group=most, events_per_shard=100), []) as shards:
                start = 0
                for size in sizes:
                    shards.add(histories.users(start, min(start + size, len(events))))
                    start = min(start + size, len(events))
                shards.finish()
            return shards.row_groups

    sizes = [size for size in partitions for _ in range(len(events))]
    whole = cut([len(events)])
    assert cut(sizes) == whole
    assert sum(group["users"] for group in whole) == len(events)
    for group, after in zip(whole, [*whole[1:], None], strict=True):
        assert group["events"] <= most or group["users"] == 1
        if after is not None:
            nxt = sum(one["users"] for one in whole[: whole.index(after)])
            assert group["events"] + events[nxt] > most  # full: the next user would not fit


@pytest.mark.parametrize(("group", "shard"), [(1, 1), (100, 300), (10**6, 1), (300, 10**9)])
def test_the_cut_into_files_and_row_groups_changes_nothing(tmp_path: Path, group: int, shard: int) -> None:
    log = random_log(1500)
    want = everything(write(tmp_path / "one", log))
    dataset = write(tmp_path / "cut", log, events_per_row_group=group, events_per_shard=shard)
    assert everything(dataset) == want
    for entry, histories in zip(dataset.row_groups, dataset.histories(), strict=True):
        assert (entry.users, entry.sessions, entry.events) == (
            histories.num_users,
            histories.num_sessions,
            histories.num_events,
        )
        assert entry.events <= group or entry.users == 1
    firsts = [entry.first_user for entry in dataset.row_groups]
    assert firsts == [sum(entry.users for entry in dataset.row_groups[:n]) for n in range(len(firsts))]
    per_file: dict[str, int] = {}
    for entry in dataset.row_groups:
        assert per_file.get(entry.file, 0) < shard  # a file ends once it is full
        per_file[entry.file] = per_file.get(entry.file, 0) + entry.events


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    log = random_log(2000)
    engine = PolarsEngine(rows_in_memory=100, num_partitions=8, threads=2)
    how = HOW.model_copy(update={"engine": engine})
    one, two = (write(tmp_path / name, log, how, events_per_shard=500) for name in ("one", "two"))
    assert list(one.manifest.files) == list(two.manifest.files)
    for name in one.manifest.files:
        ours, theirs = (data.path / data.manifest.content / name for data in (one, two))
        assert ours.read_bytes() == theirs.read_bytes(), name
    trees = [json.loads((data.path / "manifest.json").read_text()) for data in (one, two)]
    for tree in trees:
        del tree["created"], tree["content"]
    assert trees[0] == trees[1]


def test_a_table_shares_its_memory_with_the_arrays(tmp_path: Path) -> None:
    dataset = write(tmp_path, random_log(1000))
    with prepare(random_log(1000), HOW) as prepared:
        made = next(prepared.histories())
    table = layout.to_arrow(made)
    read = layout.from_arrow(table, list(dataset.context_features))
    for name in ("user_offsets", "session_offsets", "session_time_ms_S", "part_S", "item_E", "action_E", "time_ms_E"):
        assert np.shares_memory(getattr(made, name), getattr(read, name)), name
    assert np.shares_memory(made.features["price"], read.features["price"])


def test_reading_copies_nothing_of_what_parquet_decoded(tmp_path: Path) -> None:
    dataset = write(tmp_path, random_log(1000), events_per_row_group=300)
    before = pa.total_allocated_bytes()
    histories = dataset.read(dataset.row_groups[0])
    arrays: list[Any] = [
        histories.item_E,
        histories.action_E,
        histories.time_ms_E,
        histories.part_S,
        *histories.features.values(),
    ]
    assert not any(array.flags.owndata for array in arrays)
    assert not any(array.flags.writeable for array in arrays)
    assert pa.total_allocated_bytes() - before >= sum(array.nbytes for array in arrays)


def little() -> tuple[Histories, Plain]:
    listed = [
        (7, 0, 10, [(1, 1, 10), (2, 0, 11)]),
        (7, 2, 20, [(3, 3, 20)]),
        (8, 2, 30, [(1, 1, 30)]),
    ]
    histories = histories_of(listed)
    return histories, plain_histories(histories, list(range(9)))


def test_a_slice_of_a_table_is_the_users_in_it() -> None:
    histories, plain = little()
    for start, stop in ((0, 1), (1, 2), (0, 2), (1, 1)):
        part = layout.from_arrow(layout.to_arrow(histories).slice(start, stop - start), [])
        assert plain_histories(part, list(range(9))) == plain[start:stop]


def test_another_engines_narrow_offsets_are_read_alike() -> None:
    histories, plain = little()
    table = layout.to_arrow(histories)
    event = pa.struct([("item", pa.int32()), ("action", pa.uint16()), ("time_ms", pa.int64())])
    session = pa.struct([("time_ms", pa.int64()), ("part", pa.uint8()), ("events", pa.list_(event))])
    narrow = pa.table(
        {
            "user_id": table.column("user_id"),
            "sessions": pa.array(table.column("sessions").to_pylist(), pa.list_(session)),
        }
    )
    assert plain_histories(layout.from_arrow(narrow, []), list(range(9))) == plain


def test_a_feature_may_have_the_name_of_a_column_of_ours() -> None:
    histories, _ = little()
    named = Histories(
        **{name: getattr(histories, name) for name in histories.__dataclass_fields__}
        | {"features": {"item": np.arange(4, dtype=np.int32)}}
    )
    read = layout.from_arrow(layout.to_arrow(named), ["item"])
    assert read.features["item"].tolist() == [0, 1, 2, 3]
    assert read.item_E.tolist() == [1, 2, 3, 1]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"no column 'feature\.colour'"):
        layout.from_arrow(layout.to_arrow(little()[0]), ["colour"])


def test_a_missing_shard_is_named_when_the_data_set_is_opened(tmp_path: Path) -> None:
    dataset = write(tmp_path, random_log(1000), events_per_row_group=50, events_per_shard=100)
    file = tmp_path / dataset.manifest.content / "users-00001.parquet"
    file.unlink()
    with pytest.raises(ArtifactError, match=r"users-00001\.parquet"):
        Dataset(tmp_path)


def test_content_replaced_while_it_was_open_says_so(tmp_path: Path) -> None:
    dataset = write(tmp_path, random_log(1000))
    write(tmp_path, random_log(1000, seed=2))
    for read in READS.values():
        with pytest.raises(ArtifactError, match="was replaced while it was open; open it again"):
            read(dataset)
    assert list(Dataset(tmp_path).histories())


def all_users(dataset: Dataset) -> object:
    return list(dataset.histories())


READS: dict[str, Callable[[Dataset], object]] = {
    "users-00000.parquet": all_users,
    "items.parquet": lambda dataset: dataset.items,
    "vocabularies.parquet": lambda dataset: dataset.vocabularies,
}


@pytest.mark.parametrize("name", READS)
def test_damaged_content_of_the_right_size_is_an_artifact_error(tmp_path: Path, name: str) -> None:
    dataset = write(tmp_path, random_log(1000))
    file = tmp_path / dataset.manifest.content / name
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(ArtifactError, match=r"damaged, cannot be read: .*; prepare it again"):
        READS[name](dataset)


def test_a_refused_folder_is_noticed_before_the_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    stages: list[object] = []
    with pytest.raises(ArtifactError, match=r"thesis\.txt"):
        prepare_dataset(DataConfig(log=PlantedConfig(num_users=40)), tmp_path, lambda *seen: stages.append(seen))
    assert stages == []
    assert tree_of(tmp_path) == ["thesis.txt"]


def test_a_log_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "user,item,time\n" + "".join(f"{u},{n % 5},{1_700_000_000 + n * 100}\n" for u in range(9) for n in range(20))
    )
    config = DataConfig(log=TableConfig(path=file), session=EqualTimeRule())
    out = tmp_path / "out"
    before = prepare_dataset(config, out).manifest

    def append(stage: str, done: int, of: int | None) -> None:
        if stage == "read":
            with file.open("a") as log:
                log.write("1,1,1700009999\n")

    for folder in (out, tmp_path / "new"):
        with pytest.raises(LogError, match="its files changed while they were read; prepare again"):
            prepare_dataset(config, folder, append)
    assert not (tmp_path / "new").exists()
    with pytest.raises(LogError, match="its files changed"):
        prepare_dataset(config, out, lambda stage, *_: file.unlink() if stage == "read" else None)
    assert Dataset(out).manifest == before


def test_a_config_makes_a_data_set_and_the_manifest_keeps_it(tmp_path: Path) -> None:
    config = DataConfig(log=PlantedConfig(num_users=40), session=NativeRule())
    stages: list[tuple[str, int, int | None]] = []
    dataset = prepare_dataset(config, tmp_path / "planted", lambda *seen: stages.append(seen))
    assert DataConfig.model_validate_json(json.dumps(dataset.body["config"])) == config
    # 40 users x 8 sessions x (5 positives + 5 exposures); nothing is so rare that a filter takes it.
    assert dataset.summary.rows_read == 40 * 8 * 10
    assert dataset.summary.positives_read == 40 * 8 * 5
    assert {name: part.sessions for name, part in dataset.summary.parts.items()} == {
        "train": 40 * 6,
        "validation": 40,
        "test": 40,
    }
    assert {stage for stage, *_ in stages} == {"read", "split", "write"}
    assert stages[-1] == ("write", dataset.summary.kept.events, dataset.summary.kept.events)
