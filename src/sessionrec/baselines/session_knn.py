"""Session-kNN and V-SKNN (Ludewig & Jannach, 2018): sessions like the user's newest ones; what else was in them.

    known(q)       = sessions of all users whose last positive event is strictly before the question
    query(q)       = distinct items acted on in the user's newest `query_sessions` sessions
    recent(q)      = the newest `sample` of the known sessions that share an item with the query
    sim(q, s)      = sum over items i of query and s: place(i) * idf(i)
                       / sqrt(items of s) * 2^{-(t_q - t_s) / half_life}
    evidence(q, v) = sum over the `neighbours` sessions s of recent(q) with greatest sim, and v in s: sim(q, s)

Session-kNN has place = idf = 1 and no half-life. V-SKNN ("vector") has

    place(i)       = 1 - ago(i) / query_sessions          the newest session 1, older ones linearly less
    idf(i)         = log2(1 + known sessions / known sessions with i)

The norm of the query is left out of the cosine, as it is the same for all sessions. Of equals the newer session is
taken. Nothing at or after the question's time is looked at, not for `idf` either. The user's own earlier sessions are
neighbours too. Neighbours hold items of the query by definition, so these have much evidence; where people do not come
back to an item, `own=False` takes the evidence of all items that the user acted on before.

Letters: Q questions, V candidates, S known sessions, E their items, N postings (item, session), X query items of all
questions, Y postings of these, Z pairs of question and session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sessionrec.baselines.evidence import Cells
from sessionrec.baselines.history import Past, without
from sessionrec.baselines.library import sparse
from sessionrec.baselines.sessions import KnownSessions
from sessionrec.batch import Examples
from sessionrec.jagged import IntArray, offsets_from_lengths, position_in_row, row_of_element

_CHUNK_POSTINGS = 4_000_000
"""Postings looked at once, about 60 bytes each; at least those of one question."""

Doubles = npt.NDArray[np.float64]


class Postings:
    """Which sessions hold an item: 24 bytes an item of a session.

    Args:
        sessions: What may be known.
    """

    def __init__(self, sessions: KnownSessions) -> None:
        self.sessions = sessions
        session_E = row_of_element(sessions.offsets)
        order = np.argsort(sessions.column_E, kind="stable")
        counts = np.bincount(sessions.column_E, minlength=sessions.num_candidates)
        self.offsets = offsets_from_lengths(counts)
        """[V + 1] cuts postings into items."""
        self.session_N: IntArray = session_E[order]
        """[N] places of sessions, ascending within an item, and so by time."""
        self._key_N = row_of_element(self.offsets) * sessions.num_sessions + self.session_N
        self.matrix = sessions.matrix()
        """[S, V] sparse by rows."""

    def before(self, column_X: IntArray, session_X: IntArray) -> IntArray:
        """[X] where the postings of an item end that are before a session."""
        return np.searchsorted(self._key_N, column_X * self.sessions.num_sessions + session_X, "left")


class SessionKnn:
    """Evidence by sessions that are like the user's newest.

    Args:
        postings: Of the sessions that may be known.
        is_vector: Whether places in the query and rarity count: V-SKNN.
        query_sessions: Of the user, the newest.
        sample: Sessions that are compared with the query.
        neighbours: Sessions that speak.
        half_life_s: Seconds after which a session speaks half as loud; None = always the same.
        own: Whether items that the user acted on before may have evidence.
    """

    def __init__(
        self,
        postings: Postings,
        *,
        is_vector: bool,
        query_sessions: int = 1,
        sample: int = 1000,
        neighbours: int = 100,
        half_life_s: float | None = None,
        own: bool = True,
    ) -> None:
        for name, value in {"query_sessions": query_sessions, "sample": sample, "neighbours": neighbours}.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}")
        if half_life_s is not None and not half_life_s > 0:
            raise ValueError(f"`half_life_s` must be above 0, got {half_life_s}")
        self._postings, self._is_vector, self._query_sessions = postings, is_vector, query_sessions
        self._sample, self._neighbours, self._half_life_s, self._own = sample, neighbours, half_life_s, own

    @property
    def num_candidates(self) -> int:
        """V."""
        return self._postings.sessions.num_candidates

    def cells(self, examples: Examples) -> Cells:
        """See `Evidence`. Costs at most `sample` postings for each item of a query, sorted once."""
        time_ms_Q = examples.targets.time_ms_Q.cpu().numpy()
        known_Q = np.searchsorted(self._postings.sessions.end_ms_S, time_ms_Q, "left")
        past = Past.of(examples, self.num_candidates, newest=self._query_sessions if self._own else None)
        question_X, column_X, ago_X = self._query(past)
        end_X = self._postings.before(column_X, known_Q[question_X])
        first_X = self._postings.offsets[column_X]
        weight_X = np.ones(len(column_X))
        if self._is_vector:
            # An item without a posting has no idf, and needs none.
            idf_X = np.log2(1 + known_Q[question_X] / np.maximum(end_X - first_X, 1))
            weight_X = (1 - ago_X / self._query_sessions) * idf_X
        # The newest M sessions that share any item are among the newest M of each item they share.
        begin_X = np.maximum(first_X, end_X - self._sample)
        rows = [sparse().csr_array((0, self.num_candidates), dtype=np.float32)]
        for start, stop in _chunks(question_X, end_X - begin_X, past.num_questions):
            some = slice(*np.searchsorted(question_X, [start, stop]))
            lengths = (end_X - begin_X)[some]
            cuts = offsets_from_lengths(lengths)
            session_Y = self._postings.session_N[np.repeat(begin_X[some] - cuts[:-1], lengths) + np.arange(cuts[-1])]
            question_Y = np.repeat(question_X[some] - start, lengths)
            weight_Y = np.repeat(weight_X[some], lengths)
            similar = self._similar(question_Y, session_Y, weight_Y, stop - start)
            rows.append(similar @ self._postings.matrix)
        evidence_QV = sparse().vstack(rows, format="csr")
        return Cells.of(evidence_QV if self._own else without(evidence_QV, past))

    def _query(self, past: Past) -> tuple[IntArray, IntArray, IntArray]:
        """[X] question, column and sessions ago of each question's distinct items, by question."""
        places_Y = np.flatnonzero(past.ago_Y < self._query_sessions)
        key_Y = past.question_Y[places_Y] * self.num_candidates + past.column_Y[places_Y]
        order = np.lexsort((past.ago_Y[places_Y], key_Y))
        places_X = places_Y[order[np.diff(key_Y[order], prepend=-1) != 0]]
        return past.question_Y[places_X], past.column_Y[places_X], past.ago_Y[places_X]

    def _similar(self, question_Y: IntArray, session_Y: IntArray, weight_Y: Doubles, num_questions: int) -> Any:
        """[Q, S] similarity of each question's neighbours, sparse by rows."""
        sessions = self._postings.sessions
        size_s = sessions.num_sessions
        pair_Y = question_Y * size_s + session_Y
        order = np.argsort(pair_Y, kind="stable")
        pair_Y, weight_Y = pair_Y[order], weight_Y[order]
        start_Z = np.flatnonzero(np.diff(pair_Y, prepend=-1))
        sim_Z = np.add.reduceat(weight_Y, start_Z) if len(start_Z) else np.zeros(0)
        question_Z, session_Z = np.divmod(pair_Y[start_Z], max(size_s, 1))
        # Sessions ascend with time, so the newest stand at the end of a question's.
        offsets = np.searchsorted(question_Z, np.arange(num_questions + 1))
        keep_Z = np.arange(len(question_Z)) >= offsets[question_Z + 1] - self._sample
        question_Z, session_Z, sim_Z = question_Z[keep_Z], session_Z[keep_Z], sim_Z[keep_Z]
        sim_Z = sim_Z / np.sqrt(np.diff(sessions.offsets)[session_Z])
        if self._half_life_s is not None:
            # By the age beyond that of the question's newest: one factor a question, without which all could underflow.
            newest_Q = np.zeros(num_questions, np.int64)
            newest_Q[question_Z] = sessions.end_ms_S[session_Z]  # of several for a question the last stays
            older_ms_Z = newest_Q[question_Z] - sessions.end_ms_S[session_Z]
            sim_Z = sim_Z * np.exp2(-older_ms_Z / (self._half_life_s * 1000))
        best = np.lexsort((-session_Z, -sim_Z, question_Z))
        offsets = np.searchsorted(question_Z, np.arange(num_questions + 1))
        best = best[position_in_row(offsets) < self._neighbours]
        cells = (sim_Z[best].astype(np.float32), (question_Z[best], session_Z[best]))
        return sparse().csr_array(cells, shape=(num_questions, size_s))


def _chunks(question_X: IntArray, lengths_X: IntArray, num_questions: int) -> Iterator[tuple[int, int]]:
    """Ranges of questions, each of so many postings at most, or of one question."""
    through_Q = np.cumsum(np.bincount(question_X, weights=lengths_X, minlength=num_questions))
    start = 0
    while start < num_questions:
        done = through_Q[start - 1] if start else 0
        stop = max(int(np.searchsorted(through_Q, done + _CHUNK_POSTINGS, "right")), start + 1)
        yield start, stop
        start = stop
