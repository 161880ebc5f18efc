"""Numbers as a reader wants them: thousands apart, durations in the unit that fits, percent only here."""

from __future__ import annotations

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
_DASH = "\N{EN DASH}"
_SIZES = ((1_000_000_000, "B"), (1_000_000, "M"), (1000, "k"))


def count(value: float) -> str:
    """`1234567` -> `1,234,567`."""
    return f"{value:,.0f}"


def many(value: float, noun: str) -> str:
    """`1 session`, `9 sessions`."""
    return f"{count(value)} {noun}" if value == 1 else f"{count(value)} {noun}s"


def average(value: float) -> str:
    """Two decimals below 10,000, none above."""
    return f"{value:,.2f}" if abs(value) < 10_000 else f"{value:,.0f}"


def compact(value: float) -> str:
    """`1500` -> `1.5k`; for the ticks of an axis."""
    for size, unit in _SIZES:
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """`0.345` -> `34.5 %`, `1` -> `100 %`; what is not quite nothing, or not quite all, never reads so."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def duration(seconds: float) -> str:
    """`5400` -> `1.5 h`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def size(num_bytes: int) -> str:
    """`14557425` -> `14.6 MB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.1f} {name}"
    return f"{num_bytes} bytes"


def bar_label(low: int, high: int) -> str:
    """Label of a histogram's bar: `3`, `5-8`, `1-2k`, with a proper dash."""
    if low == high:
        return f"{low:,}"
    for size, unit in _SIZES:
        if high >= size:
            first = f"{low / size:.1g}" if low < size else f"{low / size:.0f}"
            return f"{first}{_DASH}{high / size:.0f}{unit}"
    return f"{low}{_DASH}{high}"
