"""Raw files in the shape of a public log's, by the log's name: which writer, and which kind of world it writes.

To add one: its writer here; the command line and the experiments read this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.logs.synthetic.kuaisar_files import write_kuaisar
from sessionrec.logs.synthetic.rating_files import write_beauty, write_movielens_1m, write_movielens_20m
from sessionrec.logs.synthetic.ratings import RatingsConfig
from sessionrec.logs.synthetic.recflow_files import write_recflow
from sessionrec.logs.synthetic.world import WorldConfig

_WORLDS = {"kuaisar": write_kuaisar, "recflow": write_recflow}
# With the ratings that each user of the real log has at least.
_RATINGS = {"beauty": (write_beauty, 5), "ml-1m": (write_movielens_1m, 20), "ml-20m": (write_movielens_20m, 20)}

SHAPES = tuple(sorted([*_WORLDS, *_RATINGS]))
"""Names of logs whose files can be imitated."""
DATED = tuple(sorted(_WORLDS))
"""Those of them that take a number of days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """Files to be written."""

    about: dict[str, Any]
    """What they follow from, as plain values."""
    write: Callable[[Path], tuple[Path, ...]]
    """Writes them to a folder; files of the same names are replaced."""


def shaped(kind: str, tree: dict[str, Any], days: dict[str, Any], source: str) -> Shaped:
    """Check what is wanted.

    Args:
        kind: One of `SHAPES`.
        tree: `num_users`, `num_items`, `events`, `seed`.
        days: `num_days`, `first_day`; for logs of visits alone.
        source: Where these came from; begins every line of an error.

    Raises:
        ConfigError: There is no such shape, a number is wrong, or days are given to a log that has none.
    """
    if kind in _WORLDS:
        world, write = parse(WorldConfig, tree | days, source), _WORLDS[kind]
        return Shaped(about=world.model_dump(mode="json"), write=lambda folder: write(world, folder))
    if kind not in _RATINGS:
        raise ConfigError(f"{source}: kind: expected one of {', '.join(SHAPES)}, got {kind!r}")
    if days:
        raise ConfigError(f"{source}: days are for {' and '.join(DATED)}; leave them out")
    write_ratings, least = _RATINGS[kind]
    ratings = parse(RatingsConfig, tree | {"min_user_events": least}, source)
    return Shaped(about=ratings.model_dump(mode="json"), write=lambda folder: write_ratings(ratings, folder))
