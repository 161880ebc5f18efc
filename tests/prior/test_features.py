"""Features of items and of users against loops, and scores that are made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from sessionrec.baselines.recency import RecencyPopularity
from sessionrec.baselines.repeat import Repeat
from sessionrec.batch import Examples
from sessionrec.dynamics import ItemEvents, ItemState
from sessionrec.prior import ItemFeatures, Known, LiveItems, OwnFeatures, Prior, PriorConfig, PriorRanker
from sessionrec.prior.features import Features, names_of
from sessionrec.prior.prior import Hidden
from sessionrec.scoring import Block, DotScorer, Ranker, Scorer
from tests.baselines.plain import ITEMS, Question, S, Users, all_questions, drawn_users, examples_of

CONFIG = PriorConfig(
    acted_half_lives_s=(2.0, 7.0),
    shown_half_lives_s=(3.0, 7.0),
    rate_half_lives_s=(3.0, 9.0),
    session_decays=(0.5, 1.0),
    own_half_lives_s=(4.0,),
    lowest=-5.0,
    own_lowest=-3.0,
)
CODES = np.array([[1, 0], [1, 2], [2, 2], [0, 1], [2, 1], [3, 0]], np.int32)
ATTRIBUTES = ("brand", "shop")
START = 1000
"""Seconds before the first session; 1970 is no time of an event."""

worlds = drawn_users().map(lambda users: [[(at + START, visit) for at, visit in user] for user in users])


def asked(users: Users) -> list[Question]:
    return [(user, before, time + START) for user, before, time in all_questions(users)]


def events(users: Users, *, acted: bool) -> list[tuple[int, int]]:
    """(item, time in seconds)."""
    return [
        (item, at + place)
        for user in users
        for at, visit in user
        for place, (item, action) in enumerate(visit)
        if 1 <= item <= ITEMS and (action & 1 or not acted)
    ]


def known(users: Users) -> Known:
    sides = []
    for acted in (True, False):
        pairs = np.array(events(users, acted=acted), np.int64).reshape(-1, 2)
        sides.append(ItemEvents.of(pairs[:, 0], pairs[:, 1] * S, ITEMS))
    return Known(acted=sides[0], shown=sides[1])


def item_features(users: Users, config: PriorConfig = CONFIG) -> ItemFeatures:
    of = known(users)
    return ItemFeatures(of, scheme=replace(of.scheme(config), span_s=1e9, rate=0.5))


class After:
    """Finds the item after each of the history, and half as much the one after that."""

    name = "after"

    def found(self, examples: Examples) -> tuple[Any, Any, Any]:
        pairs: dict[tuple[int, int], float] = {}
        inputs, targets = examples
        for question, (user, before) in enumerate(
            zip(targets.user_Q.tolist(), targets.num_before_Q.tolist(), strict=True)
        ):
            first = int(inputs.user_offsets[user])
            begin, end = inputs.session_offsets[[first, first + before]].tolist()
            for item in inputs.item_E[begin:end].tolist():
                for more, score in ((1, 1.0), (2, 0.5)):
                    if 1 <= item <= ITEMS:
                        column = (item - 1 + more) % ITEMS
                        pairs[question, column] = pairs.get((question, column), 0.0) + score
        keys = np.array(list(pairs), np.int64).reshape(-1, 2)
        return keys[:, 0], keys[:, 1], np.array(list(pairs.values()), np.float32)


def plain_after(users: Users, question: Question, item: int) -> float:
    user, before, _ = question
    items = [of for _, visit in users[user][:before] for of, _ in visit if 1 <= of <= ITEMS]
    score = sum(1.0 for of in items if of % ITEMS + 1 == item) + sum(
        0.5 for of in items if (of + 1) % ITEMS + 1 == item
    )
    return math.log2(score) + 14 if score else 0.0


def own_features(config: PriorConfig = CONFIG) -> OwnFeatures:
    return OwnFeatures(config, CODES, ATTRIBUTES, has_passed=True, others=(After(),))


def faded(pairs: list[tuple[int, int]], item: int, time: int, half_life: float) -> float:
    return sum(2 ** (-(time - at) / half_life) for of, at in pairs if of == item and at < time)


def raised(count: float, lowest: float) -> float:
    return max(math.log2(count), lowest) - lowest if count else 0.0


def plain_items(users: Users, item: int, time: int) -> list[float]:
    acted, shown = events(users, acted=True), events(users, acted=False)
    values = [raised(faded(acted, item, time, half_life), -5) for half_life in (2.0, 7.0)]
    values += [raised(faded(shown, item, time, half_life), -5) for half_life in (3.0, 7.0)]
    for half_life in (3.0, 9.0):
        counts = faded(acted, item, time, half_life), faded(shown, item, time, half_life)
        values.append(math.log2((counts[0] / 0.5 + 10) / (counts[1] + 10)))
    firsts = [at for of, at in shown if of == item]
    is_known = bool(firsts) and min(firsts) < time
    return [*values, math.log2(1 + (time - min(firsts)) / 60) if is_known else 0.0]


def plain_shares(visits: list[Any], before: int, time: int, item: int) -> list[float]:
    shares = [
        (before - 1 - number, at + place, 1 / sum(action & 1 for _, action in visit))
        for number, (at, visit) in enumerate(visits)
        for place, (of, action) in enumerate(visit)
        if of == item and action & 1
    ]
    values = [raised(sum(share * decay**ago for ago, _, share in shares), -7) for decay in (0.5, 1.0)]
    return [*values, raised(sum(share * 2 ** (-max(time - at, 0) / 4) for _, at, share in shares), -7)]


def plain_rhythm(visits: list[Any], before: int, time: int, item: int) -> list[float]:
    """In days and sessions."""
    own = [
        (number, max(time - at - place, 0) / 86_400)
        for number, (at, visit) in enumerate(visits)
        for place, (of, action) in enumerate(visit)
        if of == item and action & 1
    ]
    if not own:
        return [0.0] * 9
    days, sessions = [day for _, day in own], {number for number, _ in own}
    interval = (max(days) - min(days)) / (len(sessions) - 1) if len(sessions) > 1 else 0.0
    there, away = (max(time - visits[place][0], 0) for place in (0, -1))
    usual = max(interval, 0.5) if len(sessions) > 1 else max(there / 86_400, 1)
    acted = [of for _, visit in visits for of, action in visit if action & 1]
    return [
        math.log2(1 + before - 1 - max(sessions)),
        math.log2(1 + min(days)),
        math.log2(1 + interval),
        math.log2(max(min(days), 0.05) / usual),
        math.log2(len(sessions) / before),
        math.log2(before),
        math.log2(1 + away / 60),
        math.log2(1 + len(acted) / before),
        math.log2(1 + len({of for of in acted if 1 <= of <= ITEMS})),
    ]


def plain_own(users: Users, question: Question, item: int) -> list[float]:
    user, before, time = question
    visits = users[user][:before]
    values = []
    for wanted in (1, 0):
        own = [
            (before - 1 - number, at + place)
            for number, (at, visit) in enumerate(visits)
            for place, (of, action) in enumerate(visit)
            if of == item and (action & 1) == wanted
        ]
        values += [raised(sum(decay**ago for ago, _ in own), -3) for decay in (0.5, 1.0)]
        values.append(raised(sum(2 ** (-max(time - at, 0) / 4) for _, at in own), -3))
    values += plain_shares(visits, before, time, item) + plain_rhythm(visits, before, time, item)
    for column in range(len(ATTRIBUTES)):
        code = CODES[item - 1, column]
        count = sum(
            0.9 ** (before - 1 - number)
            for number, (_, visit) in enumerate(visits)
            for of, action in visit
            if action & 1 and 1 <= of <= ITEMS and CODES[of - 1, column] == code and code
        )
        values.append(raised(count, -4))
    return [*values, plain_after(users, question, item)]


def grid(size: int) -> tuple[Any, Any]:
    question, column = np.indices((size, ITEMS)).reshape(2, -1)
    return question, column + 1


def filled(scorer: Scorer, start: int = 0, stop: int | None = None) -> torch.Tensor:
    stop = scorer.num_questions if stop is None else stop
    block = Block(torch.empty((stop - start) * ITEMS), stop - start, ITEMS)
    scorer.fill(slice(start, stop), block)
    return block.whole()


def test_names_say_what_a_weight_does() -> None:
    names = names_of(item_features([[]]), own_features())
    assert names == (
        "acted 2 s", "acted 7 s", "shown 3 s", "shown 7 s", "click rate 3 s", "click rate 9 s", "age",
        "own acted 0.5 a session", "own acted 1 a session", "own acted 4 s",
        "own passed 0.5 a session", "own passed 1 a session", "own passed 4 s",
        "own share 0.5 a session", "own share 1 a session", "own share 4 s",
        "own last session", "own last day", "own interval", "own due", "own often", "own sessions", "own away",
        "own session size", "own items",
        "own brand", "own shop", "after",
    )  # fmt: skip


@given(worlds, st.sampled_from([1, 20_000]))
def test_features_of_pairs_are_those_of_loops(users: Users, slower: int) -> None:
    # A user's rhythm is one of days.
    questions = [(user, before, time * slower) for user, before, time in asked(users)]
    users = [[(at * slower, visit) for at, visit in user] for user in users]
    question, item = grid(len(questions))
    features = Features(item_features(users), own_features(), examples_of(users, questions))
    found = features.pairs(question, item)
    wanted = [
        plain_items(users, of, questions[at][2]) + plain_own(users, questions[at], of)
        for at, of in zip(question.tolist(), item.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, np.array(wanted).reshape(found.shape), atol=2e-5)


@given(worlds)
def test_a_sweep_has_the_features_of_single_items(users: Users) -> None:
    features, times = item_features(users), np.array([time * S for *_, time in asked(users)])
    for place, found in features.sweep(times):
        wanted = features.at(np.full(ITEMS, times[place]), np.arange(1, ITEMS + 1))
        np.testing.assert_allclose(found, wanted, atol=1e-5)


class Model:
    """Any model: queries by question."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._items = torch.randn(ITEMS, 3, generator=self._generator)

    def scorer(self, examples: Examples) -> Scorer:
        return DotScorer(torch.randn(examples.targets.num_questions, 3, generator=self._generator), self._items)


