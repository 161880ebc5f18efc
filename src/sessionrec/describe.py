"""A data set in the terminal: what became of the log, what its numbers are, and two users to read.

In: a data set. Out: what `rich` prints; readable at 80 columns, and without colour when piped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sessionrec.data import ledger
from sessionrec.data.dataset import Dataset
from sessionrec.data.distribution import Distribution
from sessionrec.data.people import examples, printable, render
from sessionrec.data.statistics import Statistics, measure
from sessionrec.data.wording import average, count, duration, many, percent
from sessionrec.progress import Progress

_BLOCKS = "".join(map(chr, range(0x2581, 0x2589)))
_MAX_PASSES = 6

Format = Callable[[float], str]


def summarise(dataset: Dataset) -> RenderableType:
    """What was read, dropped and kept; nothing but the manifest is read.

    Args:
        dataset: A data set, perhaps just prepared.
    """
    return Group(
        _heading(dataset),
        _block("Rows", _ledger(dataset)),
        _block("Parts", _parts(dataset)),
        _block("Size, as the paper's Table 1", _size(dataset)),
        _block("Sessions, on average", _sessions(dataset)),
    )


def describe(dataset: Dataset, seed: int = 0, progress: Progress = lambda *_: None) -> RenderableType:
    """Everything `summarise` says, what the events look like, and two users.

    Args:
        dataset: Read once from end to end.
        seed: Of the choice of users.
        progress: See `statistics.measure`.
    """
    statistics = measure(dataset, progress)
    people = [Padding(render(person), (0, 0, 1, 0)) for person in examples(dataset, 2, seed)]
    blocks = [
        summarise(dataset),
        _block("Lengths and times", _shapes(statistics)),
        _block("Popularity and repetition", _facts(_habits(statistics))),
    ]
    if statistics.actions:
        blocks.append(_block("Actions", _actions(statistics)))
    if dataset.body["features"]:
        blocks.append(_block("Features", _features(dataset)))
    return Group(*blocks, _block("Two users, newest sessions", Group(*people)))


def sparkline(counts: Sequence[int]) -> str:
    """One character a count, as high as its share of the largest; a blank only for none at all."""
    most = max(counts, default=0)
    return "".join(_BLOCKS[(count * len(_BLOCKS) - 1) // most] if count else " " for count in counts)


def _heading(dataset: Dataset) -> RenderableType:
    log, manifest = dataset.body["log"], dataset.manifest
    text = Text(printable(log["name"]), style="bold")
    text.append(f"  made {manifest.created[:16].replace('T', ' ')} UTC", style="dim not bold")
    text.append(f", sessionrec {manifest.versions.get('sessionrec', '?')}", style="dim not bold")
    if log["notes"]:
        text.append(f"\n{' '.join(log['notes'].split())}", style="not bold italic")
    text.append(f"\nsession: {ledger.session_rule(dataset)}", style="not bold")
    text.append(f"\nsplit: {ledger.split_rule(dataset)}", style="not bold")
    return text


def _block(title: str, body: RenderableType) -> RenderableType:
    return Group("", Text(title, style="bold"), Padding(body, (0, 0, 0, 2)))


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    for name, value in facts:
        table.add_row(name, value)
    return table


def _ledger(dataset: Dataset) -> Table:
    table = _table("", *(name.lower() for name in ledger.COLUMNS))
    lines = ledger.steps(dataset)
    passes = [line for line in lines if line.name.startswith("After pass")]
    hidden = passes[_MAX_PASSES // 2 : -1] if len(passes) > _MAX_PASSES else []
    for line in lines:
        if hidden and line is hidden[0]:
            table.add_row(f"... {len(hidden)} more passes", style="dim")
        if line in hidden:
            continue
        cells = ["" if cell is None else count(cell) for cell in line.cells]
        style = "bold" if line is lines[-1] else "dim" if line.is_change else ""
        table.add_row(line.name.lower(), *cells, style=style)
    return table


def _parts(dataset: Dataset) -> RenderableType:
    summary = dataset.summary
    table = _table("", "users", "sessions", "events", "positives", "never trained on")
    for name, part in summary.parts.items():
        cold = "" if name == "train" else percent(_over(part.cold_positives, part.positives))
        sizes = (part.users, part.sessions, part.events, part.positives)
        table.add_row(name, *map(count, sizes), cold)
    if not summary.users_without_training:
        return table
    note = f"{many(summary.users_without_training, 'user')} evaluated, but too short to train on"
    return Group(table, Text(note, style="dim"))


def _size(dataset: Dataset) -> Table:
    kept = dataset.summary.kept
    table = _table("users", "items", "interactions", "avg. length", "avg. positive length")
    lengths = (average(_over(kept.events, kept.users)), average(_over(kept.positives, kept.users)))
    table.add_row(count(kept.users), count(kept.items), count(kept.events), *lengths)
    return table


def _sessions(dataset: Dataset) -> Table:
    kept = dataset.summary.kept
    table = _table("sessions", "a user has", "events in one", "positives in one")
    shares = ((kept.sessions, kept.users), (kept.events, kept.sessions), (kept.positives, kept.sessions))
    table.add_row(count(kept.sessions), *(average(_over(part, whole)) for part, whole in shares))
    return table


def _shapes(statistics: Statistics) -> Table:
    table = _table("", "median", "mean", "90 %", "least")
    table.add_column("shape", no_wrap=True, style="cyan")
    table.add_column("most", no_wrap=True)
    rows: list[tuple[str, Distribution, Format]] = [
        ("sessions a user", statistics.sessions_per_user, count),
        ("events a user", statistics.events_per_user, count),
        ("positives a user", statistics.positives_per_user, count),
        ("events a session", statistics.events_per_session, count),
        ("positives a session", statistics.positives_per_session, count),
        ("positive share", statistics.positive_share, percent),
        ("session, duration", statistics.span_s, duration),
        ("pause before next", statistics.gap_s, duration),
    ]
    for name, values, form in rows:
        if values.num:
            mean = average(values.mean) if form is count else form(values.mean)
            numbers = (form(values.median), mean, form(values.p90), form(float(values.values[0])))
            table.add_row(name, *numbers, sparkline(_profile(values, form)), form(values.max))
    return table


def _profile(values: Distribution, form: Format) -> list[int]:
    if form is percent:
        return [values.count_between(tenth / 10, (tenth + 1) / 10 + (tenth == 9)) for tenth in range(10)]
    bars = [bar.num for bar in values.bars(16)]
    # Durations can double thirty times; two doublings a character keep the line short.
    return [sum(bars[place : place + 2]) for place in range(0, len(bars), 2)] if len(bars) > 16 else bars


def _habits(statistics: Statistics) -> list[tuple[str, str]]:
    events = statistics.item_events
    facts = [
        ("most popular 1 % of items", f"{percent(events.top_share(0.01))} of the events"),
        ("most popular 10 % of items", f"{percent(events.top_share(0.1))} of the events"),
        ("half of the events", f"on {count(events.items_for(0.5))} of {count(statistics.num_items)} items"),
        ("Gini coefficient", f"{events.gini:.2f} (0: all items alike, 1: one item has all)"),
        ("acted on again later", f"{percent(statistics.repeat_share)} of the positives"),
    ]
    for part, targets in statistics.targets.items():
        if targets.positives:
            seen, acted = percent(targets.share(targets.in_history)), percent(targets.share(targets.acted_before))
            facts.append((f"{part} targets", f"{seen} seen in an earlier session, {acted} acted on"))
    return facts


def _actions(statistics: Statistics) -> Table:
    table = _table("", "events", "of all")
    named = [("positive", statistics.num_positives), *statistics.actions.items()]
    for name, events in named:
        table.add_row(Text(name), count(events), percent(_over(events, statistics.num_events)))
    return table


def _features(dataset: Dataset) -> Table:
    table = _table("", "of", "kind", "vocabulary")
    for entry in dataset.body["features"]:
        of = "item" if entry["role"] == "item" else "event"
        table.add_row(Text(printable(entry["name"])), of, entry["kind"], count(entry["size"]))
    return table


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
