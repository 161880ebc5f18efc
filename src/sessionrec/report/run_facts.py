"""What the manifests of a run say: how the model was chosen, its prior, its index."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

# As `prior.calibrate` names them, which loads torch.
MODEL: Final = "model"
BY_EXPERIENCE: Final = "model by experience"


class Read(BaseModel):
    """Part of a file; strict about what is asked of it."""

    # Not a `Config`: an artifact may say more than this page shows.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())


class DatasetFacts(Read):
    """The data set, as a run remembers it."""

    name: str
    path: str
    digest: str
    num_users: int
    num_items: int
    num_candidates: int
    kept: dict[str, Any]
    session_rule: str | None = None
    split_rule: str | None = None

    @property
    def has_one_clock(self) -> bool:
        """Whether the parts are periods, the same for all users; told by the words of `data.ledger.split_rule`."""
        return self.split_rule is not None and self.split_rule.startswith("validation from ")


class Selection(Read):
    """How the weights were chosen."""

    metric: str
    best_value: float
    best_epoch: int
    epochs: int
    stopped: str


class PriorSettings(Read):
    """What of a prior's config the page needs."""

    hidden: int = Field(ge=0)


class PriorWeights(Read):
    """Weights for one purpose: to find items, or to order a list."""

    weights: dict[str, FiniteFloat]
    scale: FiniteFloat
    trust: FiniteFloat
    contribution: dict[str, FiniteFloat]

    @model_validator(mode="after")
    def _is_of_the_weights(self) -> Self:
        if odd := set(self.contribution) ^ set(self.all_weights):
            raise ValueError(f"contribution and weights are not of the same features: only one has {min(odd)!r}")
        return self

    @property
    def all_weights(self) -> dict[str, float]:
        """Those of the features and those of the model's score."""
        return self.weights | {MODEL: self.scale, BY_EXPERIENCE: self.trust}


class PriorFacts(Read):
    """A prior, as the model's manifest keeps it; see `prior.calibrate.Fitted`."""

    config: PriorSettings
    has_shown: bool
    find: PriorWeights
    order: PriorWeights | None
    has_hidden: bool
    loss: FiniteFloat
    loss_linear: FiniteFloat
    loss_without: FiniteFloat
    num_questions: int = Field(ge=0)


class ModelFacts(Read):
    """The body of the model's manifest."""

    config: dict[str, Any]
    preset: str | None = None
    dataset: DatasetFacts
    fingerprint: str
    parameters: int
    selection: Selection
    seconds: float
    machine: dict[str, Any]
    seed: int
    prior: PriorFacts | None = None
    prior_seconds: float | None = None


class QualityFacts(Read):
    """Figures of an index; see `index.quality.Quality`."""

    kind: str
    is_scanned: bool = False
    num_items: int
    dimension: int
    num_queries: int
    k: int
    recall: float
    build_s: float
    bytes_per_item: float
    latency_median_ms: float
    latency_p99_ms: float
    exact_latency_median_ms: float
    batch_queries_per_s: float


class FoundFacts(Read):
    """What is found of the whole score; see `recommend.retrieval.Found`."""

    k: int
    num_questions: int
    recall: FiniteFloat
    ms_a_question: FiniteFloat
    exact_ms_a_question: FiniteFloat


class IndexFacts(Read):
    """The body of the index's manifest."""

    config: dict[str, Any]
    quality: QualityFacts | None = None
    found: FoundFacts | None = None
    model: str | None = None