@given(worlds, st.integers(0, 10**6), st.sampled_from([0.0, 0.7]), st.booleans(), st.booleans())
def test_scores_are_the_sum_of_weighed_features(
    users: Users, seed: int, scale: float, has_model: bool, has_hidden: bool
) -> None:
    random = np.random.default_rng(seed)
    items, own, questions = item_features(users), own_features(), asked(users)
    names = names_of(items, own)
    weights = dict(zip(names, random.normal(size=len(names)).tolist(), strict=True))
    examples = examples_of(users, questions)
    model: Ranker | None = Model(seed) if has_model else None
    question, item = grid(len(questions))
    features = Features(items, own, examples).pairs(question, item)
    wanted = features @ np.array(list(weights.values()), np.float32)
    hidden = None
    if has_hidden:
        a, b, c = (random.normal(size=shape).astype(np.float32) for shape in ((len(names), 4), (4,), (4,)))
        inside = features @ a + b
        wanted += (inside / (1 + np.exp(-inside))) @ c
        hidden = Hidden(inputs_FH=torch.from_numpy(a), bias_H=torch.from_numpy(b), outputs_H=torch.from_numpy(c))
    wanted = wanted.reshape(-1, ITEMS)
    known_V = torch.from_numpy(random.random(ITEMS).astype(np.float32))
    prior = Prior(weights=weights, scale=scale, trust=0.3, hidden=hidden)
    scorer = PriorRanker(prior, items, own, model, known_V).scorer(examples)
    if has_model:
        wanted += (scale + 0.3 * known_V.numpy()) * filled(Model(seed).scorer(examples)).numpy()
    whole = filled(scorer)
    np.testing.assert_allclose(whole, wanted, atol=1e-3)
    parts = [filled(scorer, at, at + 1) for at in range(len(questions))]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=0)
    pairs = scorer.pairs(torch.from_numpy(question), torch.from_numpy(item))
    np.testing.assert_allclose(pairs, wanted.ravel(), atol=1e-3)


