"""The weights of a prior and the scale of the model's score, fitted beside each other.

They are fitted to validation questions, which the model has not learnt from. On its training questions a model knows
the answers by heart, so there its score seems to be worth far more than it is, and little is left for the prior.

    minimise  mean over users of  sum_q 1/|P_q| sum_{v in P_q} ( log(e^{s_v} + sum_d e^{s_d} / expected_d) - s_v )
              + penalty * |w|^2,        s as in `prior`,        d: draws that are not positives of q

First the linear part, which is convex. Then hidden layers, each from there on, on most of the users; one is kept as it
was when the others were answered best, and left out if that was before it began. Who the others are matters as much as
anything else, so several are learnt, each without other users, and their mean is used: one layer of the units of all.

Weights that order a given list are fitted likewise, d being what was shown in the session and passed over; linear.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sessionrec.batch import Examples
from sessionrec.errors import ConfigError
from sessionrec.prior.config import PriorConfig
from sessionrec.prior.features import names_of
from sessionrec.prior.items import ItemFeatures
from sessionrec.prior.own import OwnFeatures
from sessionrec.prior.prior import Hidden, Prior
from sessionrec.prior.problem import MODEL, Cost, Problem, Sheet, collect, collect_lists
from sessionrec.scoring import Ranker

Flags = npt.NDArray[np.bool_]

_MOST_STEPS = 200
_HELD_OUT, _LAYERS = 5, 3
"""One user in so many decides how long a hidden layer learns, and so many are learnt."""
_BATCH_QUESTIONS, _LEARNING_RATE, _DECAY, _EPOCHS, _PATIENCE = 64, 5e-3, 1e-2, 100, 10
_LEAST_STEPS = 24
"""Of an epoch; of few questions a batch has fewer."""
_ROWS = 4096
"""Features made float32 at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What calibration found."""

    prior: Prior
    """Weights that find items."""
    order: Prior | None
    """Weights that order a given list; None where the log has no exposures."""
    contribution: dict[str, float]
    """By feature, linear weight times standard deviation over the candidates: what a usual difference of it moves a
    score by; those of the model under `model` and `model by experience`."""
    loss: float
    """Mean cross-entropy of a pair, without the penalty."""
    loss_linear: float
    """The same without the hidden layer."""
    loss_without: float
    """The same of the model alone, at its best scale; of no model, of equal scores."""
    contribution_order: dict[str, float]
    """As `contribution`, of the weights that order a list, over what was shown; empty where there are none."""
    num_questions: int
    """Fitted to."""
    has_new: bool
    """Whether items that nothing had happened to were among the candidates. If not, weights say nothing of such items:
    what is 0 for them alone lies far from all that was weighed."""


def calibrate(
    batches: Iterable[Examples],
    items: ItemFeatures,
    own: OwnFeatures,
    config: PriorConfig,
    *,
    model: Ranker | None = None,
    experience_V: Tensor | None = None,
    generator: np.random.Generator,
    since_ms: int = 0,
    lists_since_ms: int = 0,
    is_exact: bool = False,
) -> Fitted:
    """Fit the weights.

    Args:
        batches: Validation questions; gone through again where there are exposures, so no generator.
        items: Features of items, of what may be known before validation.
        own: Features of users and items.
        config: How many candidates, how much penalty, how large a hidden layer.
        model: Trained, without these questions; None = the prior alone.
        experience_V: [V] of its items, see `prior.experience`; None = all are trusted alike.
        generator: Of the candidates, and of the hidden layer's beginning.
        since_ms: Questions before this time are left out of what finds items.
        lists_since_ms: The same of what orders a list.
        is_exact: Whether every question has the whole catalogue as candidates: memory Q x V x F.

    Raises:
        ConfigError: There is no feature that `without` names.
        EmptyDatasetError: There is no question with a candidate among its positives.
    """
    known_V = torch.zeros(own.num_candidates) if experience_V is None else experience_V
    sheet = Sheet(items=items, own=own, model=model, experience_V=known_V)
    problem = collect(batches, sheet, config, generator, since_ms=since_ms, is_exact=is_exact)
    names = names_of(items, own)
    is_used_X = _is_used(names, config.without, has_model=model is not None)
    mean_X, spread_X = _moments([problem.draw_DX])
    usual_X = _usual(spread_X, is_used_X)
    alone_X = torch.zeros(len(usual_X))
    alone_X[-MODEL] = usual_X[-MODEL]
    finding = problem.finding()
    weights_X, loss_linear = _linear(finding, usual_X, config.penalty)
    _, loss_without = _linear(finding, alone_X, config.penalty)
    hidden, loss = None, loss_linear
    if config.hidden:
        weights_X, hidden = _with_hidden(problem, weights_X, usual_X, mean_X, config.hidden, generator)
        with torch.no_grad():
            loss = float(finding.of(lambda features: _score(features, weights_X, hidden)))
    order_X, shown_X = None, usual_X
    if config.has_order and items.scheme.has_shown:
        lists = collect_lists(batches, sheet, since_ms=lists_since_ms)
        if lists is not None and (ordering := lists.ordering()) is not None:
            _, spread_X = _moments([lists.positive_PX, lists.passed_NX])
            shown_X = _usual(spread_X, is_used_X)
            order_X, _ = _linear(ordering, shown_X, config.penalty)
    return Fitted(
        prior=_prior(names, weights_X, hidden),
        order=None if order_X is None else _prior(names, order_X, None),
        contribution=_contribution(names, weights_X, usual_X),
        contribution_order={} if order_X is None else _contribution(names, order_X, shown_X),
        loss=loss,
        loss_linear=loss_linear,
        loss_without=loss_without,
        num_questions=problem.num_questions,
        has_new=_has_new(problem, len(items.scheme.names)),
    )


def _has_new(problem: Problem, num_features: int) -> bool:
    """Whether all features of items, the first ones, are 0 for some candidate or positive."""
    sides = (problem.draw_DX, problem.positive_PX)
    return any(bool((side[:, :num_features].count_nonzero(dim=1) == 0).any()) for side in sides)


def _is_used(names: tuple[str, ...], without: tuple[str, ...], *, has_model: bool) -> Tensor:
    """[X] whether a feature may have a weight."""
    for start in without:
        if not any(name.startswith(start) for name in names):
            raise ConfigError(f"prior.without: no feature's name begins with {start!r}; there are {', '.join(names)}")
    is_used = [not name.startswith(without) for name in names]
    return torch.tensor([*is_used, *[has_model] * MODEL])


def _usual(spread_X: Tensor, is_used_X: Tensor) -> Tensor:
    """[X] one by the standard deviation; 0 for a feature that never varies: it says nothing, whatever its weight."""
    return torch.where((spread_X > 1e-6) & is_used_X, 1 / spread_X.clamp_min(1e-6), 0.0)


def _moments(sides: list[Tensor]) -> tuple[Tensor, Tensor]:
    """[X] mean and [X] standard deviation of all rows of [N, X] features."""
    size, sum_X = max(sum(map(len, sides)), 1), torch.zeros(sides[0].shape[1], dtype=torch.float64)
    squares_X = torch.zeros_like(sum_X)
    for features_NX in sides:
        for _, piece in _widened(features_NX, torch.float64):
            sum_X += piece.sum(0)
    mean_X = sum_X / size
    for features_NX in sides:
        for _, piece in _widened(features_NX, torch.float64):
            squares_X += piece.sub_(mean_X).square_().sum(0)
    return mean_X.float(), (squares_X / size).sqrt().float()


def _widened(features_NX: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Some rows at a time, in memory that is used again: small results that stay would else cut what each leaves into
    pieces too small for the next, and the process would grow by everything that was ever widened."""
    memory = torch.empty((min(_ROWS, len(features_NX)), features_NX.shape[1]), dtype=dtype)
    for start in range(0, len(features_NX), _ROWS):
        rows = slice(start, min(start + _ROWS, len(features_NX)))
        yield rows, memory[: rows.stop - start].copy_(features_NX[rows])


