"""Named random streams: one integer seed a run, and for every purpose a stream of its own.

A stream depends on the seed, its name and its counters (epoch, window, rank...) and on nothing else, so that a run cut
at any point and resumed draws what the unbroken run would have drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, name: str, *counters: int) -> np.random.Generator:
    """A NumPy generator for one purpose.

    Args:
        seed: The run's seed, >= 0.
        name: What is drawn, for example `"shuffle"`.
        counters: Where in the run, for example epoch and window.
    """
    label = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    # As a spawn key, not as entropy: entropy is filled up with zeros, so counters (0,) would be no counters at all.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, label], spawn_key=counters)))