@given(worlds)
def test_nothing_at_the_question_s_time_or_later_is_known(users: Users) -> None:
    """Each question is asked of a world that ends before it, and of one that goes on otherwise; both answer alike."""
    names = names_of(item_features(users), own_features())
    prior = Prior(weights=dict.fromkeys(names, 1.0))
    for question in asked(users):
        user, before, time = question
        answers = []
        for later in (0, 17, None):
            world = [
                [
                    (at + (later or 0) if at >= time else at, visit)
                    for at, visit in visits
                    if at + len(visit) <= time or (at >= time and later is not None)
                ]
                for visits in users
            ]
            # What overlaps the question is not there at all: half a session is not what this is about.
            own = users[user][:before]
            examples = examples_of([own], [(0, before, time)])
            ranker = PriorRanker(prior, item_features(world), own_features())
            answers.append(filled(ranker.scorer(examples)))
        assert torch.equal(answers[0], answers[1])
        assert torch.equal(answers[0], answers[2])


def places(scores: torch.Tensor) -> list[list[int]]:
    """Rank of every item, equals sharing one."""
    return [[int((row > score).sum()) for score in row] for row in scores]


@given(worlds)
def test_recency_popularity_is_one_weight(users: Users) -> None:
    config = CONFIG.model_copy(update={"lowest": -60.0})
    examples = examples_of(users, asked(users))
    ranker = PriorRanker(Prior(weights={"acted 7 s": 1.0}), item_features(users, config), own_features(config))
    floor = filled(RecencyPopularity(known(users).acted, half_life_s=7.0).scorer(examples))
    ours = filled(ranker.scorer(examples))
    for mine, theirs in zip(ours.double(), floor.double(), strict=True):
        # Orders agree wherever the floor tells two items apart by more than rounding.
        gaps = theirs[:, None] - theirs[None]
        assert (((mine[:, None] - mine[None]) > 0) | (gaps < 1e-3))[gaps > 0].all()
        assert ((mine[:, None] - mine[None]).abs() < 1e-4)[gaps.abs() < 1e-6].all()


