"""What the weights of a prior are fitted to: features of positives and of candidates, and the loss over them.

Letters: Q questions, P positives, D draws, X features, the last two of them the model's: its score, and its score
times the item's experience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sessionrec.batch import Examples
from sessionrec.jagged import take_rows
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.draws import Candidates
from sessionrec.prior.features import Features
from sessionrec.prior.items import ItemFeatures
from sessionrec.prior.own import OwnFeatures
from sessionrec.scoring import Ranker, Scorer, top_k

MODEL: Final = 2
"""Columns that are the model's, at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Some questions."""

    positive_PX: Tensor
    """Of positives, by question."""
    draw_DX: Tensor
    """Of candidates, by question; no positive of the question among them."""
    log_expected_D: Tensor
    """[D] log of how often a candidate was expected to be drawn."""
    question_P: Tensor
    """[P] ascending."""
    question_D: Tensor
    """[D] ascending."""
    user_Q: Tensor
    """[Q] place of the user in the data set."""

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self.user_Q)

    def weights(self) -> Tensor:
        """[P] of each pair: users alike, of a user the questions with a positive alike, of these the positives alike;
        they sum to 1."""
        positives_Q = torch.bincount(self.question_P, minlength=self.num_questions)
        _, place_Q = torch.unique(self.user_Q, return_inverse=True)
        questions_U = torch.bincount(place_Q, weights=(positives_Q > 0).float())
        weight_P = 1 / (positives_Q * questions_U[place_Q])[self.question_P]
        return (weight_P / weight_P.sum().clamp_min(1e-30)).float()

    def loss(self, score: Callable[[Tensor], Tensor], weight_P: Tensor) -> Tensor:
        """Weighted sum over the pairs of `log(e^{s_v} + sum_d e^{s_d} / expected_d) - s_v`.

        Args:
            score: From [N, X] features to [N].
            weight_P: [P], see `weights`.
        """
        score_D = score(self.draw_DX) - self.log_expected_D
        top_Q = torch.full((self.num_questions,), -torch.inf).scatter_reduce(
            0, self.question_D, score_D.detach(), "amax"
        )
        top_Q = torch.where(torch.isinf(top_Q), 0.0, top_Q)
        sums_Q = torch.zeros(self.num_questions).index_add(0, self.question_D, (score_D - top_Q[self.question_D]).exp())
        lse_Q = sums_Q.clamp_min(1e-30).log() + top_Q
        return (torch.nn.functional.softplus(lse_Q[self.question_P] - score(self.positive_PX)) * weight_P).sum()

    def some(self, questions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Problem:
        """The problem of some questions, ascending."""
        parts = {}
        for name, question in (("P", self.question_P.numpy()), ("D", self.question_D.numpy())):
            offsets = np.searchsorted(question, np.arange(self.num_questions + 1))
            places, cuts = take_rows(offsets, questions)
            parts[name] = (
                torch.from_numpy(places),
                torch.from_numpy(np.repeat(np.arange(len(questions)), np.diff(cuts))),
            )
        return Problem(
            positive_PX=self.positive_PX[parts["P"][0]],
            draw_DX=self.draw_DX[parts["D"][0]],
            log_expected_D=self.log_expected_D[parts["D"][0]],
            question_P=parts["P"][1],
            question_D=parts["D"][1],
            user_Q=self.user_Q[torch.from_numpy(questions)],
        )

    @staticmethod
    def join(parts: Sequence[Problem]) -> Problem:
        """One after the other."""
        starts = np.cumsum([0, *(part.num_questions for part in parts)]).tolist()
        return Problem(
            positive_PX=torch.cat([part.positive_PX for part in parts]),
            draw_DX=torch.cat([part.draw_DX for part in parts]),
            log_expected_D=torch.cat([part.log_expected_D for part in parts]),
            question_P=torch.cat([part.question_P + at for part, at in zip(parts, starts, strict=False)]),
            question_D=torch.cat([part.question_D + at for part, at in zip(parts, starts, strict=False)]),
            user_Q=torch.cat([part.user_Q for part in parts]),
        )


def collect(
    batches: Iterable[Examples],
    items: ItemFeatures,
    own: OwnFeatures,
    config: PriorConfig,
    model: Ranker | None,
    experience_V: Tensor,
    generator: np.random.Generator,
    *,
    since_ms: int,
    is_exact: bool,
) -> Problem:
    """The problem of all questions since a time; for the arguments see `calibrate`.

    Raises:
        ValueError: There is no question with a candidate among its positives.
    """
    candidates = Candidates(
        items.known.acted,
        uniform=config.uniform,
        recent=config.recent,
        window=config.window,
        generator=generator,
    )
    parts = [
        _of_batch(examples, items, own, config, candidates, model, experience_V, since_ms, is_exact)
        for examples in batches
    ]
    if not any(len(part.question_P) for part in parts):
        raise ValueError("no question asks for a candidate, so there is nothing to fit; look at the split")
    return Problem.join(parts)


def _of_batch(
    examples: Examples,
    items: ItemFeatures,
    own: OwnFeatures,
    config: PriorConfig,
    candidates: Candidates,
    model: Ranker | None,
    experience_V: Tensor,
    since_ms: int,
    is_exact: bool,
) -> Problem:
    targets, size_v = examples.targets, own.num_candidates
    time_ms_Q = targets.time_ms_Q.cpu().numpy()
    asked = np.flatnonzero(time_ms_Q >= since_ms)
    features = Features(items, own, examples)
    scorer = None if model is None else model.scorer(examples)
    item_P = targets.positives.values.cpu().numpy()
    question_P = np.repeat(np.arange(len(time_ms_Q)), targets.positives.lengths.cpu().numpy())
    is_candidate_P = (item_P >= 1) & (item_P <= size_v) & (time_ms_Q[question_P] >= since_ms)
    item_P, question_P = item_P[is_candidate_P], question_P[is_candidate_P]
    if is_exact:
        draws = candidates.everything(len(asked))
    else:
        sure = features.key_C if scorer is None else np.union1d(features.key_C, _best(scorer, config.best))
        sure = sure[time_ms_Q[sure // size_v] >= since_ms]
        draws = candidates.draw(time_ms_Q[asked], np.searchsorted(asked, sure // size_v), sure % size_v + 1)
    drawn_D = asked[draws.question_D]
    is_hit_D = np.isin(drawn_D * (size_v + 1) + draws.item_D, question_P * (size_v + 1) + item_P)
    question_D, item_D = drawn_D[~is_hit_D], draws.item_D[~is_hit_D]
    question, item = np.concatenate([question_P, question_D]), np.concatenate([item_P, item_D])
    scores = np.zeros(len(item), np.float32)
    if scorer is not None:
        device = scorer.device
        pairs = torch.from_numpy(question).to(device), torch.from_numpy(item.astype(np.int64)).to(device)
        scores = scorer.pairs(*pairs).float().cpu().numpy()
    trusted = scores * experience_V.numpy()[item - 1]
    columns = [features.pairs(question, item), scores[:, None], trusted[:, None]]
    joined_PX = torch.from_numpy(np.concatenate(columns, axis=1))
    return Problem(
        positive_PX=joined_PX[: len(item_P)],
        draw_DX=joined_PX[len(item_P) :],
        log_expected_D=torch.from_numpy(draws.log_expected_D[~is_hit_D]),
        question_P=torch.from_numpy(np.searchsorted(asked, question_P)),
        question_D=torch.from_numpy(np.searchsorted(asked, question_D)),
        user_Q=examples.inputs.user_index_B[targets.user_Q].cpu()[torch.from_numpy(asked)],
    )


def _best(scorer: Scorer, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Keys of the model's best candidates, question x V + column."""
    if not number:
        return np.zeros(0, np.int64)
    size_v = scorer.num_candidates
    items_QC = top_k(scorer, min(number, size_v)).items_QC.numpy()
    keys: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        np.arange(len(items_QC))[:, None] * size_v + items_QC - 1
    ).ravel()
    return keys
