"""`EvalProtocol`: what is asked and how answers count; it travels with every number.

Leave-one-session-out (paper 4.1.3): the history is all sessions before the last, the targets are the positives of the
last. Leave-one-item-out: the target is the last of these positives. The history is the same, and earlier items of its
session are not seen (`last_item`), or what came before it in its session is one more session of the history
(`last_item_partial`); for the latter the questions themselves differ, so the view must be made by the protocol, see
`data.view.evaluation_view`. Which sessions are last, or late, is the split's choice and stands in the data set.

What a system may know of all users is the events of earlier parts strictly before the question, as a model that was
trained on the day before would have it; or, as a live system has it, what a stream carried up to the question
(`known`). With the stream, items that training never saw can be answers.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sessionrec.config import Config


class EvalProtocol(Config):
    """What is asked and how answers count."""

    targets: Literal["session", "last_item", "last_item_partial"] = "session"
    """All positives of the session to predict (leave-one-session-out), or its last one (leave-one-item-out): after the
    sessions before, or after the earlier events of its own session too."""
    seen: Literal["kept", "filtered"] = "kept"
    """Items of the history: candidates like any other, or taken out (MovieLens, Amazon); so is a target
    among them, which is a miss."""
    known: Literal["parts", "stream"] = "parts"
    """What may be known of all users when a question is asked: events of earlier parts, and items with a training event
    can be answers; or, where time counts, every event before the question, and every item of the log can be. Models are
    the same, and what knows no time still knows earlier parts alone; what counts events by time, a prior or recency,
    knows more."""
    ks: tuple[int, ...] = (10, 100, 500)
    """Lengths of the list at which metrics are taken."""
    recall: Literal["all", "capped"] = "all"
    """Recall divides by the number of targets, or by what a list of K can hold of them."""
    average: Literal["macro", "micro"] = "macro"
    """Every user counts the same, or every target does."""
    in_session: bool = True
    """Also rank what the session exposed: AUC and NDCG, for questions with positives and negatives."""
    list_length: int = Field(default=10, ge=0)
    """Length of the lists that catalogue coverage, novelty and popularity bias look at; 0 = none of them."""

    @field_validator("ks", mode="before")
    @classmethod
    def _as_tuple(cls, ks: object) -> object:
        return tuple(ks) if isinstance(ks, list) else ks

    @field_validator("ks")
    @classmethod
    def _ascending(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        if not ks or min(ks) < 1 or list(ks) != sorted(set(ks)):
            raise ValueError("give at least one K, each 1 or more, ascending")
        return ks

    @property
    def has_partial_session(self) -> bool:
        """Whether the history ends in a part of the target's own session."""
        return self.targets == "last_item_partial"

    @property
    def is_stream(self) -> bool:
        """Whether every event before a question is known, and every item can be an answer."""
        return self.known == "stream"

    def words(self) -> dict[str, str]:
        """The protocol as a report states it, one phrase a choice."""
        return {
            "targets": {
                "session": "all positives of the session to predict (leave-one-session-out)",
                "last_item": "the last positive of the session to predict (leave-one-item-out)",
                "last_item_partial": "the last positive of the session to predict (leave-one-item-out)",
            }[self.targets],
            "history": {
                "session": "the sessions before the one to predict",
                "last_item": "the sessions before the target's; nothing of its own session",
                "last_item_partial": "the sessions before the target's, and the events before it in its own session",
            }[self.targets],
            "candidates": "all items of the log, never a sample; those without a training event too"
            if self.is_stream
            else "all items with a training event, never a sample; a target that is none is a miss",
            "known of all users": "where time counts every event strictly before the question, also of the part "
            "that is asked; else events of earlier parts"
            if self.is_stream
            else "events of earlier parts, where time counts strictly before the question",
            "seen items": "kept as candidates" if self.seen == "kept" else "taken out; a target among them is a miss",
            "ties": "count against the system: a target ranks below every equal score",
            "recall": "hits / targets" if self.recall == "all" else "hits / min(K, targets)",
            "average": "mean over users with a target" if self.average == "macro" else "weighted by a user's targets",
        }