@given(worlds, st.sampled_from([0.5, 1.0]))
def test_repeat_is_two_weights(users: Users, decay: float) -> None:
    config = CONFIG.model_copy(update={"lowest": -60.0, "own_lowest": -60.0, "acted_half_lives_s": (1e12,)})
    examples = examples_of(users, asked(users))
    # The user's own items above all others, then by how often; far below, what all have, which parts equals.
    weights = {f"own acted {decay:g} a session": 1.0, "acted 1.15741e+07 d": 1e-4}
    of = known(users)
    features = ItemFeatures(of, scheme=replace(of.scheme(config), span_s=1e15))
    ranker = PriorRanker(Prior(weights=weights), features, own_features(config))
    # The floor counts events before the part, the prior those before the question: here all are before.
    late = replace_times(examples, 10**6)
    floor = Repeat(known(users).acted.count_V, decay=decay)
    assert places(filled(ranker.scorer(late)).double().mul(1e7).round()) == places(filled(floor.scorer(late)))


def replace_times(examples: Examples, seconds: int) -> Examples:
    targets = replace(examples.targets, time_ms_Q=torch.full_like(examples.targets.time_ms_Q, seconds * S))
    return Examples(examples.inputs, targets)


@given(worlds, st.integers(0, 6), st.booleans())
def test_items_as_they_stand_are_what_a_search_finds(users: Users, after: int, in_stream: bool) -> None:
    """Event by event, or all at once, the features at and after the newest event are those of the whole past."""
    past = item_features(users)
    acted, shown = (ItemState.empty(ITEMS, half_lives) for half_lives in past.scheme.counted_s)
    live = LiveItems(past.scheme, acted, shown)
    if in_stream:
        left = list(events(users, acted=True))
        for event in events(users, acted=False):
            is_acted = event in left
            if is_acted:
                left.remove(event)
            live.add(event[0], event[1] * S, is_acted=is_acted)
    else:
        for state, is_acted in ((acted, True), (shown, False)):
            pairs = np.array(events(users, acted=is_acted), np.int64).reshape(-1, 2)
            state.add_all(pairs[:, 0], pairs[:, 1] * S)
        live = LiveItems(past.scheme, acted, shown)
    newest = max((time for _, time in events(users, acted=False)), default=START)
    # 7 s is the longest half-life: beyond, a state that nobody feeds stands still.
    times = np.array([newest + after, newest + after, newest + 10**6, 1]) * S + 1
    meant = np.array([newest + after, newest + after, newest + 7, newest]) * S + 1
    meant[:3] = np.minimum(meant[:3], (newest + 7) * S)
    if not events(users, acted=False):
        return
    wanted = {place: rows.copy() for place, rows in past.sweep(meant)}
    found = {place: rows.copy() for place, rows in live.sweep(times)}
    every = np.arange(1, ITEMS + 1)
    for place in range(4):
        np.testing.assert_allclose(found[place], wanted[place], atol=1e-3)
        np.testing.assert_allclose(live.at(np.full(ITEMS, times[place]), every), wanted[place], atol=1e-3)


