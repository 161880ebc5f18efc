"""A request: histories of which nothing is held out, and the question what comes next, now.

The same sheet as in training and evaluation, with answers that nobody knows yet. So a model, a floor and whatever else
answers `Examples` can serve.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from sessionrec.batch import Examples
from sessionrec.data.loader import collate
from sessionrec.data.rearrange import newest, one_event_a_session
from sessionrec.data.view import View, Window
from sessionrec.jagged import IntArray, offsets_from_lengths, take_rows
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.truncation import truncate


def visible(view: View, histories: Histories) -> Histories:
    """What a model of this view is shown of whole histories: a user may be left without a session.

    Args:
        view: The model's; its part does not count.
        histories: In final codes.
    """
    if view.events == "positives":
        histories = histories.keep_events(histories.is_positive_E())
        histories = histories.keep_sessions(np.diff(histories.session_offsets) > 0)
    histories = truncate(histories, view.truncation)
    if view.unit == "event":
        histories = one_event_a_session(histories)
    return histories if view.max_positions is None else newest(histories, view.max_positions)


def narrowed(view: View, examples: Examples) -> Examples:
    """The questions of whole histories as a model is shown them, each with a history of its own, without answers.

    Args:
        view: The model's; its part does not count.
        examples: Of `view.whole_view`, on the host.
    """
    inputs, targets = examples
    user_Q, before_Q = targets.user_Q.numpy(), targets.num_before_Q.numpy()
    user_offsets = offsets_from_lengths(before_Q)
    first_Q = inputs.user_offsets.numpy()[user_Q]
    sessions = np.repeat(first_Q - user_offsets[:-1], before_Q) + np.arange(user_offsets[-1])
    events, session_offsets = take_rows(inputs.session_offsets.numpy(), sessions)
    histories = Histories(
        user_U=pl.Series(np.arange(len(user_Q))),
        user_offsets=user_offsets,
        session_time_ms_S=inputs.session_time_ms_S.numpy()[sessions],
        part_S=np.zeros(len(sessions), np.uint8),
        session_offsets=session_offsets,
        item_E=inputs.item_E.numpy()[events].astype(np.int32),
        action_E=inputs.action_E.numpy()[events].astype(np.uint16),
        time_ms_E=inputs.time_ms_E.numpy()[events],
        weight_E=None,
        features={name: values.numpy()[events].astype(np.int32) for name, values in inputs.features.items()},
    )
    return ask(visible(view, histories), inputs.user_index_B.numpy()[user_Q], targets.time_ms_Q.numpy())


def ask(inputs: Histories, user_index_U: IntArray, time_ms_U: IntArray) -> Examples:
    """One question a user, after everything there is.

    Args:
        inputs: What `visible` left; every user has a session, unless the model can begin from nothing.
        user_index_U: [U] place of each user in the data set, -1 for a user that is not in it.
        time_ms_U: [U] UTC epoch of each request.
    """
    num_users = inputs.num_users
    nothing = np.zeros(0, np.int32)
    window = Window(
        inputs=inputs,
        user_index_U=user_index_U,
        question_offsets=np.arange(num_users + 1),
        num_before_Q=np.diff(inputs.user_offsets),
        time_ms_Q=time_ms_U,
        positive_offsets=offsets_from_lengths(np.zeros(num_users, np.int64)),
        positive_items=nothing,
        negative_offsets=offsets_from_lengths(np.zeros(num_users, np.int64)),
        negative_items=nothing,
    )
    return collate(window, np.arange(num_users))
