"""Weights that made the answers are found again, whichever candidates they are fitted against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from sessionrec.batch import Examples
from sessionrec.dynamics import ItemEvents
from sessionrec.errors import ConfigError, EmptyDatasetError
from sessionrec.jagged import Jagged, row_of_element
from sessionrec.prior import Fitted, ItemFeatures, Known, OwnFeatures, PriorConfig, PriorRanker, calibrate
from sessionrec.prior.draws import Candidates
from sessionrec.prior.features import Features, names_of
from sessionrec.scoring import DotScorer, Scorer, list_scores
from tests.baselines.plain import S, Users, examples_of

ITEMS, QUESTIONS, START, END = 60, 2500, 1000, 40_000
CONFIG = PriorConfig(
    acted_half_lives_s=(600.0, 3600.0),
    shown_half_lives_s=(),
    rate_half_lives_s=(),
    has_age=False,
    session_decays=(1.0,),
    own_half_lives_s=(),
    has_share=False,
    has_rhythm=False,
    has_passed=False,
    has_attributes=False,
    uniform=24,
    recent=24,
    best=12,
    window=300,
    hidden=0,
    penalty=0.0,
)
TRUE = {"acted 10 min": 0.5, "acted 1 h": 0.0, "own acted 1 a session": 0.25, "model": 1.5}


@dataclass(frozen=True)
class Fixed:
    """A model whose scores are given."""

    scores_QV: torch.Tensor

    def scorer(self, examples: Examples) -> Scorer:
        return DotScorer(self.scores_QV[examples.inputs.user_index_B[examples.targets.user_Q]], torch.eye(ITEMS))


@dataclass(frozen=True)
class World:
    examples: Examples
    items: ItemFeatures
    own: OwnFeatures
    model: Fixed

    def fit(self, config: PriorConfig = CONFIG, *, has_model: bool = True, is_exact: bool = False) -> Fitted:
        return calibrate(
            [self.examples],
            self.items,
            self.own,
            config,
            model=self.model if has_model else None,
            generator=np.random.default_rng(7),
            is_exact=is_exact,
        )


@pytest.fixture(scope="module")
def world() -> World:
    return a_world(lambda scores, _: scores, QUESTIONS)


@pytest.fixture(scope="module")
def shown_world(world: World) -> World:
    """Beside its answer each session shows the three items that are freshest."""
    return showing(world, lambda fresh: fresh)


@pytest.fixture(scope="module")
def bent_world() -> World:
    """What is neither fresh nor forgotten is left alone: no weight says that."""
    return a_world(lambda _, features: np.abs(features[..., 0] - 9), 300)


def a_world(score: Callable[[Any, Any], Any], size: int) -> World:
    """Events come in bursts; each user has a few own items; answers are drawn from the softmax of a score, which is
    made of the true linear scores, [Q, V], and of features, [Q, V, F]."""
    random = np.random.default_rng(3)
    burst = random.integers(1, ITEMS + 1, 4000)
    item = np.where(random.random(4000) < 0.5, np.repeat(random.integers(1, ITEMS + 1, 100), 40), burst)
    time = np.sort(random.integers(START, END, 4000)) * S
    acted = ItemEvents.of(item, time, ITEMS)
    of = Known(acted=acted, shown=None)
    features = ItemFeatures(of, scheme=replace(of.scheme(CONFIG), span_s=1e9))
    own = OwnFeatures(CONFIG, np.zeros((ITEMS, 0), np.int32), (), has_passed=False)
    users: Users = [
        [(START + 10 * n, [(int(of), 1)]) for n, of in enumerate(random.integers(1, ITEMS + 1, 4))] for _ in range(size)
    ]
    asked = [(user, 4, int(random.integers(START + 3600, END))) for user in range(size)]
    examples = examples_of(users, asked)
    model = Fixed(torch.from_numpy(random.normal(size=(size, ITEMS)).astype(np.float32)))
    question, column = np.indices((size, ITEMS)).reshape(2, -1)
    values = Features(features, own, examples).pairs(question, column + 1)
    names = names_of(features, own)
    scores = (values @ np.array([TRUE[name] for name in names])).reshape(size, ITEMS)
    scores = scores + TRUE["model"] * model.scores_QV.numpy()
    scores = score(scores, values.reshape(size, ITEMS, -1))
    answers = np.argmax(scores + random.gumbel(size=scores.shape), axis=1) + 1
    positives = Jagged(values=torch.from_numpy(answers), offsets=torch.arange(size + 1))
    targets = replace(examples.targets, positives=positives)
    return World(Examples(examples.inputs, targets), features, own, model)


def showing(world: World, liked: Callable[[Any], Any], number: int = 3) -> World:
    """What is passed over are the items, other than the answer, with most of a function of how fresh they are."""
    inputs, targets = world.examples
    size, answers = targets.num_questions, targets.positives.values.numpy() - 1
    question, column = np.indices((size, ITEMS)).reshape(2, -1)
    fresh = Features(world.items, world.own, world.examples).pairs(question, column + 1)[:, 0].reshape(size, ITEMS)
    liking = liked(fresh)
    liking[np.arange(size), answers] = -np.inf
    shown = torch.from_numpy(np.argsort(-liking, axis=1)[:, :number].ravel() + 1)
    negatives = Jagged(values=shown, offsets=torch.arange(size + 1) * number)
    acted, scheme = world.items.known.acted, replace(world.items.scheme, has_shown=True)
    items = ItemFeatures(Known(acted=acted, shown=acted), scheme=scheme)
    return replace(world, items=items, examples=Examples(inputs, replace(targets, negatives=negatives)))


def cost_of_order(world: World, fitted: Fitted, *, in_list: bool) -> float:
    """By the ranker's own scores: what it costs to have the answer first of what was shown."""
    targets = world.examples.targets
    ranker = PriorRanker(fitted.prior, world.items, world.own, world.model, order=fitted.order)
    shown = torch.cat([targets.positives.values[:, None], targets.negatives.values.view(targets.num_questions, -1)], 1)
    pairs = torch.arange(targets.num_questions).repeat_interleave(shown.shape[1]), shown.flatten()
    scorer = ranker.scorer(world.examples)
    scores = (list_scores(scorer, *pairs) if in_list else scorer.pairs(*pairs)).view_as(shown)
    return float(torch.nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64)))


