"""Views of a data set: what a model may see of each user, and what it is asked, for one part and one paradigm.

Next-session prediction: the inputs are sessions, a question is asked after each, its answer is the next session.
Next-item prediction is the same machine with one event a session, over the same data set: positives only (HSTU, SASRec)
or all events (HSTU+). Held-out sessions are asked for as a whole in both (leave-one-session-out).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sessionrec.config import Config
from sessionrec.jagged import IntArray, keep_elements, offsets_from_lengths, row_of_element, sum_by_row, take_rows
from sessionrec.sessions.histories import Array, Histories, Mask
from sessionrec.sessions.split import Part
from sessionrec.sessions.truncation import Truncation, newest_sessions, truncate


class View(Config):
    """Which questions are asked of a data set, and what may be seen."""

    part: Literal["train", "validation", "test"] = "train"
    """Sessions to predict; the history is everything before, of earlier parts too."""
    unit: Literal["session", "event"] = "session"
    """What an input position is: a session, or a single event (item-level models)."""
    events: Literal["all", "positives"] = "all"
    """Inputs: all events, or only positive ones."""
    truncation: Truncation = Truncation()
    """Caps on the history, by whole sessions for both units. Training on events, the last session is inputs too, so it
    counts towards the caps; training on sessions it is only asked for."""
    ask_first: bool = False
    """Also ask for a user's very first session, before which nothing is known; the model needs a start token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some users seen through a view. Letters: U users, Q questions; the inputs' own letters as in `Histories`."""

    inputs: Histories
    """What may be seen; one event a session if the unit is the event."""
    user_index_U: IntArray
    """[U] place in the data set."""
    question_offsets: IntArray
    """[U + 1] cuts questions into users; no user is without."""
    num_before_Q: IntArray
    """[Q] input positions before the question."""
    time_ms_Q: IntArray
    """[Q] when it is asked."""
    positive_offsets: IntArray
    """[Q + 1] cuts `positive_items`."""
    positive_items: Array
    """Items acted on."""
    negative_offsets: IntArray
    """[Q + 1] cuts `negative_items`."""
    negative_items: Array
    """Items shown and not acted on."""


def look(view: View, histories: Histories, user_index_U: IntArray) -> Window:
    """See some users through a view; users without a question are left out.

    Args:
        view: What to see and to ask.
        histories: Whole users in final codes, all parts.
        user_index_U: [U] their places in the data set.
    """
    part = Part[view.part.upper()]
    known = histories.keep_sessions(histories.part_S <= part)
    if view.unit == "event" and part == Part.TRAIN:
        return _ask_events(view, known, user_index_U)
    return _ask_sessions(view, known, part, user_index_U)


def _ask_sessions(view: View, known: Histories, part: Part, user_index_U: IntArray) -> Window:
    is_positive_E = known.is_positive_E()
    positives_S = sum_by_row(is_positive_E, known.session_offsets)
    is_target_S = (known.part_S == part) & (positives_S > 0)
    is_input_S = _is_before_last(is_target_S, known.user_offsets)
    rows = np.flatnonzero(is_input_S)
    is_input_S[rows] = newest_sessions(known.keep_sessions(is_input_S), view.truncation)
    if view.events == "positives":
        is_input_S &= positives_S > 0

    before_S = _counts_before(is_input_S)
    user_S = row_of_element(known.user_offsets)
    first_S = known.user_offsets[user_S]
    # In what the model sees, an item-level position is an event; so is the number of positions before a question.
    num_before_S = before_S[:-1] - before_S[first_S]
    can_ask_S = is_target_S & (num_before_S > 0)
    if view.ask_first:
        can_ask_S |= is_target_S & (first_S == np.arange(len(first_S)))
    questions = np.flatnonzero(can_ask_S)

    inputs = _seen(view, known.keep_sessions(is_input_S))
    num_before_Q = num_before_S[questions]
    if view.unit == "event":
        last = before_S[first_S[questions]] + num_before_Q
        num_before_Q = inputs.session_offsets[last] - inputs.session_offsets[before_S[first_S[questions]]]
        inputs = one_event_a_session(inputs)
    elements, offsets = take_rows(known.session_offsets, questions)
    positive = is_positive_E[elements]
    return _only_asked(
        inputs,
        user_index_U,
        user_Q=user_S[questions],
        num_before_Q=num_before_Q,
        time_ms_Q=known.session_time_ms_S[questions],
        positive=(keep_elements(positive, offsets), known.item_E[elements[positive]]),
        negative=(keep_elements(~positive, offsets), known.item_E[elements[~positive]]),
    )


def _ask_events(view: View, known: Histories, user_index_U: IntArray) -> Window:
    """Item-level training: after each event the next one is asked for, if it is positive."""
    flat = one_event_a_session(_seen(view, truncate(known, replace_events_cap(view.truncation))))
    is_target_E = flat.is_positive_E()
    user_E = row_of_element(flat.user_offsets)
    num_before_E = np.arange(flat.num_events) - flat.user_offsets[user_E]
    is_first_E = num_before_E == 0
    questions = np.flatnonzero(is_target_E & (~is_first_E | view.ask_first))
    one_each = np.arange(len(questions) + 1)
    inputs = flat.keep_sessions(_is_before_last(is_target_E, flat.user_offsets))
    return _only_asked(
        inputs,
        user_index_U,
        user_Q=user_E[questions],
        num_before_Q=num_before_E[questions],
        time_ms_Q=flat.time_ms_E[questions],
        positive=(one_each, flat.item_E[questions]),
        negative=(np.zeros(len(questions) + 1, np.int64), flat.item_E[:0]),
    )


def replace_events_cap(truncation: Truncation) -> Truncation:
    """The caps on whole sessions alone."""
    return truncation.model_copy(update={"max_events_per_session": None})


def one_event_a_session(histories: Histories) -> Histories:
    """Every event a session of its own, at its own time."""
    return replace(
        histories,
        user_offsets=histories.event_offsets,
        session_time_ms_S=histories.time_ms_E,
        part_S=np.repeat(histories.part_S, np.diff(histories.session_offsets)),
        session_offsets=np.arange(histories.num_events + 1),
    )


def _seen(view: View, inputs: Histories) -> Histories:
    """The events of the input sessions that the view shows."""
    if view.events == "positives":
        inputs = inputs.keep_events(inputs.is_positive_E())
        inputs = inputs.keep_sessions(np.diff(inputs.session_offsets) > 0)
    cap = view.truncation.max_events_per_session
    return inputs if cap is None else truncate(inputs, Truncation(max_events_per_session=cap))


def _is_before_last(is_target: Mask, offsets: IntArray) -> Mask:
    """Whether a later element of the same row is a target."""
    through = np.zeros(len(is_target) + 1, np.int64)
    np.cumsum(is_target, out=through[1:])
    return np.repeat(through[offsets[1:]], np.diff(offsets)) > through[1:]


def _counts_before(mask: Mask) -> IntArray:
    """[N + 1] how many are true before each place."""
    before = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(mask, out=before[1:])
    return before


def _only_asked(
    inputs: Histories,
    user_index_U: IntArray,
    *,
    user_Q: IntArray,
    num_before_Q: IntArray,
    time_ms_Q: IntArray,
    positive: tuple[IntArray, Array],
    negative: tuple[IntArray, Array],
) -> Window:
    questions_U = np.bincount(user_Q, minlength=inputs.num_users)
    is_asked_U = questions_U > 0
    return Window(
        inputs=inputs.keep_users(is_asked_U),
        user_index_U=user_index_U[is_asked_U],
        question_offsets=offsets_from_lengths(questions_U[is_asked_U]),
        num_before_Q=num_before_Q,
        time_ms_Q=time_ms_Q,
        positive_offsets=positive[0],
        positive_items=positive[1],
        negative_offsets=negative[0],
        negative_items=negative[1],
    )
