"""From a raw log to a data set, in steps: gather, filter, split, number, and hand the histories on.

The steps are those of the paper's 4.1 and know nothing of the engine that brings a user's events together, nor of how a
data set is stored. `prepare` is a context: inside it the histories may lie on disk, outside they are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from sessionrec.config import Config
from sessionrec.errors import EmptyDatasetError
from sessionrec.jagged import IntArray, sum_by_row
from sessionrec.logs.base import Log
from sessionrec.progress import Progress, silent
from sessionrec.sessions.bins import fit_edges, to_bins
from sessionrec.sessions.catalogue import Catalogue, FeatureTable, build_catalogue, number_categories
from sessionrec.sessions.filters import Counts, Filters, run_filters
from sessionrec.sessions.histories import Array, Histories, Mask
from sessionrec.sessions.polars_engine import Gathered, PolarsEngine, gather
from sessionrec.sessions.rule import GapRule, SessionRule
from sessionrec.sessions.split import (
    GlobalTime,
    LeaveLastSession,
    Part,
    SplitRule,
    borders,
)
from sessionrec.sessions.tally import PartCounts, Tally, shaper
from sessionrec.sessions.truncation import Truncation
from sessionrec.sessions.vocabulary import Codes, Union, number, unite

logger = logging.getLogger(__name__)


class Preparation(Config):
    """How events become a data set; the log itself is described beside it."""

    session: SessionRule = GapRule()
    """What ends a session."""
    filter: Filters = Filters()
    """What is kept."""
    split: SplitRule = LeaveLastSession()
    """What is trained on and what is held out."""
    truncation: Truncation = Truncation()
    """How much of a long history is stored; a loader can cut further."""
    num_bins: int = Field(default=32, ge=2)
    """Quantile bins of a numeric feature."""
    engine: PolarsEngine = PolarsEngine()
    """What does the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was read, dropped and kept."""

    rows_read: int
    positives_read: int
    exact_repeats: int
    """Rows equal to an earlier one in user, session, item and time."""
    merged: int
    """Rows of an item that its session had already, at another time."""
    passes: tuple[Counts, ...]
    """Sizes before the filters and after each pass."""
    truncated_events: int
    """Events beyond the caps of `truncation`."""
    straddling_sessions: int
    """Sessions across a border of the split, or without a later target of their user."""
    late_events: int
    """Events at or after the start of a later held-out session of their user (overlapping sessions)."""
    kept: Counts
    """The data set."""
    parts: dict[str, PartCounts]
    users_without_training: int
    """Users that are evaluated but have no training session with another before it, so nothing is learnt from them."""
    time_borders: tuple[int, int] | None
    """T1 and T2 of a global-time split, epoch milliseconds."""


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A data set about to be written."""

    catalogue: Catalogue
    features: tuple[FeatureTable, ...]
    """Of the events; the items' are in the catalogue."""
    summary: Summary
    log: Log
    _gathered: Gathered
    _maps: _Maps

    def histories(self) -> Iterator[Histories]:
        """The histories in final codes, partition by partition, users in the order of their hash."""
        yield from self._gathered.each(self._final, range(self._gathered.num_partitions))

    def _final(self, partition: int) -> Histories:
        return self._maps.apply(self._gathered.load(partition), partition)


@dataclass(slots=True, kw_only=True)
class _Maps:
    """Local codes to final ones."""

    items: list[Codes]
    categories: dict[str, list[Codes]]
    edges: dict[str, Array]

    def apply(self, histories: Histories, partition: int) -> Histories:
        features: dict[str, Array] = {}
        for name, values in histories.features.items():
            if name in self.edges:
                features[name] = to_bins(values, self.edges[name])
            else:
                features[name] = self.categories[name][partition][values]
        return replace(histories, item_E=self.items[partition][histories.item_E], features=features)


