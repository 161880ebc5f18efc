"""What the weights of a prior are fitted to: features of positives, of candidates and of what was passed over, and the
loss over them.

    find     log(e^{s_v} + sum_d e^{s_d} / expected_d) - s_v        d: draws from the catalogue
    order    log(e^{s_v} + sum_n e^{s_n}) - s_v                     n: shown in the session of v, not acted on

An item is found as often as it is shown and then acted on; the order among what is shown asks only for the second. No
score does both: on a news log the one fitted to the order alone hardly finds anything. So each has weights of its own.

Features are kept in half precision, which tells counts apart to a hundredth of a doubling: they are most of the memory
that fitting takes. Whoever scores them makes them float32, some at a time.

Letters: Q questions, P positives, D draws, N passed over, X features, the last two of them the model's: its score, and
its score times the item's experience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sessionrec.batch import Examples, Targets
from sessionrec.errors import EmptyDatasetError
from sessionrec.jagged import IntArray, Jagged, row_of_element, take_rows
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.draws import NONE, Candidates, Draws
from sessionrec.prior.features import Features, merged
from sessionrec.prior.items import ItemFeatures
from sessionrec.prior.own import OwnFeatures
from sessionrec.scoring import Ranker, Scorer, top_k

MODEL: Final = 2
"""Columns that are the model's, at the end."""


Score = Callable[[Tensor], Tensor]
"""From [N, X] features, float16, to [N]."""
Cost = Callable[[Score], Tensor]
"""What a score costs, a mean over users."""
Cuts = dict[str, IntArray]
"""Where the questions' rows begin, by their letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Some questions."""

    positive_PX: Tensor
    """Of positives, by question."""
    draw_DX: Tensor
    """Of candidates, by question; no positive of the question among them."""
    passed_NX: Tensor
    """Of what was shown in the session that is asked for and not acted on, by question."""
    log_expected_D: Tensor
    """[D] log of how often a candidate was expected to be drawn."""
    question_P: Tensor
    """[P] ascending."""
    question_D: Tensor
    """[D] ascending."""
    question_N: Tensor
    """[N] ascending."""
    user_Q: Tensor
    """[Q] place of the user in the data set."""

    @property
    def num_questions(self) -> int:
        """Q."""
        return len(self.user_Q)

    def finding(self) -> Cost:
        """Of finding each positive in the catalogue: users alike, of a user the questions with a positive alike, of
        these the positives alike."""
        weight_P = self._alike(torch.ones(self.num_questions, dtype=torch.bool))

        def cost(score: Score) -> Tensor:
            score_D = score(self.draw_DX) - self.log_expected_D
            return (self._cost(score(self.positive_PX), score_D, self.question_D) * weight_P).sum()

        return cost

    def ordering(self) -> Cost | None:
        """The same of putting it above what was passed over in its session; None where nothing was."""
        weight_P = self._alike(torch.bincount(self.question_N, minlength=self.num_questions) > 0)
        if not weight_P.any():
            return None

        def cost(score: Score) -> Tensor:
            return (self._cost(score(self.positive_PX), score(self.passed_NX), self.question_N) * weight_P).sum()

        return cost

    def _alike(self, is_asked_Q: Tensor) -> Tensor:
        """[P] of some questions; they sum to 1, or are all 0."""
        positives_Q = torch.bincount(self.question_P, minlength=self.num_questions)
        is_asked_Q = is_asked_Q & (positives_Q > 0)
        _, place_Q = torch.unique(self.user_Q, return_inverse=True)
        questions_U = torch.bincount(place_Q, weights=is_asked_Q.float())
        weight_P = (is_asked_Q / (positives_Q * questions_U[place_Q]))[self.question_P].nan_to_num(0.0)
        return (weight_P / weight_P.sum().clamp_min(1e-30)).float()

    def _cost(self, score_P: Tensor, score_N: Tensor, question_N: Tensor) -> Tensor:
        """[P] `log(e^{s_v} + sum_n e^{s_n}) - s_v` against others of the same question."""
        top_Q = torch.full((self.num_questions,), -torch.inf).scatter_reduce(0, question_N, score_N.detach(), "amax")
        top_Q = torch.where(torch.isinf(top_Q), 0.0, top_Q)
        sums_Q = torch.zeros(self.num_questions).index_add(0, question_N, (score_N - top_Q[question_N]).exp())
        lse_Q = sums_Q.clamp_min(1e-30).log() + top_Q
        return torch.nn.functional.softplus(lse_Q[self.question_P] - score_P)

    def cuts(self) -> Cuts:
        """[Q + 1] each: cuts positives, draws and what was passed over into questions."""
        every = np.arange(self.num_questions + 1)
        sides = {"P": self.question_P, "D": self.question_D, "N": self.question_N}
        return {name: np.searchsorted(question.numpy(), every) for name, question in sides.items()}

    def some(self, questions: IntArray, cuts: Cuts) -> Problem:
        """The problem of some questions, ascending.

        Args:
            questions: Their places.
            cuts: See `cuts`; made once for many.
        """
        parts = {}
        for name, offsets in cuts.items():
            places, rows = take_rows(offsets, questions)
            parts[name] = (torch.from_numpy(places), torch.from_numpy(row_of_element(rows)))
        return Problem(
            positive_PX=self.positive_PX[parts["P"][0]],
            draw_DX=self.draw_DX[parts["D"][0]],
            passed_NX=self.passed_NX[parts["N"][0]],
            log_expected_D=self.log_expected_D[parts["D"][0]],
            question_P=parts["P"][1],
            question_D=parts["D"][1],
            question_N=parts["N"][1],
            user_Q=self.user_Q[torch.from_numpy(questions)],
        )

    @staticmethod
    def join(parts: list[Problem]) -> Problem:
        """One after the other; `parts` is emptied, so that memory never holds everything twice."""
        starts = np.cumsum([0, *(part.num_questions for part in parts)]).tolist()
        columns: dict[str, list[Tensor]] = {}
        for field in fields(Problem):
            shift = starts if field.name in ("question_P", "question_D", "question_N") else [0] * len(starts)
            columns[field.name] = [
                getattr(part, field.name) + at if at else getattr(part, field.name)
                for part, at in zip(parts, shift, strict=False)
            ]
        parts.clear()
        return Problem(**{name: _end_to_end(pieces) for name, pieces in columns.items()})


