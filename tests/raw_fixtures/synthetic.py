"""Logs that are generated: no files, and the reader is the generator itself."""

from __future__ import annotations

from pathlib import Path

from sessionrec.logs.synthetic.days import days, make_world
from sessionrec.logs.synthetic.planted import PlantedConfig
from sessionrec.logs.synthetic.reader import SyntheticConfig
from tests.raw_fixtures.base import RawLog

SMALL = SyntheticConfig(num_users=20, num_items=400, num_days=4, events=1_000, seed=3)


def make_planted(folder: Path) -> RawLog:
    """Three sessions of each of four users, five rows a session; 2024-01-01 00:00:00 UTC is 1,704,067,200 s."""
    config = PlantedConfig(num_users=4, num_groups=4, group_size=3, sessions_per_user=3, exposures_per_session=2)
    row = config.open().events.collect().row(0, named=True)
    first = (0, row["item"], 1_704_067_200_000, row["action"])
    return RawLog(config=config, first=first, num_events=4 * 3 * 5, main=None, column=None)


def make_synthetic(folder: Path) -> RawLog:
    """A thousand shown videos."""
    world = make_world(SMALL)
    slates = next(days(world))
    bits = [slates.positive, *slates.signals.values()]
    action = sum(int(flags[0]) << bit for bit, flags in enumerate(bits))
    first = (int(slates.user[0]), int(world.items.raw_id[slates.item[0]]), int(slates.time_ms[0]), action)
    return RawLog(config=SMALL, first=first, num_events=1_000, main=None, column=None)