@contextmanager
def prepare(log: Log, how: Preparation, progress: Progress = silent) -> Iterator[Prepared]:
    """Make a data set of a log.

    Args:
        log: The raw log.
        how: The steps' settings.
        progress: Called as the work goes on, see `progress.Progress`.

    Raises:
        LogError: The log is not what its description says.
        EmptyDatasetError: Nothing is left; the message says which filter took it.
    """
    with gather(log, how.session, how.engine, progress) as gathered:
        union = unite(gathered.take_items())
        kept = run_filters(how.filter, gathered.load, union.maps, len(union), gathered.each)
        for done, counts in enumerate(kept.passes):
            logger.info("%s: %s %s", log.name, f"filter pass {done}" if done else "before filters", counts)
        if not kept.passes[-1].users:
            raise EmptyDatasetError(_why_empty(log, how.filter, kept.passes))
        time_borders = None
        if isinstance(how.split, GlobalTime):
            time_borders = borders(how.split, _kept_session_starts(gathered, kept.events))
        tally = Tally(union, time_borders)
        shape = shaper(
            gathered,
            union.maps,
            kept.events,
            how.truncation,
            time_borders,
            has_row_order=how.session.has_row_order,
        )
        for partition, shaped in enumerate(gathered.each(shape, range(gathered.num_partitions))):
            tally.add(partition, shaped)
            progress("split", partition + 1, gathered.num_partitions)
        if not tally.counts().users:
            raise EmptyDatasetError(
                f"{log.name}: the split leaves no session: all {kept.passes[-1].sessions} lie across the borders "
                f"{time_borders} (epoch milliseconds); choose others under [split], or a session rule that cuts finer"
            )
        yield _assemble_prepared(log, how, gathered, union, kept.passes, tally)


def _why_empty(log: Log, filters: Filters, passes: tuple[Counts, ...]) -> str:
    first = passes[0]
    return (
        f"{log.name}: nothing is left after the filters. Before them: {first.users} users, {first.items} items, "
        f"{first.sessions} sessions, {first.events} events, {first.positives} positives. They ask for "
        f"{filters.min_user_sessions} sessions and {filters.min_user_events} events a user and "
        f"{filters.min_item_events} events an item; lower them under [filter], or check the session rule "
        "(too short a gap makes tiny sessions, too long a gap makes one session a user)"
    )


def _kept_session_starts(gathered: Gathered, events: tuple[Mask, ...]) -> IntArray:
    def starts(partition: int) -> IntArray:
        histories = gathered.load(partition)
        return histories.session_time_ms_S[sum_by_row(events[partition], histories.session_offsets) > 0]

    return np.concatenate(list(gathered.each(starts, range(gathered.num_partitions))))


def _assemble_prepared(
    log: Log, how: Preparation, gathered: Gathered, union: Union, passes: tuple[Counts, ...], tally: Tally
) -> Prepared:
    items, item_index = number("item", union, tally.train_events_M, tally.events_M > 0)
    order = union.values.search_sorted(items.values).to_numpy()
    first_seen = tally.first_seen_ms_M[order]
    catalogue = build_catalogue(
        log,
        items,
        tally.train_positives_M[order],
        np.where(items.train_events > 0, first_seen, -1),
        how.num_bins,
    )
    maps = _Maps(items=[item_index[place] for place in union.maps], categories={}, edges={})
    tables = []
    for feature in log.context_features:
        if feature.kind == "category":
            table, maps.categories[feature.name] = number_categories(
                feature.name,
                "context",
                [found.categories[feature.name] for found in gathered.found],
                [shaped.category_events[feature.name] for shaped in tally.shaped],
            )
        else:
            samples = [shaped.number_samples[feature.name] for shaped in tally.shaped]
            edges = fit_edges(np.concatenate(samples), how.num_bins)
            maps.edges[feature.name] = edges
            table = FeatureTable(name=feature.name, role="context", vocabulary=None, edges=tuple(edges.tolist()))
        tables.append(table)
    summary = Summary(
        rows_read=gathered.rows_read,
        positives_read=gathered.positives_read,
        exact_repeats=gathered.exact_repeats,
        merged=gathered.merged,
        passes=passes,
        truncated_events=tally.total("truncated_events"),
        straddling_sessions=tally.total("straddling_sessions"),
        late_events=tally.total("late_events"),
        kept=tally.counts(),
        parts={part.name.lower(): tally.part_counts(part.name.lower()) for part in Part},
        users_without_training=tally.total("users_without_training"),
        time_borders=tally.time_borders,
    )
    return Prepared(
        catalogue=catalogue, features=tuple(tables), summary=summary, log=log, _gathered=gathered, _maps=maps
    )