def found(fitted: Fitted) -> dict[str, float]:
    assert fitted.prior.trust == 0, "no experience was told"
    return {**fitted.prior.weights, "model": fitted.prior.scale}


@pytest.mark.parametrize("is_exact", [True, False])
def test_the_weights_that_made_the_answers_are_found(world: World, is_exact: bool) -> None:
    fitted = world.fit(is_exact=is_exact)
    weights = found(fitted)
    assert weights == {name: pytest.approx(value, abs=0.12) for name, value in TRUE.items()}
    assert fitted.num_questions == QUESTIONS
    assert fitted.loss < fitted.loss_without - 0.05


def test_other_candidates_lead_to_the_same_weights(world: World) -> None:
    """Whatever is drawn, the softmax that is estimated is that of the catalogue: logQ takes the draws out of it."""
    exact = found(world.fit(is_exact=True))
    for more in ({"recent": 0}, {"uniform": 4, "recent": 60, "window": 2000}, {"best": 30}):
        sampled = found(world.fit(CONFIG.model_copy(update=more)))
        assert sampled == {name: pytest.approx(value, abs=0.15) for name, value in exact.items()}


def test_a_hidden_layer_is_kept_where_it_answers_better(bent_world: World) -> None:
    bent = bent_world.fit(CONFIG.model_copy(update={"hidden": 6}))
    assert bent.prior.hidden is not None
    assert bent.loss < bent.loss_linear - 0.1
    assert bent_world.fit().loss == bent.loss_linear


def test_a_hidden_layer_that_answers_nobody_better_is_left_out(world: World) -> None:
    """Of answers that were drawn at random there is nothing to learn but the questions themselves."""
    inputs, targets = world.examples
    drawn = torch.randint(1, ITEMS + 1, (QUESTIONS,), generator=torch.Generator().manual_seed(1))
    positives = Jagged(values=drawn, offsets=targets.positives.offsets)
    noise = replace(world, examples=Examples(inputs, replace(targets, positives=positives)))
    fitted = noise.fit(CONFIG.model_copy(update={"hidden": 6, "uniform": 6, "recent": 2, "best": 2}))
    assert fitted.prior.hidden is None
    assert fitted.loss == fitted.loss_linear


def test_whether_there_were_items_that_nothing_had_happened_to_is_told(world: World) -> None:
    assert not world.fit().has_new
    acted = world.items.known.acted
    item_N = row_of_element(acted.offsets) + 1
    kept_N = item_N != 7
    fewer = Known(acted=ItemEvents.of(item_N[kept_N], acted.time_ms_N[kept_N], ITEMS), shown=None)
    assert replace(world, items=ItemFeatures(fewer, scheme=world.items.scheme)).fit().has_new


def test_of_one_user_there_is_nobody_to_decide() -> None:
    fitted = a_world(lambda scores, _: scores, 1).fit(CONFIG.model_copy(update={"hidden": 4}))
    assert fitted.prior.hidden is None


