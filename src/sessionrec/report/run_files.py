"""What a run folder holds, read without torch: model, training curve, evaluation, index.

    RUN/model           artifact: config, data set, how the model was chosen
    RUN/metrics.jsonl   one line an epoch
    RUN/evaluation      artifact: an `EvalReport` of each system, and some users to read
    RUN/`LIVE`          the same kind, asked with what a stream tells
    RUN/index           artifact: figures of the index

All but the model may be missing; what is there must be whole. Unknown entries are other people's and are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from pydantic import ConfigDict, Field, ValidationError

from sessionrec.artifacts import MANIFEST, Manifest, read_manifest
from sessionrec.errors import ArtifactError
from sessionrec.report.bootstrap import FloatArray
from sessionrec.report.run_facts import DatasetFacts, IndexFacts, ModelFacts, Read

# As `pipeline.runs` names it.
LIVE: Final = "evaluation-test-session-kept-stream"
# As `evaluate.report` names them; importing it would load torch.
NUM_BEFORE: Final = "num_before"
WEIGHT: Final = "weight"
ASKED: Final = ("user_index", "num_questions", "num_targets")
_PLAIN: Final = (*ASKED, NUM_BEFORE, WEIGHT)

T = TypeVar("T", bound="Read")
V = TypeVar("V")
Row = dict[str, float | int | str | None]


class Epoch(Read):
    """One line of `metrics.jsonl`."""

    epoch: int
    step: int
    total: float
    retrieval: float
    rank: float
    validation: float
    learning_rate: float | None = None
    events_per_s: float | None = None
    seconds: float | None = None
    validation_metrics: dict[str, float] = Field(default_factory=dict)


class Predicted(Read):
    """An item of a list, best first."""

    name: str
    score: float
    is_hit: bool
    is_seen: bool


class Came(Read):
    """A target and its rank; None = it could not be found."""

    name: str
    rank: int | None = None


class Visit(Read):
    """A session of the history."""

    time: str
    positives: list[str]
    shown: list[str]


class NextVisit(Read):
    """The session that was to be predicted."""

    time: str
    positives: list[Came]
    shown: list[str]


class Example(Read):
    """A user to read."""

    user: str
    num_sessions: int
    history: list[Visit]
    predicted: list[Predicted]
    came: NextVisit


class System(Read):
    """The report of one system; `users` stands beside it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    protocol: dict[str, Any]
    protocol_in_words: dict[str, str]
    metrics: dict[str, float]
    num_users: int
    num_questions: int
    num_targets: int
    num_candidates: int
    target_coverage: float
    num_in_session_users: int
    lists: dict[str, float | None]
    by_history: list[Row]
    by_popularity: list[Row]
    users: pl.DataFrame = Field(repr=False)
    seconds: float | None = None
    choice: dict[str, Any]
    about: dict[str, Any] = Field(default_factory=dict)

    @property
    def ks(self) -> list[int]:
        """Lengths of the list at which metrics are taken."""
        return list(self.protocol["ks"])

    @property
    def is_floor(self) -> bool:
        """Whether this is something a model has to beat: its report names no model."""
        return "model" not in self.about

    @property
    def is_retrieved(self) -> bool:
        """Whether this is the model answering through its retriever, not scoring every candidate."""
        return not self.is_floor and "retrieval" in self.about

    def values(self, metric: str) -> FloatArray:
        """[U] one metric of every user; NaN = has none."""
        values: FloatArray = self.users[metric].to_numpy().astype(np.float64)
        return values


class _EvaluationBody(Read):
    part: str
    systems: list[str]
    files: dict[str, str]
    choices: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model: str
    dataset: DatasetFacts
    seconds: dict[str, float] = Field(default_factory=dict)


class Evaluation(Read):
    """All systems on the same questions, the model first; one with a prior is followed by itself without, then the
    model retrieved, then floors."""

    part: str
    systems: list[System]
    examples: list[Example]
    model: str
    dataset: DatasetFacts
    created: str

    @property
    def has_prior(self) -> bool:
        """Whether the model is followed by itself without its prior."""
        judged = self.judged(self.systems)
        return len(judged) > 1 and not judged[1].is_floor

    def judged(self, rows: Sequence[V]) -> list[V]:
        """Of one row a system, those of the model, of it without its prior, and of the floors."""
        return [row for row, system in zip(rows, self.systems, strict=True) if not system.is_retrieved]


