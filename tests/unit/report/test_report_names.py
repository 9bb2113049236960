"""Names beside the marks of a picture: nothing touches, and each tells its own mark."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from harness.report.pictures.names import write_names

NO_LINE = np.zeros((0, 2))


def panel(marks: list[tuple[float, float]], limits: tuple[float, float] = (0, 10)) -> Axes:
    """Return an empty panel of 3 inches on which the marks are."""
    picture = Figure(figsize=(3, 3), dpi=100)
    FigureCanvasAgg(picture)
    axes = picture.add_axes((0.1, 0.1, 0.85, 0.85), xlim=limits, ylim=limits)
    axes.plot(*zip(*marks, strict=True), "o", markersize=4)
    picture.draw_without_rendering()
    return axes


def named(axes: Axes) -> dict[str, Annotation]:
    """Return the names that were written, by what they say."""
    assert axes.figure is not None
    axes.figure.draw_without_rendering()  # moves them to their places
    return {text.get_text(): text for text in axes.texts if isinstance(text, Annotation)}


def box(text: Annotation) -> Bbox:
    return Bbox(Text.get_window_extent(text))  # the letters, without the line


def has_line(text: Annotation) -> bool:
    return text.arrow_patch is not None


def test_a_mark_that_stands_alone_has_its_name_beside_it_without_a_line() -> None:
    axes = panel([(5, 5)])
    write_names(axes, [(5, 5)], ["TransE"], NO_LINE)
    text = named(axes)["TransE"]
    x, y = axes.transData.transform((5, 5))
    assert not has_line(text)
    assert 0 < box(text).x0 - x < 10
    assert box(text).y0 < y < box(text).y1


@pytest.mark.parametrize("seed", range(5))
def test_names_of_a_crowd_touch_neither_each_other_nor_a_mark_nor_the_frame(seed: int) -> None:
    marks = [tuple(mark) for mark in np.random.default_rng(seed).uniform(3, 7, (10, 2)).tolist()]
    axes = panel(marks)
    write_names(axes, marks, [f"model {i}" for i in range(10)], NO_LINE)
    boxes = {name: box(text) for name, text in named(axes).items()}
    assert len(boxes) >= 7
    frame = axes.get_window_extent()
    for one, other in combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    for found in boxes.values():
        assert frame.contains(*found.min)
        assert frame.contains(*found.max)
        assert not any(found.contains(*axes.transData.transform(mark)) for mark in marks)


@pytest.mark.parametrize("seed", range(5))
def test_a_name_without_a_line_is_nearest_to_its_own_mark(seed: int) -> None:
    marks = [tuple(mark) for mark in np.random.default_rng(seed).uniform(2, 8, (14, 2)).tolist()]
    axes = panel(marks)
    write_names(axes, marks, [str(i) for i in range(14)], NO_LINE)
    places = axes.transData.transform(marks)
    alone = {int(name): text for name, text in named(axes).items() if not has_line(text)}
    assert alone
    for i, text in alone.items():
        found = box(text)
        gaps = np.maximum(np.maximum(found.min - places, places - found.max), 0)
        assert np.linalg.norm(gaps, axis=1).argmin() == i


@pytest.mark.parametrize("apart", [0.0, 0.05, 0.1])
def test_two_marks_at_one_place_have_lines_to_their_names(apart: float) -> None:
    marks = [(5.0, 5.0), (5.0 + apart, 5.0)]
    axes = panel(marks)
    write_names(axes, marks, ["AdaMF", "AdaMF-MAT"], NO_LINE)
    texts = named(axes)
    assert set(texts) == {"AdaMF", "AdaMF-MAT"}
    assert all(has_line(text) for text in texts.values())


def test_names_keep_off_a_line() -> None:
    """A vertical line just right of the mark: the name stands elsewhere."""
    axes = panel([(5, 5)])
    write_names(axes, [(5, 5)], ["TransE"], np.array([[5.4, 0], [5.4, 10]]))
    assert box(named(axes)["TransE"]).x1 < axes.transData.transform((5.4, 5))[0]


def test_a_name_that_fits_nowhere_is_left_out() -> None:
    axes = panel([(5, 5)])
    write_names(axes, [(5, 5)], ["a name that is wider than the whole picture " * 3], NO_LINE)
    assert not named(axes)