def test_a_prior_with_a_hidden_layer_answers_as_it_was_fitted(bent_world: World) -> None:
    """The loss of all questions by the ranker's scores is what calibration told, where nothing is estimated."""
    fitted = bent_world.fit(CONFIG.model_copy(update={"hidden": 6}), is_exact=True)
    ranker = PriorRanker(fitted.prior, bent_world.items, bent_world.own, bent_world.model)
    answers = bent_world.examples.targets.positives.values - 1
    question, column = torch.from_numpy(np.indices((len(answers), ITEMS)).reshape(2, -1))
    scores_QV = ranker.scorer(bent_world.examples).pairs(question, column + 1).view(-1, ITEMS)
    assert float(torch.nn.functional.cross_entropy(scores_QV, answers)) == pytest.approx(fitted.loss, rel=1e-4)


def test_a_prior_alone_has_no_scale(world: World) -> None:
    fitted = world.fit(has_model=False)
    assert fitted.prior.scale == 0
    assert fitted.contribution["model"] == 0
    # Scores that nobody can see make the answers look more random, so the weights are less, but of the same sign.
    assert 0.1 < fitted.prior.weights["acted 10 min"] < TRUE["acted 10 min"]
    assert abs(fitted.prior.weights["acted 1 h"]) < 0.1


def test_a_penalty_draws_weights_to_zero(world: World) -> None:
    weights = [found(world.fit(CONFIG.model_copy(update={"penalty": penalty}))) for penalty in (0.0, 0.1, 10.0)]
    sizes = [sum(value**2 for value in one.values()) for one in weights]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 0.01


def test_a_list_is_ordered_by_weights_of_its_own(shown_world: World) -> None:
    """To be fresh helps to be found, and to be shown; among what is shown it says nothing good."""
    fitted = shown_world.fit()
    assert fitted.order is not None
    assert fitted.prior.weights["acted 10 min"] > 0.3
    assert fitted.order.weights["acted 10 min"] < 0
    assert fitted.contribution_order["acted 10 min"] < 0
    found, listed = (cost_of_order(shown_world, fitted, in_list=in_list) for in_list in (False, True))
    assert listed < found - 0.3
    # Nothing else orders it better: any step from the weights costs.
    order = fitted.order
    for name in order.weights:
        for step in (-0.3, 0.3):
            other = replace(order, weights={**order.weights, name: order.weights[name] + step})
            assert cost_of_order(shown_world, replace(fitted, order=other), in_list=True) > listed
    for scale in (order.scale - 0.3, order.scale + 0.3):
        other = replace(order, scale=scale)
        assert cost_of_order(shown_world, replace(fitted, order=other), in_list=True) > listed


def test_what_is_shown_does_not_change_how_items_are_found(bent_world: World) -> None:
    shown = showing(bent_world, lambda fresh: fresh)
    config = CONFIG.model_copy(update={"hidden": 4})
    wanted, fitted = bent_world.fit(config), shown.fit(config)
    assert wanted.order is None and wanted.contribution_order == {}
    assert fitted.order is not None
    assert (fitted.prior.weights, fitted.prior.scale) == (wanted.prior.weights, wanted.prior.scale)
    assert (fitted.loss, fitted.contribution) == (wanted.loss, wanted.contribution)
    assert shown.fit(config.model_copy(update={"has_order": False})).order is None
    # Without such weights a list is ordered as items are found.
    one, other = (cost_of_order(shown, wanted, in_list=in_list) for in_list in (False, True))
    assert one == other


def test_features_can_be_left_out(world: World) -> None:
    fitted = world.fit(CONFIG.model_copy(update={"without": ("acted",)}))
    assert fitted.prior.weights["acted 10 min"] == fitted.prior.weights["acted 1 h"] == 0
    assert fitted.prior.weights["own acted 1 a session"] == pytest.approx(TRUE["own acted 1 a session"], abs=0.12)
    assert fitted.loss > world.fit().loss + 0.1
    with pytest.raises(
        ConfigError, match=r"prior.without: no feature's name begins with 'age'; there are acted 10 min"
    ):
        world.fit(CONFIG.model_copy(update={"without": ("own", "age")}))


def test_the_same_draws_give_the_same_weights(world: World, bent_world: World) -> None:
    assert world.fit() == world.fit()
    one, other = (bent_world.fit(CONFIG.model_copy(update={"hidden": 4})) for _ in range(2))
    assert (one.prior.weights, one.loss) == (other.prior.weights, other.loss)


