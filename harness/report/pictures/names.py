"""Names beside the marks of a scatter plot, such that nothing touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes

__all__ = ["write_names"]

Array: TypeAlias = np.ndarray[Any, Any]

NEAR, FAR = 4.0, (9.0, 15.0, 22.0, 30.0, 40.0, 52.0, 65.0, 80.0, 100.0)
"""Distances of a name from the middle of its mark, in points; from the far ones a line leads to the
mark."""
ANGLES = (
    0,
    180,
    90,
    270,
    *(side + turn for turn in (45, 20, 70, 10, 60, 80) for side in (0, 90, 180, 270)),
)
"""Directions of a name from its mark in degrees, the first ones preferred."""
MARK, ALONE, EDGE = 3.5, 6.0, 5.0
"""Points around the middle of a mark that names keep free: all, and those near another mark, which
would be taken for that one's; and where lines to marks end."""
ROUNDS, PATIENCE = 200, 40
"""Times that the names are placed, each time in another order: in all, and without a gain."""
LEADER: dict[str, Any] = {
    "arrowstyle": "-",
    "linewidth": 0.4,
    "color": "0.4",
    "shrinkA": 0,
    "shrinkB": 2.5,
}


def write_names(
    axes: Axes, marks: Sequence[tuple[float, float]], names: Sequence[str], line: Array
) -> None:
    """Write the name of each mark near it, else further off with a line to it.

    Args:
        axes: panel of a picture that was drawn, so that the places of marks are known.
        marks: [n] their places in the units of the axes.
        names: [n] their names; one that fits nowhere is left out.
        line: [k, 2] corners of a line that no name may touch, in the units of the axes.
    """
    assert axes.figure is not None
    points = axes.figure.dpi / 72
    middles = axes.transData.transform(np.array(marks, dtype=float).reshape(-1, 2)) / points
    corners = axes.transData.transform(np.array(line, dtype=float).reshape(-1, 2)) / points
    frame = np.array(axes.get_window_extent().extents) / points
    places = [
        _places(i, middles, _half_size(axes, name) / points, frame, corners)
        for i, name in enumerate(names)
    ]
    for i, place_index in enumerate(_best(places)):
        if place_index is None:
            continue
        offset = places[i].centres[place_index] - middles[i]
        axes.annotate(
            names[i],
            marks[i],
            (float(offset[0]), float(offset[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            bbox={"pad": 0.5, "facecolor": "none", "edgecolor": "none"},  # a line ends here
            arrowprops=None if places[i].ranks[place_index] == 0 else LEADER,
            zorder=2,
        ).set_in_layout(False)


@dataclass(frozen=True)
class _Places:
    """Possible places of a name, the best first; all in points.

    Attributes:
        centres: [c, 2] middles of the name.
        boxes: [c, 4] left, bottom, right, top.
        leaders: [c, 4] lines from the mark to the middle of the name.
        ranks: [c] 0 near the mark, then 1, 2, ... with the distance.
    """

    centres: Array
    boxes: Array
    leaders: Array
    ranks: Array

    def free(self, boxes: Array, leaders: Array) -> Array:
        """Return the indices of places that touch none of other names and their lines."""
        touches = _overlap(self.boxes, boxes).any(1)
        touches |= _cross(leaders, self.boxes).any(0)
        touches |= _cross(self.leaders, boxes).any(1)
        return np.flatnonzero(~touches)


def _half_size(axes: Axes, name: str) -> Array:
    """Return half the width and height of a name in pixels."""
    text = axes.text(0.5, 0.5, name, transform=axes.transAxes)
    box = text.get_window_extent()
    text.remove()
    return np.array([box.width, box.height]) / 2


def _places(i: int, middles: Array, half: Array, frame: Array, corners: Array) -> _Places:
    """Return the places of a name that touch neither frame nor marks nor the line."""
    ranks = np.repeat(np.arange(1 + len(FAR)), len(ANGLES))
    angles = np.radians(np.tile(ANGLES, 1 + len(FAR)))
    towards = np.stack([np.cos(angles), np.sin(angles)], 1)
    # The side or the corner of the name that is next to the mark is at the distance.
    offsets = np.array((NEAR, *FAR))[ranks, None] * towards + half * np.clip(2 * towards, -1, 1)
    centres = middles[i] + offsets
    boxes = np.hstack([centres - half, centres + half])
    # From the edge of the mark: another may stand at the same place.
    leaders = np.hstack([middles[i] + EDGE * towards, centres])
    other_marks = np.delete(middles, i, axis=0)
    fits = (boxes[:, :2] >= frame[:2]).all(1) & (boxes[:, 2:] <= frame[2:]).all(1)
    fits &= ~_overlap(boxes, _around(other_marks, MARK)).any(1)
    fits &= (ranks > 0) | ~_overlap(boxes, _around(other_marks, ALONE)).any(1)
    fits &= ~_cross(leaders, _around(other_marks, MARK)).any(1)
    fits &= ~_cross(np.hstack([corners[:-1], corners[1:]]), boxes).any(0)
    return _Places(centres[fits], boxes[fits], leaders[fits], ranks[fits])


def _best(places: Sequence[_Places]) -> list[int | None]:
    """Return the place of each name that leaves out fewest names and keeps them nearest."""
    draw = np.random.default_rng(0)
    order: Sequence[int] = range(len(places))
    fewest, without_gain = (len(places) + 1, 0), 0
    best: list[int | None] = []
    for _ in range(ROUNDS):
        boxes = leaders = np.zeros((0, 4))
        chosen: list[int | None] = [None] * len(places)
        for i in order:
            free = places[i].free(boxes, leaders)
            if len(free):
                place_index = chosen[i] = int(free[0])
                boxes = np.vstack([boxes, places[i].boxes[place_index]])
                if places[i].ranks[place_index]:
                    leaders = np.vstack([leaders, places[i].leaders[place_index]])
        distance = sum(int(places[i].ranks[p]) for i, p in enumerate(chosen) if p is not None)
        if (chosen.count(None), distance) < fewest:
            fewest, best, without_gain = (chosen.count(None), distance), chosen, 0
        without_gain += 1
        if fewest == (0, 0) or without_gain > PATIENCE:
            break
        # Those that were left out have the first choice in the next round.
        order = sorted(draw.permutation(len(places)), key=lambda i: chosen[i] is not None)
    return best


def _around(middles: Array, margin: float) -> Array:
    """Return boxes [n, 4] around points [n, 2]."""
    return np.hstack([middles - margin, middles + margin])


def _overlap(boxes: Array, other_boxes: Array) -> Array:
    """Return which boxes [n, 4] and [m, 4] overlap, bool [n, m]."""
    a, b = boxes[:, None], other_boxes[None]
    return np.asarray((a[..., :2] < b[..., 2:]).all(-1) & (b[..., :2] < a[..., 2:]).all(-1))


def _cross(lines: Array, boxes: Array) -> Array:
    """Return which lines [n, 4], from (x, y) to (x, y), touch which boxes [m, 4]; bool [n, m].

    A line is in a box between the last of its entries and the first of its exits (Liang and Barsky
    1984).
    """
    start = lines[:, None, :2]
    along = lines[:, None, 2:] - start
    along = np.where(along == 0, 1e-9, along)
    low, high = (boxes[None, :, :2] - start) / along, (boxes[None, :, 2:] - start) / along
    enters = np.minimum(low, high).max(-1)
    exits = np.maximum(low, high).min(-1)
    return np.asarray((enters <= exits) & (exits >= 0) & (enters <= 1))
