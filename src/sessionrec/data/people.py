"""A few users to read: who did what, when, with titles where the log has them.

In: a data set. Out: plain structs, and the same as a table for the terminal. Numbers say how much there is; only
reading a history shows whether a session is what one means by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sessionrec.data.dataset import Dataset
from sessionrec.data.wording import count, many
from sessionrec.schema import ITEM, POSITIVE, TITLE
from sessionrec.seeding import stream
from sessionrec.sessions.histories import Histories
from sessionrec.sessions.split import Part

_MEDIUM = (0.4, 0.6)
_LONGEST_NAME = 60
_ELLIPSIS, _DOT = "\N{HORIZONTAL ELLIPSIS}", " \N{MIDDLE DOT} "
_ACTED_ON, _SHOWN = "\N{BLACK CIRCLE} ", "\N{WHITE CIRCLE} shown: "


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenItem:
    """One event: an item that was acted on or only shown."""

    name: str
    """Title, or the id in the log where there is none; printable."""
    is_positive: bool
    actions: tuple[str, ...]
    """Named actions beside the positive rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One session."""

    time: str
    """Start, UTC, to the minute."""
    part: str
    """`train`, `validation` or `test`."""
    items: tuple[SeenItem, ...]
    """In the order of the log."""

    @property
    def positives(self) -> list[SeenItem]:
        """What was acted on positively."""
        return [item for item in self.items if item.is_positive]

    @property
    def others(self) -> list[SeenItem]:
        """What was shown and not acted on positively."""
        return [item for item in self.items if not item.is_positive]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One user with all sessions, oldest first."""

    user: str
    """Id in the log."""
    visits: tuple[Visit, ...]

    @property
    def num_events(self) -> int:
        """Events of all sessions."""
        return sum(len(visit.items) for visit in self.visits)

    @property
    def num_positives(self) -> int:
        """Positive events of all sessions."""
        return sum(len(visit.positives) for visit in self.visits)


def examples(dataset: Dataset, number: int, seed: int = 0) -> list[Person]:
    """Users with a history of medium length: between the 40th and the 60th percentile of sessions, and of those drawn.

    Only as many row groups are read as are needed, usually one.

    Args:
        dataset: Where to look.
        number: How many users; fewer come back if the data set has fewer of that kind.
        seed: Another seed shows others.
    """
    draw = stream(seed, "examples")
    people: list[Person] = []
    for place in draw.permutation(len(dataset.row_groups)):
        histories = dataset.read(dataset.row_groups[place])
        sessions_U = np.diff(histories.user_offsets)
        low, high = np.quantile(sessions_U, _MEDIUM, method="nearest")
        medium = np.flatnonzero((sessions_U >= low) & (sessions_U <= high))
        chosen = draw.choice(medium, size=min(number - len(people), len(medium)), replace=False)
        people += [_person(dataset, histories.users(int(user), int(user) + 1)) for user in chosen]
        if len(people) >= number:
            break
    return people


def _person(dataset: Dataset, history: Histories) -> Person:
    names = _item_names(dataset, history.item_E)
    cuts = history.session_offsets
    visits = []
    for session in range(history.num_sessions):
        events = range(int(cuts[session]), int(cuts[session + 1]))
        seen = tuple(
            SeenItem(
                name=names[event],
                is_positive=bool(history.action_E[event] & POSITIVE),
                actions=_action_names(dataset.actions, int(history.action_E[event])),
            )
            for event in events
        )
        moment = datetime.fromtimestamp(int(history.session_time_ms_S[session]) / 1000, UTC)
        part = Part(int(history.part_S[session])).name.lower()
        visits.append(Visit(time=f"{moment:%Y-%m-%d %H:%M}", part=part, items=seen))
    return Person(user=printable(history.user_U[0]), visits=tuple(visits))


def _item_names(dataset: Dataset, item_E: Any) -> list[str]:
    rows = dataset.items[item_E - 1]
    ids = [printable(item) for item in rows[ITEM]]
    if TITLE not in rows.columns:
        return ids
    return [printable(title) if title else id_ for title, id_ in zip(rows[TITLE], ids, strict=True)]


def _action_names(names: Sequence[str], bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(names, start=1) if bits >> bit & 1)


def printable(value: object) -> str:
    """Text of a log without what could steer a terminal: control characters become blanks; long names are cut."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1].rstrip() + _ELLIPSIS


def render(person: Person, *, max_visits: int = 5, max_items: int = 5) -> RenderableType:
    """A user as a table for the terminal, newest sessions last.

    Args:
        person: Who.
        max_visits: Newest sessions shown.
        max_items: Items shown of each session, of either kind.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    earlier = len(person.visits) - max_visits
    if earlier > 0:
        table.add_row(f"{earlier:,} earlier", "", "")
    for visit in person.visits[-max_visits:]:
        table.add_row(visit.time, Text(visit.part, style=_PART_STYLES[visit.part]), _items(visit, max_items))
    heading = Text.assemble(
        ("user ", "dim"),
        (person.user, "bold"),
        (f"  {many(len(person.visits), 'session')}, {many(person.num_events, 'event')}, ", "dim"),
        (f"{count(person.num_positives)} positive", "dim"),
    )
    return Group(heading, Padding(table, (0, 0, 0, 2)))


_PART_STYLES = {"train": "blue", "validation": "yellow", "test": "magenta"}


def _items(visit: Visit, max_items: int) -> Text:
    text = Text()
    positives, others = visit.positives, visit.others
    if positives:
        text.append(_ACTED_ON, style="green")
        for number, item in enumerate(positives[:max_items]):
            text.append(_DOT if number else "", style="dim")
            text.append(item.name)
            if item.actions:
                text.append(f" ({', '.join(item.actions)})", style="dim")
        text.append(_more(positives, max_items), style="dim")
    if others:
        names = _DOT.join(item.name for item in others[:max_items])
        text.append("\n" if positives else "").append(f"{_SHOWN}{names}{_more(others, max_items)}", style="dim")
    return text


def _more(items: Sequence[SeenItem], shown: int) -> str:
    return f" and {len(items) - shown:,} more" if len(items) > shown else ""
