from __future__ import annotations

import subprocess
import sys

import hypothesis.strategies as st
from hypothesis import given

from sessionrec.seeding import stream


def first(seed: int, name: str, *counters: int) -> int:
    return int(stream(seed, name, *counters).integers(0, 2**62))


@given(st.integers(0, 2**63), st.text(max_size=10), st.lists(st.integers(0, 2**40), max_size=3))
def test_the_same_stream_draws_the_same(seed: int, name: str, counters: list[int]) -> None:
    once, again = stream(seed, name, *counters), stream(seed, name, *counters)
    assert once.integers(0, 2**62, 5).tolist() == again.integers(0, 2**62, 5).tolist()


def test_seed_name_and_counters_all_make_another_stream() -> None:
    keys = [
        (seed, name, *counters)
        for seed in (0, 1, 2**40)
        for name in ("users", "shuffle", "row groups", "")
        for counters in ((), (0,), (1,), (0, 1), (1, 0), (2, 3))
    ]
    assert len({first(*key) for key in keys}) == len(keys)


def test_drawing_from_one_stream_leaves_the_others_alone() -> None:
    expected = first(3, "b")
    stream(3, "a").random(1000)
    assert first(3, "b") == expected


def test_another_process_draws_the_same() -> None:
    code = "from sessionrec.seeding import stream; print(int(stream(7, 'shuffle', 2).integers(0, 2**62)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) == first(7, "shuffle", 2)
