"""Logs that are equal up to where a held-out part begins and have nothing in common after it; and what they become.

Everything goes through `prepare` and `fit` as a user's log would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from sessionrec.batch import Examples
from sessionrec.config import parse
from sessionrec.data.dataset import Dataset
from sessionrec.data.loader import Loader
from sessionrec.data.view import View
from sessionrec.pipeline import DataConfig, FitConfig, load_fit_config, prepare
from sessionrec.pipeline.training import questions
from sessionrec.scoring import Ranker

USERS, ITEMS, SESSIONS, NEW_ITEMS = 40, 24, 7, 5
START_S, DAY_S = 1_709_280_000, 86_400
"""2024-03-01 08:00 UTC; a session a day."""
T1, T2 = "2024-03-05", "2024-03-07"
Split = Literal["leave_last_session", "global_time"]
HeldOut = Literal["validation", "test"]


@dataclass(frozen=True)
class Row:
    user: str
    session: int
    """Number among the user's sessions."""
    time: int
    item: str
    event: str
    device: str
    price: float | None
    gift: int


def past() -> list[Row]:
    """Every user's sessions: next group after group, so that there is something to learn; some have few sessions."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for session in range(SESSIONS if user >= 4 else user + 1):
            group = (user + session) % 6
            start = START_S + session * DAY_S + user * 60
            # The first three of the group's four items are bought, some session is only looked at.
            is_looking = session == 2 and user % 5 == 0
            for place in range(4):
                rows.append(
                    Row(
                        user=f"u{user}",
                        session=session,
                        time=start + place,
                        item=f"i{4 * group + (place + user) % 4:02d}",
                        event="view" if place == 3 or is_looking else "buy",
                        device=("app", "web")[int(rng.integers(2))],
                        price=None if place == 2 else float(rng.normal()),
                        gift=int(rng.integers(2)),
                    )
                )
    return rows


def with_other_future(
    rows: list[Row], held_out: HeldOut, split: Split, variant: int, *, num_new: int = NEW_ITEMS
) -> list[Row]:
    """The log up to each user's first held-out session, and from its start on, its own time included, another one."""
    rng = np.random.default_rng(100 + variant)
    kept, number = [], 0
    for user in dict.fromkeys(row.user for row in rows):
        own = [row for row in rows if row.user == user]
        for session in dict.fromkeys(row.session for row in own):
            start = min(row.time for row in own if row.session == session)
            if not is_held_out(own, session, start, held_out, split):
                kept += [row for row in own if row.session == session]
                continue
            for place in range(3 + int(rng.integers(6))):
                # The first row is bought at the time of the other log's first: a target, and asked for at one time.
                new = f"new-{variant}-{number % num_new}"
                kept.append(
                    Row(
                        user=user,
                        session=session,
                        time=start + 7 * place,
                        item=new if place == 0 else f"i{int(rng.integers(ITEMS)):02d}",
                        event="buy" if place == 0 or rng.random() < 0.5 else "view",
                        device=f"device-{variant}",
                        price=float(1000 * variant + rng.normal()),
                        gift=int(rng.integers(2)),
                    )
                )
            number += 1
    if split == "global_time":
        kept += across_the_border(held_out, variant)
    return sorted(kept, key=lambda row: row.time)


def across_the_border(held_out: HeldOut, variant: int) -> list[Row]:
    """A session that begins half an hour before the border and goes on after it: it belongs to neither side."""
    border = START_S - 8 * 3600 + {"validation": 4, "test": 6}[held_out] * DAY_S
    before = Row(
        user="u39", session=SESSIONS, time=border - 1800, item="i00", event="buy", device="app", price=0.0, gift=0
    )
    after = [
        replace(before, time=border + 60 * place, item=f"i{place:02d}", device=f"device-{variant}")
        for place in range(2 * variant)
    ]
    return [before, *after]


def is_held_out(own: list[Row], session: int, start: int, held_out: HeldOut, split: Split) -> bool:
    if split == "global_time":
        # Midnight before the fifth day of sessions, or the seventh: T1 and T2.
        return start >= START_S - 8 * 3600 + {"validation": 4, "test": 6}[held_out] * DAY_S
    targets = sorted({row.session for row in own if row.event == "buy"})
    first = targets[-1 if held_out == "test" else max(-2, -len(targets))]
    return session >= first


def made(
    folder: Path, rows: list[Row], split: Split, variant: int, *, num_items: int = ITEMS, num_new: int = NEW_ITEMS
) -> Dataset:
    """The data set of a log whose new items have features of their own."""
    folder.mkdir()
    pl.DataFrame([vars(row) for row in rows]).drop("session").write_csv(folder / "log.csv")
    items = [(f"i{number:02d}", f"brand {number % 3}", float(number)) for number in range(num_items)]
    items += [(f"new-{variant}-{number}", f"brand of {variant}", 1e6 * variant) for number in range(num_new)]
    pl.DataFrame(items, schema=["item", "brand", "size"], orient="row").write_csv(folder / "items.csv")
    tree: dict[str, Any] = {
        "log": {
            "kind": "table",
            "path": str(folder / "log.csv"),
            "positive": "event = 'buy'",
            "actions": {"gift": "gift = 1"},
            "context": [{"name": "device"}, {"name": "price", "kind": "number"}],
            "items": {
                "path": str(folder / "items.csv"),
                "features": [{"name": "brand"}, {"name": "size", "kind": "number"}],
            },
        },
        "session": {"kind": "gap", "gap_s": 3600.0},
        # Counts of the future must not decide who is kept, so the filters are off.
        "filter": {
            "min_item_events": 1,
            "min_user_events": 1,
            "min_user_sessions": 1,
            "sessions_without_positives": "input",
        },
        "split": {"kind": split} | ({"validation_from": T1, "test_from": T2} if split == "global_time" else {}),
        "num_bins": 4,
    }
    return prepare(parse(DataConfig, tree, "leaks"), folder / "data")


def asked(dataset: Dataset, view: View) -> Iterator[Examples]:
    return iter(Loader(dataset, view, questions(), seed=0))


def all_scores(ranker: Ranker, examples: Examples) -> torch.Tensor:
    """[Q, V] of a system that is not in a hurry."""
    scorer = ranker.scorer(examples)
    question, item = torch.meshgrid(
        torch.arange(scorer.num_questions), torch.arange(1, scorer.num_candidates + 1), indexing="ij"
    )
    scores = scorer.pairs(question.reshape(-1), item.reshape(-1))
    return scores.reshape(scorer.num_questions, -1)


def settings(preset: str, *more: str) -> FitConfig:
    words = ["model.width=16", "model.max_sessions=16", "loading.batch_users=16", "threads=1"]
    retrieval = load_fit_config(preset).objective.retrieval
    if hasattr(retrieval, "negatives"):
        words.append("objective.retrieval.negatives.number=8")
    return load_fit_config(preset, None, [*words, "training.metric=ndcg@10", "training.epochs=2", *more])
