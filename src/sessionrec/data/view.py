"""Views of a data set: what a model may see of each user, and what it is asked, for one part and one paradigm.

Next-session prediction: the inputs are sessions, a question is asked after each, its answer is the next session.
Next-item prediction is the same machine with one event a session, over the same data set: positives only (HSTU, SASRec)
or all events (HSTU+). Held-out sessions are asked for as a whole in both (leave-one-session-out), or for their last
positive after what came before it in the session (`partial_session`, leave-one-item-out).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sessionrec.config import Config
from sessionrec.data.rearrange import newest, one_event_a_session, ranges, take_sessions
from sessionrec.jagged import IntArray, keep_elements, offsets_from_lengths, row_of_element, sum_by_row, take_rows
from sessionrec.sessions.histories import Array, Histories, Mask
from sessionrec.sessions.split import Part
from sessionrec.sessions.truncation import Truncation, cap_events, first_visible, truncate

EvalTargets = Literal["session", "last_item", "last_item_partial"]
"""What a held-out session is asked for, `evaluate.EvalProtocol.targets`, in the same words."""


class View(Config):
    """Which questions are asked of a data set, and what may be seen."""

    part: Literal["train", "validation", "test"] = "train"
    """Sessions to predict; the history is everything before, of earlier parts too."""
    unit: Literal["session", "event"] = "session"
    """What an input position is: a session, or a single event (item-level models)."""
    events: Literal["all", "positives"] = "all"
    """Inputs: all events, or only positive ones."""
    truncation: Truncation = Truncation()
    """Caps on the history, by whole sessions for both units; only sessions with something to show count. Held out, each
    question has its own; in training a user's history is capped once, for sessions before the last question, for
    events (whose last session is input too) from the end."""
    max_positions: int | None = Field(default=None, gt=0)
    """Newest input positions that are left after all else: with single events, the length that an item-level model
    takes, which may cut through a session."""
    ask_first: bool = False
    """Also ask for a user's very first session, before which nothing is known; the model needs a start token."""
    partial_session: bool = False
    """Held out, ask for a session's last positive alone, at its time; the session's earlier events are one more
    session of the history. The questions are the same ones, each in a row of its own."""

    ask_from: Literal["event", "moment"] = "event"
    """In training of single events, what a question is asked after: the `event` before its target, or what stands
    before all the events of the target's `moment`, those next to it that have its time. Where a page or a request has
    one time, `event` asks for a click after part of the same page has been shown, which no held-out question does."""
    cloze: bool = False
    """In training, ask for every position that has something positive, with all the others in sight; the objective
    picks some, and the model hides them. Held out it changes nothing. `fit` sets it where the backbone sees both
    ways."""

    @property
    def shows_all(self) -> bool:
        """Whether a held-out history is shown as `whole_view` has it: by sessions, nothing cut off."""
        is_cut = self.truncation != Truncation() or self.max_positions is not None
        return self.unit == "session" and not is_cut

    @model_validator(mode="after")
    def _is_held_out(self) -> Self:
        if self.partial_session and self.part == "train":
            raise ValueError(
                '`partial_session` is for held-out parts: set part = "validation" or "test", or leave it off; '
                'item-level training is unit = "event"'
            )
        return self


def evaluation_view(view: View, part: Literal["validation", "test"], targets: EvalTargets) -> View:
    """The view by which a model is evaluated: what it was trained to see, asked as the protocol says.

    Args:
        view: The model's view in training.
        part: The sessions to predict.
        targets: `EvalProtocol.targets`. For `last_item` the evaluator takes the last positive of the whole session.
    """
    return view.model_copy(update={"part": part, "partial_session": targets == "last_item_partial"})


def whole_view(view: View) -> View:
    """The same questions after whole histories, session by session and without caps: what looks at a user's own events,
    a prior or a floor, is shown; a model is shown less of it (`request.narrowed`)."""
    return View(part=view.part, events=view.events, ask_first=view.ask_first, partial_session=view.partial_session)


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
    cloze: bool = False
    """Whether each question is for the input position after `num_before_Q`."""


