"""What became of a log's rows, step by step: read, merged, filtered, cut, kept; one table for paper and terminal.

In: a data set. Out: one row a step, from the first row read to the last event kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sessionrec.data.dataset import Dataset
from sessionrec.data.wording import duration
from sessionrec.sessions.filters import Counts
from sessionrec.sessions.prepare import Summary

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line. None: the step says nothing of it."""

    name: str
    note: str = ""
    users: int | None = None
    items: int | None = None
    sessions: int | None = None
    events: int | None = None
    positives: int | None = None
    is_change: bool = False
    """Whether the numbers are what was taken away, not what is left."""

    @property
    def cells(self) -> tuple[int | None, ...]:
        """Users, items, sessions, events, positives."""
        return (self.users, self.items, self.sessions, self.events, self.positives)


COLUMNS: Final = ("Users", "Items", "Sessions", "Events", "Positives")


def steps(dataset: Dataset) -> list[Step]:
    """From the rows read to the events kept; steps that took nothing away are left out."""
    summary = dataset.summary
    before, *passes = summary.passes
    lines = [Step(name="Rows read", events=summary.rows_read, positives=summary.positives_read)]
    lines += _taken("Exact repeats", "same user, item and time", -summary.exact_repeats)
    lines += _taken("Merged", "further rows of an item in the same session", -summary.merged)
    lines.append(_left("Before the filters", before))
    lines += [_left(f"After pass {number}", counts) for number, counts in enumerate(passes, start=1)]
    lines += _cut(summary)
    lines.append(_left("Data set", summary.kept))
    return lines


def _cut(summary: Summary) -> list[Step]:
    lines = _taken("Beyond the caps", "older than `truncation` keeps", -summary.truncated_events)
    if summary.straddling_sessions:
        note = "across a border of the split, or without a later target"
        lines.append(
            Step(name="Left out by the split", note=note, sessions=-summary.straddling_sessions, is_change=True)
        )
    return lines + _taken("Late events", "of overlapping sessions, after a later part began", -summary.late_events)


def _taken(name: str, note: str, events: int) -> list[Step]:
    return [Step(name=name, note=note, events=events, is_change=True)] if events else []


def _left(name: str, counts: Counts) -> Step:
    return Step(
        name=name,
        users=counts.users,
        items=counts.items,
        sessions=counts.sessions,
        events=counts.events,
        positives=counts.positives,
    )


def session_rule(dataset: Dataset) -> str:
    """In words: what ends a session."""
    rule = dict(dataset.body["config"].get("session", {}))
    kind = rule.pop("kind", "?")
    if kind == "native":
        return "the log's own session ids"
    if kind == "equal_time":
        return "events of a user at the same instant"
    if kind == "event":
        return "every event is a session of its own"
    if kind == "gap":
        return f"a pause of more than {duration(rule['gap_s'])} ends it"
    if kind == "window":
        window = "calendar day" if rule["length_s"] == _DAY_S else f"window of {duration(rule['length_s'])}"
        return f"one {window}, by the clock of {rule['zone']}"
    return f"`{kind}` " + ", ".join(f"{name} = {value}" for name, value in rule.items())


def split_rule(dataset: Dataset) -> str:
    """In words: what is held out."""
    borders = dataset.summary.time_borders
    if borders is None:
        return "each user's last session is the test, the one before the validation"
    first, second = (f"{datetime.fromtimestamp(border / 1000, UTC):%Y-%m-%d %H:%M}" for border in borders)
    return f"validation from {first}, test from {second} (UTC)"