def test_a_state_of_another_log_is_refused() -> None:
    scheme = known([[]]).scheme(CONFIG)
    with pytest.raises(ValueError, match="do not agree on whether there are exposures"):
        LiveItems(scheme, ItemState.empty(ITEMS, scheme.acted_s), None)


def test_half_lives_beyond_the_log_are_left_out() -> None:
    users: Users = [[(START, [(1, 1)]), (START + 10, [(2, 1)])]]
    names = known(users).scheme(CONFIG).names
    assert names == ("acted 2 s", "shown 3 s", "click rate 3 s", "click rate 9 s", "age")
    assert known([[]]).scheme(CONFIG).names == ("acted 2 s", "shown 3 s", "click rate 3 s", "click rate 9 s", "age")


def test_without_exposures_nothing_is_passed_over() -> None:
    own = OwnFeatures(CONFIG, CODES, ATTRIBUTES, has_passed=False)
    assert not any("passed" in name for name in own.names)
    users: Users = [[(START, [(1, 0), (2, 1)])]]
    cells = own.cells(examples_of(users, [(0, 1, START + 50)]))
    assert (cells.items.key_C + 1).tolist() == [2]
    scheme = Known(acted=known(users).acted, shown=None).scheme(CONFIG)
    assert replace(scheme, span_s=1e9).names == ("acted 2 s", "acted 7 s", "age")


def test_a_weight_of_no_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="no feature 'acted 9 s'; there are "):
        PriorRanker(Prior(weights={"acted 9 s": 1.0, "own shop": 1.0}), item_features([[]]), own_features())


def test_a_hidden_layer_over_other_features_is_refused() -> None:
    hidden = Hidden(inputs_FH=torch.ones(1, 2), bias_H=torch.ones(2), outputs_H=torch.ones(2))
    with pytest.raises(ValueError, match="the hidden layer is over age; there are acted 2 s"):
        PriorRanker(Prior(weights={"age": 1.0}, hidden=hidden), item_features([[]]), own_features())


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("own_half_lives_s", (0.0,), "above 0"),
        ("acted_half_lives_s", (5.0, 5.0), "each value once"),
        ("session_decays", (0.5, 1.5), "above 0 and at most 1"),
        ("session_decays", (0.5, 0.5), "each value once"),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: tuple[float, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PriorConfig.model_validate({field: value})


def test_something_of_the_user_is_looked_at() -> None:
    with pytest.raises(ValueError, match="both are empty"):
        PriorConfig(session_decays=(), own_half_lives_s=())
    users: Users = [[(START, [(1, 1), (2, 0)])]]
    own = OwnFeatures(PriorConfig(session_decays=()), CODES, (), has_passed=True)
    # Two kinds of three half-lives, shares, and the rhythm.
    assert own.cells(examples_of(users, [(0, 1, START + 9)])).items.values_CF.shape == (2, 3 * 3 + 9)
    plain = PriorConfig(session_decays=(), has_share=False, has_rhythm=False)
    assert len(OwnFeatures(plain, CODES, (), has_passed=True).names) == 2 * 3
