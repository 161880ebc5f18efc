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

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
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


_PIECE_ROWS = 1 << 14
"""Others that a cost is made of at once, more by at most those of one question."""

Score = Callable[[Tensor], Tensor]
"""From [N, X] features, float16, to [N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """What some questions add to a cost."""

    positive_PX: Callable[[], Tensor]
    """Features, when they are wanted: all of a problem's at once would be all of them again."""
    other_NX: Callable[[], Tensor]
    log_expected_N: Tensor | None
    """None = all are there once."""
    question_P: Tensor
    question_N: Tensor
    num_questions: int
    weight_P: Tensor

    def of(self, score: Score) -> Tensor:
        """Weighted sum of `log(e^{s_v} + sum_n e^{s_n}) - s_v`, n: the others of the same question."""
        score_P, score_N, question_N = score(self.positive_PX()), score(self.other_NX()), self.question_N
        if self.log_expected_N is not None:
            score_N = score_N - self.log_expected_N
        top_Q = torch.full((self.num_questions,), -torch.inf).scatter_reduce(0, question_N, score_N.detach(), "amax")
        top_Q = torch.where(torch.isinf(top_Q), 0.0, top_Q)
        sums_Q = torch.zeros(self.num_questions).index_add(0, question_N, (score_N - top_Q[question_N]).exp())
        lse_Q = sums_Q.clamp_min(1e-30).log() + top_Q
        return (torch.nn.functional.softplus(lse_Q[self.question_P] - score_P) * self.weight_P).sum()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a score costs, a mean over users. Made some questions at a time: what a gradient is made from is many times
    as large as the scores."""

    pieces: list[_Piece]

    @property
    def has_positives(self) -> bool:
        """Whether there is anything to be found, or put above others."""
        return any(len(piece.weight_P) for piece in self.pieces)

    def of(self, score: Score) -> Tensor:
        """The cost."""
        return torch.stack([piece.of(score) for piece in self.pieces]).sum()

    def add_slopes(self, score: Score) -> float:
        """The cost; its gradient is added to that of the tensors that `score` looks at."""
        total = 0.0
        for piece in self.pieces:
            loss = piece.of(score)
            torch.autograd.backward(loss)
            total += float(loss.detach())
        return total


@dataclass(frozen=True, kw_only=True)
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

    def finding(self, questions: IntArray | None = None) -> Cost:
        """Of finding each positive in the catalogue: users alike, of a user the questions with a positive alike, of
        these the positives alike.

        Args:
            questions: Only these places, ascending; None = all.
        """
        asked = np.arange(self.num_questions) if questions is None else questions
        return self._cost(asked, self._alike(asked, np.diff(self._cut_P)[asked] > 0), self._cut_D, has_draws=True)

    def ordering(self) -> Cost | None:
        """The same of putting it above what was passed over in its session; None where nothing was."""
        asked = np.arange(self.num_questions)
        weight_Q = self._alike(asked, (np.diff(self._cut_P) > 0) & (np.diff(self._cut_N) > 0))
        return self._cost(asked, weight_Q, self._cut_N, has_draws=False) if weight_Q.any() else None

    @cached_property
    def _cut_P(self) -> IntArray:
        return self._cut(self.question_P)

    @cached_property
    def _cut_D(self) -> IntArray:
        return self._cut(self.question_D)

    @cached_property
    def _cut_N(self) -> IntArray:
        return self._cut(self.question_N)

    def _cut(self, question: Tensor) -> IntArray:
        """[Q + 1] where each question's rows begin."""
        return np.searchsorted(question.numpy(), np.arange(self.num_questions + 1))

    def _alike(self, asked: IntArray, is_asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """[q] what each positive of some questions counts; all of them together 1, or nothing."""
        _, place = np.unique(self.user_Q.numpy()[asked], return_inverse=True)
        questions = np.bincount(place, weights=is_asked)[place]
        weight = np.divide(is_asked, np.diff(self._cut_P)[asked] * questions, out=np.zeros(len(asked)), where=is_asked)
        return weight / max(len(np.unique(place[is_asked])), 1)

    def _cost(self, asked: IntArray, weight_Q: npt.NDArray[np.float64], cut_N: IntArray, *, has_draws: bool) -> Cost:
        others_NX = self.draw_DX if has_draws else self.passed_NX
        before = np.concatenate([[0], np.cumsum(np.diff(cut_N)[asked])])
        # A piece ends where the next would begin: between questions.
        ends = np.flatnonzero(np.diff(before[:-1] // _PIECE_ROWS)) + 1
        pieces = []
        for first, last in itertools.pairwise([0, *ends.tolist(), len(asked)]):
            some = asked[first:last]
            rows_P, question_P = _rows_of(self._cut_P, some)
            rows_N, question_N = _rows_of(cut_N, some)
            pieces.append(
                _Piece(
                    positive_PX=partial(_taken, self.positive_PX, rows_P),
                    other_NX=partial(_taken, others_NX, rows_N),
                    log_expected_N=self.log_expected_D[rows_N] if has_draws else None,
                    question_P=question_P,
                    question_N=question_N,
                    num_questions=len(some),
                    weight_P=torch.from_numpy(weight_Q[first:last].astype(np.float32))[question_P],
                )
            )
        return Cost(pieces)

    @staticmethod
    def join(parts: Iterable[Problem]) -> Problem | None:
        """One after the other; None where there is none. Parts are taken as they come and none is kept."""
        columns, size = {field.name: _Column() for field in fields(Problem)}, 0
        for part in parts:
            for name, column in columns.items():
                column.add(getattr(part, name).numpy(), size if name.startswith("question_") else 0)
            size += part.num_questions
        return Problem(**{name: column.tensor() for name, column in columns.items()}) if size else None


def _rows_of(cut: IntArray, questions: IntArray) -> tuple[slice | Tensor, Tensor]:
    """Rows of some questions, ascending, and the question of each by its place among them."""
    rows, offsets = take_rows(cut, questions)
    question = torch.from_numpy(row_of_element(offsets))
    # Rows in one piece need no copy.
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1), question
    return torch.from_numpy(rows), question


def _taken(features_NX: Tensor, rows: slice | Tensor) -> Tensor:
    return features_NX[rows]


class _Column:
    """Rows that grow where they are: where the system can (Linux), the pages of a large array are moved and not copied,
    so that memory never holds it twice."""

    def __init__(self) -> None:
        self._rows: npt.NDArray[Any] | None = None

    def add(self, rows: npt.NDArray[Any], more: int) -> None:
        """Append rows, each value the greater by `more`."""
        size = 0 if self._rows is None else len(self._rows)
        if self._rows is None:
            self._rows = rows.copy()
        else:
            # Nobody else has seen the array yet.
            self._rows.resize((size + len(rows), *rows.shape[1:]), refcheck=False)
            self._rows[size:] = rows
        if more:
            self._rows[size:] += more

    def tensor(self) -> Tensor:
        """All rows."""
        assert self._rows is not None
        return torch.from_numpy(self._rows)


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
    problem = Problem.join(_of_batch(examples, sheet, draw) for examples in asked if examples.targets.num_questions)
    if problem is None or not len(problem.question_P):
        raise EmptyDatasetError(
            "no validation question asks for a candidate, so a prior has nothing to be fitted to; split otherwise, or "
            "fit without a prior"
        )
    return problem


def collect_lists(batches: Iterable[Examples], sheet: Sheet, *, since_ms: int) -> Problem | None:
    """The problem of what questions' sessions showed, without candidates: there is only something to order. None where
    there is no question."""
    asked = (_since(examples, since_ms) for examples in batches)
    some = (examples for examples in asked if examples.targets.num_questions)
    return Problem.join(_of_batch(examples, sheet, lambda *_: NONE) for examples in some)


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
    positive_PX, draw_DX, passed_NX = joined_EX.tensor_split((len(item_P), cut))
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
