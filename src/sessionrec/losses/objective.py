"""What is minimised (paper 3.7.3, Eq. 10): retrieval + alpha * rank, both over the same pairs.

Letters: B users, Q questions, P positives, N exposures, C negatives, D width, V candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from sessionrec.batch import Examples, Targets
from sessionrec.config import Config
from sessionrec.losses.cloze import draw_hidden
from sessionrec.losses.retrieval import (
    binary_cross_entropy,
    gbce_calibration,
    jagged_logsumexp,
    mask_hits,
    masked_score,
    sampled_cross_entropy,
)
from sessionrec.losses.samplers import Negatives, NegativeSampler, Uniform
from sessionrec.losses.scores import draw_scores, log_sum_exp, pair_scores


class SampledCrossEntropy(Config):
    """Cross-entropy over sampled negatives."""

    kind: Literal["sampled"] = "sampled"
    """Cross-entropy over sampled negatives (Eq. 8)."""
    negatives: Negatives = Uniform()
    """What is drawn."""


class FullCrossEntropy(Config):
    """Cross-entropy over the whole catalogue."""

    kind: Literal["full"] = "full"
    """Cross-entropy over all candidates but the question's other positives; costs Q x V."""


class Bce(Config):
    """Binary cross-entropy, as SASRec."""

    kind: Literal["bce"] = "bce"
    """Binary cross-entropy over sampled negatives."""
    negatives: Negatives = Uniform(number=1, shared="question")
    """What is drawn; SASRec takes one a question."""


class Gbce(Config):
    """Calibrated binary cross-entropy, as gSASRec."""

    kind: Literal["gbce"] = "gbce"
    """Binary cross-entropy calibrated for the share of negatives."""
    negatives: Negatives = Uniform()
    """What is drawn."""
    strength: float = Field(default=0.75, ge=0, le=1)
    """t: 0 is plain BCE, 1 undoes all over-confidence."""


Retrieval = Annotated[SampledCrossEntropy | FullCrossEntropy | Bce | Gbce, Field(discriminator="kind")]


class ObjectiveConfig(Config):
    """Retrieval loss, and the rank loss beside it."""

    retrieval: Retrieval = SampledCrossEntropy()
    """Acted-on items against items drawn at random."""
    alpha: float = Field(default=0.2, ge=0)
    """Weight of the rank loss: acted-on items against those only shown in the same session (paper: 0.2)."""
    mask_share: float = Field(default=0.2, gt=0, lt=1)
    """Of the positions of a history, those hidden at once, where the backbone sees both ways (BERT4Rec: 0.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOutput:
    """A loss and its parts; all are means over the same pairs."""

    total: Tensor
    """Scalar, retrieval + alpha * rank."""
    retrieval: Tensor
    """Scalar."""
    rank: Tensor
    """Scalar; 0 where alpha is 0 or nothing was only shown."""
    num_pairs: int
    """P."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Negatives of a batch."""

    items_RC: Tensor
    """[R, C] item indices, ascending in each row; R is B, 1 or Q, as the sampler shares."""
    log_expected_RC: Tensor | None
    """[R, C] log of how often a row is expected to draw the item, or None if all are equally likely."""
    row_Q: Tensor
    """[Q] which row a question uses."""