def look(view: View, histories: Histories, user_index_U: IntArray) -> Window:
    """See some users through a view; users without a question are left out.

    Args:
        view: What to see and to ask.
        histories: Whole users in final codes, all parts.
        user_index_U: [U] their places in the data set.
    """
    part = Part[view.part.upper()]
    known = histories.keep_sessions(histories.part_S <= part)
    if view.cloze and part == Part.TRAIN:
        window = _ask_hidden(view, known, user_index_U)
    elif view.unit == "event" and part == Part.TRAIN:
        window = _ask_events(view, known, user_index_U)
    elif view.partial_session:
        window = _ask_last_items(view, known, part, user_index_U)
    else:
        window = _ask_sessions(view, known, part, user_index_U)
    return window if view.max_positions is None else _newest_positions(window, view.max_positions + window.cloze)


def _ask_sessions(view: View, known: Histories, part: Part, user_index_U: IntArray) -> Window:
    is_positive_E = known.is_positive_E()
    positives_S = sum_by_row(is_positive_E, known.session_offsets)
    is_target_S = (known.part_S == part) & (positives_S > 0)
    user_S = row_of_element(known.user_offsets)
    targets = np.flatnonzero(is_target_S)
    user_T = user_S[targets]
    first_T = known.user_offsets[user_T]
    is_shown_S = _is_shown(view, positives_S)
    shown_before = offsets_from_lengths(is_shown_S)

    if part == Part.TRAIN or (view.truncation.has_no_session_caps and view.max_positions is None):
        # One row a user, shared by its questions: what a question sees is a prefix of it. The caps count from the last.
        is_last_T = np.append(user_T[1:] != user_T[:-1], True)[: len(targets)]
        row_T = np.cumsum(np.append(False, is_last_T[:-1]))[: len(targets)] if len(targets) else targets
        end_R = targets[is_last_T]
    else:
        # A question's history is capped from the question on, so each has a row of its own.
        row_T, end_R = np.arange(len(targets)), targets
    user_R = user_S[end_R]
    # Caps count what is shown: were a hidden session to take a place, they could leave a question without a history.
    begin_R, stop_R = shown_before[known.user_offsets[user_R]], shown_before[end_R]
    start_R = first_visible(view.truncation, positives_S[is_shown_S], begin_R, stop_R)
    num_before_T = np.maximum(shown_before[targets] - start_R[row_T], 0)
    is_asked_T = num_before_T > 0
    if view.ask_first:
        is_asked_T |= targets == first_T
    shown, user_offsets = ranges(start_R, stop_R)
    rows = replace(
        take_sessions(known, np.flatnonzero(is_shown_S)[shown]),
        user_U=known.user_U.gather(user_R),
        user_offsets=user_offsets,
    )
    inputs = _seen(view, rows)
    questions, row_Q, num_before_Q = targets[is_asked_T], row_T[is_asked_T], num_before_T[is_asked_T]
    if view.unit == "event":
        begin_Q = user_offsets[row_Q]
        num_before_Q = inputs.session_offsets[begin_Q + num_before_Q] - inputs.session_offsets[begin_Q]
        inputs = one_event_a_session(inputs)
    elements, offsets = take_rows(known.session_offsets, questions)
    positive = is_positive_E[elements]
    return _only_asked(
        inputs,
        user_index_U[user_R],
        row_Q=row_Q,
        num_before_Q=num_before_Q,
        time_ms_Q=known.session_time_ms_S[questions],
        positive=(keep_elements(positive, offsets), known.item_E[elements[positive]]),
        negative=(keep_elements(~positive, offsets), known.item_E[elements[~positive]]),
    )