def _end_to_end(pieces: list[Tensor]) -> Tensor:
    """The pieces as one, each dropped when it has been copied; memory that is not yet written to is not yet there."""
    size = sum(len(piece) for piece in pieces)
    joined = pieces[0].new_empty((size, *pieces[0].shape[1:]))
    at = 0
    for place, piece in enumerate(pieces):
        joined[at : at + len(piece)] = piece
        at += len(piece)
        pieces[place] = piece[:0].clone()
    return joined


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What rows are made of."""

    items: ItemFeatures
    own: OwnFeatures
    model: Ranker | None
    """None = its columns are 0."""
    experience_V: Tensor
    """[V] see `prior.experience`."""


def collect(
    batches: Iterable[Examples],
    sheet: Sheet,
    config: PriorConfig,
    generator: np.random.Generator,
    *,
    since_ms: int,
    is_exact: bool,
) -> Problem:
    """The problem of all questions since a time, with candidates of the catalogue; for the arguments see `calibrate`.

    Raises:
        EmptyDatasetError: There is no question with a candidate among its positives.
    """
    candidates = Candidates(
        sheet.items.known.acted,
        uniform=config.uniform,
        recent=config.recent,
        window=config.window,
        generator=generator,
    )
    size_v = sheet.own.num_candidates

    def draw(targets: Targets, features: Features, scorer: Scorer | None) -> Draws:
        if is_exact:
            return candidates.everything(targets.num_questions)
        sure = features.key_C if scorer is None else merged(features.key_C, _best(scorer, config.best))
        return candidates.draw(targets.time_ms_Q.numpy(), sure // size_v, sure % size_v + 1)

    asked = (_since(examples, since_ms) for examples in batches)
    parts = [_of_batch(examples, sheet, draw) for examples in asked if examples.targets.num_questions]
    if not any(len(part.question_P) for part in parts):
        raise EmptyDatasetError(
            "no validation question asks for a candidate, so a prior has nothing to be fitted to; split otherwise, or "
            "fit without a prior"
        )
    return Problem.join(parts)


def collect_lists(batches: Iterable[Examples], sheet: Sheet, *, since_ms: int) -> Problem | None:
    """The problem of what questions' sessions showed, without candidates: there is only something to order. None where
    there is no question."""
    asked = (_since(examples, since_ms) for examples in batches)
    parts = [_of_batch(examples, sheet, lambda *_: NONE) for examples in asked if examples.targets.num_questions]
    return Problem.join(parts) if parts else None


def _since(examples: Examples, since_ms: int) -> Examples:
    """The questions since a time, on the host; users stay."""
    targets = examples.targets.to("cpu")
    questions = np.flatnonzero(targets.time_ms_Q.numpy() >= since_ms)

    def taken(side: Jagged[Tensor]) -> Jagged[Tensor]:
        elements, offsets = take_rows(side.offsets.numpy(), questions)
        return Jagged(values=side.values[elements], offsets=torch.from_numpy(offsets))

    asked = replace(
        targets,
        user_Q=targets.user_Q[questions],
        num_before_Q=targets.num_before_Q[questions],
        time_ms_Q=targets.time_ms_Q[questions],
        positives=taken(targets.positives),
        negatives=taken(targets.negatives),
    )
    return Examples(examples.inputs, asked)


def _of_batch(examples: Examples, sheet: Sheet, draw: Callable[[Targets, Features, Scorer | None], Draws]) -> Problem:
    targets, size_v = examples.targets, sheet.own.num_candidates
    features = Features(sheet.items, sheet.own, examples)
    scorer = None if sheet.model is None else sheet.model.scorer(examples)
    question_P, item_P = _known(targets.positives, size_v)
    question_N, item_N = _known(targets.negatives, size_v)
    draws = draw(targets, features, scorer)
    is_hit_D = np.isin(draws.question_D * (size_v + 1) + draws.item_D, question_P * (size_v + 1) + item_P)
    question_D, item_D = draws.question_D[~is_hit_D], draws.item_D[~is_hit_D]
    question, item = np.concatenate([question_P, question_D, question_N]), np.concatenate([item_P, item_D, item_N])
    scores = np.zeros(len(item), np.float32)
    if scorer is not None:
        device = scorer.device
        pairs = torch.from_numpy(question).to(device), torch.from_numpy(item.astype(np.int64)).to(device)
        scores = scorer.pairs(*pairs).float().cpu().numpy()
    trusted = scores * sheet.experience_V.numpy()[item - 1]
    columns = [features.pairs(question, item), scores[:, None], trusted[:, None]]
    joined_EX = torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float16))
    cut = len(item_P) + len(item_D)
    # Copies: one that stays would keep all three.
    positive_PX, draw_DX, passed_NX = (part.clone() for part in joined_EX.tensor_split((len(item_P), cut)))
    return Problem(
        positive_PX=positive_PX,
        draw_DX=draw_DX,
        passed_NX=passed_NX,
        log_expected_D=torch.from_numpy(draws.log_expected_D[~is_hit_D]),
        question_P=torch.from_numpy(question_P),
        question_D=torch.from_numpy(question_D),
        question_N=torch.from_numpy(question_N),
        user_Q=examples.inputs.user_index_B.cpu()[targets.user_Q],
    )


def _known(side: Jagged[Tensor], num_candidates: int) -> tuple[IntArray, IntArray]:
    """Question and item of each element that is a candidate."""
    question_E, item_E = row_of_element(side.offsets.numpy()), side.values.numpy()
    is_known_E = (item_E >= 1) & (item_E <= num_candidates)
    return question_E[is_known_E], item_E[is_known_E]


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