def test_only_questions_since_a_time_are_looked_at(world: World) -> None:
    """Older ones may say what they like."""
    inputs, targets = world.examples
    since_ms = int(targets.time_ms_Q.sort().values[QUESTIONS // 2])
    is_new = targets.time_ms_Q >= since_ms
    other = torch.where(is_new, targets.positives.values, torch.ones(()).long())
    positives = Jagged(values=other, offsets=targets.positives.offsets)
    found = []
    for asked in (targets, replace(targets, positives=positives)):
        found.append(
            calibrate(
                [Examples(inputs, asked)],
                world.items,
                world.own,
                CONFIG,
                model=world.model,
                generator=np.random.default_rng(7),
                since_ms=since_ms,
            )
        )
    assert found[0] == found[1]
    assert found[0].num_questions == int(is_new.sum())
    assert found[0].prior.scale == pytest.approx(TRUE["model"], abs=0.15)


def test_the_model_is_not_asked_for_older_questions(world: World) -> None:
    asked: list[int] = []

    class Counted(Fixed):
        def scorer(self, examples: Examples) -> Scorer:
            asked.append(examples.targets.num_questions)
            return super().scorer(examples)

    since_ms = int(world.examples.targets.time_ms_Q.sort().values[-7])
    older = replace(world.examples.targets, time_ms_Q=world.examples.targets.time_ms_Q - END * S)
    fitted = calibrate(
        [Examples(world.examples.inputs, older), world.examples],
        world.items,
        world.own,
        CONFIG,
        model=Counted(world.model.scores_QV),
        generator=np.random.default_rng(7),
        since_ms=since_ms,
    )
    assert asked == [fitted.num_questions]
    assert fitted.num_questions < 10


def test_a_model_is_trusted_by_experience(world: World) -> None:
    """Of half of the items the model says something, of the others what it says is noise."""
    knows_V = (torch.arange(ITEMS) % 2).float()
    noise = torch.randn(QUESTIONS, ITEMS, generator=torch.Generator().manual_seed(5))
    mixed = replace(world, model=Fixed(torch.where(knows_V > 0, world.model.scores_QV, noise)))
    fitted = calibrate(
        [mixed.examples],
        mixed.items,
        mixed.own,
        CONFIG,
        model=mixed.model,
        experience_V=knows_V,
        generator=np.random.default_rng(7),
    )
    assert abs(fitted.prior.scale) < 0.15
    assert fitted.prior.scale + fitted.prior.trust > 1
    ranker = PriorRanker(fitted.prior, mixed.items, mixed.own, mixed.model, knows_V)
    assert torch.allclose(ranker.scale_V, fitted.prior.scale + fitted.prior.trust * knows_V)
    with pytest.raises(ValueError, match="hand over `experience_V`"):
        PriorRanker(fitted.prior, mixed.items, mixed.own, mixed.model)


def test_without_an_answer_there_is_nothing_to_fit(world: World) -> None:
    inputs, targets = world.examples
    none = Jagged(values=torch.full((QUESTIONS,), ITEMS + 1), offsets=torch.arange(QUESTIONS + 1))
    with pytest.raises(EmptyDatasetError, match="no validation question asks for a candidate"):
        calibrate(
            [Examples(inputs, replace(targets, positives=none))],
            world.items,
            world.own,
            CONFIG,
            generator=np.random.default_rng(7),
        )


def draw(acted: ItemEvents, times: Any, sure: list[tuple[int, int]], seed: int = 0, **more: int) -> Any:
    settings = {"uniform": 3, "recent": 5, "window": 4} | more
    candidates = Candidates(acted, generator=np.random.default_rng(seed), **settings)
    question, item = (np.array([pair[column] for pair in sure], np.int64) for column in (0, 1))
    return candidates.draw(np.array(times), question, item)


def test_candidates_are_drawn_as_often_as_is_said() -> None:
    """The newest four events before the questions are of the items 2, 2, 4 and 1; 1 and 5 are there for sure."""
    acted = ItemEvents.of(np.array([3, 3, 1, 2, 4, 2, 5]), np.array([1, 2, 3, 4, 5, 6, 7]) * S, 5)
    size = 20_000
    draws = draw(acted, [7 * S] * size, [(question, item) for question in range(size) for item in (1, 5)])
    often = np.bincount(draws.item_D, minlength=6)[1:] / size
    wanted = np.full(5, 3 / 5) + np.array([5 / 4, 10 / 4, 0, 5 / 4, 0]) + np.array([1, 0, 0, 0, 1])
    np.testing.assert_allclose(often, wanted, atol=0.05)
    for item, want in enumerate(wanted, 1):
        np.testing.assert_allclose(draws.log_expected_D[draws.item_D == item], np.log(want), atol=1e-6)
    assert (np.diff(draws.question_D) >= 0).all()


def test_what_is_fresh_is_strictly_before_the_question() -> None:
    acted = ItemEvents.of(np.array([1, 2, 3]), np.array([10, 20, 30]) * S, 3)
    many = {"uniform": 1, "recent": 500}
    first, second, third, none = (set(draw(acted, [time * S], [], **many).item_D[1:]) for time in (20, 21, 31, 10))
    assert first == {1}
    assert second == {1, 2}
    assert third == {1, 2, 3}
    assert len(none) == 0
    assert len(draw(acted, [10 * S], []).item_D) == 3, "nothing is fresh before the first event: only the uniform ones"