def _ask_events(view: View, known: Histories, user_index_U: IntArray) -> Window:
    """Item-level training: after each event the next one is asked for, if it is positive."""
    known = known.keep_sessions(_is_shown(view, sum_by_row(known.is_positive_E(), known.session_offsets)))
    cut = truncate(known, view.truncation.model_copy(update={"max_events_per_session": None}))
    flat = one_event_a_session(_seen(view, cut))
    is_target_E = flat.is_positive_E()
    user_E = row_of_element(flat.user_offsets)
    place_E = np.arange(flat.num_events)
    if view.ask_from == "moment":
        is_new_E = np.append(True, (np.diff(flat.time_ms_E) != 0) | (np.diff(user_E) != 0))[: flat.num_events]
        place_E = np.maximum.accumulate(np.where(is_new_E, place_E, 0))
    num_before_E = place_E - flat.user_offsets[user_E]
    is_asked_E = is_target_E & (num_before_E > 0)
    if view.ask_first:
        # The first event that is left after a cut is not the user's first.
        is_whole_U = np.diff(cut.user_offsets) == np.diff(known.user_offsets)
        is_asked_E |= is_target_E & is_whole_U[user_E]
    questions = np.flatnonzero(is_asked_E)
    # What comes after the last question's history is seen by none.
    last_U = np.zeros(flat.num_users, np.int64)
    np.maximum.at(last_U, user_E[questions], num_before_E[questions])
    inputs = flat.keep_sessions(np.arange(flat.num_events) < (flat.user_offsets[:-1] + last_U)[user_E])
    return _only_asked(
        inputs,
        user_index_U,
        row_Q=user_E[questions],
        num_before_Q=num_before_E[questions],
        time_ms_Q=flat.time_ms_E[questions],
        positive=(np.arange(len(questions) + 1), flat.item_E[questions]),
        negative=(np.zeros(len(questions) + 1, np.int64), flat.item_E[:0]),
    )


def _ask_hidden(view: View, known: Histories, user_index_U: IntArray) -> Window:
    """Training by masks: any position may be asked for, as long as the user has another one.

    What is asked for stands in the row, so the caps on positions leave one more than a held-out history has: then the
    place behind a full history, where the mask stands when answering, is learnt too.
    """
    known = known.keep_sessions(_is_shown(view, sum_by_row(known.is_positive_E(), known.session_offsets)))
    caps = view.truncation.model_copy(update={"max_events_per_session": None})
    if caps.max_sessions is not None:
        caps = caps.model_copy(update={"max_sessions": caps.max_sessions + 1})
    inputs = _seen(view, truncate(known, caps))
    if view.unit == "event":
        inputs = one_event_a_session(inputs)
    is_positive_E = inputs.is_positive_E()
    user_S = row_of_element(inputs.user_offsets)
    has_another_S = np.diff(inputs.user_offsets)[user_S] > 1
    questions = np.flatnonzero(has_another_S & (sum_by_row(is_positive_E, inputs.session_offsets) > 0))
    elements, offsets = take_rows(inputs.session_offsets, questions)
    positive = is_positive_E[elements]
    window = _only_asked(
        inputs,
        user_index_U,
        row_Q=user_S[questions],
        num_before_Q=questions - inputs.user_offsets[user_S[questions]],
        time_ms_Q=inputs.session_time_ms_S[questions],
        positive=(keep_elements(positive, offsets), inputs.item_E[elements[positive]]),
        negative=(keep_elements(~positive, offsets), inputs.item_E[elements[~positive]]),
    )
    return replace(window, cloze=True)