class Objective:
    """Computes the loss of a batch.

    Args:
        config: Which loss.
        train_events_V: [V] training events of candidates 1..V.
        generator: For the negatives, and for what is hidden.
    """

    def __init__(self, config: ObjectiveConfig, train_events_V: Tensor, generator: torch.Generator) -> None:
        self._config, self._num_candidates = config, len(train_events_V)
        self.generator = generator
        negatives = None if isinstance(config.retrieval, FullCrossEntropy) else config.retrieval.negatives
        self.sampler = None if negatives is None else NegativeSampler(negatives, train_events_V, generator)

    def asked(self, examples: Examples) -> Examples:
        """What is asked of a batch this time: everything, or in a cloze some of it. Before it moves to a device."""
        if not examples.targets.cloze:
            return examples
        return Examples(examples.inputs, draw_hidden(examples.targets, self._config.mask_share, self.generator))

    def draw(self, targets: Targets, num_users: int) -> Draw:
        """The negatives of a batch; with full cross-entropy the whole catalogue, once."""
        if self.sampler is None:
            items, log_expected = torch.arange(1, self._num_candidates + 1)[None], None
            rows = torch.zeros_like(targets.user_Q)
        elif self.sampler.shared == "user":
            items, log_expected = self.sampler.draw(num_users)
            rows = targets.user_Q
        elif self.sampler.shared == "batch":
            items, log_expected = self.sampler.draw(1)
            rows = torch.zeros_like(targets.user_Q)
        else:
            items, log_expected = self.sampler.draw(targets.num_questions)
            rows = torch.arange(targets.num_questions)
        device = targets.user_Q.device
        return Draw(
            items_RC=items.to(device),
            log_expected_RC=None if log_expected is None else log_expected.to(device),
            row_Q=rows.to(device),
        )

    def items(self, targets: Targets, draw: Draw) -> tuple[Tensor, ...]:
        """The items whose vectors the loss needs, in the order that `loss` takes their places."""
        exposed = [targets.negatives.values] if self._config.alpha else []
        return (targets.positives.values, draw.items_RC, *exposed)

    def loss(
        self, query_QD: Tensor, vectors_UD: Tensor, places: tuple[Tensor, ...], targets: Targets, draw: Draw
    ) -> LossOutput:
        """The loss of a batch.

        Args:
            query_QD: Queries.
            vectors_UD: Vectors of the distinct items.
            places: Places of `items(...)` in them.
            targets: Positives and exposures.
            draw: Negatives.
        """
        question_P = _rows(targets.positives.lengths, len(targets.positives.values))
        positive_scores = pair_scores(query_QD, vectors_UD, places[0], targets.positives.offsets)
        negative_scores = draw_scores(query_QD, vectors_UD, places[1], draw.row_Q)
        if draw.log_expected_RC is not None:
            # logQ: an item drawn often must not be pushed down more often.
            negative_scores = negative_scores - draw.log_expected_RC[draw.row_Q]
        hits = mask_hits(draw.items_RC, draw.row_Q, targets.positives.values, question_P)
        with torch.no_grad():
            # In place and unseen by autograd: nobody keeps the scores, and what is masked has no gradient anyway.
            negative_scores.index_put_(hits, negative_scores.new_full((), masked_score(negative_scores.dtype)))
        retrieval = self._retrieval(self._corrected(positive_scores, targets), negative_scores, question_P)
        rank = retrieval.new_zeros(())
        if self._config.alpha and len(targets.negatives.values):
            question_N = _rows(targets.negatives.lengths, len(targets.negatives.values))
            exposed = pair_scores(query_QD, vectors_UD, places[2], targets.negatives.offsets)
            lse_Q = jagged_logsumexp(exposed, question_N, targets.num_questions)
            rank = sampled_cross_entropy(positive_scores, lse_Q, question_P)
        return LossOutput(
            total=retrieval + self._config.alpha * rank,
            retrieval=retrieval.detach(),
            rank=rank.detach(),
            num_pairs=len(positive_scores),
        )

    def _corrected(self, positive_scores_P: Tensor, targets: Targets) -> Tensor:
        """[P] scores of positives as a binary loss takes them; see `Popular`."""
        if self.sampler is None or isinstance(self._config.retrieval, SampledCrossEntropy):
            return positive_scores_P
        log_expected_P = self.sampler.log_expected(targets.positives.values)
        return positive_scores_P if log_expected_P is None else positive_scores_P - log_expected_P

    def _retrieval(self, positive_scores_P: Tensor, negative_scores_QC: Tensor, question_P: Tensor) -> Tensor:
        config = self._config.retrieval
        if isinstance(config, SampledCrossEntropy | FullCrossEntropy):
            return sampled_cross_entropy(positive_scores_P, log_sum_exp(negative_scores_QC), question_P)
        calibration = 1.0
        if isinstance(config, Gbce):
            calibration = gbce_calibration(config.negatives.number, self._num_candidates, config.strength)
        return binary_cross_entropy(positive_scores_P, negative_scores_QC, question_P, calibration)


def _rows(lengths_Q: Tensor, total: int) -> Tensor:
    return torch.repeat_interleave(lengths_Q, output_size=total)