def _prior(names: tuple[str, ...], weights_X: Tensor, hidden: Hidden | None) -> Prior:
    return Prior(
        weights=dict(zip(names, weights_X[:-MODEL].tolist(), strict=True)),
        scale=float(weights_X[-MODEL]),
        trust=float(weights_X[-1]),
        hidden=hidden,
    )


def _contribution(names: tuple[str, ...], weights_X: Tensor, usual_X: Tensor) -> dict[str, float]:
    spread_X = torch.where(usual_X > 0, weights_X / usual_X.clamp_min(1e-30), 0.0)
    return dict(zip((*names, "model", "model by experience"), spread_X.tolist(), strict=True))


def _linear(cost: Cost, usual_X: Tensor, penalty: float) -> tuple[Tensor, float]:
    """[X] weights of features as they are, and the cost; `usual_X` is 0 where there is to be none."""
    usual_weights_X = torch.zeros(len(usual_X), requires_grad=True)
    optimizer = torch.optim.LBFGS([usual_weights_X], max_iter=_MOST_STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        shrink = penalty * usual_weights_X.square().sum()
        torch.autograd.backward(shrink)
        return float(shrink.detach()) + cost.add_slopes(lambda features: _product(features, usual_weights_X * usual_X))

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        weights_X = (usual_weights_X * usual_X).detach()
        return weights_X, float(cost.of(lambda features: _product(features, weights_X)))


class _Product(torch.autograd.Function):
    """Half-precision features times weights, some rows at a time: for the gradient nothing is kept but the features."""

    @staticmethod
    def forward(ctx: Any, features_NX: Tensor, weights_X: Tensor) -> Tensor:
        ctx.save_for_backward(features_NX)
        found_N = torch.empty(len(features_NX))
        for rows, piece in _widened(features_NX, torch.float32):
            torch.mv(piece, weights_X, out=found_N[rows])
        return found_N

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, Tensor]:
        (features_NX,), (slope_N,) = ctx.saved_tensors, slopes
        slope_X = torch.zeros(features_NX.shape[1])
        for rows, piece in _widened(features_NX, torch.float32):
            slope_X.addmv_(piece.T, slope_N[rows])
        return None, slope_X


