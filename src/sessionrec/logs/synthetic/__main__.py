"""`python -m sessionrec.logs.synthetic --shape recflow --events 1000000 --users 1235 --items 64600 --out FOLDER`."""

from __future__ import annotations

import argparse
import datetime
import logging
from pathlib import Path

from sessionrec.config import parse
from sessionrec.errors import ConfigError
from sessionrec.logs.synthetic.kuaisar_files import write_kuaisar
from sessionrec.logs.synthetic.recflow_files import write_recflow
from sessionrec.logs.synthetic.world import WorldConfig

_WRITERS = {"kuaisar": write_kuaisar, "recflow": write_recflow}


def main() -> None:
    """Write a generated log as raw files."""
    arguments = argparse.ArgumentParser(prog="python -m sessionrec.logs.synthetic", description=main.__doc__)
    arguments.add_argument("--shape", choices=sorted(_WRITERS), required=True, help="whose raw files to imitate")
    arguments.add_argument("--events", type=int, required=True, help="shown videos, exactly")
    arguments.add_argument("--users", type=int, required=True)
    arguments.add_argument("--items", type=int, required=True, help="videos; 98 % are shown if events = 15 * items")
    arguments.add_argument("--days", type=int, default=37)
    arguments.add_argument("--first-day", type=datetime.date.fromisoformat, default=datetime.date(2024, 1, 13))
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, required=True, help="folder; files of the same names are replaced")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tree = {
        "num_users": given.users,
        "num_items": given.items,
        "num_days": given.days,
        "events": given.events,
        "first_day": given.first_day.isoformat(),
        "seed": given.seed,
    }
    try:
        config = parse(WorldConfig, tree, "command line")
    except ConfigError as error:
        arguments.error(str(error))
    _WRITERS[given.shape](config, given.out)


if __name__ == "__main__":
    main()