class Run(Read):
    """All of it."""

    path: Path
    model: ModelFacts
    created: str
    versions: dict[str, str]
    epochs: list[Epoch]
    unreadable_lines: int
    """Lines of `metrics.jsonl` that a killed run left torn."""
    evaluation: Evaluation | None
    live: Evaluation | None
    """Of the same part, asked as a live system is."""
    index: IndexFacts | None


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        ArtifactError: There is no model, or a part that is there is not whole.
    """
    manifest = read_manifest(path / "model", kind="model", format=1)
    epochs, torn = _epochs(path / "metrics.jsonl")
    return Run(
        path=path,
        model=_checked(ModelFacts, manifest.body, path / "model" / MANIFEST, "train the model again"),
        created=manifest.created,
        versions=manifest.versions,
        epochs=epochs,
        unreadable_lines=torn,
        evaluation=_evaluation(path / "evaluation"),
        live=_live(path / LIVE),
        index=_index(path / "index"),
    )


def _epochs(path: Path) -> tuple[list[Epoch], int]:
    """The last line of each epoch: a resumed run says an epoch again."""
    if not path.is_file():
        return [], 0
    found: dict[int, Epoch] = {}
    torn = 0
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            tree = json.loads(line)
        except ValueError:
            torn += 1
            continue
        epoch = _checked(Epoch, tree, path, "train again", f"line {number}: ")
        found[epoch.epoch] = epoch
    return [found[epoch] for epoch in sorted(found)], torn


def _evaluation(path: Path) -> Evaluation | None:
    manifest = _manifest(path, "evaluation")
    if manifest is None:
        return None
    again = "evaluate again"
    body = _checked(_EvaluationBody, manifest.body, path / MANIFEST, again)
    systems = [_system(path, manifest, body, name) for name in body.systems]
    if not systems:
        raise ArtifactError(f"{path}: the evaluation has no system; {again}")
    first = systems[0]
    for other in systems[1:]:
        if first.protocol != other.protocol or not _is_asked_the_same(first.users, other.users):
            raise ArtifactError(
                f"{path}: {first.name!r} and {other.name!r} were not asked the same: protocol, users or targets "
                f"differ; {again}"
            )
    examples = _json(path / manifest.content / "examples.json", again)
    if not isinstance(examples, list):
        raise ArtifactError(f"{path}: `examples.json` must be a list; {again}")
    return Evaluation(
        part=body.part,
        systems=systems,
        examples=[_checked(Example, tree, path / "examples.json", again) for tree in examples],
        model=body.model,
        dataset=body.dataset,
        created=manifest.created,
    )


def _live(path: Path) -> Evaluation | None:
    found = _evaluation(path)
    if found is not None and found.systems[0].protocol.get("known") != "stream":
        raise ArtifactError(f"{path}: was not asked with `protocol.known=stream`; evaluate again with it")
    return found


def _system(path: Path, manifest: Manifest, body: _EvaluationBody, name: str) -> System:
    again = "evaluate again"
    file = body.files.get(name, "")
    table = str(Path(file).with_suffix(".parquet")) if file else ""
    # Only what the manifest names is read, so that no name leads out of the folder.
    if file not in manifest.files or table not in manifest.files:
        raise ArtifactError(f"{path}: the manifest names no files of {name!r}; {again}")
    source = path / manifest.content / file
    tree = _json(source, again)
    if not isinstance(tree, dict):
        raise ArtifactError(f"{source}: not an evaluation report; {again}")
    try:
        users = pl.read_parquet(source.with_suffix(".parquet"))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{source.with_suffix('.parquet')}: cannot be read: {error}; {again}") from error
    missing = set(_PLAIN) - set(users.columns)
    if missing:
        raise ArtifactError(f"{source.with_suffix('.parquet')}: has no column {min(missing)!r}; {again}")
    more = {"name": name, "users": users, "seconds": body.seconds.get(name), "choice": body.choices.get(name, {})}
    return _checked(System, tree | more, source, again)


def _is_asked_the_same(first: pl.DataFrame, other: pl.DataFrame) -> bool:
    # A metric is asked of a user or not, whatever the system: NaN must stand in the same places. Not so the length of a
    # history, which an item-level model counts in events.
    return (
        first.columns == other.columns
        and first.select(ASKED).equals(other.select(ASKED))
        and first.drop(_PLAIN).select(pl.all().is_nan()).equals(other.drop(_PLAIN).select(pl.all().is_nan()))
    )


def _index(path: Path) -> IndexFacts | None:
    manifest = _manifest(path, "index")
    return None if manifest is None else _checked(IndexFacts, manifest.body, path / MANIFEST, "make the index again")


def _manifest(path: Path, kind: str) -> Manifest | None:
    return read_manifest(path, kind=kind, format=1) if (path / MANIFEST).is_file() else None


def _json(path: Path, again: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}; {again}") from error


def _checked(kind: type[T], tree: Any, path: Path, again: str, where: str = "") -> T:
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        told = first["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, first["loc"])) or "it"
        raise ArtifactError(f"{path}: {where}{place}: {told[:1].lower()}{told[1:]}; {again}") from None