def _product(features_NX: Tensor, weights_X: Tensor) -> Tensor:
    found_N: Tensor = _Product.apply(features_NX, weights_X)  # type: ignore[no-untyped-call]
    return found_N


def _score(features_NX: Tensor, weights_X: Tensor, hidden: Hidden | None) -> Tensor:
    if hidden is None:
        return _product(features_NX, weights_X)
    pieces = (piece.float() for piece in torch.split(features_NX, _ROWS))
    return torch.cat([piece @ weights_X + hidden.of(piece[:, :-MODEL]) for piece in pieces])


class _Net(nn.Module):
    """The prior while it learns: over features of a usual size, and hidden units over what differs from the mean: of
    features that lie far from 0 a unit would have to unlearn the mean first."""

    def __init__(
        self, weights_X: Tensor, usual_X: Tensor, mean_X: Tensor, size: int, generator: np.random.Generator
    ) -> None:
        super().__init__()
        self.usual_X, self.mean_F = usual_X, mean_X[:-MODEL]
        is_used_X = usual_X > 0
        self.linear_X = nn.Parameter(torch.where(is_used_X, weights_X / usual_X.clamp_min(1e-30), 0.0))
        num_features = len(usual_X) - MODEL
        seed = torch.Generator().manual_seed(int(generator.integers(2**31)))
        bound = (3 / num_features) ** 0.5
        self.inputs_FH = nn.Parameter((torch.rand(num_features, size, generator=seed) * 2 - 1) * bound)
        self.bias_H = nn.Parameter((torch.rand(size, generator=seed) * 2 - 1) * bound)
        # It begins as nothing, so that the linear part is where learning begins.
        self.outputs_H = nn.Parameter(torch.zeros(size))

    def weights_X(self) -> Tensor:
        return self.linear_X * self.usual_X

    def hidden(self) -> Hidden:
        inputs_FH = self.inputs_FH * self.usual_X[:-MODEL, None]
        return Hidden(inputs_FH=inputs_FH, bias_H=self.bias_H - self.mean_F @ inputs_FH, outputs_H=self.outputs_H)

    def forward(self, features_NX: Tensor) -> Tensor:
        return _score(features_NX, self.weights_X(), self.hidden())


def _with_hidden(
    problem: Problem, weights_X: Tensor, usual_X: Tensor, mean_X: Tensor, size: int, generator: np.random.Generator
) -> tuple[Tensor, Hidden | None]:
    """Linear weights and hidden layers, the mean of several that were learnt without other users; one that answers
    these no better is the weights alone."""
    user_Q = problem.user_Q.numpy()
    users = generator.permutation(np.unique(user_Q))
    found = []
    for number in range(_LAYERS):
        is_held_out_Q = np.isin(user_Q, users[number::_HELD_OUT])
        found.append(_one_hidden(problem, is_held_out_Q, weights_X, usual_X, mean_X, size, generator))
    mean_X = torch.stack([linear_X for linear_X, _ in found]).mean(0)
    layers = [hidden for _, hidden in found if hidden is not None]
    if not layers:
        return mean_X, None
    joined = Hidden(
        inputs_FH=torch.cat([layer.inputs_FH for layer in layers], dim=1),
        bias_H=torch.cat([layer.bias_H for layer in layers]),
        outputs_H=torch.cat([layer.outputs_H for layer in layers]) / len(found),
    )
    return mean_X, joined


def _one_hidden(
    problem: Problem,
    is_held_out_Q: Flags,
    weights_X: Tensor,
    usual_X: Tensor,
    mean_X: Tensor,
    size: int,
    generator: np.random.Generator,
) -> tuple[Tensor, Hidden | None]:
    """Linear weights and a hidden layer; the weights as they were and None where it answers nobody better."""
    learnt, of_others = np.flatnonzero(~is_held_out_Q), problem.finding(np.flatnonzero(is_held_out_Q))
    if not of_others.has_positives or not len(learnt):
        return weights_X, None
    net = _Net(weights_X, usual_X, mean_X, size, generator)
    optimizer = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE, weight_decay=_DECAY, fused=True)
    with torch.no_grad():
        best_loss, best, since = float(of_others.of(net)), None, 0
    for _ in range(_EPOCHS):
        steps = min(max(len(learnt) // _BATCH_QUESTIONS, _LEAST_STEPS), len(learnt))
        for questions in np.array_split(generator.permutation(learnt), steps):
            loss = problem.finding(np.sort(questions)).of(net)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            found = float(of_others.of(net))
        since += 1
        if found < best_loss:
            best_loss, best, since = found, copy.deepcopy(net.state_dict()), 0
        if since >= _PATIENCE:
            break
    if best is None:
        return weights_X, None
    net.load_state_dict(best)
    hidden = net.hidden()
    return net.weights_X().detach(), Hidden(
        inputs_FH=hidden.inputs_FH.detach(), bias_H=hidden.bias_H.detach(), outputs_H=hidden.outputs_H.detach()
    )
