"""`python -m sessionrec.logs.synthetic --shape recflow --events 1000000 --users 1235 --items 64600 --out FOLDER`."""

from __future__ import annotations

import argparse
import datetime
import logging
from pathlib import Path

from sessionrec.errors import ConfigError
from sessionrec.logs.synthetic.shapes import DATED, SHAPES, shaped


def main() -> None:
    """Write a generated log as raw files."""
    arguments = argparse.ArgumentParser(prog="python -m sessionrec.logs.synthetic", description=main.__doc__)
    arguments.add_argument("--shape", choices=SHAPES, required=True, help="whose raw files to imitate")
    arguments.add_argument("--events", type=int, required=True, help="shown videos, or ratings, exactly")
    arguments.add_argument("--users", type=int, required=True)
    arguments.add_argument("--items", type=int, required=True, help="videos; 98 %% are shown if events = 15 * items")
    arguments.add_argument("--days", type=int, help="of videos, 37 unless told")
    arguments.add_argument("--first-day", type=datetime.date.fromisoformat, help="of videos, 2024-01-13 unless told")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, required=True, help="folder; files of the same names are replaced")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tree = {"num_users": given.users, "num_items": given.items, "events": given.events, "seed": given.seed}
    days = {"num_days": given.days, "first_day": given.first_day and given.first_day.isoformat()}
    days = {name: value for name, value in days.items() if value is not None}
    try:
        if days and given.shape not in DATED:
            arguments.error(f"--days and --first-day are for {' and '.join(DATED)}; leave them out")
        shaped(given.shape, tree, days, "command line").write(given.out)
    except ConfigError as error:
        arguments.error(str(error))


if __name__ == "__main__":
    main()
