"""Figures of experiments: valid, drawn in the page's colours, and readable where no page is."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sessionrec.experiments import figures
from sessionrec.experiments.figures import Curve, Dot, Drawing, Place, Series
from sessionrec.report import figure as fig
from sessionrec.report.numbers import score

NAMES = ("popularity", "SASRec+ full $x$ & <b>", "SessionRec-Transformer")


def dots() -> Drawing:
    kinds = ("floor", "model", "ours")
    some = [
        Dot(name=name, mean=0.05 * place, low=0.05 * place - 0.01, high=0.05 * place + 0.01, kind=kind)
        for place, (name, kind) in enumerate(zip(NAMES, kinds, strict=True), 1)
    ]
    return figures.dots(some, x_label="NDCG@10", name="dots", title="Dots", finding="One wins.", write=score)


def along() -> Drawing:
    x = [0, 0.05, 0.2, 2]
    line = Series(name="a", x=x, mean=[0.1, 0.2, 0.3, 0.2], low=[0.0, 0.1, 0.2, 0.1], high=[0.2, 0.3, 0.4, 0.3])
    other = Series(name="b", x=x[:2], mean=[0.2, 0.1], low=[0.1, 0.0], high=[0.3, 0.2])
    return figures.along([line, other], x_label="alpha", y_label="N@10", name="along", title="Along", finding="Yes.")


def cost() -> Drawing:
    places = [
        Place(name=name, group=group, cost=cost, mean=mean, low=mean - 0.01, high=mean + 0.01)
        for name, group, cost, mean in (
            ("HSTU+", "HSTU", 60.0, 0.30),
            ("SessionRec-HSTU", "HSTU", 24.5, 0.33),
            ("SASRec+", "T", 44.0, 0.25),
            ("SessionRec-Transformer", "T", 23.5, 0.31),
        )
    ]
    arrows = [(0, 1, "2.4\N{MULTIPLICATION SIGN} faster"), (2, 3, "1.9\N{MULTIPLICATION SIGN} faster")]
    return figures.cost(places, arrows, y_label="NDCG@10", name="cost", title="Cost", finding="Fast.")


def law() -> Drawing:
    points = Series(name="measured", x=[1e4, 1e5, 1e6], mean=[0.1, 0.2, 0.3], low=[0.0, 0.1, 0.2], high=[0.2, 0.3, 0.4])
    curve = Curve(
        x=[9e3, 1.1e6], mean=[0.1, 0.3], low=[0.05, 0.25], high=[0.15, 0.35], foretold=(1e6, 0.31, 0.25, 0.37)
    )
    return figures.law(
        points, curve, x_label="events", y_label="R@500", name="law", title="Law", finding="Up.", detail=""
    )


ALL = (dots, along, cost, law)


@pytest.mark.parametrize("make", ALL)
def test_a_figure_takes_its_colours_from_the_page(make: object) -> None:
    assert callable(make)
    drawing: Drawing = make()
    svg = str(drawing.plot().svg)
    assert not re.search(r"#0a000[0-9a-d]", svg)
    assert "var(--first)" in svg
    assert "http" not in svg.replace("http://www.w3.org", "")
    # Ticks that matplotlib would make itself are black.
    assert not re.search(r"(?:fill|stroke): #0000", svg)


@pytest.mark.parametrize("make", ALL)
def test_files_need_no_page(make: object, tmp_path: Path) -> None:
    assert callable(make)
    drawing: Drawing = make()
    svg, png = drawing.save(tmp_path, drawing.plot())
    tree = ElementTree.parse(svg).getroot()
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    text = svg.read_text(encoding="utf-8")
    assert "var(--" not in text
    assert figures.palette()["--first"] in text
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    canvas = FigureCanvasAgg(drawing.figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)  # type: ignore[no-untyped-call]
    assert (pixels[0] == 255).all()
    # None of the stand-ins, which are nearly black, is left.
    assert not ((pixels[:, 0] == 10) & (pixels[:, 1] == 0) & (pixels[:, 2] < 14)).any()


def test_the_same_figure_is_the_same_bytes(tmp_path: Path) -> None:
    files = [(drawing := cost()).save(tmp_path / name, drawing.plot()) for name in ("a", "b")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_names_do_not_lie_on_each_other() -> None:
    drawing = cost()
    drawing.figure.draw_without_rendering()
    renderer = FigureCanvasAgg(drawing.figure).get_renderer()  # type: ignore[no-untyped-call]
    axes = drawing.figure.axes[0]
    boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
    assert len(boxes) == 6
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert box.x0 >= 0
        assert box.x1 <= drawing.figure.bbox.x1


def test_all_stand_ins_have_a_light_colour() -> None:
    assert set(fig.VARIABLES.values()) <= set(figures.palette())


def test_names_of_files_are_plain() -> None:
    assert figures.file_name("table2", "KuaiRand, 8 h", "ndcg@10", "../x") == "table2-kuairand-8-h-ndcg-10-x"
