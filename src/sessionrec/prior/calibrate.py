"""The weights of a prior and the scale of the model's score, by one convex problem.

They are fitted to validation questions, which the model has not learnt from. On its training questions a model knows
the answers by heart, so there its score seems to be worth far more than it is, and little is left for the prior.

    minimise  mean over users of  sum_q 1/|P_q| sum_{v in P_q} ( log(e^{s_v} + sum_d e^{s_d} / expected_d) - s_v )
              + penalty * |w|^2,        s = scale * model + w . features,      d: draws that are not positives of q

Letters: Q questions, P positives, D draws, F features; the last column is the model's score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sessionrec.batch import Examples
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.draws import Candidates, Draws
from sessionrec.prior.items import ItemFeatures
from sessionrec.prior.own import OwnFeatures
from sessionrec.prior.prior import Prior, columns_of, pair_features
from sessionrec.scoring import Ranker, Scorer, top_k

_MOST_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What calibration found."""

    prior: Prior
    """Its weights."""
    contribution: dict[str, float]
    """By feature, weight times standard deviation over the candidates: what a usual difference of it moves a score by;
    that of the model under `model`."""
    loss: float
    """Mean cross-entropy of a pair, without the penalty."""
    loss_without: float
    """The same of the model alone, at its best scale; of no model, of equal scores."""
    num_questions: int
    """Fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """Features of positives and draws, joined over batches; letters as above."""

    positive_PX: torch.Tensor
    draw_DX: torch.Tensor
    log_expected_D: torch.Tensor
    question_P: torch.Tensor
    question_D: torch.Tensor
    weight_P: torch.Tensor
    num_questions: int

    def losses(self, weights_X: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the pairs."""
        score_D = self.draw_DX @ weights_X - self.log_expected_D
        top_Q = torch.full((self.num_questions,), -torch.inf).scatter_reduce(
            0, self.question_D, score_D.detach(), "amax"
        )
        top_Q = torch.where(torch.isinf(top_Q), 0.0, top_Q)
        sums_Q = torch.zeros(self.num_questions).index_add(0, self.question_D, (score_D - top_Q[self.question_D]).exp())
        lse_Q = sums_Q.clamp_min(1e-30).log() + top_Q
        score_P = self.positive_PX @ weights_X
        return (torch.nn.functional.softplus(lse_Q[self.question_P] - score_P) * self.weight_P).sum()


def calibrate(
    batches: Iterable[Examples],
    items: ItemFeatures,
    own: OwnFeatures,
    config: PriorConfig,
    *,
    model: Ranker | None = None,
    generator: np.random.Generator,
    is_exact: bool = False,
) -> Fitted:
    """Fit the weights.

    Args:
        batches: Validation questions; the first `config.users` users are taken.
        items: Features of items, of what may be known before validation.
        own: Features of users and items.
        config: How many candidates; how much penalty.
        model: Trained, without these questions; None = the prior alone.
        generator: Of the candidates.
        is_exact: Whether every question has the whole catalogue as candidates: memory Q x V x F.

    Raises:
        ValueError: There is no question with a candidate among its positives.
    """
    problem = _collect(batches, items, own, config, model, generator, is_exact)
    names = columns_of(items, own)
    scale_X = problem.draw_DX.std(0, correction=0)
    # A feature that never varies says nothing, whatever its weight.
    usual_X = torch.where(scale_X > 1e-6, 1 / scale_X.clamp_min(1e-6), torch.zeros(()))
    free_X = torch.ones(len(usual_X))
    if model is None:
        free_X[-1] = 0
    weights_X, loss = _minimise(problem, usual_X * free_X, config.penalty)
    alone_X = torch.zeros(len(usual_X))
    alone_X[-1] = free_X[-1]
    _, loss_without = _minimise(problem, usual_X * alone_X, config.penalty)
    found = (weights_X * usual_X).tolist()
    spread = (weights_X * (usual_X > 0)).tolist()
    return Fitted(
        prior=Prior(weights=dict(zip(names, found[:-1], strict=True)), scale=found[-1]),
        contribution=dict(zip((*names, "model"), spread, strict=True)),
        loss=loss,
        loss_without=loss_without,
        num_questions=problem.num_questions,
    )


def _minimise(problem: _Problem, usual_X: torch.Tensor, penalty: float) -> tuple[torch.Tensor, float]:
    weights_X = torch.zeros(len(usual_X), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights_X], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = problem.losses(weights_X * usual_X) + penalty * weights_X.square().sum()
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        is_free_X = usual_X > 0
        return (weights_X * is_free_X).detach(), float(problem.losses(weights_X * usual_X))


