"""Draws `results/train_growth.json`: what an input event costs as catalogue, log and histories grow.

python -m benchmarks.plot_growth
"""

from __future__ import annotations

import json

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine

_PANELS = {"catalogue": "items of the catalogue", "events": "training events", "sessions": "sessions of a history"}


def main() -> None:
    """Draw, beside the figures."""
    figures = json.loads((machine.RESULTS / "train_growth.json").read_text(encoding="utf-8"))["figures"]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, label) in zip(figure.subplots(1, 3), _PANELS.items(), strict=True):
        sizes = [int(size) for size in figures[name]]
        axes.plot(sizes, [row["us_an_event"] for row in figures[name].values()], marker="o", label="us an event")
        axes.set(xscale="log", ylim=(0, None), xlabel=label, ylabel="processor time an event, us")
        memory = axes.twinx()
        memory.plot(sizes, [row["peak_gb"] for row in figures[name].values()], marker="s", color="tab:orange")
        memory.set(ylim=(0, None), ylabel="peak memory, GB (orange)")
    figure.suptitle("Training SessionRec-HSTU, one core: cost of an input event (blue) and memory (orange)")
    figure.savefig(machine.RESULTS / "train_growth.png", dpi=110)


if __name__ == "__main__":
    main()
