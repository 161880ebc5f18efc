"""Nothing is called better or worse unless its interval says so."""

from __future__ import annotations

from sessionrec.report.bootstrap import Estimate, Gap
from sessionrec.report.run_facts import Selection
from sessionrec.report.run_words import choice, headline, stopped, verdicts

MODEL = Estimate(mean=0.072, low=0.061, high=0.084, gap=None)
NAMES = ["SessionRec-HSTU", "repeat", "popularity"]


def floor(mean: float, sign: int) -> Estimate:
    low, high = {1: (0.01, 0.2), 0: (-0.01, 0.02), -1: (-0.06, -0.01)}[sign]
    return Estimate(
        mean=mean, low=mean - 0.01, high=mean + 0.01, gap=Gap(mean=mean - 0.072, low=low, high=high, p_value=0.5)
    )


def line(*floors: Estimate) -> str:
    return headline(NAMES[: len(floors) + 1], [MODEL, *floors], "globo", "ndcg@10").removeprefix(
        "SessionRec-HSTU on globo: NDCG@10 .072 [.061, .084]; "
    )


def test_the_headline_says_which_floor_wins() -> None:
    assert line(floor(0.19, 1), floor(0.03, -1)) == "repeat .190 is better"
    assert line(floor(0.1, 1), floor(0.19, 1)) == "popularity .190 and repeat .100 are better"
    assert line(floor(0.08, 0), floor(0.03, -1)) == "no floor is clearly better, but repeat .080 cannot be told from it"
    assert line(floor(0.02, -1), floor(0.03, -1)) == "every floor is worse, the best of them popularity .030"
    assert line(floor(0.02, -1)) == "better than repeat .020"
    assert line() == "no floor was evaluated beside it"


def test_small_results_get_a_fourth_place() -> None:
    tiny = Estimate(mean=0.0042, low=0.0031, high=0.0055, gap=None)
    assert headline(["m"], [tiny], "x", "ndcg@10").startswith("m on x: NDCG@10 .0042 [.0031, .0055];")


def test_verdicts_give_the_difference_with_its_interval_best_floor_first() -> None:
    found = verdicts([*NAMES, "recency"], [MODEL, floor(0.082, 0), floor(0.03, -1), floor(0.19, 1)])
    assert [verdict.words for verdict in found] == [
        "Recency .1900 is better by .1180 [.0100, .2000]",
        "Repeat .0820 cannot be told from the model: difference +.0100 [\u2212.0100, .0200]",
        "Popularity .0300 is worse by .0420 [.0100, .0600]",
    ]


def test_the_model_without_its_prior_comes_first_and_is_no_floor() -> None:
    names, found = ["m with prior", "m", "repeat"], [MODEL, floor(0.01, -1), floor(0.08, 0)]
    assert headline(names, found, "globo", "ndcg@10", has_prior=True) == (
        "m with prior on globo: NDCG@10 .072 [.061, .084], .010 without the prior; "
        "no floor is clearly better, but repeat .080 cannot be told from it"
    )
    assert [verdict.words for verdict in verdicts(names, found, has_prior=True)] == [
        "The model without prior .0100 is worse by .0620 [.0100, .0600]",
        "Repeat .0800 cannot be told from the model with prior: difference +.0080 [\u2212.0100, .0200]",
    ]
    assert headline(names[:2], found[:2], "x", "ndcg@10", has_prior=True).endswith("; no floor was evaluated beside it")


def test_choices_and_ends_in_words() -> None:
    assert choice({"half_life_s": 3600.0}) == "half-life 1 h"
    assert choice({"decay": 0.95, "kind": "x"}) == "decay 0.95, kind x"
    ended = Selection(metric="ndcg@100", best_value=0.5, best_epoch=3, epochs=9, stopped="epochs")
    assert stopped(ended) == "Ran all 9 epochs; the model is that of epoch 3, the best on validation (NDCG@100 .5000)."
    assert stopped(ended.model_copy(update={"epochs": 1})).startswith("Ran 1 epoch;")
    assert stopped(ended.model_copy(update={"stopped": "flood"})).startswith("Ended after 9 epochs (flood);")