def _collect(
    batches: Iterable[Examples],
    items: ItemFeatures,
    own: OwnFeatures,
    config: PriorConfig,
    model: Ranker | None,
    generator: np.random.Generator,
    is_exact: bool,
) -> _Problem:
    candidates = Candidates(
        items.known.acted,
        uniform=config.uniform,
        recent=config.recent,
        window=config.window,
        generator=generator,
    )
    parts: list[_Problem] = []
    users = 0
    for examples in batches:
        parts.append(_problem(examples, items, own, candidates, config.best, model, is_exact))
        users += examples.inputs.num_users
        if users >= config.users:
            break
    offsets = np.cumsum([0, *(part.num_questions for part in parts)])
    total = float(sum(part.weight_P.sum() for part in parts))
    if not total:
        raise ValueError("no question asks for a candidate, so there is nothing to fit; look at the split")
    return _Problem(
        positive_PX=torch.cat([part.positive_PX for part in parts]),
        draw_DX=torch.cat([part.draw_DX for part in parts]),
        log_expected_D=torch.cat([part.log_expected_D for part in parts]),
        question_P=torch.cat([part.question_P + int(at) for part, at in zip(parts, offsets, strict=False)]),
        question_D=torch.cat([part.question_D + int(at) for part, at in zip(parts, offsets, strict=False)]),
        weight_P=torch.cat([part.weight_P for part in parts]) / total,
        num_questions=int(offsets[-1]),
    )


def _problem(
    examples: Examples,
    items: ItemFeatures,
    own: OwnFeatures,
    candidates: Candidates,
    best: int,
    model: Ranker | None,
    is_exact: bool,
) -> _Problem:
    """Of one batch."""
    targets, size_v = examples.targets, own.num_candidates
    size_q = targets.num_questions
    item_P = targets.positives.values.cpu().numpy()
    question_P = np.repeat(np.arange(size_q), targets.positives.lengths.cpu().numpy())
    is_candidate_P = (item_P >= 1) & (item_P <= size_v)
    item_P, question_P = item_P[is_candidate_P], question_P[is_candidate_P]
    scorer = None if model is None else model.scorer(examples)
    draws = candidates.everything(size_q) if is_exact else _draws(examples, own, candidates, scorer, best)
    is_hit_D = np.isin(draws.question_D * (size_v + 1) + draws.item_D, question_P * (size_v + 1) + item_P)
    question_D, item_D = draws.question_D[~is_hit_D], draws.item_D[~is_hit_D]
    both = np.concatenate([question_P, question_D]), np.concatenate([item_P, item_D])
    features = pair_features(items, own, examples, *both)
    scores = np.zeros(len(both[0]), np.float32)
    if scorer is not None:
        question, item = (torch.from_numpy(values.astype(np.int64)) for values in both)
        scores = scorer.pairs(question.to(scorer.device), item.to(scorer.device)).float().cpu().numpy()
    joined = torch.from_numpy(np.concatenate([features, scores[:, None]], axis=1))
    questions_U = np.bincount(targets.user_Q.cpu().numpy())
    per_user_Q = 1 / questions_U[targets.user_Q.cpu().numpy()]
    weight_P = per_user_Q[question_P] / np.bincount(question_P, minlength=size_q)[question_P]
    return _Problem(
        positive_PX=joined[: len(item_P)],
        draw_DX=joined[len(item_P) :],
        log_expected_D=torch.from_numpy(draws.log_expected_D[~is_hit_D]),
        question_P=torch.from_numpy(question_P),
        question_D=torch.from_numpy(question_D),
        weight_P=torch.from_numpy(weight_P.astype(np.float32)),
        num_questions=size_q,
    )


def _draws(examples: Examples, own: OwnFeatures, candidates: Candidates, scorer: Scorer | None, best: int) -> Draws:
    key_C = own.cells(examples)[0].key_C
    time_ms_Q: npt.NDArray[np.int64] = examples.targets.time_ms_Q.cpu().numpy()
    size_v = own.num_candidates
    if scorer is not None and best:
        items_QC = top_k(scorer, min(best, size_v)).items_QC.numpy()
        key_C = np.union1d(key_C, (np.arange(len(items_QC))[:, None] * size_v + items_QC - 1).ravel())
    return candidates.draw(time_ms_Q, key_C // size_v, key_C % size_v + 1)