def _ask_last_items(view: View, known: Histories, part: Part, user_index_U: IntArray) -> Window:
    """Each session for its last positive, after what lies before that in the session, as a session of its own.

    Costs a row a question: what follows its part of a session is another question's history as a whole session.
    """
    is_positive_E = known.is_positive_E()
    positives_S = sum_by_row(is_positive_E, known.session_offsets)
    is_shown_S = _is_shown(view, positives_S)
    shown_before = offsets_from_lengths(is_shown_S)
    user_S = row_of_element(known.user_offsets)
    targets = np.flatnonzero((known.part_S == part) & (positives_S > 0))
    first_T = known.user_offsets[user_S[targets]]
    # The same questions as of whole sessions, so that both can be compared: the session's own part does not make one.
    is_asked_T = shown_before[targets] > shown_before[first_T]
    if view.ask_first:
        is_asked_T |= targets == first_T
    questions = targets[is_asked_T]
    user_Q, stop_Q = user_S[questions], shown_before[questions]
    # What the caps leave of the whole sessions; the session's own part makes it less, below. A target has a positive,
    # so it is among the sessions that can be shown, and ends its row.
    start_Q = first_visible(view.truncation, positives_S[is_shown_S], shown_before[first_T[is_asked_T]], stop_Q)
    shown, user_offsets = ranges(start_Q, stop_Q + 1)
    rows = replace(
        take_sessions(known, np.flatnonzero(is_shown_S)[shown]),
        user_U=known.user_U.gather(user_Q),
        user_offsets=user_offsets,
    )
    is_own_S = np.zeros(rows.num_sessions, np.bool_)
    is_own_S[user_offsets[1:] - 1] = True
    is_own_E = np.repeat(is_own_S, np.diff(rows.session_offsets))
    seen_E = ~is_own_E | _is_before_last(rows.is_positive_E(), rows.session_offsets)
    if view.events == "positives":
        seen_E &= rows.is_positive_E()
    seen = rows.keep_events(seen_E)
    inputs = truncate(seen.keep_sessions(np.diff(seen.session_offsets) > 0), view.truncation)
    if view.unit == "event":
        inputs = one_event_a_session(inputs)
    elements, offsets = take_rows(known.session_offsets, questions)
    is_past = ~_is_before_last(is_positive_E, known.session_offsets)[elements]
    last, after = is_past & is_positive_E[elements], is_past & ~is_positive_E[elements]
    return _only_asked(
        inputs,
        user_index_U[user_Q],
        row_Q=np.arange(len(questions)),
        num_before_Q=np.diff(inputs.user_offsets),
        time_ms_Q=known.time_ms_E[elements[last]],
        positive=(keep_elements(last, offsets), known.item_E[elements[last]]),
        negative=(keep_elements(after, offsets), known.item_E[elements[after]]),
    )


def _newest_positions(window: Window, number: int) -> Window:
    """The newest positions of each row; questions that come before them have no history left and are not asked, and in
    a cloze are not there: there a user may be left without any."""
    offsets = window.inputs.user_offsets
    dropped_U = np.maximum(np.diff(offsets) - number, 0)
    if not dropped_U.any():
        return window
    dropped_Q = dropped_U[row_of_element(window.question_offsets)]
    is_asked_Q = (window.num_before_Q > dropped_Q - window.cloze) | (dropped_Q == 0)
    questions = np.flatnonzero(is_asked_Q)
    positives, positive_offsets = take_rows(window.positive_offsets, questions)
    negatives, negative_offsets = take_rows(window.negative_offsets, questions)
    question_offsets = keep_elements(is_asked_Q, window.question_offsets)
    is_asked_U = np.diff(question_offsets) > 0
    return replace(
        window,
        inputs=newest(window.inputs, number).keep_users(is_asked_U),
        user_index_U=window.user_index_U[is_asked_U],
        question_offsets=offsets_from_lengths(np.diff(question_offsets)[is_asked_U]),
        num_before_Q=(window.num_before_Q - dropped_Q)[questions],
        time_ms_Q=window.time_ms_Q[questions],
        positive_offsets=positive_offsets,
        positive_items=window.positive_items[positives],
        negative_offsets=negative_offsets,
        negative_items=window.negative_items[negatives],
    )


def _is_shown(view: View, positives_S: IntArray) -> Mask:
    """[S] what a history may show: of positives only, a session without one has nothing to show."""
    return positives_S > 0 if view.events == "positives" else np.ones(len(positives_S), np.bool_)


def _seen(view: View, inputs: Histories) -> Histories:
    """The events of the input sessions that the view shows."""
    if view.events == "positives":
        inputs = inputs.keep_events(inputs.is_positive_E())
        inputs = inputs.keep_sessions(np.diff(inputs.session_offsets) > 0)
    return cap_events(inputs, view.truncation)


def _is_before_last(is_target: Mask, offsets: IntArray) -> Mask:
    """Whether a later element of the same row is a target."""
    through = offsets_from_lengths(is_target)
    return np.repeat(through[offsets[1:]], np.diff(offsets)) > through[1:]


def _only_asked(
    inputs: Histories,
    user_index_U: IntArray,
    *,
    row_Q: IntArray,
    num_before_Q: IntArray,
    time_ms_Q: IntArray,
    positive: tuple[IntArray, Array],
    negative: tuple[IntArray, Array],
) -> Window:
    questions_U = np.bincount(row_Q, minlength=inputs.num_users)
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
